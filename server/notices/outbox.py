"""Write down what is to be told, in the transaction that makes it true; send it after the commit.

    from server.notices import outbox
    outbox.tell("scored", team=…, subject=…, text=…, path=…, facts={…})

Nobody is told what a rolled back transaction would have done, and nothing is lost with the queue:
`send_late` asks again for what is due.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.db import transaction

from server import queue
from server.accounts.models import Team, User
from server.notices.models import Delivery, Kind, Mute, Notice, Receipt, Webhook

SEND_JOB = "server.notices.delivery.send"
GIVE_UP_JOB = "server.notices.delivery.give_up"
SEND_TIMEOUT_S = 60
AT_ONCE = 500  # messages that one call of `send_late` asks for


@transaction.atomic
def tell(
    kind: str, *, team: Team | None = None, user: User | None = None, staff: bool = False,
    subject: str, text: str, path: str, facts: Mapping[str, Any], once: str = "",
) -> Notice | None:  # fmt: skip
    """Tell a team's members, a person, the organisers; each of them once, whatever they are.

    In the caller's transaction.  subject: a line.  text: a sentence or two with the next step.
    path: the page about it (`/submissions/17/`).  facts: JSON values for programs, such as
    {"submission": 17}.  None of them may hold a score, or what a phase hides from the addressee.
    once: a name; None is returned if something was told under it already.
    """
    fields = {
        "kind": Kind(kind), "team": team, "staff": staff, "subject": _line(subject),
        "text": text, "path": path, "facts": dict(facts),
    }  # fmt: skip
    if once:
        notice, new = Notice.objects.get_or_create(once=once, defaults=fields)
        if not new:
            return None
    else:
        notice = Notice.objects.create(**fields)
    people = _people(team=team, user=user, staff=staff)
    Receipt.objects.bulk_create([Receipt(notice=notice, user=person) for person in people])
    for delivery in Delivery.objects.bulk_create([*_mails(notice, people), *_posts(notice)]):
        ask_to_send(delivery)
    return notice


def ask_to_send(delivery: Delivery) -> None:
    """Queue a delivery, once the transaction has committed."""
    queue.enqueue(
        queue.NOTIFY, SEND_JOB, str(delivery.pk), name=f"notify-{delivery.pk}",
        timeout_s=SEND_TIMEOUT_S, on_failure=GIVE_UP_JOB,
    )  # fmt: skip


def send_late(*, at: datetime) -> int:
    """Queue what is due and no message is about; how many that were.  For the reconciler.

    Raises RedisError or QueueMissing while the queue server is away.
    """
    due = Delivery.objects.filter(status=Delivery.Status.WAITING, due__lte=at).order_by("due")
    waiting = queue.waiting(queue.NOTIFY)
    late = [row for row in due[:AT_ONCE] if f"notify-{row.pk}" not in waiting]
    for delivery in late:
        ask_to_send(delivery)
    return len(late)


def forget_old(*, at: datetime) -> int:
    """Delete notices older than `NOTICE_KEEP_DAYS`, with all that belongs to them; how many."""
    old = Notice.objects.filter(created__lt=at - timedelta(days=settings.NOTICE_KEEP_DAYS))
    count = old.count()
    if count:
        old.delete()
    return count


def _people(*, team: Team | None, user: User | None, staff: bool) -> list[User]:
    """Everybody who is to know and whose account is open, once each, in the order of their keys."""
    found = {user.pk: user} if user and user.is_active else {}
    if team is not None:
        found |= {person.pk: person for person in team.members.filter(is_active=True)}
    if staff:
        found |= {
            person.pk: person for person in User.objects.filter(is_active=True, is_staff=True)
        }
    return [found[key] for key in sorted(found)]


def _mails(notice: Notice, people: Iterable[User]) -> list[Delivery]:
    muted = set(Mute.objects.filter(kind=notice.kind).values_list("user_id", flat=True))
    return [Delivery(notice=notice, user=person) for person in people if person.pk not in muted]


def _posts(notice: Notice) -> list[Delivery]:
    """To the team's webhooks, and to the organisers' if they are told."""
    hooks = list(Webhook.objects.filter(team=notice.team)) if notice.team else []
    hooks += list(Webhook.objects.filter(team=None)) if notice.staff else []
    return [Delivery(notice=notice, webhook=hook) for hook in hooks if hook.wants(notice.kind)]


def _line(text: str) -> str:
    """One line of at most 200 characters: a line break would end a mail's header."""
    line = " ".join(text.split())
    return line if len(line) <= 200 else f"{line[:199]}…"
