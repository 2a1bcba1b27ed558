"""Every route below /api/, walked as everybody.  A new route without a row here fails."""

import re
from collections.abc import Iterator

import pytest
from django.urls import URLPattern, URLResolver, get_resolver
from rest_framework.test import APIClient

from server.accounts.models import Token
from server.submissions.models import Submission, Upload
from tests.server.making import api, entered, moment, send, stored

# What each of them gets: nobody logged in, a rival, the sender, an organiser.
ROWS = {
    "GET api/me/": (401, 200, 200, 200),
    "GET api/me/tokens/": (401, 200, 200, 200),
    "DELETE api/me/tokens/0/": (401, 404, 404, 404),
    "GET api/audit/": (401, 403, 403, 403),  # an organiser's token needs the scope, too
    "GET api/audit.jsonl": (401, 403, 403, 403),
    "GET api/audit.csv": (401, 403, 403, 403),
    "GET api/teams/": (401, 200, 200, 200),
    "POST api/teams/join/": (401, 400, 400, 400),
    "GET api/teams/no-lab/": (401, 404, 404, 404),
    "PATCH api/teams/no-lab/": (401, 404, 404, 404),
    "POST api/teams/no-lab/leave/": (401, 404, 404, 404),
    "POST api/teams/no-lab/links/": (401, 404, 404, 404),
    "DELETE api/teams/no-lab/links/": (401, 404, 404, 404),
    "POST api/teams/no-lab/merge/": (401, 400, 400, 400),
    "PATCH api/teams/no-lab/members/0/": (401, 404, 404, 404),
    "DELETE api/teams/no-lab/members/0/": (401, 404, 404, 404),
    "POST api/teams/": (401, 400, 400, 400),
    "POST api/tokens/": (400, 400, 400, 400),
    "GET api/challenges/": (200, 200, 200, 200),
    "GET api/challenges/made-up/": (200, 200, 200, 200),
    "GET api/challenges/made-up/phases/test/manifest.csv": (200, 200, 200, 200),
    "GET api/challenges/made-up/phases/test/labels.toml": (200, 200, 200, 200),
    "GET api/challenges/made-up/phases/test/board/": (200, 200, 200, 200),
    "GET api/challenges/made-up/phases/test/board.csv": (200, 200, 200, 200),
    "GET api/challenges/made-up/phases/test/editions/": (200, 200, 200, 200),
    "POST api/challenges/made-up/phases/test/editions/": (401, 403, 403, 403),
    "GET api/challenges/made-up/phases/test/editions/1/": (200, 200, 200, 200),
    "GET api/challenges/made-up/phases/test/editions/1/board/": (200, 200, 200, 200),
    "GET api/challenges/made-up/phases/test/editions/1/board.csv": (200, 200, 200, 200),
    "GET api/challenges/made-up/phases/test/editions/1/plan/": (401, 403, 403, 403),
    "POST api/challenges/made-up/phases/test/editions/1/rescore/": (401, 403, 403, 403),
    "POST api/challenges/made-up/phases/test/editions/1/publish/": (401, 403, 403, 403),
    "POST api/challenges/made-up/phases/test/editions/1/discard/": (401, 403, 403, 403),
    "POST api/submissions/SUBMISSION/choose/": (401, 404, 409, 404),
    "DELETE api/submissions/SUBMISSION/choose/": (401, 404, 409, 404),
    "POST api/submissions/SUBMISSION/disqualify/": (401, 403, 403, 403),
    "DELETE api/submissions/SUBMISSION/disqualify/": (401, 403, 403, 403),
    "GET api/submissions/SUBMISSION/targets/": (401, 404, 200, 200),
    "GET api/challenges/made-up/phases/test/quota/": (401, 200, 200, 200),
    "GET api/grants/": (401, 403, 403, 403),
    "POST api/grants/": (401, 403, 403, 403),
    "POST api/grants/0/end/": (401, 403, 403, 403),
    "GET api/uploads/": (401, 200, 200, 200),
    "POST api/uploads/": (401, 400, 400, 400),
    "GET api/uploads/UPLOAD/": (401, 404, 200, 404),
    "PATCH api/uploads/UPLOAD/": (401, 404, 409, 404),
    "GET api/uploads/UPLOAD/parts/": (401, 404, 200, 404),
    "POST api/uploads/UPLOAD/finish/": (401, 404, 200, 404),
    "DELETE api/uploads/UPLOAD/": (401, 404, 409, 404),
    "GET api/submissions/": (401, 200, 200, 200),
    "POST api/submissions/": (401, 400, 400, 400),
    "GET api/submissions/SUBMISSION/": (401, 404, 200, 200),
    "GET api/submissions/SUBMISSION/result/": (401, 404, 200, 200),
    "POST api/submissions/SUBMISSION/cancel/": (401, 404, 409, 409),
    "POST api/submissions/SUBMISSION/try-again/": (401, 403, 403, 403),
    "GET api/trouble/": (401, 403, 403, 403),
    "GET api/notices/": (401, 200, 200, 200),
    "POST api/notices/read/": (401, 200, 200, 200),
    "GET api/notices/mails/": (401, 200, 200, 200),
    "PUT api/notices/mails/": (401, 400, 400, 400),
    "GET api/webhooks/": (401, 200, 200, 200),
    "POST api/webhooks/": (401, 400, 400, 400),
    "GET api/webhooks/0/": (401, 404, 404, 404),
    "DELETE api/webhooks/0/": (401, 404, 404, 404),
    "GET api/webhooks/0/deliveries/": (401, 404, 404, 404),
    "POST api/webhooks/0/test/": (401, 404, 404, 404),
    "GET api/schema/": (200, 200, 200, 200),
    "GET api/docs/": (200, 200, 200, 200),
}


