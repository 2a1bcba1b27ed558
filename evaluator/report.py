"""What a check of a submission found."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

REJECT, UNSCORED, IGNORED = "reject", "unscored", "ignored"
OK, MISSING, UNREADABLE = "ok", "missing", "unreadable"


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing wrong with a submission.

    code: for programs.  severity: "reject" (nothing can be scored), "unscored" (this target counts
    as worst), "ignored" (nothing is lost by it).  message: what came and what was expected, in a
    sentence.  remedy: the next step.
    """

    code: str
    severity: str
    message: str
    remedy: str
    crop: str | None = None
    label: str | None = None


@dataclass(frozen=True, slots=True)
class Report:
    """What a check found.  targets: "ok", "missing" or "unreadable" by path (`crop557/mito`)."""

    problems: tuple[Problem, ...]
    targets: Mapping[str, str]

    @property
    def accepted(self) -> bool:
        """True if the archive can be scored, even if some of its targets count as worst."""
        return not any(problem.severity == REJECT for problem in self.problems)

    def to_json(self) -> dict[str, Any]:
        """The report as JSON values."""
        return {
            "accepted": self.accepted,
            "problems": [asdict(problem) for problem in self.problems],
            "targets": dict(self.targets),
        }
