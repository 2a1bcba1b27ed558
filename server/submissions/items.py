"""The work on one target: read the prediction, look its score up, compute it if nobody has.

This process supervises: it asks the stages, which run in processes of their own, and is the only
one that writes to the database.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import structlog
from django.conf import settings
from django.db import InterfaceError, OperationalError, connections
from django.utils.timezone import now

from server import interruption, queue, scoring, stages
from server.submissions import evaluation, leases, storage, turns
from server.submissions.models import Blame, Evaluation, Item, ItemScore

WRITE_PAUSES_S = (0.5, 1, 2, 5, 10, 20, 30)
log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Found:
    """A target's score, and the content of the prediction it belongs to.

    reused: it was computed before, for this content.  seconds: this work took.
    """

    score: dict[str, Any]
    content: str
    reused: bool
    seconds: float


def work() -> None:
    """Job: score the target whose turn it is; nothing if none waits."""
    item = turns.claim(queue.taken())
    if item is not None:
        turns.top_up()
        work_on(item)


def work_on(item: Item) -> None:
    """Score a target that this process holds.  However that ends, its row says so."""
    try:
        row = evaluation.loaded(item.evaluation_id)
        evaluation.begin(row)
        with leases.kept(leases.held(item), seconds=_longest(item)):
            found = find_score(item, row)
    except interruption.Interrupted:
        _return(item)
    except stages.StageDied as death:
        log.warning("a stage died", item=item.pk, stage=death.stage, reason=death.reason,
                    trace=death.trace)  # fmt: skip
        end(item, trouble=str(death), died=death.reason != stages.LOST)
    except stages.StageRefused as refusal:
        end(item, trouble=refusal.sentence, blame=_blame(refusal))
    except Exception as error:  # whatever it is, the row must not stay held; then it is seen
        end(item, trouble=f"{type(error).__name__}: {error}")
        raise
    else:
        _write(item, found)
        evaluation.settle(row)


def end(item: Item, *, trouble: str, died: bool = False, blame: str = Blame.NOBODY) -> str | None:
    """Take a target back from work that came to nothing, and look whether all is done.

    Its new status; None if it was taken back already.
    """
    to = leases.take_back(item, trouble=trouble, died=died, blame=blame)
    if to == Item.Status.QUEUED:
        turns.top_up()
    elif to is not None:
        item.refresh_from_db()
        row = evaluation.loaded(item.evaluation_id)
        if to == Item.Status.QUARANTINED:
            evaluation.tell_of_quarantine(item, row)
        evaluation.settle(row)
    return to


def horse_died(pid: int) -> None:
    """Called in a worker whose child was killed: what the child held goes to another."""
    for item in Item.objects.filter(status=Item.Status.SCORING):
        if leases.was_held_by(item, pid):
            end(item, trouble="the process that supervised it was killed", died=True)


def find_score(item: Item, row: Evaluation) -> Found:
    """The score of the target: known for this content, or computed now.

    Raises StageDied, StageRefused, Interrupted, and what storage raises.
    """
    began = time.monotonic()
    rules = evaluation.rules(row)
    _refuse_other_rules(row)
    content = known_content(item, row)
    score = _known_score(item, row, content) if content else None
    if score is None:
        with stages.scratch(settings.SCRATCH_DIR / "stages") as folder:
            with interruption.interruptible(), storage.local(row.submission.upload) as path:
                ingested = stages.ingest(item.target, path, rules, into=folder)
            content = ingested.content
            score = _known_score(item, row, content)
            if score is None:
                with interruption.interruptible():
                    score = stages.score(item.target, ingested, rules)
                seconds = round(time.monotonic() - began, 3)
                _patiently(lambda: _keep(item, row, content, score, seconds))
                return Found(score, content, reused=False, seconds=seconds)
    return Found(score, content, reused=True, seconds=round(time.monotonic() - began, 3))


def known_content(item: Item, row: Evaluation) -> str:
    """What this very upload was found to hold for the target before; "" if nobody has looked.

    Only where all else that decides it is equal: protocol, evaluator, grid.
    """
    earlier = Item.objects.filter(
        evaluation__submission=row.submission_id, evaluation__protocol=row.protocol_id,
        evaluation__evaluator=row.evaluator, target=item.target,
    ).exclude(content="")  # fmt: skip
    key = scoring.ingest_key(item.target, evaluation.rules(row))
    for other in earlier.select_related("evaluation__truth", "evaluation__protocol"):
        if scoring.ingest_key(item.target, evaluation.rules(other.evaluation)) == key:
            return other.content
    return ""


def key_of(item: Item, row: Evaluation, content: str) -> str:
    """The key of the score of this content under the evaluation's rules."""
    truth = row.truth.digests[item.target]
    return scoring.score_key(item.target, content, truth, evaluation.rules(row))


def _known_score(item: Item, row: Evaluation, content: str) -> dict[str, Any] | None:
    known = ItemScore.objects.filter(key=key_of(item, row, content))
    return known.values_list("score", flat=True).first()


def _keep(item: Item, row: Evaluation, content: str, score: dict[str, Any], seconds: float) -> None:
    """Store a score under its key; a twin that was faster stored the same."""
    ItemScore.objects.get_or_create(
        key=key_of(item, row, content),
        defaults={
            "target": item.target, "content": content, "score": score, "seconds": seconds,
            "truth_digest": row.truth.digests[item.target], "protocol": row.protocol,
            "evaluator": row.evaluator,
        },
    )  # fmt: skip


def _write(item: Item, found: Found) -> None:
    """The score into the target's row, unless it was taken back meanwhile."""
    fields = {
        "status": Item.Status.SCORED, "score": found.score, "content": found.content,
        "reused": found.reused, "seconds": found.seconds, "lease": None, "trouble": "",
        "changed": now(),
    }  # fmt: skip
    _patiently(lambda: leases.held(item).update(**fields))


def _patiently(write: Callable[[], Any]) -> None:
    """Write a finished score although the database is away for a minute."""
    for pause in WRITE_PAUSES_S:
        try:
            write()
            return
        except (OperationalError, InterfaceError) as error:
            log.warning("the database is away", error=str(error))
            connections.close_all()
            time.sleep(pause)
    write()


def _return(item: Item) -> None:
    """Give a target back: without a trace if we were asked to, as an attempt if we were orphaned.

    An item that brings down workers would otherwise be tried for ever.
    """
    if interruption.orphaned():
        leases.take_back(item, trouble="the worker was killed")
    else:
        leases.give_back(item)
    turns.top_up()


def _longest(item: Item) -> float:
    """Seconds that the work on a target may take in all: its stages' limits, and fetching."""
    return 2 * stages.limits_for(item.voxels).seconds + 600


def _blame(refusal: stages.StageRefused) -> str:
    return Blame.SYSTEM if refusal.blame == "system" else Blame.ORGANISER


def _refuse_other_rules(row: Evaluation) -> None:
    if scoring.protocol_rules(row.protocol.name)[1] != row.protocol.digest:
        raise stages.StageRefused(
            "score", "organiser",
            f"The installed evaluator has other rules for {row.protocol.name} than those this "
            "evaluation was begun under. Install that evaluator, or re-score the phase.",
        )  # fmt: skip
