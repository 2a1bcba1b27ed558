"""What tokens, links and the record refuse: tables of those who may not, and of what was forged."""

from datetime import timedelta

import pytest
from django.core import signing
from django.db import connection
from django.utils.timezone import now
from rest_framework.test import APIClient

from server.accounts import audit, invitations
from server.accounts.models import AuditEvent, Membership, Team, Token
from server.accounts.teams import create_team
from tests.server.making import api, person
from tests.server.reading import signed_in

pytestmark = pytest.mark.django_db
EVENTS = "accounts_auditevent"
METHODS = [  # method, path, what somebody with the right scope gets
    ("get", "/api/me/", 200), ("get", "/api/teams/", 200), ("head", "/api/me/", 200),
    ("post", "/api/teams/", 400), ("post", "/api/teams/join/", 400),
    ("patch", "/api/teams/none/", 404), ("delete", "/api/me/tokens/0/", 404),
    ("get", "/api/audit/", 200), ("get", "/api/audit.csv", 200),
]  # fmt: skip
SCOPES = [(), ("read",), ("submit",), ("read", "submit"), ("organise",), ("READ",), ("admin",)]


def bearer(user, *scopes: str, text: str = "") -> APIClient:
    client = APIClient()
    text = text or Token.issue(user, name="x", scopes=scopes, now=now())[1]
    client.credentials(HTTP_AUTHORIZATION=f"Bearer {text}")
    return client


@pytest.mark.parametrize("scopes", SCOPES)
def test_a_token_does_what_its_scopes_say_and_nothing_by_another_method(scopes):
    staff = person("Organiser", is_staff=True, is_superuser=True)
    client = bearer(staff, *scopes)
    for method, path, answer in METHODS:
        needed = "read" if method in ("get", "head") else "submit"
        needed = "organise" if "audit" in path else needed
        found = getattr(client, method)(path).status_code
        assert found == (answer if needed in scopes else 403), (method, path)
    assert Token.objects.count() == 1


@pytest.mark.parametrize(("seconds", "status"), [(-1, 401), (0, 401), (60, 200)])
def test_a_token_ends_at_its_moment(seconds, status):
    client = bearer(person("Ada"), "read")
    Token.objects.update(expires=now() + timedelta(seconds=seconds))
    assert client.get("/api/me/").status_code == status


@pytest.mark.parametrize("change", [str.upper, str.swapcase, lambda t: t[:-1], lambda t: t + "a",
                                    lambda t: t[7:], lambda t: Token.digest_of(t)])  # fmt: skip
def test_no_text_but_the_tokens_own_opens_anything(change):
    ada = person("Ada")
    text = Token.issue(ada, name="x", now=now())[1]
    assert bearer(ada, text=text).get("/api/me/").status_code == 200
    assert bearer(ada, text=change(text)).get("/api/me/").json()["code"] == "wrong_token"


def test_a_revoked_token_opens_nothing_and_others_stay():
    ada = person("Ada")
    one, two = bearer(ada, "read", "submit"), bearer(ada, "read")
    first = Token.objects.get(scopes=["read", "submit"])
    assert one.delete(f"/api/me/tokens/{first.pk}/").status_code == 204
    assert one.get("/api/me/").status_code == 401
    assert two.get("/api/me/").status_code == 200
    assert one.get("/api/challenges/").status_code == 401  # not even what is open to all


@pytest.mark.parametrize(
    ("slug", "key", "code"),
    [
        ("lab", "old", "withdrawn_invitation"), ("lab", "", "withdrawn_invitation"),
        ("lab", "guild's", "withdrawn_invitation"), ("guild", "lab's", "withdrawn_invitation"),
        ("none", "lab's", "no_invitation"), ("ada", "lab's", "no_invitation"),
        ("", "lab's", "no_invitation"), ("LAB", "lab's", "no_invitation"),
    ],
)  # fmt: skip
def test_a_key_opens_its_own_team_and_no_other(slug, key, code):
    ada, eve = person("Ada"), person("Eve")
    keys = {f"{name.lower()}'s": create_team(ada, name=name).invitation_key
            for name in ("Lab", "Guild")}  # fmt: skip
    text = signing.dumps([slug, keys.get(key, key)], salt=invitations.JOIN)
    answer = api(eve).post("/api/teams/join/", {"invitation": text}, format="json")
    assert answer.json()["code"] == code
    assert list(eve.teams.all()) == [eve.own_team]


@pytest.mark.parametrize("wish", [{}, {"invitation": ""}, {"invitation": None},
                                  {"invitation": ["a"]}, {"invitation": "x" * 501}])  # fmt: skip
def test_a_wish_to_join_without_an_invitation_is_a_mistake_of_the_request(wish):
    answer = api(person("Eve")).post("/api/teams/join/", wish, format="json")
    assert (answer.status_code, answer.json()["code"]) == (400, "invalid")