def routes(patterns=None, before: str = "") -> Iterator[str]:
    """`api/uploads/?/` for every route below /api/; a ? stands for any value."""
    for entry in patterns or get_resolver().url_patterns:
        path = before + re.sub(r"<[^>]+>", "?", str(entry.pattern))
        if isinstance(entry, URLResolver):
            yield from routes(entry.url_patterns, path)
        elif isinstance(entry, URLPattern) and path.startswith("api/"):
            yield path


def test_every_route_has_its_row():
    values = r"(made-up|no-lab|(?<=phases/)test|(?<=/)0|(?<=editions/)1|UPLOAD|SUBMISSION)"
    walked = {re.sub(values, "?", row.split()[1]) for row in ROWS}
    assert set(routes()) == walked


@pytest.fixture
def story(phase, people, work, packed) -> dict[str, str]:
    """A scored submission of Ada's; the values that stand in the rows."""
    submission = entered(phase, people.ada, packed.read_bytes())
    work()
    return {"UPLOAD": str(submission.upload_id), "SUBMISSION": str(submission.pk)}


def ask(client: APIClient, row: str, values: dict[str, str]):
    method, path = row.split()
    for name, value in values.items():
        path = path.replace(name, value)
    if method == "PATCH" and "uploads" in path:
        return send(client, f"/{path}", b"x")
    return getattr(client, method.lower())(f"/{path}")


def everybody(people) -> list[APIClient]:
    return [api(), api(people.bob), api(people.ada), api(people.staff)]


def test_everybody_gets_what_the_table_says_and_nothing_changes(people, story):
    before = Submission.objects.values().get(), Upload.objects.values().get()
    clients = everybody(people)
    found = {row: tuple(ask(c, row, story).status_code for c in clients) for row in ROWS}
    assert found == ROWS
    assert (Submission.objects.values().get(), Upload.objects.values().get()) == before


def test_a_token_for_reading_changes_nothing(people, story, phase):
    token, text = Token.issue(people.ada, name="read", scopes=("read",), now=phase.opens)
    Token.objects.filter(pk=token.pk).update(expires=phase.closes)
    client = APIClient()
    client.credentials(HTTP_AUTHORIZATION=f"Bearer {text}")
    for row in ROWS:
        expected = 403 if row.split()[0] != "GET" and "tokens" not in row else None
        answer = ask(client, row, story)
        assert expected is None or answer.status_code == expected, row


@pytest.mark.parametrize("visibility", ["full", "ranks", "own", "staff"])
def test_no_route_shows_participants_the_truth_or_each_others_files(
    people, story, phase, visibility
):
    phase.visibility = visibility
    phase.save()
    stored(phase, people.ada.own_team, b"x", user=people.ada)
    truth = phase.truth
    secrets = [truth.path, *truth.digests.values(), "ada@example.org", "x.zip", *story.values()]
    secrets.remove(story["SUBMISSION"])  # a small number is found anywhere
    for client in (api(), api(people.bob)):
        for row in ROWS:
            text = ask(client, row, story).content.decode()
            assert not [secret for secret in secrets if secret in text], (row, visibility)


@pytest.mark.parametrize("visibility", ["ranks", "own", "staff"])
def test_outside_full_phases_no_rival_sees_a_score(people, story, phase, visibility):
    phase.visibility = visibility
    phase.save()
    # Moments without fractions of a second, which could look like a score.
    Submission.objects.update(created=moment("2026-03-01T12:00"))
    evaluation = Submission.objects.get().evaluation
    numbers = [f"{evaluation.overall:.3f}"[:5], f"{evaluation.overall:.3f}"[1:5]]
    for client in (api(), api(people.bob)):
        for row in ROWS:
            if "docs" in row or "schema" in row:
                continue
            text = ask(client, row, story).content.decode()
            assert not [number for number in numbers if number in text], (row, visibility)
