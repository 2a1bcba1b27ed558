"""Chapter two: one job per target; the one that finds all of them done pools the scores.

The rows decide, not the messages: a job may run twice, late, or beside itself.
"""

from __future__ import annotations

import json
import secrets
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import structlog
from django.conf import settings
from django.db import connections, transaction
from django.db.models import F, Q, QuerySet
from django.utils.timezone import now

from server import queue, scoring
from server.challenges.models import TruthVersion
from server.submissions.models import Blame, Evaluation, Item, Submission

SCORE_JOB = "server.submissions.evaluation.score_item"
GIVE_UP_JOB = "server.submissions.evaluation.give_up"
Status = Evaluation.Status
ItemStatus = Item.Status

log = structlog.get_logger(__name__)


def rules_of(truth: TruthVersion, protocol: str) -> scoring.Rules:
    """What a score under this truth and protocol is made of."""
    return scoring.Rules(truth.manifest_csv, truth.labels_toml, protocol, Path(truth.path))


def rules(evaluation: Evaluation) -> scoring.Rules:
    """The rules of one evaluation."""
    return rules_of(evaluation.truth, evaluation.protocol.name)


@transaction.atomic
def start(submission: Submission, *, report: dict[str, Any]) -> Evaluation | None:
    """Accept a checked submission: an evaluation, a row and a job per target, smallest first.

    None if it was cancelled meanwhile.
    """
    phase = submission.phase
    message = "" if not report["problems"] else "Accepted, with remarks in the report."
    if not submission.advance(Submission.Status.QUEUED, report=report, message=message):
        return None
    evaluation = Evaluation.objects.create(
        submission=submission, truth=phase.truth, protocol=phase.protocol,
        evaluator=scoring.version(), status=Status.QUEUED,
    )  # fmt: skip
    items = [
        Item(evaluation=evaluation, team=submission.team, target=i.target, crop=i.crop,
             label=i.label, voxels=i.voxels)
        for i in scoring.items(rules(evaluation))
    ]  # fmt: skip
    for item in Item.objects.bulk_create(items):
        ask_for_score(item)
    return evaluation


def ask_for_score(item: Item) -> None:
    """Queue the scoring of one target, once the transaction has committed."""
    queue.enqueue(
        queue.SCORE, SCORE_JOB, item.evaluation_id, item.target, name=f"score-{item.pk}",
        timeout_s=settings.ITEM_TIMEOUT_S, on_failure=GIVE_UP_JOB,
    )  # fmt: skip


def score_item(evaluation_id: int, target: str) -> None:
    """Job: score one target.  Running it twice, late, or beside itself changes nothing."""
    evaluation = _evaluation(evaluation_id)
    item = _claim(evaluation, target) if evaluation.status in Evaluation.LIVE else None
    if item is not None:
        began = time.monotonic()
        with _kept(item):
            path = evaluation.submission.upload.path
            score = scoring.score_item(target, path, rules(evaluation))
        _mine(item).update(
            status=ItemStatus.SCORED, score=score, lease=None, changed=now(),
            seconds=round(time.monotonic() - began, 3),
        )  # fmt: skip
    finish_if_complete(evaluation)


def finish_if_complete(evaluation: Evaluation) -> bool:
    """Publish the result if every target has its score; True for the one call that did it.

    Every job looks after its own write has committed, so the last one sees all rows.
    """
    items = list(evaluation.items.all())
    if evaluation.status != Status.SCORING or any(i.status != ItemStatus.SCORED for i in items):
        return False
    text = scoring.combine([i.score or {} for i in items], rules(evaluation))
    result = json.loads(text)
    with transaction.atomic():
        won = evaluation.advance(
            Status.SCORED, result=text, labels=result["labels"], finished=now(),
            overall=result["overall"], instance=result["instance"], semantic=result["semantic"],
            timings={i.target: i.seconds for i in items},
        )  # fmt: skip
        if won and evaluation.submission.status == Submission.Status.SCORING:
            evaluation.submission.advance(Submission.Status.SCORED)
    return won


def give_up(job: Any, connection: Any, kind: Any, error: BaseException, trace: Any) -> None:
    """Called when scoring a target raised: try again, or fail for good after the last attempt."""
    item = Item.objects.filter(evaluation_id=job.args[0], target=job.args[1]).first()
    if item is not None and item.status == ItemStatus.SCORING:
        release(item, error=error)


