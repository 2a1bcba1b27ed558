"""Many at once against one database, in a process of its own: prints what came of it as JSON.

DATABASE_URL=… REDIS_URL=… CRISTA_HOME=… python -m tests.server.submissions.races
"""

# ruff: noqa: E402  (models can be imported once Django knows its settings)

import json
import os
import threading
from collections import Counter
from collections.abc import Callable

import django
from django.conf import settings
from django.core.management import call_command
from django.db import connections
from django.utils.timezone import now

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "server.settings")
django.setup()
settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]  # they take long

from server.accounts import audit, invitations
from server.accounts.models import AuditEvent, Team
from server.accounts.teams import create_team
from server.errors import Refused
from server.submissions import grants, intake, merging
from server.submissions.models import Submission, Upload
from server.submissions.quota import quota
from tests.server import entries
from tests.server.making import person, stored

MANY, ROUNDS = 60, 4


def at_once(calls: list[Callable[[], object]]) -> Counter[str]:
    """How all of them ended that began together: "ok", or the code of the refusal."""
    gate, ends = threading.Barrier(len(calls)), []

    def run(call: Callable[[], object]) -> None:
        try:
            gate.wait()
            call()
            ends.append("ok")
        except Refused as refusal:
            ends.append(refusal.code)
        finally:
            connections.close_all()

    threads = [threading.Thread(target=run, args=(call,)) for call in calls]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(ends) == len(calls), "a thread died"
    return Counter(ends)


def submit(upload: Upload) -> Callable[[], object]:
    return lambda: intake.submit(upload=upload, user=upload.user, method="M", at=now())


def submits() -> dict[str, object]:
    """Sixty submissions at once where seven are allowed, then where five more are granted."""
    phase = entries.phase(entries.challenge(), per_day=7, attempts_per_day=0, concurrent=0)
    ada, staff = person("Ada"), person("Staff", is_staff=True)
    team = create_team(ada, name="Lab")
    first = at_once([submit(stored(phase, team, b"x", user=ada)) for _ in range(MANY)])
    grants.grant(team=team, phase=phase, what="per_day", extra=5, reason="r", by=staff, at=now())
    rest = Upload.objects.filter(submission=None)
    second = at_once([submit(upload) for upload in rest])
    sealing = at_once([audit.seal] * 8)
    left = quota(team, phase, at=now()).per_day.left
    return {
        "first": first, "second": second, "sealing": sealing,
        "submissions": Submission.objects.count(), "left": left,
        "events": audit.verify().events, "fault": audit.verify().fault,
        "unsealed": AuditEvent.objects.filter(number=None).count(),
    }  # fmt: skip


def merges() -> dict[str, object]:
    """Two teams go into each other at once, a few times, while both submit."""
    phase = entries.phase(entries.challenge("other"), per_day=0, attempts_per_day=0, concurrent=0)
    astray, merged, both = 0, 0, 0
    for number in range(ROUNDS):
        people = [person(f"{name}{number}") for name in ("Ada", "Bob")]
        teams = [create_team(user, name=f"Team of {user}") for user in people]
        offers = [invitations.merge_offer(team) for team in teams]
        calls = [
            lambda t=teams[0], o=offers[1], u=people[0]: merging.merge(t, offer=o, by=u, at=now()),
            lambda t=teams[1], o=offers[0], u=people[1]: merging.merge(t, offer=o, by=u, at=now()),
            *(submit(stored(phase, t, b"x", user=u)) for t, u in zip(teams, people, strict=True)),
        ]
        at_once(calls)
        gone = Team.objects.filter(pk__in=[t.pk for t in teams], merged_into__isnull=False)
        merged += gone.count()
        both += gone.count() == 2
        astray += Submission.objects.filter(team__in=gone).count()
        astray += Upload.objects.filter(team__in=gone).count()
    return {"merged": merged, "both": both, "astray": astray}


if __name__ == "__main__":
    call_command("migrate", verbosity=0)
    print(json.dumps({"submits": submits(), "merges": merges()}))
