"""Workers that are stopped or killed in the middle of a target, as real processes.

Stages are frozen as soon as they are seen, so that there is a middle.
"""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest
from django.conf import settings

from server import stages
from server.submissions.models import Item, Submission
from tests.server.submissions.test_evaluation import database_url
from tests.server.taking import checked

ROOT = Path(__file__).resolve().parents[2]


class Worker:
    """A worker whose stages stop when they begin, until they are let go."""

    def __init__(self, queue_server: str) -> None:
        environment = os.environ | {
            "DJANGO_SETTINGS_MODULE": "server.settings", "REDIS_URL": queue_server,
            "DATABASE_URL": database_url(),
        }  # fmt: skip
        command = [sys.executable, "-m", "django", "worker"]
        self.process = subprocess.Popen(command, cwd=ROOT, env=environment, start_new_session=True)
        self.frozen: set[psutil.Process] = set()
        self.over = threading.Event()
        self.thread = threading.Thread(target=self._freeze)
        self.thread.start()

    def _freeze(self) -> None:
        while not self.over.is_set():
            with suppress(psutil.Error, StopIteration):
                for child in self.nursery().children():
                    if child not in self.frozen:
                        child.suspend()
                        self.frozen.add(child)
            time.sleep(0.001)

    def nursery(self) -> psutil.Process:
        """The child that begins stages."""
        return next(c for c in self.children() if "nursery" in " ".join(c.cmdline()))

    def horse(self) -> psutil.Process:
        """The child that supervises the work."""
        return next(c for c in self.children() if "nursery" not in " ".join(c.cmdline()))

    def children(self) -> list[psutil.Process]:
        children = psutil.Process(self.process.pid).children()
        if not children:
            raise psutil.NoSuchProcess(self.process.pid)
        return children

    def let_go(self) -> None:
        """Stages run from here on."""
        self.over.set()
        self.thread.join()
        for child in self.frozen:
            with suppress(psutil.Error):
                child.resume()

    def end(self) -> None:
        self.let_go()
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(10)


def until(true: Callable[[], bool], *, seconds: float = 30) -> float:
    """Wait for something to become true; how long that took."""
    began = time.monotonic()
    while not true():
        assert time.monotonic() - began < seconds
        time.sleep(0.02)
    return time.monotonic() - began


@pytest.fixture
def held(phase, people, queue_up, queue_server, packed) -> Iterator[tuple[Worker, Item]]:
    """A worker in the middle of a target."""
    checked(phase, people.ada, packed.read_bytes())
    worker = Worker(queue_server)
    try:
        until(lambda: Item.objects.filter(status="scoring").exists() and bool(worker.frozen))
        yield worker, Item.objects.get(status="scoring")
    finally:
        worker.end()


def alive(processes: set[psutil.Process]) -> bool:
    return any(p.is_running() and p.status() != psutil.STATUS_ZOMBIE for p in processes)


def test_a_killed_job_is_noticed_at_once_and_a_stopped_worker_gives_back_its_target(held):
    worker, item = held
    worker.horse().kill()
    until(lambda: Item.objects.filter(pk=item.pk, deaths=1).exists())
    item.refresh_from_db()
    assert (item.status, item.trouble) == ("queued", "the process that supervised it was killed")
    assert item.due > item.changed  # others come first
    until(lambda: Item.objects.filter(status="scoring").exists())  # another one
    second = Item.objects.get(status="scoring")
    worker.process.send_signal(signal.SIGTERM)
    assert until(lambda: worker.process.poll() is not None) < 10
    assert worker.process.returncode == 0
    second.refresh_from_db()
    assert (second.status, second.attempts, second.deaths, second.lease) == ("queued", 0, 0, None)
    until(lambda: not alive(worker.frozen))
    assert Submission.objects.get().status == "scoring"


def test_a_killed_worker_costs_an_attempt_and_no_wait_for_the_lease(held):
    worker, item = held
    children = set(psutil.Process(worker.process.pid).children(recursive=True))
    worker.process.kill()
    worker.process.wait(10)
    until(lambda: Item.objects.filter(pk=item.pk, status="queued").exists())
    item.refresh_from_db()
    assert (item.attempts, item.deaths) == (1, 0)
    until(lambda: not alive(children))  # nobody goes on without a supervisor
    scratch = settings.SCRATCH_DIR / "stages"
    stages.remove_leftovers(scratch, older=0.0)  # the first test's killed job left one
    assert not list(scratch.glob("*"))
