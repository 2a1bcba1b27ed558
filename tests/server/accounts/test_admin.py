"""What organisers change in the admin is in the record, and what boards rest on stays."""

import json

import pytest
from django.urls import reverse

from server.accounts import audit
from server.accounts.models import AuditEvent, Team, Token, User
from server.accounts.teams import create_team
from server.accounts.tokens import issue
from tests.server import entries
from tests.server.making import person
from tests.server.reading import signed_in

pytestmark = pytest.mark.django_db


@pytest.fixture
def client(staff):
    return signed_in(staff)


def page(model: str, kind: str, *arguments) -> str:
    return reverse(f"admin:accounts_{model}_{kind}", args=arguments)


def events(kind: str) -> list[tuple[str, str, str, str]]:
    rows = AuditEvent.objects.filter(kind=kind).order_by("pk")
    return [(e.actor_name, e.key, e.before, e.after) for e in rows]


def test_a_right_that_is_given_is_written_down_and_a_name_is_not(client):
    ada = person("Ada")
    wish = {"email": ada.email, "name": "Ada L.", "is_active": "on", "is_staff": "on"}
    assert client.post(page("user", "change", ada.pk), wish).status_code == 302
    ada.refresh_from_db()
    assert (ada.is_staff, ada.name) == (True, "Ada L.")
    assert events("role") == [
        ("organiser@example.org", "ada@example.org", "is_staff False", "is_staff True")
    ]


def test_a_person_is_deleted_only_without_entries(client):
    ada, bob = person("Ada"), person("Bob")
    entries.scored(entries.phase(entries.challenge()), ada.own_team, 0.5)
    for user, status in ((ada, 403), (bob, 302)):
        answer = client.post(page("user", "delete", user.pk), {"post": "yes"})
        assert answer.status_code == status
    assert set(User.objects.values_list("name", flat=True)) == {"Ada", "Organiser"}
    assert events("role") == [("organiser@example.org", "bob@example.org", "account", "deleted")]


def test_no_list_of_teams_deletes_one_with_entries(client):
    team = entries.team("Lab", person("Ada"))
    entries.scored(entries.phase(entries.challenge()), team, 0.5)
    assert client.post(page("team", "delete", team.pk), {"post": "yes"}).status_code == 403
    wish = {"action": "delete_selected", "_selected_action": [team.pk], "post": "yes"}
    client.post(page("team", "changelist"), wish)
    assert Team.objects.filter(pk=team.pk).exists()


def test_members_and_flags_of_a_team_are_written_down(client):
    ada, bob = person("Ada"), person("Bob")
    team = create_team(ada, name="Lab")
    row = team.memberships.get()
    wish = {
        "name": "Lab", "baseline": "on", "memberships-TOTAL_FORMS": 2,
        "memberships-INITIAL_FORMS": 1, "memberships-0-id": row.pk, "memberships-0-team": team.pk,
        "memberships-0-user": ada.pk, "memberships-0-role": "member", "memberships-1-id": "",
        "memberships-1-team": team.pk, "memberships-1-user": bob.pk, "memberships-1-role": "owner",
    }  # fmt: skip
    assert client.post(page("team", "change", team.pk), wish).status_code == 302
    assert ("organiser@example.org", "lab", "baseline False", "baseline True") in events("team")
    notes = AuditEvent.objects.filter(kind="role").values_list("note", "after")
    assert set(notes) == {("bob@example.org", "owner"), ("ada@example.org", "member")}
    gone = wish | {"memberships-INITIAL_FORMS": 2, "memberships-0-DELETE": "on",
                   "memberships-1-id": team.memberships.get(user=bob).pk}  # fmt: skip
    client.post(page("team", "change", team.pk), gone)
    assert events("role")[-1][1:] == ("lab", "member", "removed")


def test_revoked_tokens_are_written_down(client, staff):
    ada = person("Ada")
    for name in ("a", "b", "c"):
        issue(ada, name=name, scopes=("read",), days=1, at=ada.date_joined, by=ada)
    one, *rest = Token.objects.all()
    client.post(page("token", "delete", one.pk), {"post": "yes"})
    wish = {"action": "delete_selected", "_selected_action": [t.pk for t in rest], "post": "yes"}
    client.post(page("token", "changelist"), wish)
    assert not Token.objects.exists()
    assert [e[0] for e in events("token") if e[3] == "revoked"] == [staff.email] * 3


def test_the_record_is_found_by_words_and_exported(client):
    for key in ("demo/test", "demo/final"):
        audit.record("phase", key, after="opens", note="because")
    audit.seal()
    text = client.get(page("auditevent", "changelist"), {"q": "final"}).content.decode()
    assert "demo/final" in text
    assert "demo/test" not in text
    keys = list(AuditEvent.objects.filter(kind="phase").values_list("pk", flat=True))
    wish = {"action": "export_lines", "_selected_action": keys}
    answer = client.post(page("auditevent", "changelist"), wish)
    rows = [json.loads(line) for line in b"".join(answer.streaming_content).splitlines()]
    assert [row["key"] for row in rows] == ["demo/test", "demo/final"]
    table = client.post(page("auditevent", "changelist"), wish | {"action": "export_table"})
    assert b"".join(table.streaming_content).startswith(b"number,at,actor")
