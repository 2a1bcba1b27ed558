"""Teams over the API, from the first member to the last."""

import pytest

from server.accounts.models import Team, Token
from tests.server.making import PASSWORD, api, person

pytestmark = pytest.mark.django_db


def joined(user, owner) -> None:
    links = api(owner).post("/api/teams/lab/links/").json()
    wish = {"invitation": links["invitation"]}
    assert api(user).post("/api/teams/join/", wish, format="json").status_code == 200


def key_of(user, team: str = "lab") -> int:
    return user.memberships.get(team__slug=team).pk


def test_ones_teams_are_listed_with_their_members(ada, lab):
    first, second = api(ada).get("/api/teams/").json()["results"]
    assert (first["slug"], first["own"]) == ("ada", True)
    assert (second["slug"], second["own"]) == ("lab", False)
    assert [(m["name"], m["role"]) for m in second["members"]] == [("Ada", "owner")]


def test_a_link_leads_in_until_it_is_withdrawn(ada, bob, lab):
    links = api(ada).post("/api/teams/lab/links/").json()
    assert links["join"].endswith(f"/teams/join/{links['invitation']}/")
    assert links["merge"].endswith(f"/teams/merge/{links['offer']}/")
    joined(bob, ada)
    assert api(bob).get("/api/teams/lab/").json()["name"] == "Lab"
    assert api(ada).delete("/api/teams/lab/links/").status_code == 204
    wish = {"invitation": links["invitation"]}
    answer = api(person("Eve")).post("/api/teams/join/", wish, format="json")
    assert (answer.status_code, answer.json()["code"]) == (409, "withdrawn_invitation")


def test_owners_change_roles_remove_and_rename(ada, bob, lab):
    joined(bob, ada)
    url = f"/api/teams/lab/members/{key_of(bob)}/"
    assert api(ada).patch(url, {"role": "owner"}, format="json").json()["role"] == "owner"
    assert api(bob).patch("/api/teams/lab/", {"name": "New"}, format="json").json()["name"] == "New"
    assert api(ada).delete(url).status_code == 204
    assert api(bob).get("/api/teams/lab/").status_code == 404


def test_members_and_strangers_change_nothing(ada, bob, lab):
    joined(bob, ada)
    owner = f"/api/teams/lab/members/{key_of(ada)}/"
    for user, status in ((bob, 403), (person("Eve"), 404)):
        client = api(user)
        answers = [
            client.patch("/api/teams/lab/", {"name": "Mine"}, format="json"),
            client.post("/api/teams/lab/links/"),
            client.delete("/api/teams/lab/links/"),
            client.patch(owner, {"role": "member"}, format="json"),
            client.delete(owner),
        ]
        assert {answer.status_code for answer in answers} == {status}
    assert Team.objects.get(pk=lab.pk).name == "Lab"
    assert lab.memberships.get(user=ada).role == "owner"


def test_one_leaves_but_not_as_the_last_owner_and_not_oneself(ada, bob, lab):
    joined(bob, ada)
    assert api(ada).post("/api/teams/lab/leave/").json()["code"] == "last_owner"
    assert api(bob).post("/api/teams/lab/leave/").status_code == 204
    assert api(ada).post("/api/teams/ada/leave/").json()["code"] == "own_team"
    assert api(ada).post("/api/teams/ada/links/").json()["code"] == "own_team"


@pytest.mark.parametrize("role", ["", "king", None, 3])
def test_a_role_that_is_none_is_refused(ada, lab, role):
    url = f"/api/teams/lab/members/{key_of(ada)}/"
    assert api(ada).patch(url, {"role": role}, format="json").status_code == 400


def test_tokens_are_listed_without_their_text_and_revoked(ada):
    client = api(ada)
    other = Token.issue(person("Bob"), name="his", now=ada.date_joined)[0]
    (row,) = client.get("/api/me/tokens/").json()["results"]
    assert set(row) == {"id", "name", "prefix", "scopes", "created", "expires", "last_used"}
    assert client.delete(f"/api/me/tokens/{other.pk}/").status_code == 404
    assert client.delete(f"/api/me/tokens/{row['id']}/").status_code == 204
    assert client.get("/api/me/").status_code == 401
    assert list(Token.objects.all()) == [other]


def test_a_token_may_be_asked_to_read_only_and_to_end_soon(ada):
    wish = {"email": ada.email, "password": PASSWORD, "name": "x", "scopes": ["read"], "days": 7}
    answer = api().post("/api/tokens/", wish, format="json")
    assert answer.json()["scopes"] == ["read"]
    token = Token.objects.get()
    assert (token.expires - token.created).days == 7


@pytest.mark.parametrize(
    ("change", "status"),
    [
        ({"scopes": ["organise"]}, 403),
        ({"scopes": []}, 400),
        ({"scopes": ["everything"]}, 400),
        ({"days": 366}, 400),
        ({"days": 0}, 400),
    ],
)
def test_nobody_gets_a_token_for_more_than_they_may(ada, change, status):
    wish = {"email": ada.email, "password": PASSWORD, "name": "x"} | change
    assert api().post("/api/tokens/", wish, format="json").status_code == status
    assert not Token.objects.exists()


def test_an_organiser_gets_a_token_that_organises():
    staff = person("Organiser", is_staff=True)
    wish = {"email": staff.email, "password": PASSWORD, "name": "x", "scopes": ["organise"]}
    text = api().post("/api/tokens/", wish, format="json").json()["token"]
    client = api()
    client.credentials(HTTP_AUTHORIZATION=f"Bearer {text}")
    assert client.get("/api/audit/").status_code == 200
    assert client.get("/api/me/").status_code == 403  # it was not asked to read
