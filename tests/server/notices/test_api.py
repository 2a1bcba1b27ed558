import pytest

from server.accounts.models import Scope
from server.notices import outbox, webhooks
from server.notices.models import Webhook
from tests.server import entries
from tests.server.making import api, person

pytestmark = pytest.mark.django_db
URL = "https://hooks.example.org/x"
ALL = tuple(Scope.values)


@pytest.fixture(autouse=True)
def _listed(settings):
    settings.WEBHOOK_HOSTS = ["hooks.example.org"]


def tell(kind="scored", **fields):
    usual = {"subject": "It was scored", "text": "Look.", "path": "/submissions/7/"}
    return outbox.tell(kind, facts={"submission": 7}, **usual | fields)


def test_notices_are_listed_for_programs_newest_first(ada):
    tell(team=ada.own_team)
    notice = tell("failed", user=ada)
    tell(user=person("Bob"))
    found = api(ada).get("/api/notices/").json()
    assert found["count"] == 2
    first, second = found["results"]
    assert first | {"id": 0} == {
        "id": 0, "kind": "failed", "team": None, "subject": "It was scored", "text": "Look.",
        "url": "http://testserver/submissions/7/", "facts": {"submission": 7},
        "created": notice.created.isoformat().replace("+00:00", "Z"), "read": None,
    }  # fmt: skip
    assert second["team"] == ada.own_team.slug


def test_reading_some_leaves_the_rest_and_those_of_others(ada):
    bob = person("Bob")
    for _ in range(3):
        tell(user=ada)
    tell(user=bob)
    client = api(ada)
    ids = [row["id"] for row in client.get("/api/notices/?unread=true").json()["results"]]
    theirs = api(bob).get("/api/notices/").json()["results"][0]["id"]
    answer = client.post("/api/notices/read/", {"ids": [ids[0], theirs]}, format="json")
    assert answer.json() == {"unread": 2}
    assert client.get("/api/notices/?unread=true").json()["count"] == 2
    assert api(bob).get("/api/notices/?unread=1").json()["count"] == 1
    assert client.post("/api/notices/read/").json() == {"unread": 0}


def test_no_ids_named_in_a_list_are_no_notices(ada):
    tell(user=ada)
    assert api(ada).post("/api/notices/read/", {"ids": []}, format="json").json() == {"unread": 1}


def test_mails_are_muted_by_kind(ada):
    client = api(ada)
    assert client.get("/api/notices/mails/").json() == {"muted": []}
    answer = client.put("/api/notices/mails/", {"muted": ["scored", "scored"]}, format="json")
    assert answer.json() == {"muted": ["scored"]}
    wrong = client.put("/api/notices/mails/", {"muted": ["lost"]}, format="json")
    assert wrong.status_code == 400
    assert client.get("/api/notices/mails/").json() == {"muted": ["scored"]}


def test_a_webhook_is_made_tried_listed_and_removed(ada):
    client = api(ada)
    made = client.post("/api/webhooks/", {"url": URL, "kinds": ["failed"]}, format="json")
    assert made.status_code == 201
    hook = Webhook.objects.get()
    assert made.json()["secret"] == hook.secret
    assert hook.team == ada.own_team
    place = f"/api/webhooks/{hook.pk}/"
    assert client.get(place).json() == {k: v for k, v in made.json().items() if k != "secret"}
    assert client.get("/api/webhooks/").json()["results"] == [client.get(place).json()]
    assert client.post(f"{place}test/").status_code == 202
    (row,) = client.get(f"{place}deliveries/").json()["results"]
    assert (row["kind"], row["status"], row["attempts"]) == ("test", "waiting", 0)
    assert client.delete(place).status_code == 204
    assert client.get(place).status_code == 404


@pytest.mark.parametrize(
    ("wish", "status", "code"),
    [
        ({"url": "http://hooks.example.org/"}, 400, "webhook_refused"),
        ({"url": "https://169.254.169.254/latest/"}, 400, "webhook_refused"),
        ({"url": URL, "team": "lab"}, 403, "not_owner"),
        ({"url": URL, "team": "nobodys"}, 404, "unknown_team"),
        ({"url": URL, "organisers": True}, 403, "permission_denied"),
        ({"url": URL, "kinds": ["test"]}, 400, "invalid"),
        ({}, 400, "invalid"),
    ],
)
def test_what_is_not_allowed_is_refused_with_its_code(ada, wish, status, code):
    entries.team("Lab", person("Bob"), ada)
    answer = api(ada).post("/api/webhooks/", wish, format="json")
    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert not Webhook.objects.exists()


def test_rivals_and_members_find_no_webhook_of_a_team(ada):
    bob, carol = person("Bob"), person("Carol")
    lab = entries.team("Lab", ada, carol)
    hook = webhooks.add(ada, team=lab, url=URL)
    for user in (bob, carol):
        client = api(user)
        for path in ("", "deliveries/"):
            assert client.get(f"/api/webhooks/{hook.pk}/{path}").status_code == 404
        assert client.delete(f"/api/webhooks/{hook.pk}/").status_code == 404
        assert client.post(f"/api/webhooks/{hook.pk}/test/").status_code == 404
        assert client.get("/api/webhooks/").json()["count"] == 0
    assert api().get("/api/webhooks/").status_code == 401


def test_the_organisers_webhook_takes_a_token_that_may_organise(ada):
    staff = person("Organiser", is_staff=True)
    wish = {"url": URL, "organisers": True}
    assert api(staff).post("/api/webhooks/", wish, format="json").status_code == 403
    made = api(staff, scopes=ALL).post("/api/webhooks/", wish, format="json")
    assert (made.status_code, made.json()["team"]) == (201, None)
    place = f"/api/webhooks/{made.json()['id']}/"
    assert api(staff).delete(place).status_code == 403
    assert api(staff, scopes=ALL).delete(place).status_code == 204
    assert api(ada, scopes=ALL).post("/api/webhooks/", wish, format="json").status_code == 403
