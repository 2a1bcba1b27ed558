"""Who stands where in a phase: one query, overall or by one label.

A team's row is its best submission under the phase's present truth and protocol.  Scores that agree
to six decimals share a rank, and the next rank is skipped (1, 2, 2, 4); time breaks no tie.
Reference entries of the organisers stand among the others without a rank.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db.models import Count, Exists, F, FloatField, OuterRef, QuerySet, Window
from django.db.models.fields.json import KeyTransform
from django.db.models.functions import Cast, RowNumber

from server.accounts.models import Team
from server.challenges.models import Phase
from server.submissions.models import Evaluation

DECIMALS = 6


@dataclass(frozen=True, slots=True)
class Standing:
    """A row of the board as one viewer may see it.

    rank: None for a reference entry, and where the viewer may not know the others.
    score, instance, semantic: None where the viewer may not know them; the latter two also where
    the challenge has no labels of that kind, and on the board of one label.
    own: an entry of the viewer's.  entries: scored submissions the row is the best of.
    """

    rank: int | None
    team: str
    slug: str
    method: str
    score: float | None
    instance: float | None
    semantic: float | None
    submitted: datetime
    baseline: bool
    own: bool
    entries: int
    submission: int


@dataclass(frozen=True, slots=True)
class Board:
    """The standings of a phase.  label: empty for the overall score.

    ranked: the viewer sees the whole order.  scored: the viewer sees everybody's scores.
    """

    phase: Phase
    label: str
    rows: tuple[Standing, ...]
    ranked: bool
    scored: bool


def board(phase: Phase, *, viewer: Any, label: str = "") -> Board:
    """The standings of a phase as a viewer may see them, best first."""
    others = phase.sight(viewer, own=False)
    mine = set(Team.objects.of(viewer).values_list("pk", flat=True))
    best: list[Any] = list(best_evaluations(phase, label=label))  # annotated with their score
    ranks = ranked((row.score, row.submission.team.baseline) for row in best)
    rows = [
        _standing(row, rank if others.entry else None, viewer=viewer, mine=mine, label=label)
        for row, rank in zip(best, ranks, strict=True)
    ]
    seen = tuple(row for row in rows if row is not None)
    return Board(phase, label, seen, ranked=others.entry, scored=others.scores)


def best_evaluations(phase: Phase, *, label: str = "") -> QuerySet[Evaluation]:
    """Each team's best evaluation with its `score` and the number of its `entries`, best first."""
    score = Cast(KeyTransform("score", KeyTransform(label, "labels")), FloatField())
    current = Evaluation.objects.filter(
        submission__phase=phase,
        truth=phase.truth,
        protocol=phase.protocol,
        status=Evaluation.Status.SCORED,
    )
    newer = current.filter(submission=OuterRef("submission"), pk__gt=OuterRef("pk"))
    team = [F("submission__team")]
    return (
        current.filter(~Exists(newer))
        .annotate(score=score if label else F("overall"))
        .filter(score__isnull=False)
        .annotate(
            place=Window(
                RowNumber(), partition_by=team,
                order_by=[F("score").desc(), F("submission__created").asc(), F("pk").asc()],
            ),
            entries=Window(Count("pk"), partition_by=team),
        )
        .filter(place=1)
        .select_related("submission__team", "submission__phase")
        .defer("result", "labels", "timings", "submission__report")
        .order_by(F("score").desc(), "submission__created", "pk")
    )  # fmt: skip


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


def _standing(
    row: Any, rank: int | None, *, viewer: Any, mine: set[int], label: str
) -> Standing | None:
    """One row of the board; None if the viewer may not know of it."""
    submission, team = row.submission, row.submission.team
    own = team.pk in mine
    sight = submission.phase.sight(viewer, own=own)
    if not sight.entry:
        return None
    return Standing(
        rank=rank, team=team.name, slug=team.slug, method=submission.method,
        score=sight.number(row.score),
        instance=None if label else sight.number(row.instance),
        semantic=None if label else sight.number(row.semantic),
        submitted=submission.created, baseline=team.baseline, own=own,
        entries=row.entries, submission=submission.pk,
    )  # fmt: skip
