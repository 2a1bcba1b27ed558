"""Requests by the hundred, made up from the API's own description, as everybody: no 500.

Every answer must also be one that the description knows.  FUZZ_API_EXAMPLES tells how
many for each operation (`make fuzz-api`: enough for 10,000 and more).
"""

import os
import random
from collections.abc import Iterator
from datetime import timedelta
from types import SimpleNamespace

import pytest
import schemathesis
from django.core.signals import request_finished, request_started
from django.core.wsgi import get_wsgi_application
from django.db import close_old_connections, transaction
from django.utils.timezone import now
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
)

from server import throttling
from server.accounts.models import Scope, Token
from server.submissions.models import Upload
from tests.server import entries


@schemathesis.serializer("application/offset+octet-stream")
def bytes_as_they_are(context: schemathesis.SerializationContext, value: object) -> bytes:
    return value if isinstance(value, bytes) else str(value).encode("utf-8", "surrogatepass")


EXAMPLES = int(os.environ.get("FUZZ_API_EXAMPLES", "2"))
CHECKS = (not_a_server_error, content_type_conformance, response_schema_conformance)
SKIPPED = ("/api/schema/", "/api/docs/")

pytestmark = pytest.mark.django_db


@pytest.fixture
def scene(people, monkeypatch) -> SimpleNamespace:
    """A challenge with entries of Ada's and Bob's, and what stands in addresses and bodies."""
    for name in ("VisitorRate", "PersonRate", "NamedRate"):
        rates = {"anon": "9999999/min", "user": "9999999/min", "tokens": "9999999/min"}
        monkeypatch.setattr(getattr(throttling, name), "THROTTLE_RATES", rates)
    challenge = entries.challenge()
    phase = entries.phase(challenge, per_day=100)
    team = people.ada.own_team
    scored = entries.scored(phase, team, 0.5)
    entries.scored(phase, people.bob.own_team, 0.4)
    entries.submission(phase, team, status="rejected")
    open_upload, finished = (
        Upload.objects.create(
            team=team, user=people.ada, phase=phase, filename="x.zip", size=10, status=status,
            expires=now() + timedelta(days=1),
        )
        for status in (Upload.Status.OPEN, Upload.Status.FINISHED)
    )  # fmt: skip
    live = entries.submission(phase, team, status="scoring")
    entries.evaluation(live, done=1)
    known = {
        "challenge": ["demo"], "slug": ["demo", team.slug], "phase": ["test"],
        "team": [team.slug], "label": ["mito"], "target": ["crop1/mito"],
        "upload": [str(finished.pk), str(open_upload.pk)],
        "key": [str(open_upload.pk), str(finished.pk), scored.pk, live.pk],
        "number": [1, scored.pk], "submission": [scored.pk, live.pk],
        "email": [people.ada.email, people.bob.email],
    }  # fmt: skip
    return SimpleNamespace(people=people, known=known)


@pytest.fixture(autouse=True)
def one_connection() -> Iterator[None]:
    """Requests leave the connection open: it is in a transaction of the test's own."""
    signals = (request_started, request_finished)
    for signal in signals:
        signal.disconnect(close_old_connections)
    yield
    for signal in signals:
        signal.connect(close_old_connections)


@pytest.fixture
def roles(scene) -> dict[str, dict[str, str]]:
    """Everybody, with the header that says so."""

    def bearer(user, *scopes: Scope) -> dict[str, str]:
        text = Token.issue(user, name="fuzz", scopes=scopes, now=now())[1]
        return {"Authorization": f"Bearer {text}"}

    people = scene.people
    return {
        "visitor": {},
        "participant": bearer(people.ada, Scope.READ, Scope.SUBMIT),
        "reader": bearer(people.ada, Scope.READ),
        "rival": bearer(people.bob, Scope.READ, Scope.SUBMIT),
        "organiser": bearer(people.staff, *Scope),
    }


def operations() -> Iterator:
    schema = schemathesis.openapi.from_wsgi("/api/schema/", get_wsgi_application())
    for found in schema.get_all_operations():
        if found.ok().path not in SKIPPED:
            yield found.ok()


def replaced(value, known: dict[str, list], chance: random.Random):
    """The same with some of its values replaced by those of rows that exist."""
    if not isinstance(value, dict):
        return value
    return {
        name: chance.choice(known[name])
        if name in known and chance.random() < 0.7
        else replaced(each, known, chance)
        for name, each in value.items()
    }


def probe(operation, roles, known: dict[str, list], seen: dict[str, list[int]]) -> None:
    """EXAMPLES requests that fit the description and as many that do not, each as everybody."""
    modes = [operation.as_strategy(generation_mode=mode) for mode in GenerationMode]

    @given(case=st.one_of(modes), seed=st.integers(0, 2**32))
    @settings(
        max_examples=2 * EXAMPLES, deadline=None, database=None, derandomize=EXAMPLES < 10,
        phases=[Phase.generate], suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    def ask(case, seed) -> None:
        chance = random.Random(seed)
        case.path_parameters = replaced(case.path_parameters, known, chance)
        case.query = replaced(case.query, known, chance)
        case.body = replaced(case.body, known, chance)
        for role, headers in roles.items():
            seen[role].append(send(case, headers))

    ask()


def send(case, headers: dict[str, str]) -> int:
    """The status of the answer, which is sound.  What the request does is undone."""
    with transaction.atomic():
        answer = case.call(headers=headers)
        transaction.set_rollback(True)
    case.validate_response(answer, checks=CHECKS)
    if answer.status_code >= 400 and case.method not in ("HEAD", "OPTIONS"):
        assert answer.json()["code"]
    return int(answer.status_code)


@pytest.mark.timeout(3600 if EXAMPLES > 10 else 300)
def test_no_request_breaks_anything_and_every_answer_is_described(scene, roles):
    seen: dict[str, list[int]] = {name: [] for name in roles}
    for operation in operations():
        probe(operation, roles, scene.known, seen)
    statuses = sorted({status for each in seen.values() for status in each})
    print(f"\n{sum(map(len, seen.values()))} requests; statuses {statuses}")
    assert {200, 400, 401, 403, 404} <= set(statuses)
    for name, found in seen.items():
        assert any(status < 300 for status in found), f"nothing succeeded for the {name}"
