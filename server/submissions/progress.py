"""How far a submission is: labels with their first values, its place in the queue, when it ends.

Cheap enough for everybody to ask every few seconds: `tag` reads no score.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django.db.models import Avg, Count, Max, Q, Sum
from django.utils.timezone import now

from server import queue, scoring
from server.submissions import evaluation, turns
from server.submissions.models import Evaluation, Item, Submission

RECENT = 50  # scores from which the present speed is taken
SCORE_QUEUES = (queue.SCORE, queue.SCORE_LARGE)
Status = Item.Status


@dataclass(frozen=True, slots=True)
class Standing:
    """How far an evaluation is.

    done, total: targets.  voxels_done, voxels: theirs.  position: how many targets of others are
    taken before its next one, as far as one can tell; None if none of its targets waits.
    eta_s: seconds until it ends; None if it has, or nothing was scored yet to judge by.
    """

    done: int
    total: int
    voxels_done: int
    voxels: int
    position: int | None
    eta_s: int | None


def labels(row: Evaluation) -> list[dict[str, Any]]:
    """Per label {"label", "kind", "done", "total", "score"}: a first value, then the final one."""
    items = list(row.items.values_list("target", "label", "status", "score"))
    scores = row.labels or _first_values(row, items)
    return [
        {
            "label": label["name"],
            "kind": label["kind"],
            "done": sum(i[1] == label["name"] and i[2] == Status.SCORED for i in items),
            "total": sum(i[1] == label["name"] for i in items),
            "score": scores.get(label["name"], {}).get("score"),
        }
        for label in row.truth.labels
    ]


def standing(row: Evaluation) -> Standing:
    """Where an evaluation stands at this moment."""
    scored = Q(status=Status.SCORED)
    sums = row.items.aggregate(
        total=Count("pk"), done=Count("pk", filter=scored),
        size=Sum("voxels"), size_done=Sum("voxels", filter=scored),
        waiting=Count("pk", filter=Q(status=Status.QUEUED)),
    )  # fmt: skip
    voxels, voxels_done = sums["size"] or 0, sums["size_done"] or 0
    live = row.status in Evaluation.LIVE
    before = _before(row, rounds=sums["waiting"]) if live else _Before(0, 0)
    first = _before(row, rounds=1) if live and sums["waiting"] else None
    eta = _seconds(voxels - voxels_done + before.voxels) if live else None
    position = first.targets if first else None
    return Standing(sums["done"], sums["total"], voxels_done, voxels, position, eta)


def tag(submission: Submission) -> str:
    """Changes whenever what is to be told of a submission may have; from counts and times alone."""
    row = submission.evaluation
    parts: list[object] = [submission.pk, submission.status, submission.changed.timestamp()]
    if row is not None:
        scored = Q(status=Status.SCORED)
        sums = row.items.aggregate(done=Count("pk", filter=scored), last=Max("changed"))
        last = sums["last"].timestamp() if sums["last"] else 0
        parts += [row.pk, row.status, sums["done"], last]
        if row.status == Evaluation.Status.QUEUED:
            parts.append(_before(row, rounds=1).targets)
    return "-".join(map(str, parts))


@dataclass(frozen=True, slots=True)
class _Before:
    """What is taken before some targets of an evaluation: how many targets, and their voxels."""

    targets: int
    voxels: int


def _before(row: Evaluation, *, rounds: int) -> _Before:
    """What the turns of others come before the next `rounds` targets of an evaluation.

    Teams take turns, so each other team gets as many targets as this one, or all of its own if
    those are fewer; and of the own team the older evaluations come first.
    """
    waiting = turns.waiting(SCORE_QUEUES, at=now())
    team = row.submission.team_id
    same = waiting.filter(background=row.background)
    own = _sums(same.filter(team=team, evaluation__lt=row.pk))
    urgent = _sums(waiting.filter(background=False)) if row.background else _Before(0, 0)
    turns_needed = rounds + own.targets
    others = same.exclude(team=team).order_by().values("team")
    targets, voxels = own.targets + urgent.targets, own.voxels + urgent.voxels
    for other in others.annotate(number=Count("pk"), mean=Avg("voxels")):
        number = min(other["number"], turns_needed)
        targets += number
        voxels += round(number * other["mean"])
    return _Before(targets, voxels)


def _sums(rows: Any) -> _Before:
    sums = rows.aggregate(number=Count("pk"), voxels=Sum("voxels"))
    return _Before(sums["number"], sums["voxels"] or 0)


def _seconds(voxels: int) -> int | None:
    """How long so many voxels take at the speed of the last scores, by all that score now."""
    done = Item.objects.filter(status=Status.SCORED, reused=False, seconds__gt=0)
    recent = done.order_by("-changed").values_list("voxels", "seconds")[:RECENT]
    if not recent:
        return None
    per_voxel = sum(seconds or 0.0 for _, seconds in recent) / sum(size for size, _ in recent)
    busy = Item.objects.filter(status=Status.SCORING).count()
    return round(voxels * per_voxel / max(1, busy))


def _first_values(row: Evaluation, items: list[tuple[str, str, str, Any]]) -> dict[str, Any]:
    scored = {target: score for target, _, status, score in items if status == Status.SCORED}
    return scoring.first_values(scored, evaluation.rules(row))
