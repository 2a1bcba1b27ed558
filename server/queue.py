"""The queue: a hint that a row is worth looking at.  Messages carry ids; the database is the truth.

`upkeep.reconcile` restores every hint from the rows, so losing the queue server loses nothing.
"""

from __future__ import annotations

import os
import signal
import uuid
from collections.abc import Callable
from contextlib import suppress
from contextvars import ContextVar
from datetime import UTC, datetime
from functools import cache
from typing import Any

import structlog
from django.conf import settings
from django.db import connections, transaction
from redis import Redis
from redis.backoff import ExponentialBackoff
from redis.exceptions import RedisError
from redis.retry import Retry
from rq import Callback, Queue, SimpleWorker, Worker
from rq.cron import CronJob, CronScheduler
from rq.serializers import JSONSerializer
from rq.worker import BaseWorker

from server import interruption

CHECK, SCORE, SCORE_LARGE, NOTIFY = "check", "score", "score-large", "notify"
# In order of urgency: a check takes seconds and somebody waits for it.
QUEUES = (CHECK, SCORE, SCORE_LARGE, NOTIFY)
QUICK = (CHECK, NOTIFY)  # what takes seconds; a worker of its own never lets it wait for a score
KEEP_FAILED_S = 7 * 24 * 3600

log = structlog.get_logger(__name__)


class QueueMissing(Exception):
    """Nobody has said where the queue server is, or not in a way that could be understood."""


def queue_url() -> str:
    """Address of the queue server: REDIS_URL, or what the supervisor wrote when it started one."""
    if url := os.environ.get("REDIS_URL") or settings.REDIS_URL:
        return url
    file = settings.STATE_DIR / "run" / "queue.url"
    if not file.is_file():
        raise QueueMissing(
            f"No queue server: {file} does not exist. Start one with `python3 manage.py up`, or "
            "name a running one with REDIS_URL."
        )
    return file.read_text("utf-8").strip()


def connection() -> Redis:
    """A connection to the queue server as it is known now; one pool per address."""
    return _connect(queue_url())


@cache
def _connect(url: str) -> Redis:
    retry = Retry(ExponentialBackoff(cap=1.0, base=0.05), retries=3)
    try:
        return Redis.from_url(url, socket_connect_timeout=2, retry=retry)
    except ValueError as error:
        raise QueueMissing(
            "No queue server: its address is none. REDIS_URL takes redis://:password@host:6379/0."
        ) from error


def enqueue(
    queue: str, job: str, *arguments: str | int, name: str, timeout_s: int, on_failure: str = ""
) -> None:
    """Ask for `job(*arguments)` once the present transaction has committed; never if it does not.

    job, on_failure: dotted names; the latter is called when the job raises.  name: what the
    message is about (`check-17`), for `waiting`.
    A queue server that is away delays the job until the reconciler asks again.
    """
    options: dict[str, Any] = {
        # Never the same id twice: RQ keeps one state per id, and a second try is another job.
        "job_id": f"{name}-{uuid.uuid4().hex}",
        "timeout": timeout_s,
        "on_failure": Callback(on_failure) if on_failure else None,
        "result_ttl": 0,
        "failure_ttl": KEEP_FAILED_S,
    }
    transaction.on_commit(lambda: _put(queue, job, arguments, options))


def _put(queue: str, job: str, arguments: tuple[str | int, ...], options: dict[str, Any]) -> None:
    try:
        line = Queue(queue, connection=connection(), serializer=JSONSerializer)
        line.enqueue_call(job, args=arguments, **options)
    except (RedisError, QueueMissing) as error:
        log.warning("queue is away", queue=queue, job=job, arguments=arguments, error=str(error))


def fill(queue: str, job: str, number: int, *, timeout_s: int) -> None:
    """Let at least `number` messages about `job()` wait in a queue.  Its rows say what is done.

    At once, so call it after the commit.  A queue server that is away is not asked.
    """
    try:
        line = Queue(queue, connection=connection(), serializer=JSONSerializer)
        tokens = [
            Queue.prepare_data(
                job, job_id=f"{queue}-{uuid.uuid4().hex}", timeout=timeout_s, result_ttl=0,
                failure_ttl=KEEP_FAILED_S,
            )
            for _ in range(number - line.count)
        ]  # fmt: skip
        if tokens:
            line.enqueue_many(tokens)
    except (RedisError, QueueMissing) as error:
        log.warning("queue is away", queue=queue, job=job, error=str(error))


