"""Put right what was lost: messages, workers, abandoned uploads.  Safe to run at any time, beside
itself and everything else.

Each step is done although another one failed: a queue server or a database that is away for a
while must not keep the rest waiting.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import structlog
from django.conf import settings
from django.db import DatabaseError
from django.utils.timezone import now
from redis.exceptions import RedisError

from server import idempotency, queue, scoring, stages
from server.accounts import audit
from server.notices import outbox
from server.queue import QueueMissing
from server.submissions import (
    deadlines,
    evaluation,
    intake,
    items,
    leases,
    rescoring,
    turns,
    uploads,
    verification,
)
from server.submissions.models import Evaluation, Item, Submission

SCRATCH_PATIENCE_S = 5.0
CHECK_PATIENCE = timedelta(seconds=20)
Status = Submission.Status
log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Reconciled:
    """What was put right, in rows and messages; and which steps could not be done, and why."""

    done: dict[str, int] = field(default_factory=dict)
    away: dict[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        found = [f"{count} {name}" for name, count in self.done.items()]
        found += [f"{name} has to wait ({why})" for name, why in self.away.items()]
        return ", ".join(found) or "nothing to do"


def reconcile(*, at: datetime) -> Reconciled:
    """Look at every row that should move by itself and has not, and move it on."""
    done, away = {}, {}
    for name, step in STEPS.items():
        try:
            if count := step(at):
                done[name] = count
        except (DatabaseError, RedisError, QueueMissing, OSError) as error:
            log.warning("a step of reconciling has to wait", step=name, error=str(error))
            away[name] = type(error).__name__
        except Exception as error:  # one broken row must not hold up all others; the log shows it
            log.exception("a step of reconciling is broken", step=name)
            away[name] = type(error).__name__
    return Reconciled(done, away)


def reconcile_now() -> None:
    """Job of the scheduler: reconcile once."""
    log.info("reconciled", result=str(reconcile(at=now())))


def job_died(job: Any, pid: int) -> None:
    """Called in a worker whose child was killed: what it held goes on at once, elsewhere."""
    items.horse_died(pid)
    if job.func_name == intake.CHECK_JOB:
        submission = Submission.objects.get(pk=job.args[0])
        intake.check_again(submission, error=None, died=True, note="its check was killed")


def take_back_orphans() -> int:
    """Targets held by processes of this machine that have ended: when a worker begins."""
    held = Item.objects.filter(status=Item.Status.SCORING)
    lost = [item for item in held if leases.is_gone(item.worker)]
    return sum(_take_back(item) for item in lost)


def _take_back(item: Item) -> bool:
    return items.end(item, trouble="the worker vanished", died=True) is not None


def _checks(at: datetime) -> int:
    """Checks that died, and those whose message was lost."""
    died = Submission.objects.filter(status=Status.CHECKING).exclude(lease__gte=at)
    for submission in died:
        intake.check_again(submission, error=None, died=True, note="the worker vanished")
    late = Submission.objects.filter(
        status=Status.RECEIVED, changed__lt=at - CHECK_PATIENCE, upload__status="finished"
    )
    waiting = queue.waiting(queue.CHECK) if late else set()
    lost = [submission for submission in late if f"check-{submission.pk}" not in waiting]
    for submission in lost:
        intake.ask_for_check(submission)
    return len(died) + len(lost)


def _leases(at: datetime) -> int:
    """Targets whose holder has given no sign of life until the lease ended."""
    lost = Item.objects.filter(status=Item.Status.SCORING, lease__lt=at)
    return sum(_take_back(item) for item in lost)


def _renewed(at: datetime) -> int:
    """Evaluations that another evaluator began, after the one installed here was."""
    live = Evaluation.objects.filter(status__in=Evaluation.LIVE)
    others = live.exclude(evaluator=scoring.version())
    return sum(evaluation.renew(row) for row in others)


def _tokens(at: datetime) -> int:
    """Waiting targets that no message lets a worker look for."""
    count = 0
    for name in (queue.SCORE, queue.SCORE_LARGE):
        wanted = turns.waiting((name,), at=at)[: turns.TOKENS].count()
        count += max(0, wanted - queue.length(name)) if wanted else 0
    turns.top_up()
    return count


def _results(at: datetime) -> int:
    """Evaluations whose last worker died between its score and the result."""
    live = Evaluation.objects.filter(status=Evaluation.Status.SCORING)
    open_items = Item.objects.filter(status__in=(Item.Status.QUEUED, Item.Status.SCORING))
    complete = live.exclude(pk__in=open_items.values("evaluation"))
    return sum(evaluation.settle(evaluation.loaded(row.pk)) for row in complete)


def _scratch(at: datetime) -> int:
    """Folders of work whose process was killed on this machine."""
    base = settings.SCRATCH_DIR / "stages"
    return stages.remove_leftovers(base, older=SCRATCH_PATIENCE_S) if base.exists() else 0


STEPS: dict[str, Callable[[datetime], int]] = {
    "checks": _checks,
    "leases": _leases,
    "renewed": _renewed,
    "results": _results,
    "editions": lambda at: rescoring.extend(),
    "messages": _tokens,
    "digests": lambda at: verification.ask_again(at=at),
    "uploads": lambda at: uploads.expire(at=at),
    "files": lambda at: uploads.remove_orphans(),
    "scratch": _scratch,
    "deadlines": lambda at: deadlines.tell(at=at),
    "notices": lambda at: outbox.send_late(at=at),
    "old notices": lambda at: outbox.forget_old(at=at),
    "answers": lambda at: idempotency.forget(at=at),
    "audit": lambda at: audit.seal(),
}
