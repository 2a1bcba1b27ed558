import pytest

from server import throttling
from tests.server.making import PASSWORD, api, person

pytestmark = pytest.mark.django_db


@pytest.fixture
def rates(monkeypatch):
    few = {"anon": "2/min", "user": "3/min", "tokens": "1/min"}
    for name in ("VisitorRate", "PersonRate", "NamedRate"):
        monkeypatch.setattr(getattr(throttling, name), "THROTTLE_RATES", few)


def numbers(answer) -> list[int]:
    return [int(answer[name]) for name in throttling.HEADERS]


def test_each_answer_tells_what_is_left(rates):
    visitor = api()
    first, second, third = (visitor.get("/api/challenges/") for _ in range(3))
    assert numbers(first)[:2] == [2, 1]
    assert 59 <= numbers(first)[2] <= 60
    assert numbers(second)[:2] == [2, 0]
    assert third.status_code == 429
    assert third.json()["code"] == "throttled"
    assert numbers(third)[:2] == [2, 0]
    assert int(third["Retry-After"]) == pytest.approx(numbers(third)[2], abs=1)


def test_a_persons_tokens_share_one_number(rates):
    ada = person("Ada")
    assert numbers(api(ada).get("/api/me/"))[:2] == [3, 2]
    assert numbers(api(ada).get("/api/me/"))[:2] == [3, 1]
    assert numbers(api(person("Bob")).get("/api/me/"))[:2] == [3, 2]


def test_refusals_tell_it_too(rates):
    assert numbers(api(person("Ada")).get("/api/submissions/12/"))[:2] == [3, 2]


def test_passwords_are_tried_slowly(rates):
    body = {"email": person("Ada").email, "password": PASSWORD, "name": "x"}
    first, second = (api().post("/api/tokens/", body, format="json") for _ in range(2))
    assert (first.status_code, numbers(first)[:2]) == (201, [1, 0])
    assert second.status_code == 429


def test_pages_of_the_site_carry_none(client):
    assert throttling.HEADERS[0] not in client.get("/")
