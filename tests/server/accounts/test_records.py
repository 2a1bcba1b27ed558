"""Filter, export and verify, by command and over the API."""

import csv
import io
import json
from datetime import timedelta

import pytest
from django.core.management import CommandError, call_command
from django.db import connection
from django.utils.timezone import now

from server.accounts import audit
from server.accounts.models import AuditEvent
from server.accounts.records import COLUMNS
from tests.server.making import api, organising, person

pytestmark = pytest.mark.django_db


@pytest.fixture
def staff():
    return person("Organiser", is_staff=True)


@pytest.fixture(autouse=True)
def _story(staff):
    audit.record("phase", "demo/test", before="per_day 3", after="per_day 5", by=staff)
    audit.record("team", "lab", after="created", note="=cmd|'/c calc'!A1")
    audit.record("phase", "demo/final", after="opens")


def body(answer) -> str:
    assert answer.status_code == 200
    return b"".join(answer.streaming_content).decode()


def said(*arguments: str) -> str:
    out = io.StringIO()
    call_command("audit", *arguments, stdout=out)
    return out.getvalue()


def test_organisers_page_through_it_newest_first(staff):
    page = organising(staff).get("/api/audit/").json()
    assert page["count"] == 3
    assert [row["key"] for row in page["results"]] == ["demo/final", "lab", "demo/test"]
    assert page["results"][2]["actor"] == "organiser@example.org"


@pytest.mark.parametrize(
    ("wish", "keys"),
    [
        ({"kind": "phase"}, {"demo/test", "demo/final"}),
        ({"key": "lab"}, {"lab"}),
        ({"actor": "ORGANISER@example.org"}, {"demo/test"}),
        ({"since": (now() + timedelta(days=1)).isoformat()}, set()),
        ({"until": (now() + timedelta(days=1)).isoformat()}, {"demo/test", "demo/final", "lab"}),
        ({"kind": "phase", "actor": "nobody@example.org"}, set()),
    ],
)
def test_it_is_filtered(staff, wish, keys):
    rows = organising(staff).get("/api/audit/", wish).json()["results"]
    assert {row["key"] for row in rows} == keys


def test_a_moment_that_is_none_is_named(staff):
    for url in ("/api/audit/", "/api/audit.csv"):
        answer = organising(staff).get(url, {"since": "yesterday"})
        assert (answer.status_code, answer.json()["code"]) == (400, "invalid")
        assert "since" in answer.json()["detail"]


def test_nobody_else_sees_any_of_it(staff):
    reader = api(staff)  # may read and submit, not organise
    for url in ("/api/audit/", "/api/audit.jsonl", "/api/audit.csv"):
        assert api().get(url).status_code == 401
        assert api(person(f"Ada{url[-3]}")).get(url).status_code == 403
        assert reader.get(url).status_code == 403
        assert not reader.get(url).content.count(b"demo")


def test_the_export_in_lines_is_sealed_and_in_order(staff):
    text = body(organising(staff).get("/api/audit.jsonl"))
    rows = [json.loads(line) for line in text.splitlines()]
    assert [row["number"] for row in rows] == [1, 2, 3]
    assert tuple(rows[0]) == COLUMNS
    assert rows[-1]["digest"] == audit.verify().head


def test_no_cell_of_the_table_is_a_formula(staff):
    answer = organising(staff).get("/api/audit.csv", {"kind": "team"})
    assert 'filename="audit.csv"' in answer["Content-Disposition"]
    head, row = csv.reader(io.StringIO(body(answer)))
    assert tuple(head) == COLUMNS
    assert dict(zip(head, row, strict=True))["note"] == "'=cmd|'/c calc'!A1"


def test_the_command_verifies_and_names_the_head():
    text = said("--verify")
    assert text.startswith("3 events, unchanged. Head: ")
    head = text.split()[-1]
    assert said("--verify", "--head", head) == text


def test_the_command_fails_where_the_record_was_changed():
    audit.seal()
    with connection.cursor() as cursor:
        cursor.execute("UPDATE accounts_auditevent SET after = 'x' WHERE number = 2")
    with pytest.raises(CommandError, match=r"event 2 was changed\. 1 events before it"):
        said("--verify")


def test_the_command_exports_what_was_asked_for(tmp_path, capsys):
    said("--export", str(tmp_path / "a.jsonl"), "--kind", "phase")
    rows = [json.loads(line) for line in (tmp_path / "a.jsonl").read_text("utf-8").splitlines()]
    assert [row["key"] for row in rows] == ["demo/test", "demo/final"]
    said("--export", str(tmp_path / "a.csv"), "--key", "lab")
    assert (tmp_path / "a.csv").read_text("utf-8").count("\n") == 2
    said("--export", "-", "--actor", "organiser@example.org")
    assert json.loads(capsys.readouterr().out)["key"] == "demo/test"


@pytest.mark.parametrize(
    ("wish", "match"),
    [
        ([], "--verify, or --export"),
        (["--export", "a.txt"], "must end in .jsonl or .csv"),
        (["--export", "-", "--since", "yesterday"], "--since: Enter a valid date/time"),
    ],
)
def test_a_wrong_wish_is_named(wish, match):
    with pytest.raises(CommandError, match=match):
        said(*wish)
    assert AuditEvent.objects.count() == 3
