"""Quota and grants over the API, and grants in the admin."""

from datetime import timedelta

import pytest
from django.urls import reverse
from django.utils.timezone import now

from server.accounts.models import AuditEvent
from server.errors import Refused
from server.notices.models import Notice
from server.submissions import grants
from server.submissions.models import Grant
from tests.server import entries
from tests.server.making import api, organising, person
from tests.server.reading import signed_in

pytestmark = pytest.mark.django_db
URL = "/api/challenges/demo/phases/test/quota/"


@pytest.fixture
def where():
    return entries.phase(entries.challenge(), per_day=2, total=5, attempts_per_day=0)


def wish(**fields):
    wish = {"challenge": "demo", "phase": "test", "team": "ada", "what": "per_day", "extra": 3,
            "reason": "The site was down."}  # fmt: skip
    return wish | fields


def test_used_left_and_the_moment_of_the_next(where, ada):
    first = entries.scored(where, ada.own_team, 0.5, created=now() - timedelta(hours=3))
    found = api(ada).get(URL).json()
    assert (found["challenge"], found["phase"], found["team"]) == ("demo", "test", "ada")
    resets = (first.created + timedelta(hours=24)).isoformat().replace("+00:00", "Z")
    assert found["per_day"] == {"used": 1, "limit": 2, "left": 1, "resets": resets}
    assert found["total"] == {"used": 1, "limit": 5, "left": 4, "resets": None}
    assert found["attempts"] == {"used": 1, "limit": None, "left": None, "resets": resets}
    assert found["concurrent"] == {"used": 0, "limit": 1, "left": 1, "resets": None}
    assert (found["refusal"], found["code"]) == ("", "")


def test_why_nothing_can_be_submitted_is_said_as_a_submission_would_say_it(where, ada):
    entries.submission(where, ada.own_team, status="scoring")
    found = api(ada).get(URL).json()
    assert found["code"] == "already_running"
    assert "under way" in found["refusal"]


def test_one_asks_for_ones_own_teams_and_organisers_for_all(where, ada, staff):
    entries.team("Lab", ada)
    assert api(ada).get(URL, {"team": "lab"}).json()["team"] == "lab"
    assert api(person("Bob")).get(URL, {"team": "lab"}).status_code == 404
    assert api(staff).get(URL, {"team": "lab"}).json()["team"] == "lab"
    assert api().get(URL).status_code == 401
    assert api(ada).get("/api/challenges/demo/phases/none/quota/").status_code == 404


def test_a_grant_counts_at_once_is_told_and_is_written_down(where, ada, staff):
    answer = organising(staff).post("/api/grants/", wish(), format="json")
    assert answer.status_code == 201, answer.json()
    assert answer.json()["by"] == "organiser@example.org"
    assert api(ada).get(URL).json()["per_day"]["limit"] == 5
    event = AuditEvent.objects.get(kind="grant")
    assert (event.actor, event.note) == (staff, "The site was down.")
    assert "3 more scored in 24 hours for Ada" in event.after
    told = Notice.objects.get(kind="granted")
    assert told.team == ada.own_team
    assert "The site was down." in told.text


def test_only_organisers_grant(where, ada, staff):
    reader = api(staff)  # a token that may read and submit
    for client, status in ((api(), 401), (api(ada), 403), (reader, 403)):
        assert client.post("/api/grants/", wish(), format="json").status_code == status
        assert client.get("/api/grants/").status_code == status
        assert client.post("/api/grants/1/end/").status_code == status
    assert not Grant.objects.exists()


@pytest.mark.parametrize(
    ("change", "status", "words"),
    [
        ({"reason": " "}, 400, "reason"),
        ({"extra": 0}, 400, "between 1 and 1,000"),
        ({"extra": 1001}, 400, "between 1 and 1,000"),
        ({"what": "everything"}, 400, "what"),
        ({"what": "attempts_per_day"}, 400, "has no limit there"),
        ({"expires": "2020-01-01T00:00:00Z"}, 400, "expired already"),
        ({"team": "nobody"}, 404, "nothing here"),
        ({"phase": "none"}, 404, "nothing here"),
    ],
)
def test_what_makes_no_sense_is_refused_and_nothing_is_written(
    where, ada, staff, change, status, words
):
    answer = organising(staff).post("/api/grants/", wish(**change), format="json")
    assert (answer.status_code, words in answer.json()["detail"]) == (status, True), answer.json()
    assert not Grant.objects.exists()
    assert not AuditEvent.objects.filter(kind="grant").exists()
    assert not Notice.objects.exists()


def test_a_grant_is_ended_once(where, ada, staff):
    client = organising(staff)
    key = client.post("/api/grants/", wish(), format="json").json()["id"]
    answer = client.post(f"/api/grants/{key}/end/")
    assert (answer.status_code, answer.json()["expires"] is None) == (200, False)
    assert api(ada).get(URL).json()["per_day"]["limit"] == 2
    assert client.post(f"/api/grants/{key}/end/").json()["code"] == "ended"
    assert AuditEvent.objects.filter(kind="grant", after="ended").count() == 1


def test_grants_are_listed_by_team(where, ada, staff):
    bob = person("Bob").own_team
    for team in (ada.own_team, bob):
        grants.grant(team=team, phase=where, what="total", extra=1, reason="r", by=staff, at=now())
    client = organising(staff)
    assert client.get("/api/grants/").json()["count"] == 2
    assert [g["team"] for g in client.get("/api/grants/?team=bob").json()["results"]] == ["bob"]


def test_a_team_that_went_into_another_is_given_nothing(where, ada, staff):
    lab = entries.team("Lab", ada)
    ada.own_team.merged_into = lab
    ada.own_team.save()
    with pytest.raises(Refused, match="part of Lab now"):
        grants.grant(team=ada.own_team, phase=where, what="total", extra=1, reason="r", by=staff,
                     at=now())  # fmt: skip


def test_an_organiser_grants_and_ends_in_the_admin(where, ada, staff):
    client = signed_in(staff)
    fields = {"team": ada.own_team.pk, "phase": where.pk, "what": "total", "extra": 2,
              "reason": "A lost day.", "expires_0": "", "expires_1": ""}  # fmt: skip
    add = reverse("admin:submissions_grant_add")
    assert client.post(add, fields | {"extra": 0}).status_code == 200
    assert not Grant.objects.exists()
    assert client.post(add, fields).status_code == 302
    made = Grant.objects.get()
    assert (made.by, made.reason) == (staff, "A lost day.")
    assert Notice.objects.filter(kind="granted").count() == 1
    assert client.post(reverse("admin:submissions_grant_delete", args=[made.pk])).status_code == 403
    change = reverse("admin:submissions_grant_change", args=[made.pk])
    assert client.post(change, fields | {"extra": 9}).status_code == 403
    action = {"action": "end", "_selected_action": [made.pk]}
    grants_page = reverse("admin:submissions_grant_changelist")
    assert ": ended." in client.post(grants_page, action, follow=True).content.decode()
    made.refresh_from_db()
    assert (made.extra, made.lasts(now())) == (2, False)
    assert "has ended already" in client.post(grants_page, action, follow=True).content.decode()
