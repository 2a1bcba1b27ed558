"""Tokens: what they may, who makes them, and what the record keeps of them."""

from datetime import timedelta

import pytest
from django.utils.timezone import now
from rest_framework.test import APIClient

from server.accounts.models import AuditEvent, Scope, Token
from server.accounts.tokens import issue, revoke
from server.errors import Refused
from tests.server.making import person

pytestmark = pytest.mark.django_db


def made(user, *scopes: str, days: int = 30) -> tuple[Token, str]:
    return issue(user, name="cluster", scopes=scopes, days=days, at=now(), by=user)


def client(text: str) -> APIClient:
    client = APIClient()
    client.credentials(HTTP_AUTHORIZATION=f"Bearer {text}")
    return client


def test_scopes_stand_in_one_order_and_once(ada):
    token, _ = made(ada, "submit", "read", "submit")
    assert token.scopes == ["read", "submit"]


def test_it_ends_after_its_days(ada):
    token, text = made(ada, "read", days=7)
    assert token.expires - token.created == timedelta(days=7)
    Token.objects.update(expires=now() - timedelta(seconds=1))
    answer = client(text).get("/api/me/")
    assert (answer.status_code, answer.json()["code"]) == (401, "expired_token")


def test_the_record_names_it_by_its_first_letters_and_never_by_its_text(ada):
    token, text = made(ada, "read")
    revoke(token, by=ada)
    events = list(AuditEvent.objects.filter(kind="token").order_by("pk"))
    assert [(e.key, e.after, e.actor) for e in events] == [
        (text[:12], "made", ada),
        (text[:12], "revoked", ada),
    ]
    assert "cluster of ada@example.org: read until" in events[0].note
    for event in events:
        said = " ".join((event.key, event.before, event.after, event.note))
        assert text not in said
        assert Token.digest_of(text) not in said


def test_only_organisers_may_have_one_that_organises(ada):
    with pytest.raises(Refused) as refusal:
        made(ada, *Scope.values)
    assert (refusal.value.status, Token.objects.count()) == (403, 0)
    assert not AuditEvent.objects.filter(kind="token").exists()
    staff = person("Organiser", is_staff=True)
    assert made(staff, *Scope.values)[0].scopes == ["read", "submit", "organise"]


def test_whoever_is_no_organiser_any_more_organises_no_more(ada):
    staff = person("Organiser", is_staff=True)
    _, text = made(staff, *Scope.values)
    assert client(text).get("/api/audit/").status_code == 200
    staff.is_staff = False
    staff.save()
    assert client(text).get("/api/audit/").status_code == 403


@pytest.mark.parametrize(
    ("scopes", "reads", "changes", "organises"),
    [
        (("read",), 200, 403, 403),
        (("submit",), 403, 201, 403),
        (("read", "submit"), 200, 201, 403),
        (("organise",), 403, 403, 200),
    ],
)
def test_each_scope_opens_its_own_doors(scopes, reads, changes, organises):
    staff = person("Organiser", is_staff=True)
    asker = client(made(staff, *scopes)[1])
    assert asker.get("/api/me/").status_code == reads
    assert asker.post("/api/teams/", {"name": "Lab"}, format="json").status_code == changes
    assert asker.get("/api/audit/").status_code == organises