def release(item: Item, *, error: BaseException | None = None) -> bool:
    """Take an item from a worker that failed or vanished; queue it again or fail its evaluation.

    True if it was queued again.  False: that was the last attempt, or somebody else was faster.
    """
    again = item.attempts < settings.ITEM_ATTEMPTS
    to = ItemStatus.QUEUED if again else ItemStatus.FAILED
    with transaction.atomic():
        if not _mine(item).update(status=to, lease=None, changed=now()):
            return False
        if again:
            log.warning("item is tried again", item=str(item), attempts=item.attempts, error=error)
            ask_for_score(item)
            return True
    evaluation = _evaluation(item.evaluation_id)
    fail(evaluation.submission, error=error, during=f"the scoring of {item.target}")
    return False


@transaction.atomic
def fail(submission: Submission, *, error: BaseException | None, during: str) -> None:
    """End a submission for a reason of ours: an incident in the log, its number for the team.

    What has ended already stays as it is.  The error's text may name the truth: log only.
    """
    incident = secrets.token_hex(4)
    log.error("submission failed", submission=submission.pk, incident=incident, during=during,
              exc_info=error)  # fmt: skip
    for evaluation in submission.evaluations.filter(status__in=Evaluation.LIVE):
        evaluation.advance(Status.FAILED, finished=now())
    submission.refresh_from_db()
    if submission.is_live:
        submission.advance(
            Submission.Status.FAILED, blame=Blame.SYSTEM, quota_used=False, incident=incident,
            message=f"Something broke on our side during {during} (incident {incident}).",
            note=incident,
        )  # fmt: skip


def cancel(submission: Submission) -> None:
    """Stop what is under way; jobs that come later find nothing to do."""
    for evaluation in submission.evaluations.filter(status__in=Evaluation.LIVE):
        evaluation.advance(Status.CANCELLED, finished=now())


def progress(evaluation: Evaluation) -> list[dict[str, Any]]:
    """Per label {"label", "kind", "done", "total", "score"}: a first value, then the final one."""
    items = list(evaluation.items.all())
    done = [i for i in items if i.status == ItemStatus.SCORED]
    scored = {i.target: i.score for i in done if i.score}
    scores = evaluation.labels or scoring.first_values(scored, rules(evaluation))
    return [
        {
            "label": label["name"],
            "kind": label["kind"],
            "done": sum(i.label == label["name"] for i in done),
            "total": sum(i.label == label["name"] for i in items),
            "score": scores.get(label["name"], {}).get("score"),
        }
        for label in evaluation.truth.labels
    ]


def _evaluation(key: int) -> Evaluation:
    rows = Evaluation.objects.select_related(
        "truth", "protocol", "submission__upload", "submission__phase__challenge"
    )
    return rows.get(pk=key)


def _claim(evaluation: Evaluation, target: str) -> Item | None:
    """Take an item that waits, or whose holder gives no sign of life.  None: nothing to take."""
    free = Q(status=ItemStatus.QUEUED) | Q(status=ItemStatus.SCORING, lease__lt=now())
    item = Item.objects.filter(free, evaluation=evaluation, target=target)
    taken = item.filter(attempts__lt=settings.ITEM_ATTEMPTS).update(
        status=ItemStatus.SCORING, attempts=F("attempts") + 1, worker=socket.gethostname(),
        lease=_lease(), changed=now(),
    )  # fmt: skip
    if not taken:
        return None
    _show_scoring(evaluation)
    return Item.objects.get(evaluation=evaluation, target=target)


def _show_scoring(evaluation: Evaluation) -> None:
    """The first item to begin moves the evaluation and the submission with it."""
    if evaluation.status == Status.QUEUED:
        with transaction.atomic():
            submission = evaluation.submission
            if evaluation.advance(Status.SCORING) and submission.status == "queued":
                submission.advance(Submission.Status.SCORING)


def _lease() -> datetime:
    return now() + timedelta(seconds=settings.ITEM_LEASE_S)


def _mine(item: Item) -> QuerySet[Item]:
    """The item's row, unless it was released or taken by a later attempt."""
    rows = Item.objects.filter(pk=item.pk, status=ItemStatus.SCORING)
    return rows.filter(attempts=item.attempts)


@contextmanager
def _kept(item: Item) -> Iterator[None]:
    """Extend the item's lease from a thread while the block runs."""
    over = threading.Event()

    def beat() -> None:
        try:
            while not over.wait(settings.ITEM_LEASE_S / 4):
                _mine(item).update(lease=_lease())
        finally:
            connections.close_all()  # this thread's own

    thread = threading.Thread(target=beat, name="heartbeat", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
