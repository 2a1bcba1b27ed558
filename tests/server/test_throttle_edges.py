"""The last request that is let through and the first that is not; whose number it is."""

import pytest
from django.http import HttpResponse
from django.test import RequestFactory
from django.utils.timezone import now

from server import throttling
from server.accounts.models import Token
from server.throttling import HEADERS, RateHeaders
from tests.server.making import PASSWORD, api, person

pytestmark = pytest.mark.django_db
LIST, ME, TOKENS = "/api/challenges/", "/api/me/", "/api/tokens/"
CLASSES = (throttling.VisitorRate, throttling.PersonRate, throttling.NamedRate)


class Clock:
    """Seconds that pass when told to."""

    def __init__(self) -> None:
        self.at = 1000.0

    def __call__(self) -> float:
        return self.at


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    few = {"anon": "2/min", "user": "3/min", "tokens": "1/min"}
    for kind in CLASSES:
        monkeypatch.setattr(kind, "THROTTLE_RATES", few)
        monkeypatch.setattr(kind, "timer", lambda _: clock())
    return clock


def numbers(answer) -> tuple[int, int, int]:
    return tuple(int(answer[name]) for name in HEADERS)


def test_the_reset_counts_down_to_the_oldest_request(clock):
    visitor, seen = api(), []
    for pause in (0, 20, 39):
        clock.at += pause
        seen.append(numbers(visitor.get(LIST)))
    assert seen == [(2, 1, 60), (2, 0, 40), (2, 0, 1)]


@pytest.mark.parametrize(("after", "status"), [(59.9, 429), (60.0, 200), (3600.0, 200)])
def test_a_request_is_free_again_after_a_minute_and_not_before(clock, after, status):
    visitor = api()
    for _ in range(2):
        assert visitor.get(LIST).status_code == 200
    clock.at += after
    assert visitor.get(LIST).status_code == status


def test_refused_requests_are_not_counted_against_who_waits(clock):
    visitor = api()
    for _ in range(6):
        visitor.get(LIST)
    clock.at += 60
    assert numbers(visitor.get(LIST)) == (2, 1, 60)


def test_a_refusal_says_when_to_come_again_and_nothing_of_the_request(clock):
    visitor = api()
    for _ in range(2):
        visitor.get(LIST)
    clock.at += 45.5
    refused = visitor.get(f"{LIST}?q=hunter2")
    assert refused["Retry-After"] in ("14", "15")
    assert refused["Content-Type"] == "application/problem+json"
    assert (refused.json()["status"], refused.json()["code"]) == (429, "throttled")
    assert b"hunter2" not in refused.content


def test_each_address_has_a_number_of_its_own(clock):
    for _ in range(3):
        last = api().get(LIST, REMOTE_ADDR="192.0.2.1")
    assert last.status_code == 429
    assert numbers(api().get(LIST, REMOTE_ADDR="192.0.2.2"))[:2] == (2, 1)
    assert numbers(api().get(LIST, REMOTE_ADDR="2001:db8::1"))[:2] == (2, 1)


def test_without_a_proxy_no_header_makes_another_address(clock):
    for number in range(3):
        last = api().get(LIST, headers={"X-Forwarded-For": f"198.51.100.{number}"})
    assert last.status_code == 429


def test_behind_one_proxy_only_what_it_added_itself_counts(clock, settings):
    settings.REST_FRAMEWORK = settings.REST_FRAMEWORK | {"NUM_PROXIES": 1}
    for number in range(3):
        told = f"198.51.100.{number}, 192.0.2.7"  # the first is what the visitor claims
        last = api().get(LIST, headers={"X-Forwarded-For": told})
    assert last.status_code == 429
    other = api().get(LIST, headers={"X-Forwarded-For": "198.51.100.1, 192.0.2.8"})
    assert other.status_code == 200


def test_a_person_has_one_number_for_all_tokens_and_addresses(clock):
    ada = person("Ada")
    left = [numbers(api(ada).get(ME, REMOTE_ADDR=f"192.0.2.{number}"))[1] for number in range(1, 4)]
    assert left == [2, 1, 0]
    assert api(ada).get(ME, REMOTE_ADDR="192.0.2.9").status_code == 429


def test_a_new_token_is_no_way_around(clock):
    ada = person("Ada")
    for _ in range(3):
        api(ada).get(ME)
    Token.objects.all().delete()
    assert api(ada).get(ME).status_code == 429


def test_who_is_throttled_throttles_nobody_else(clock):
    ada, bob = person("Ada"), person("Bob")
    for _ in range(4):
        last = api(ada).get(ME)
    assert last.status_code == 429
    assert numbers(api(bob).get(ME)) == (3, 2, 60)
    assert numbers(api().get(LIST)) == (2, 1, 60)


def test_a_visitor_who_logs_in_gets_a_persons_number(clock):
    for _ in range(3):
        last = api().get(LIST)
    assert last.status_code == 429
    assert numbers(api(person("Ada")).get(LIST)) == (3, 2, 60)


def test_a_wrong_token_counts_as_the_address_that_sent_it(clock):
    wrong = api()
    wrong.credentials(HTTP_AUTHORIZATION="Bearer crista_guess")
    assert {wrong.get(ME).status_code for _ in range(2)} == {401}


def test_a_password_that_is_wrong_counts_like_a_right_one(clock):
    ada = person("Ada")
    wrong = {"email": ada.email, "password": "guess", "name": "x"}
    right = wrong | {"password": PASSWORD}
    assert api().post(TOKENS, wrong, format="json").status_code in (400, 401, 403)
    assert api().post(TOKENS, right, format="json").status_code == 429
    clock.at += 60
    assert api().post(TOKENS, right, format="json").status_code == 201


@pytest.mark.parametrize("ask", ["get", "head", "options"])
def test_every_method_tells_the_numbers(clock, ask):
    assert numbers(getattr(api(), ask)(LIST))[0] == 2


def test_an_answer_without_a_view_of_the_api_tells_none(clock):
    assert HEADERS[0] not in api().get("/api/nothing/here/")
    assert HEADERS[0] not in api().get("/healthz")


@pytest.mark.parametrize(
    ("told", "shown"),
    [
        ([(9, 5, 1)], "5"),
        ([(9, 5, 1), (3, 1, 2)], "1"),
        ([(3, 1, 2), (9, 5, 1)], "1"),
        ([(9, 0, 1), (3, 0, 2)], "0"),
    ],
)
def test_of_several_throttles_the_one_that_leaves_least_is_told(told, shown):
    request = RequestFactory().get("/")

    def view(request):
        for each in told:
            throttling._tell(request, each)
        return HttpResponse()

    assert RateHeaders(view)(request)[HEADERS[1]] == shown


def test_an_expired_token_is_told_so_and_not_throttled_as_its_person(clock):
    ada = person("Ada")
    client = api(ada)
    Token.objects.update(expires=now())
    assert [client.get(ME).json()["code"] for _ in range(2)] == ["expired_token"] * 2
    assert numbers(api(ada).get(ME)) == (3, 2, 60)
