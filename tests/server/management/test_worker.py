"""The worker command without a queue, and with one whose queues are empty."""

import pytest
from django.core.management import CommandError, call_command

from server.management.commands.up import duties
from server.queue import QUEUES


def test_without_a_queue_server_the_worker_says_what_to_do(monkeypatch):
    monkeypatch.delenv("REDIS_URL", raising=False)
    with pytest.raises(CommandError, match=r"manage\.py up.*REDIS_URL"):
        call_command("worker", burst=True)


def test_a_queue_server_that_does_not_answer_is_a_sentence(monkeypatch):
    monkeypatch.setenv("REDIS_URL", "redis://127.0.0.1:9/0")
    with pytest.raises(CommandError, match="queue server is away"):
        call_command("worker", burst=True)


def test_a_worker_takes_the_queues_it_is_told_to_and_no_others():
    with pytest.raises(CommandError, match="invalid choice: 'bake'"):
        call_command("worker", "--queues", "bake")
    assert QUEUES == ("check", "score", "score-large", "notify")


def test_a_burst_ends_when_there_is_nothing_to_do(queue_up, transactional_db):
    call_command("worker", burst=True, verbosity=0)
    assert queue_up.smembers("rq:workers") == set()


def test_no_check_waits_for_a_score_and_one_worker_takes_what_is_large():
    assert duties(1) == {"worker-quick": ("check", "notify"), "worker-1": QUEUES}
    assert duties(3)["worker-3"] == ("check", "notify", "score")
    assert sum("score-large" in queues for queues in duties(8).values()) == 1