@pytest.mark.parametrize("role", ["member", "stranger"])
def test_of_a_team_its_owners_alone_decide(role):
    ada, bob = person("Ada"), person("Bob")
    lab = create_team(ada, name="Lab")
    if role == "member":
        Membership.objects.create(team=lab, user=bob)
    key, before = lab.invitation_key, AuditEvent.objects.count()
    owner = lab.memberships.get(user=ada).pk
    browser, wish = signed_in(bob), {"role": "member", "name": "Mine", "act": "remove"}
    for path in ("rename/", "withdraw/", f"members/{owner}/"):
        browser.post(f"/teams/lab/{path}", wish)
    row = Team.objects.get(pk=lab.pk)
    assert (row.name, row.invitation_key, AuditEvent.objects.count()) == ("Lab", key, before)
    assert lab.memberships.get(user=ada).role == "owner"
    assert key not in browser.get("/teams/lab/").content.decode()


FORGERIES = [
    ("UPDATE {} SET before = 'x' WHERE number = 2", 1, "event 2 was changed"),
    ('UPDATE {} SET "key" = \'x\' WHERE number = 3', 2, "event 3 was changed"),
    ("UPDATE {} SET digest = '' WHERE number = 1", 0, "event 1 was changed"),
    ("UPDATE {} SET number = 0 WHERE number = 1", 0, "event 1 is missing"),
    ("UPDATE {} SET number = 9 WHERE number = 4", 3, "event 4 is missing"),
    ("UPDATE {} SET number = NULL WHERE number = 2", 1, "event 2 is missing"),
    ("DELETE FROM {} WHERE number = 1", 0, "event 1 is missing"),
    ("DELETE FROM {} WHERE number IN (2, 3)", 1, "event 2 is missing"),
    ("INSERT INTO {} (at, kind, \"key\", before, after, note, actor_name, number, digest) "
     "VALUES ('2030-01-01', 'phase', 'x', '', 'x', '', '', 5, '')", 4, "event 5 was changed"),
]  # fmt: skip


@pytest.mark.parametrize(("sql", "whole", "fault"), FORGERIES)
def test_the_first_event_that_was_forged_is_named(sql, whole, fault):
    for name in "abcd":
        audit.record("phase", name, after="x")
    audit.seal()
    with connection.cursor() as cursor:
        cursor.execute(sql.format(EVENTS))
    found = audit.verify()
    assert (found.events, found.fault) == (whole, fault)


def test_a_record_that_was_written_anew_as_a_whole_is_found_by_a_noted_head():
    for name in "abc":
        audit.record("phase", name, after="x")
    audit.seal()
    head = audit.verify().head
    with connection.cursor() as cursor:
        cursor.execute(f"UPDATE {EVENTS} SET number = NULL, digest = '', after = 'y'")
    assert audit.seal() == 3
    assert audit.verify().fault == ""  # in itself it is whole
    assert audit.verify(head=head).fault.startswith(f"no event has the digest {head}")


@pytest.mark.parametrize(
    ("query", "status", "length"),
    [
        ("", 200, 50), ("page=2", 200, 1), ("page=3", 404, 0), ("page=0", 404, 0),
        ("page=x", 404, 0), ("page_size=20", 200, 20), ("page_size=0", 200, 50),
        ("page_size=-5", 200, 50), ("page_size=x", 200, 50), ("page_size=9999", 200, 51),
        ("page_size=20&page=3", 200, 11), ("kind=phase&page=2", 200, 1), ("kind=team", 200, 0),
    ],
)  # fmt: skip
def test_the_record_comes_in_pages(query, status, length):
    for number in range(51):
        audit.record("phase", str(number), after="x")
    staff = person("Organiser", is_staff=True)
    answer = bearer(staff, "organise").get(f"/api/audit/?{query}")
    assert answer.status_code == status
    assert len(answer.json().get("results", [])) == length


@pytest.mark.parametrize("model", ["user", "team", "token", "auditevent"])
def test_an_organiser_without_all_rights_gives_none_in_the_admin(model):
    staff = person("Organiser", is_staff=True)
    browser = signed_in(staff)
    url = f"/admin/accounts/{model}/"
    wish = {"is_staff": "on", "is_superuser": "on", "email": staff.email, "name": "X"}
    key = {"user": staff.pk, "team": staff.own_team.pk}.get(model, 1)
    for path in (url, f"{url}add/", f"{url}{key}/change/", f"{url}{key}/delete/"):
        assert browser.get(path).status_code in (302, 403)
        assert browser.post(path, wish).status_code in (302, 403)
    staff.refresh_from_db()
    assert (staff.is_superuser, staff.name) == (False, "Organiser")
