"""Idempotency keys: whose they are, for how long, and what they never give away."""

from datetime import timedelta

import pytest
from django.utils.timezone import now

from server import idempotency
from server.accounts.models import Answered, Team, Token
from tests.server.making import PASSWORD, api
from tests.server.reading import signed_in

URL = "/api/teams/"
KEY = {"Idempotency-Key": "k1"}


@pytest.fixture
def ada(people):
    return api(people.ada)


def team(client, name="Deep Cells", *, headers=KEY, **extra):
    return client.post(URL, {"name": name}, format="json", headers=headers, **extra)


def count(name="Deep Cells") -> int:
    return Team.objects.filter(name=name).count()


def test_two_people_with_one_key_get_their_own_answers_again(ada, people):
    bob = api(people.bob)
    hers, his = team(ada, "Hers"), team(bob, "His")
    assert team(ada, "Hers").json() == hers.json()
    assert team(bob, "His").json() == his.json()
    assert team(bob, "Hers").json()["code"] == "key_reused"
    assert Answered.objects.count() == 2


def test_a_key_of_somebody_else_tells_nothing_of_their_request(ada, people):
    team(ada)
    answer = team(api(people.bob))
    assert answer.status_code == 409  # carried out for him: the name is taken
    assert "Idempotent-Replayed" not in answer
    assert count() == 1


@pytest.mark.parametrize("method", ["get", "put", "patch", "delete", "head", "options"])
def test_only_posts_take_a_key(ada, method):
    for _ in range(2):
        answer = getattr(ada, method)("/api/notices/mails/", headers=KEY)
        assert "Idempotent-Replayed" not in answer
    assert not Answered.objects.exists()


def test_pages_of_the_site_take_no_key(people):
    client = signed_in(people.ada)
    for _ in range(2):
        client.post("/notices/read/", headers=KEY)
    assert not Answered.objects.exists()


def test_the_key_is_the_persons_on_the_site_and_by_token(ada, people):
    first = team(ada)
    client = signed_in(people.ada)
    again = client.post(URL, b'{"name":"Deep Cells"}', content_type="application/json", headers=KEY)
    assert again.json() == first.json()
    assert again["Idempotent-Replayed"] == "true"
    assert count() == 1


@pytest.mark.parametrize(
    ("name", "status"), [("", 400), ("x" * 500, 400), (None, 400), ({"a": 1}, 400)]
)
def test_after_a_refusal_the_key_is_free_for_what_is_right(ada, name, status):
    assert team(ada, name).status_code == status
    assert not Answered.objects.exists()
    assert team(ada).status_code == 201
    assert team(ada)["Idempotent-Replayed"] == "true"


@pytest.mark.parametrize(("hours", "replayed"), [(23, True), (25, False)])
def test_a_day_later_the_key_is_free_even_if_nobody_tidied_up(ada, hours, replayed):
    team(ada)
    Answered.objects.update(created=now() - timedelta(hours=hours))
    answer = team(ada)
    assert ("Idempotent-Replayed" in answer) is replayed
    assert answer.status_code == (201 if replayed else 409)  # carried out: the name is taken


def test_tidying_up_leaves_what_is_young(ada):
    for name in ("old", "young"):
        team(ada, name, headers={"Idempotency-Key": name})
    Answered.objects.filter(key="old").update(created=now() - timedelta(hours=24, minutes=1))
    assert idempotency.forget(at=now()) == 1
    assert Answered.objects.get().key == "young"


@pytest.mark.parametrize(
    "difference",
    [
        {"path": f"{URL}?x=1"},
        {"data": b'{"name": "Deep Cells" }'},
        {"content_type": "application/json; charset=utf-8"},
        {"data": b""},
    ],
)
def test_any_difference_makes_it_another_request(ada, difference):
    same = {"path": URL, "data": b'{"name":"Deep Cells"}', "content_type": "application/json"}
    assert ada.post(**same, headers=KEY).status_code == 201
    answer = ada.post(**same | difference, headers=KEY)
    assert (answer.status_code, answer.json()["code"]) == (422, "key_reused")
    assert count() == 1


@pytest.mark.parametrize("header", ["Upload-Length", "Upload-Metadata"])
def test_headers_that_say_what_is_asked_are_part_of_it(ada, header):
    assert team(ada, headers=KEY | {header: "1"}).status_code == 201
    assert team(ada, headers=KEY | {header: "2"}).status_code == 422


def test_headers_that_say_nothing_of_it_are_not(ada):
    team(ada)
    again = team(ada, headers=KEY | {"Accept": "*/*", "User-Agent": "other", "X-Request-Id": "7"})
    assert again["Idempotent-Replayed"] == "true"


@pytest.mark.parametrize("key", ["a", "x" * 200, "with space", "~!@#$%^&*()", "../../etc"])
def test_any_printable_text_is_a_key(ada, key):
    first, again = (team(ada, headers={"Idempotency-Key": key}) for _ in range(2))
    assert (first.status_code, again["Idempotent-Replayed"]) == (201, "true")


@pytest.mark.parametrize("key", ["é", "x" * 201, "a\x7fb", "\u2028"])
def test_any_other_text_is_none_and_nothing_happens(ada, key):
    answer = team(ada, headers={"Idempotency-Key": key})
    assert (answer.status_code, answer.json()["code"]) == (400, "bad_key")
    assert (count(), Answered.objects.count()) == (0, 0)


@pytest.mark.parametrize("length", ["-1", "abc", "1e9"])
def test_a_length_that_is_none_is_a_refusal_and_no_crash(ada, length):
    answer = ada.post(
        URL, b"{}", content_type="application/json", headers=KEY, CONTENT_LENGTH=length
    )
    assert answer.status_code in (400, 411)
    assert not Answered.objects.exists()


def test_a_new_token_is_shown_once_and_kept_nowhere(ada, people):
    wish = {"name": "laptop"}
    client = api(people.ada)
    answer = client.post("/api/tokens/", wish | {"email": people.ada.email, "password": PASSWORD},
                         format="json", headers=KEY)  # fmt: skip
    assert answer.status_code == 201
    secret = answer.json()["token"]
    assert not any(secret in str(row.body) for row in Answered.objects.all())
    again = client.post("/api/tokens/", wish | {"email": people.ada.email, "password": PASSWORD},
                        format="json", headers=KEY)  # fmt: skip
    assert (again.status_code, again.json()["code"]) == (409, "answered_once")
    assert secret.encode() not in again.content
    assert Token.objects.filter(name="laptop").count() == 1


def test_a_kept_answer_is_not_shown_to_who_was_shut_out_since(ada, people):
    team(ada)
    people.ada.is_active = False
    people.ada.save()
    assert team(ada).status_code == 401


def test_a_revoked_token_gets_no_kept_answer(ada):
    team(ada)
    Token.objects.all().delete()
    assert team(ada).json()["code"] == "wrong_token"


def test_forged_requests_from_other_sites_get_no_kept_answer(people):
    client = signed_in(people.ada)
    client.handler.enforce_csrf_checks = True
    body = {"data": b'{"name":"Deep Cells"}', "content_type": "application/json"}
    answer = client.post(URL, **body, headers=KEY)
    assert answer.status_code == 403
    assert (count(), Answered.objects.count()) == (0, 0)
