"""The queue: a hint that a row is worth looking at.  Messages carry ids; the database is the truth.

`upkeep.sweep` restores every hint from the rows, so losing the queue server loses nothing.
"""

from __future__ import annotations

import os
import uuid
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
from rq.serializers import JSONSerializer
from rq.worker import BaseWorker

CHECK, SCORE, NOTIFY = "check", "score", "notify"
# In order of urgency: a check takes seconds and somebody waits for it.
QUEUES = (CHECK, SCORE, NOTIFY)

log = structlog.get_logger(__name__)


class QueueMissing(Exception):
    """Nobody has said where the queue server is."""


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
    return Redis.from_url(url, socket_connect_timeout=2, retry=retry)


def enqueue(
    queue: str, job: str, *arguments: str | int, name: str, timeout_s: int, on_failure: str
) -> None:
    """Ask for `job(*arguments)` once the present transaction has committed; never if it does not.

    job, on_failure: dotted names.  name: what the message is about (`score-17`), for `waiting`.
    A queue server that is away delays the job until the sweep.
    """
    options: dict[str, Any] = {
        # Never the same id twice: RQ keeps one state per id, and a second try is another job.
        "job_id": f"{name}-{uuid.uuid4().hex}",
        "timeout": timeout_s,
        "on_failure": Callback(on_failure),
        "result_ttl": 0,
        "failure_ttl": 7 * 24 * 3600,
    }
    transaction.on_commit(lambda: _put(queue, job, arguments, options))


def _put(queue: str, job: str, arguments: tuple[str | int, ...], options: dict[str, Any]) -> None:
    try:
        line = Queue(queue, connection=connection(), serializer=JSONSerializer)
        line.enqueue_call(job, args=arguments, **options)
    except (RedisError, QueueMissing) as error:
        log.warning("queue is away", queue=queue, job=job, arguments=arguments, error=str(error))


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


class ForkingWorker(Worker):
    """Runs each job in a child of its own, so that a crash costs one job and leaks nothing."""

    def fork_work_horse(self, job: Any, queue: Any) -> None:
        """Fork with no database connection open: parent and child must not share a socket."""
        connections.close_all()
        super().fork_work_horse(job, queue)


def make_worker(
    queues: tuple[str, ...] = QUEUES, *, name: str | None = None, fork: bool = True
) -> BaseWorker:
    """A worker for the named queues, the first one first; start it with `.work()`.

    fork=False runs jobs in this very process.  A worker that dies is noticed by the others within
    about 75 s: they look every 15 s for jobs whose heartbeat stopped.
    """
    kind = ForkingWorker if fork else SimpleWorker
    server = connection()
    return kind(
        [Queue(queue, connection=server, serializer=JSONSerializer) for queue in queues],
        name=name, connection=server, serializer=JSONSerializer,
        worker_ttl=60, job_monitoring_interval=5, maintenance_interval=15,
    )  # fmt: skip