def is_reachable() -> bool:
    """True if the queue server answers."""
    try:
        return bool(connection().ping())
    except (RedisError, QueueMissing):
        return False


def waiting(queue: str) -> set[str]:
    """Names of the messages that wait in a queue.  Raises RedisError or QueueMissing."""
    line = Queue(queue, connection=connection(), serializer=JSONSerializer)
    return {job.rpartition("-")[0] for job in line.get_job_ids()}


def length(queue: str) -> int:
    """How many messages wait in a queue.  Raises RedisError or QueueMissing."""
    return Queue(queue, connection=connection(), serializer=JSONSerializer).count


def make_scheduler(
    job: Callable[[], None], *, queue: str, every_s: int, timeout_s: int
) -> CronScheduler:
    """A scheduler that has a worker do `job()` every so many seconds; start it with `.start()`."""
    scheduler = Scheduler(connection=connection())
    scheduler.register(job, queue, interval=every_s, job_timeout=timeout_s, result_ttl=0)
    return scheduler


class Scheduler(CronScheduler):
    """RQ's own, writing messages as our workers read them: text, no pickles."""

    def enqueue_jobs(self) -> list[CronJob]:
        """Queue what is due."""
        due = [job for job in self.get_jobs() if job.should_run()]
        for job in due:
            line = Queue(job.queue_name, connection=self.connection, serializer=JSONSerializer)
            line.enqueue_call(
                job.func_name, timeout=job.job_options["job_timeout"], result_ttl=0,
                failure_ttl=KEEP_FAILED_S,
            )  # fmt: skip
            job.set_enqueue_time(datetime.now(UTC))
        return due


_taken: ContextVar[tuple[str, ...]] = ContextVar("taken", default=QUEUES)


def taken() -> tuple[str, ...]:
    """The queues that the worker of the present job works for; outside of jobs all of them."""
    return _taken.get()


class InProcessWorker(SimpleWorker):
    """Runs each job in the worker's own process."""

    def perform_job(self, job: Any, queue: Any) -> bool:
        """Do one job; it can ask which queues its worker works for."""
        before = _taken.set(tuple(self.queue_names()))
        try:
            return super().perform_job(job, queue)
        finally:
            _taken.reset(before)


class ForkingWorker(Worker):
    """Runs each job in a child of its own, so that a crash costs one job and leaks nothing.

    Asked to stop, it asks the child to give back what it holds, and leaves when the child has.
    """

    def fork_work_horse(self, job: Any, queue: Any) -> None:
        """Fork with no database connection open: parent and child must not share a socket."""
        connections.close_all()
        super().fork_work_horse(job, queue)

    def setup_work_horse_signals(self) -> None:
        """In the child: Ctrl-C is for the worker, which tells its child by the stop signal."""
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        interruption.listen(self.pid or 0)
        _taken.set(tuple(self.queue_names()))

    def handle_warm_shutdown_request(self) -> None:
        """In the worker: tell the child."""
        if self.horse_pid:
            with suppress(ProcessLookupError):
                os.kill(self.horse_pid, signal.SIGTERM)


def make_worker(
    queues: tuple[str, ...] = QUEUES, *, name: str | None = None, fork: bool = True,
    died: Callable[[Any, int], None] | None = None,
) -> BaseWorker:  # fmt: skip
    """A worker for the named queues, the first one first; start it with `.work()`.

    fork=False runs jobs in this very process.  died: called with the job and the number of a child
    that was killed.  A worker that dies is noticed by the others within about 75 s: they look every
    15 s for jobs whose heartbeat stopped.
    """
    kind = ForkingWorker if fork else InProcessWorker
    server = connection()
    return kind(
        [Queue(queue, connection=server, serializer=JSONSerializer) for queue in queues],
        name=name, connection=server, serializer=JSONSerializer,
        worker_ttl=60, job_monitoring_interval=5, maintenance_interval=15,
        work_horse_killed_handler=(lambda job, pid, *_: died(job, pid)) if died else None,
    )  # fmt: skip
