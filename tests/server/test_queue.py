import json
import os
import subprocess
import sys
import time
import zlib
from pathlib import Path

import pytest
from django.db import transaction
from rq import Queue
from rq.registry import FailedJobRegistry
from rq.serializers import JSONSerializer

from server import queue

NOTED: list[str] = []
FAILED: list[str] = []
TAKEN: list[tuple[str, ...]] = []


def note(text: str) -> None:
    NOTED.append(text)
    if text == "taken":
        TAKEN.append(queue.taken())
    if text == "break":
        raise ValueError("as asked")


def tick() -> None:
    NOTED.append("tick")


def failed(job, connection, kind, error, trace) -> None:
    FAILED.append(f"{job.args[0]}: {error}")


def ask(text: str, line: str = queue.SCORE) -> None:
    queue.enqueue(
        line, "tests.server.test_queue.note", text, name=f"note-{text}", timeout_s=30,
        on_failure="tests.server.test_queue.failed",
    )  # fmt: skip


@pytest.fixture(autouse=True)
def empty():
    NOTED.clear()
    FAILED.clear()


@pytest.mark.django_db(transaction=True)
def test_a_job_waits_for_the_commit(queue_up):
    with transaction.atomic():
        ask("a")
        assert queue.waiting(queue.SCORE) == set()
    assert queue.waiting(queue.SCORE) == {"note-a"}


@pytest.mark.django_db(transaction=True)
def test_a_job_of_a_transaction_that_fails_is_never_queued(queue_up):
    with transaction.atomic():
        ask("a")
        transaction.set_rollback(True)
    assert queue.waiting(queue.SCORE) == set()


@pytest.mark.django_db(transaction=True)
def test_a_worker_does_checks_before_scores_and_keeps_no_result(queue_up, work):
    ask("score")
    ask("check", queue.CHECK)
    work()
    assert NOTED == ["check", "score"]
    assert queue_up.keys("rq:job:*") == []


@pytest.mark.django_db(transaction=True)
def test_a_job_that_raises_is_told_of_and_the_worker_goes_on(queue_up, work):
    ask("break")
    ask("after")
    work()
    assert NOTED == ["break", "after"]
    assert FAILED == ["break: as asked"]
    line = Queue(queue.SCORE, connection=queue_up, serializer=JSONSerializer)
    assert FailedJobRegistry(queue=line, serializer=JSONSerializer).count == 1


@pytest.mark.django_db(transaction=True)
def test_messages_are_text_not_pickles(queue_up):
    ask("a")
    (key,) = queue_up.keys("rq:job:*")
    message = json.loads(zlib.decompress(queue_up.hget(key, "data")))
    assert message == ["tests.server.test_queue.note", None, ["a"], {}]


@pytest.mark.django_db(transaction=True)
def test_a_queue_server_that_is_away_does_not_stop_the_request(monkeypatch):
    monkeypatch.setenv("REDIS_URL", "redis://127.0.0.1:1/0")
    ask("a")  # says so in the log, and the reconciler will ask again
    assert not queue.is_reachable()


@pytest.mark.django_db(transaction=True)
def test_without_a_queue_server_nothing_is_filled_and_nothing_breaks(monkeypatch):
    monkeypatch.setenv("REDIS_URL", "redis://127.0.0.1:1/0")
    queue.fill(queue.SCORE, "tests.server.test_queue.note", 3, timeout_s=30)


def test_a_queue_is_filled_up_to_a_number_and_never_emptied(queue_up):
    for number, length in ((3, 3), (2, 3), (5, 5), (0, 5)):
        queue.fill(queue.SCORE, "tests.server.test_queue.note", number, timeout_s=30)
        assert queue.length(queue.SCORE) == length


@pytest.mark.django_db(transaction=True)
def test_a_job_knows_which_queues_its_worker_takes(queue_up):
    ask("taken")
    queue.make_worker((queue.CHECK, queue.SCORE), fork=False).work(burst=True)
    assert TAKEN == [(queue.CHECK, queue.SCORE)]
    assert queue.taken() == queue.QUEUES  # no job


def test_the_scheduler_asks_again_and_again_in_words_that_workers_read(queue_up):
    scheduler = queue.make_scheduler(tick, queue=queue.CHECK, every_s=1, timeout_s=30)
    for _ in range(2):
        scheduler.enqueue_jobs()
    assert queue.length(queue.CHECK) == 1  # not yet due again
    time.sleep(1.1)
    scheduler.enqueue_jobs()
    queue.make_worker((queue.CHECK,), fork=False).work(burst=True)
    assert NOTED == ["tick", "tick"]


def test_the_supervisors_address_is_used_when_none_is_given(settings, tmp_path):
    settings.STATE_DIR = tmp_path
    with pytest.raises(queue.QueueMissing, match=r"run/queue\.url does not exist. Start one"):
        queue.queue_url()
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "queue.url").write_text("redis://127.0.0.1:6399/0\n")
    assert queue.queue_url() == "redis://127.0.0.1:6399/0"


def test_the_environment_comes_before_the_file(settings, monkeypatch):
    monkeypatch.setenv("REDIS_URL", "redis://elsewhere:6379/0")
    assert queue.queue_url() == "redis://elsewhere:6379/0"


def test_importing_the_jobs_starts_no_thread_that_a_fork_would_lose():
    code = (
        "import os, django; django.setup()\n"
        "import server.submissions.intake, server.submissions.evaluation\n"
        "assert len(os.listdir('/proc/self/task')) == 1, os.listdir('/proc/self/task')\n"
    )
    environment = os.environ | {
        "OPENBLAS_NUM_THREADS": "1", "DJANGO_SETTINGS_MODULE": "server.settings",
    }  # fmt: skip
    root = Path(__file__).resolve().parents[2]
    subprocess.run([sys.executable, "-c", code], cwd=root, env=environment, check=True)
