"""Who stands where in a phase, as one viewer may see it: overall or by one label."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from server.accounts.models import Team
from server.challenges.models import Edition, Phase, ProtocolVersion, TruthVersion
from server.submissions.ranking import ranked, standing


@dataclass(frozen=True, slots=True)
class Standing:
    """A row of the board as one viewer may see it.

    rank: None for a reference entry, and where the viewer may not know the others.
    score, instance, semantic: None where the viewer may not know them; the latter two also where
    the challenge has no labels of that kind, and on the board of one label.
    own: an entry of the viewer's.  entries: scored submissions the row was selected from.
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

    edition: the one it shows; None for the present one.  truth, protocol: what it was made under.
    ranked: the viewer sees the whole order.  scored: the viewer sees everybody's scores.
    """

    phase: Phase
    edition: Edition | None
    label: str
    rows: tuple[Standing, ...]
    ranked: bool
    scored: bool

    @property
    def truth(self) -> TruthVersion:
        """The truth its scores were made against."""
        return (self.edition or self.phase).truth

    @property
    def protocol(self) -> ProtocolVersion:
        """The rules its scores were made by."""
        return (self.edition or self.phase).protocol


def board(phase: Phase, *, viewer: Any, label: str = "", edition: Edition | None = None) -> Board:
    """The standings of a phase as a viewer may see them, best first."""
    others = phase.sight(viewer, own=False)
    mine = set(Team.objects.of(viewer).values_list("pk", flat=True))
    rows: list[Any] = list(standing(phase, edition=edition, label=label))  # annotated
    ranks = ranked((row.score, row.submission.team.baseline) for row in rows)
    shown = [
        _standing(row, rank if others.entry else None, viewer=viewer, mine=mine, label=label)
        for row, rank in zip(rows, ranks, strict=True)
    ]
    seen = tuple(row for row in shown if row is not None)
    return Board(phase, edition, label, seen, ranked=others.entry, scored=others.scores)


def _standing(
    row: Any, rank: int | None, *, viewer: Any, mine: set[int], label: str
) -> Standing | None:
    """One row of the board; None if the viewer may not know of it."""
    submission, team = row.submission, row.submission.team
    own = team.pk in mine
    sight = submission.phase.sight(viewer, own=own)
    if not sight.entry or (label and not sight.labels):
        return None
    return Standing(
        rank=rank, team=team.name, slug=team.slug, method=submission.method,
        score=sight.number(row.score),
        instance=None if label else sight.of_label(row.instance),
        semantic=None if label else sight.of_label(row.semantic),
        submitted=submission.created, baseline=team.baseline, own=own,
        entries=row.entries, submission=submission.pk,
    )  # fmt: skip
