"""Which submission of each team stands on a phase's board, and in which order: one query.

The phase says which: the best, the last, or the one the team chose (the last of a team that chose
none).  What was disqualified never stands.  Scores that agree to six decimals share a rank, and the
next rank is skipped (1, 2, 2, 4); time breaks no tie.  Reference entries have no rank.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from django.db.models import Count, Exists, F, FloatField, OuterRef, Q, QuerySet, Window
from django.db.models.fields.json import KeyTransform
from django.db.models.functions import Cast, RowNumber

from server.challenges.editions import IN_PREPARATION, successor
from server.challenges.models import Edition, Phase, Selection
from server.submissions.models import Evaluation

DECIMALS = 6
NEWEST = (F("submission__created").desc(), F("submission").desc())
FIRST_OF_TEAM: dict[str, tuple[Any, ...]] = {
    Selection.BEST: (F("score").desc(), F("submission__created").asc(), F("pk").asc()),
    Selection.LAST: NEWEST,
    Selection.CHOSEN: (F("submission__chosen").desc(), *NEWEST),
}


def standing(
    phase: Phase, *, edition: Edition | None = None, label: str = ""
) -> QuerySet[Evaluation]:
    """Each team's evaluation on the board with its `score` and `entries`, best first.

    edition: None for the present one.  label: "" for the overall score.  entries: how many of the
    team's submissions it was selected from.
    """
    score = Cast(KeyTransform("score", KeyTransform(label, "labels")), FloatField())
    scored = in_edition(phase, edition).filter(status=Evaluation.Status.SCORED)
    newer = scored.filter(submission=OuterRef("submission"), pk__gt=OuterRef("pk"))
    team = [F("submission__team")]
    return (
        scored.filter(~Exists(newer), submission__disqualified="")
        .annotate(score=score if label else F("overall"))
        .filter(score__isnull=False)
        .annotate(
            place=Window(
                RowNumber(), partition_by=team, order_by=FIRST_OF_TEAM[phase.selection]
            ),
            entries=Window(Count("pk"), partition_by=team),
        )
        .filter(place=1)
        .select_related("submission__team", "submission__phase")
        .defer("result", "labels", "timings", "submission__report")
        .order_by(F("score").desc(), "submission__created", "pk")
    )  # fmt: skip


def in_edition(phase: Phase, edition: Edition | None = None) -> QuerySet[Evaluation]:
    """All evaluations that belong to an edition of a phase; None: to the present one.

    Of a replaced one those that were made before it was, so that its board stays as it was.
    """
    rows = Evaluation.objects.filter(submission__phase=phase)
    if edition is None:
        return rows.filter(truth=phase.truth, protocol=phase.protocol, background=False)
    if edition.state in (*IN_PREPARATION, Edition.State.DISCARDED):
        return rows.filter(edition=edition)
    rows = rows.filter(truth=edition.truth, protocol=edition.protocol, background=False)
    rows = rows.filter(Q(edition=None) | Q(edition__number__lte=edition.number))
    after = successor(edition)
    return rows.filter(created__lt=after.published) if after else rows


def ranked(entries: Iterable[tuple[float, bool]]) -> list[int | None]:
    """Ranks of (score, baseline) pairs that come best first; None for a baseline."""
    ranks: list[int | None] = []
    place, rank, last = 0, 0, None
    for score, baseline in entries:
        if baseline:
            ranks.append(None)
            continue
        place += 1
        if (rounded := round(score, DECIMALS)) != last:
            rank, last = place, rounded
        ranks.append(rank)
    return ranks
