"""What one viewer may see of one team's entries in a phase: the answer that every page asks for."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Sight:
    """What one viewer may see of one team's entries in a phase.

    entry: that it stands on the board: rank, team, method, date.
    scores: its overall score.  labels: what is seen of it is seen for each label, too.
    targets: its score per target, too.  result: everything, down to the sums of each target.
    digits: decimals of the scores shown; None for all of them.
    """

    entry: bool
    scores: bool
    result: bool
    labels: bool = True
    targets: bool = False
    digits: int | None = None

    def number(self, score: float | None) -> float | None:
        """The overall score as this viewer may see it."""
        if score is None or not self.scores:
            return None
        return score if self.digits is None else round(score, self.digits)

    def of_label(self, score: float | None) -> float | None:
        """A label's score as this viewer may see it."""
        return self.number(score) if self.labels else None

    def of_target(self, score: float | None) -> float | None:
        """A target's score as this viewer may see it."""
        return self.number(score) if self.targets else None


EVERYTHING = Sight(entry=True, scores=True, result=True, targets=True)
NOTHING = Sight(entry=False, scores=False, result=False, labels=False)
