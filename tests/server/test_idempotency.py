"""A POST that is repeated with its key happens once, whatever dies in between."""

import threading
from datetime import timedelta

import pytest
from django.db import connection
from django.utils.timezone import now

from server import idempotency
from server.accounts.models import Answered, Team
from server.submissions import intake
from server.submissions.models import Submission
from tests.server.making import api, stored


@pytest.fixture
def ada(people):
    return api(people.ada)


def team(client, name="Deep Cells", *, key="k1"):
    headers = {"Idempotency-Key": key}
    return client.post("/api/teams/", {"name": name}, format="json", headers=headers)


def told(answer) -> tuple[int, str]:
    assert answer["Content-Type"] == "application/problem+json"
    return answer.status_code, answer.json()["code"]


def test_a_repeat_gets_the_same_answer_and_changes_nothing(ada):
    first, again = team(ada), team(ada)
    assert (first.status_code, again.status_code) == (201, 201)
    assert first.content == again.content
    assert again["Content-Type"] == first["Content-Type"]
    assert "Idempotent-Replayed" not in first
    assert again["Idempotent-Replayed"] == "true"
    assert Team.objects.filter(name="Deep Cells").count() == 1


def test_without_a_key_or_with_another_it_happens_again(ada):
    for name, key in (("One", None), ("Two", None), ("Three", "k1"), ("Four", "k2")):
        headers = {"Idempotency-Key": key} if key else {}
        answer = ada.post("/api/teams/", {"name": name}, format="json", headers=headers)
        assert (answer.status_code, answer.json()["name"]) == (201, name)


def test_a_key_is_one_requests_own(ada):
    team(ada)
    assert told(team(ada, "Other")) == (422, "key_reused")
    other = ada.post("/api/uploads/", {"name": "Deep Cells"}, format="json",
                     headers={"Idempotency-Key": "k1"})  # fmt: skip
    assert told(other) == (422, "key_reused")
    assert not Team.objects.filter(name="Other").exists()


def test_two_people_may_use_the_same_key(ada, people):
    assert team(ada, "Hers").status_code == team(api(people.bob), "His").status_code == 201


def test_a_refusal_is_not_kept_so_the_key_may_try_again(ada):
    assert team(ada, "").status_code == 400
    assert not Answered.objects.exists()
    assert team(ada, "Now right").status_code == 201


def test_what_breaks_on_our_side_leaves_neither_change_nor_answer(ada, people, phase, monkeypatch):
    ada.raise_request_exception = False
    upload = stored(phase, people.ada.own_team, b"abc")
    wish = {"upload": str(upload.pk), "method": "M"}
    ask = {"format": "json", "headers": {"Idempotency-Key": "submit"}}
    real = intake.submit

    def breaks_afterwards(**arguments):
        real(**arguments)
        raise ZeroDivisionError

    monkeypatch.setattr(intake, "submit", breaks_afterwards)
    assert ada.post("/api/submissions/", wish, **ask).status_code == 500
    assert not Submission.objects.exists()
    assert not Answered.objects.exists()
    monkeypatch.setattr(intake, "submit", real)
    assert ada.post("/api/submissions/", wish, **ask).status_code == 201


def test_a_submission_whose_answer_was_lost_is_made_once(ada, people, phase):
    upload = stored(phase, people.ada.own_team, b"abc")
    wish = {"upload": str(upload.pk), "method": "M"}
    answers = [
        ada.post("/api/submissions/", wish, format="json", headers={"Idempotency-Key": "s"})
        for _ in range(5)
    ]
    assert {answer.status_code for answer in answers} == {201}
    assert {answer.json()["id"] for answer in answers} == {Submission.objects.get().pk}


def test_a_process_that_died_on_the_way_is_no_obstacle(ada, people):
    team(ada)
    Team.objects.filter(name="Deep Cells").delete()  # as if its transaction had never committed
    Answered.objects.update(status=0, body=None)
    assert team(ada).status_code == 201
    assert Team.objects.filter(name="Deep Cells").count() == 1


def test_twins_sent_at_once_make_one(people):
    clients, statuses = [api(people.ada) for _ in range(6)], []

    def send(client):
        statuses.append(team(client).status_code)
        connection.close()

    threads = [threading.Thread(target=send, args=(client,)) for client in clients]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert statuses.count(201) >= 1
    assert set(statuses) <= {201, 409}
    assert Team.objects.filter(name="Deep Cells").count() == 1


def test_answers_are_kept_for_a_day(ada):
    team(ada)
    assert idempotency.forget(at=now() + timedelta(hours=23)) == 0
    Answered.objects.update(created=now() - timedelta(hours=25))
    assert team(ada, "New").status_code == 201
    assert Team.objects.filter(name="New").exists()
    assert idempotency.forget(at=now() + timedelta(hours=25)) == 1


@pytest.mark.parametrize("key", ["", "x" * 201, "tab\there"])
def test_a_key_that_is_none_is_refused(ada, key):
    assert told(team(ada, key=key)) == (400, "bad_key")
    assert not Team.objects.filter(name="Deep Cells").exists()


def test_a_long_body_cannot_be_repeated(ada):
    assert told(team(ada, "x" * 2**20)) == (413, "too_long_to_repeat")


def test_a_stranger_gets_no_answer_of_others(ada, people):
    team(ada)
    assert team(api()).status_code == 401
    wrong = api()
    wrong.credentials(HTTP_AUTHORIZATION="Bearer crista_wrong")
    assert told(team(wrong)) == (401, "wrong_token")


def test_repeats_are_throttled_too(ada, monkeypatch):
    rates = {"anon": "9/min", "user": "3/min", "tokens": "9/min"}
    monkeypatch.setattr("server.throttling.PersonRate.THROTTLE_RATES", rates)
    assert [team(ada).status_code for _ in range(4)] == [201, 201, 201, 429]
