from datetime import timedelta

import pytest
from django.urls import reverse
from django.utils.timezone import now

from server.accounts import teams
from server.accounts.models import Token
from tests.server.making import PASSWORD, api, person

pytestmark = pytest.mark.django_db
PROBLEM = "application/problem+json"


def ask_token(**body):
    asked = {"email": "ada@example.org", "password": PASSWORD, "name": "laptop"} | body
    return api().post("/api/tokens/", asked, format="json")


def test_a_password_buys_a_token_that_says_who_asks():
    ada = person("Ada")
    answer = ask_token(email="ADA@example.org")
    assert answer.status_code == 201
    assert set(answer.data) == {"token", "name", "prefix", "scopes", "expires"}
    client = api()
    client.credentials(HTTP_AUTHORIZATION=f"Bearer {answer.data['token']}")
    teams.create_team(ada, name="Deep Cells")
    assert client.get("/api/me/").json() == {
        "email": "ada@example.org",
        "name": "Ada",
        "teams": [{"slug": "ada", "name": "Ada"}, {"slug": "deep-cells", "name": "Deep Cells"}],
    }


@pytest.mark.parametrize("body", [{"password": "wrong"}, {"email": "nobody@example.org"}])
def test_a_wrong_password_and_an_unknown_address_get_the_same_answer(body):
    person("Ada")
    answer = ask_token(**body)
    assert answer.status_code == 401
    assert answer.json()["code"] == "wrong_password"
    assert "E-mail or password is wrong" in answer.json()["detail"]
    assert not Token.objects.exists()


def test_somebody_who_was_shut_out_gets_no_token_and_their_old_one_is_dead():
    ada = person("Ada")
    client = api(ada)
    ada.is_active = False
    ada.save()
    assert ask_token().status_code == 401
    assert client.get("/api/me/").status_code == 401


def test_passwords_cannot_be_guessed_all_day():
    person("Ada")
    answers = [ask_token(password=f"guess {n}").status_code for n in range(11)]
    assert answers == [401] * 10 + [429]
    last = ask_token()
    assert last.json()["code"] == "throttled"
    assert 0 < int(last["Retry-After"]) <= 60


def test_a_missing_field_is_named_in_one_sentence():
    answer = api().post("/api/tokens/", {"email": "x", "name": "n"}, format="json")
    problem = answer.json()
    assert (answer.status_code, answer["Content-Type"]) == (400, PROBLEM)
    assert problem["code"] == "invalid"
    assert "email: Enter a valid email address" in problem["detail"]
    assert "password: This field is required" in problem["detail"]


def test_nobody_is_told_so():
    answer = api().get("/api/me/")
    problem = answer.json()
    assert (answer.status_code, answer["Content-Type"]) == (401, PROBLEM)
    assert problem["code"] == "not_authenticated"
    assert "evaluator login" in problem["detail"]
    assert problem["title"] == "Unauthorized"
    assert answer["WWW-Authenticate"] == "Bearer"


def test_a_wrong_token_gets_a_sentence():
    client = api()
    client.credentials(HTTP_AUTHORIZATION="Bearer crista_wrong")
    answer = client.get("/api/me/")
    assert (answer.status_code, answer.json()["code"]) == (401, "wrong_token")
    assert "Make a new one with `evaluator login`" in answer.json()["detail"]


def test_a_wrong_token_is_refused_even_where_everybody_may_read():
    client = api()
    client.credentials(HTTP_AUTHORIZATION="Bearer crista_wrong")
    assert client.get("/api/challenges/").status_code == 401
    assert api().get("/api/challenges/").status_code == 200


def test_an_expired_token_says_when_it_expired():
    token, text = Token.issue(person("Ada"), name="old", now=now() - timedelta(days=366))
    client = api()
    client.credentials(HTTP_AUTHORIZATION=f"Bearer {text}")
    answer = client.get("/api/me/")
    assert (answer.status_code, answer.json()["code"]) == (401, "expired_token")
    assert f"{token.expires:%d %B %Y}" in answer.json()["detail"]


def test_a_token_for_reading_may_not_begin_a_team():
    _, text = Token.issue(person("Ada"), name="board", scopes=("read",), now=now())
    client = api()
    client.credentials(HTTP_AUTHORIZATION=f"Bearer {text}")
    assert client.get("/api/me/").status_code == 200
    answer = client.post("/api/teams/", {"name": "New"}, format="json")
    assert answer.status_code == 403
    assert "may not do that" in answer.json()["detail"]


def test_a_token_knows_when_it_was_last_used():
    ada = person("Ada")
    api(ada).get("/api/me/")
    assert now() - Token.objects.get(user=ada).last_used < timedelta(seconds=10)


def test_a_session_works_like_a_token_but_not_for_forged_requests():
    ada = person("Ada")
    client = api()
    client.handler.enforce_csrf_checks = True
    client.force_login(ada)
    assert client.get(reverse("api-me")).status_code == 200
    answer = client.post("/api/teams/", {"name": "Forged"}, format="json")
    assert answer.status_code == 403
    assert "CSRF" in answer.json()["detail"]


def test_a_team_is_begun_over_the_api():
    ada = person("Ada")
    answer = api(ada).post("/api/teams/", {"name": "Deep Cells"}, format="json")
    assert (answer.status_code, answer.json()) == (
        201, {"slug": "deep-cells", "name": "Deep Cells"},
    )  # fmt: skip
    again = api(person("Bob")).post("/api/teams/", {"name": "Deep Cells"}, format="json")
    assert (again.status_code, again.json()["code"]) == (409, "name_taken")


def test_an_unknown_address_below_api_is_a_problem_too():
    answer = api().get("/api/nothing/here/")
    assert (answer.status_code, answer["Content-Type"]) == (404, PROBLEM)
    assert answer.json()["code"] == "not_found"


def test_text_that_is_not_json_gets_a_sentence():
    answer = api(person("Ada")).post("/api/teams/", "{", content_type="application/json")
    assert (answer.status_code, answer.json()["code"]) == (400, "parse_error")
    assert "not JSON" in answer.json()["detail"]
