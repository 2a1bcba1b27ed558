"""Put right what was lost: messages, workers, abandoned uploads.  Safe to run at any time."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import datetime, timedelta

from server import queue
from server.submissions import evaluation, intake, uploads
from server.submissions.models import Evaluation, Item, Submission

CHECK_PATIENCE = timedelta(minutes=2)
QUEUE_PATIENCE = timedelta(seconds=10)
Status = Submission.Status


@dataclass(frozen=True, slots=True)
class Swept:
    """What one sweep put right, in rows."""

    checks: int = 0
    released: int = 0
    requeued: int = 0
    published: int = 0
    expired: int = 0
    orphans: int = 0

    def __str__(self) -> str:
        found = [f"{count} {name}" for name, count in asdict(self).items() if count]
        return ", ".join(found) or "nothing to do"


def sweep(*, at: datetime) -> Swept:
    """Look at every row that should move by itself and has not, and move it on.

    Raises RedisError or QueueMissing while the queue server is away.
    """
    return Swept(
        checks=_check_again(at=at),
        released=_release_abandoned(at=at),
        requeued=_ask_again(at=at),
        published=_publish_complete(),
        expired=uploads.expire(at=at),
        orphans=uploads.remove_orphans(),
    )


def _check_again(*, at: datetime) -> int:
    """Checks whose message or worker was lost."""
    late = Submission.objects.filter(
        status__in=(Status.RECEIVED, Status.CHECKING), changed__lt=at - CHECK_PATIENCE
    )
    count = 0
    for submission in late:
        if submission.status == Status.RECEIVED or submission.advance(
            Status.RECEIVED, note="its check was lost"
        ):
            intake.ask_for_check(submission)
            count += 1
    return count


def _release_abandoned(*, at: datetime) -> int:
    """Items whose worker has given no sign of life until the lease ran out."""
    lost = Item.objects.filter(status=Item.Status.SCORING, lease__lt=at)
    return sum(evaluation.release(item) for item in lost)


def _ask_again(*, at: datetime) -> int:
    """Waiting items that no message in the queue is about."""
    live = Evaluation.objects.filter(status__in=Evaluation.LIVE)
    items = Item.objects.filter(
        evaluation__in=live, status=Item.Status.QUEUED, changed__lt=at - QUEUE_PATIENCE
    )
    waiting = queue.waiting(queue.SCORE)
    lost = [item for item in items if f"score-{item.pk}" not in waiting]
    for item in lost:
        evaluation.ask_for_score(item)
    return len(lost)


def _publish_complete() -> int:
    """Evaluations whose last job died between its score and the result."""
    live = Evaluation.objects.filter(status=Evaluation.Status.SCORING)
    waiting = Item.objects.exclude(status=Item.Status.SCORED)
    complete = live.exclude(pk__in=waiting.values("evaluation"))
    return sum(evaluation.finish_if_complete(row) for row in complete)
