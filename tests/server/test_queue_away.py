"""The queue server away, or full of what nobody understands: the rows lose nothing by it."""

import subprocess
import sys
from pathlib import Path

import pytest
from django.db import transaction
from redis.exceptions import RedisError
from rq import Queue
from rq.registry import FailedJobRegistry
from rq.serializers import DefaultSerializer, JSONSerializer

from server import queue
from server.submissions import upkeep
from tests.server import test_queue
from tests.server.test_queue import NOTED, ask

NOTE = "tests.server.test_queue.note"
pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(params=["redis://127.0.0.1:1/0", "http://queue", "redis://h:x/0"])
def away(request, monkeypatch):
    """An address where no queue server answers, in its kinds."""
    monkeypatch.setenv("REDIS_URL", request.param)


@pytest.fixture
def unnamed(settings, monkeypatch, tmp_path):
    """Nobody has said where the queue server is."""
    monkeypatch.delenv("REDIS_URL", raising=False)
    settings.REDIS_URL, settings.STATE_DIR = None, tmp_path


@pytest.fixture(autouse=True)
def _empty():
    NOTED.clear()


def failed(queue_up, line: str = queue.SCORE) -> int:
    kept = Queue(line, connection=queue_up, serializer=JSONSerializer)
    return FailedJobRegistry(queue=kept, serializer=JSONSerializer).count


def put(queue_up, job: str, line: str = queue.SCORE, *, serializer=JSONSerializer, **options):
    """A message that was not written by our own code."""
    Queue(line, connection=queue_up, serializer=serializer).enqueue_call(job, **options)


def hints() -> None:
    """Everything that is said to the queue while people wait for an answer."""
    queue.enqueue(queue.CHECK, NOTE, "a", name="note-a", timeout_s=30)
    queue.fill(queue.SCORE, NOTE, 3, timeout_s=30)


def test_hints_are_dropped_and_nobody_sees_an_error(away):
    with transaction.atomic():
        hints()
    assert not queue.is_reachable()


def test_without_an_address_it_is_the_same(unnamed):
    hints()
    assert not queue.is_reachable()


@pytest.mark.parametrize("asked", [queue.waiting, queue.length])
def test_who_needs_to_know_is_told_that_nothing_is_known(away, asked):
    with pytest.raises((RedisError, queue.QueueMissing)):
        asked(queue.SCORE)


def test_an_address_that_is_none_is_told_without_its_password(monkeypatch):
    monkeypatch.setenv("REDIS_URL", "reddis://:hunter2@queue")
    with pytest.raises(queue.QueueMissing, match="redis://:password@host") as told:
        queue.connection()
    assert "hunter2" not in str(told.value)


@pytest.mark.parametrize("make", [queue.make_worker, queue.make_scheduler])
def test_workers_and_schedulers_are_not_made_without_an_address(unnamed, make):
    options = {"queue": "check", "every_s": 60, "timeout_s": 1}
    with pytest.raises(queue.QueueMissing, match=r"manage\.py up"):
        make(test_queue.tick, **options) if make is queue.make_scheduler else make()


def test_the_address_is_looked_up_anew_so_that_a_queue_may_come_back(
    unnamed, queue_server, settings
):
    hints()
    (settings.STATE_DIR / "run").mkdir()
    (settings.STATE_DIR / "run" / "queue.url").write_text(queue_server)
    try:
        hints()
        assert queue.waiting(queue.CHECK) == {"note-a"}
        assert queue.length(queue.SCORE) == 3
    finally:
        queue.connection().flushall()


@pytest.mark.parametrize("line", queue.QUEUES)
def test_each_queue_is_emptied_by_a_worker_of_its_own_and_by_no_other(queue_up, line):
    ask("a", line)
    others = tuple(name for name in queue.QUEUES if name != line)
    queue.make_worker(others, fork=False).work(burst=True)
    assert (NOTED, queue.length(line)) == ([], 1)
    queue.make_worker((line,), fork=False).work(burst=True)
    assert (NOTED, queue.length(line)) == (["a"], 0)


@pytest.mark.parametrize(
    "job",
    [
        "tests.server.test_queue.gone", "no_such_module.job", "server", "", "..", "note",
        "server.submissions.items.taken_out_in_another_release",
    ],
)  # fmt: skip
def test_a_message_of_an_unknown_name_fails_and_the_next_one_is_done(queue_up, work, job):
    put(queue_up, job)
    ask("next")
    work()
    assert NOTED == ["next"]
    assert failed(queue_up) == 1
    assert queue.length(queue.SCORE) == 0


@pytest.mark.parametrize("arguments", [(), ("a", "b"), (["list"], {"x": 1}, None)])
def test_a_message_with_arguments_of_another_release_fails_alone(queue_up, work, arguments):
    put(queue_up, NOTE, args=arguments)
    ask("next")
    work()
    assert NOTED == ["next"]
    assert failed(queue_up) == 1


def test_a_pickle_in_the_queue_is_never_opened(queue_up, work, tmp_path):
    trap = tmp_path / "opened"
    put(queue_up, "pathlib.Path.touch", args=(Path(trap),), serializer=DefaultSerializer)
    ask("next")
    work()
    assert not trap.exists()
    assert NOTED == ["next"]


def test_a_message_whose_content_is_gone_is_passed_over(queue_up, work):
    ask("lost")
    for key in queue_up.keys("rq:job:*"):
        queue_up.delete(key)
    ask("next")
    work()
    assert NOTED == ["next"]


def test_a_message_that_names_no_failure_handler_that_exists_still_fails_alone(queue_up, work):
    queue.enqueue(queue.SCORE, NOTE, "break", name="n", timeout_s=9, on_failure="gone.handler")
    ask("next")
    work()
    assert NOTED == ["break", "next"]


def test_reconciling_without_a_queue_breaks_nothing(away):
    upkeep.reconcile_now()


def test_rolled_back_work_leaves_no_message_even_inside_another_transaction(queue_up):
    with transaction.atomic():
        ask("outer")
        with transaction.atomic():
            ask("inner")
            transaction.set_rollback(True)
    assert queue.waiting(queue.SCORE) == {"note-outer"}


def test_the_same_hint_twice_is_two_messages_under_one_name(queue_up):
    ask("a")
    ask("a")
    assert queue.length(queue.SCORE) == 2
    assert queue.waiting(queue.SCORE) == {"note-a"}


def test_a_message_is_forgotten_when_it_was_done_and_kept_a_week_when_it_failed(queue_up, work):
    ask("fine")
    ask("break")
    work()
    (key,) = queue_up.keys("rq:job:*")
    assert 0 < queue_up.ttl(key) <= queue.KEEP_FAILED_S == 7 * 24 * 3600


def test_the_stop_signal_means_nothing_to_a_process_that_runs_no_job():
    code = "from server import interruption; interruption.ask(); print('here')"
    root = Path(__file__).resolve().parents[2]
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, check=True)
    assert done.stdout == b"here\n"
