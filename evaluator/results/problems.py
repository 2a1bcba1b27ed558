"""What a check found, as lines for a terminal: grouped, the worst first, each step said once."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from evaluator.report import EFFECTS, Group, grouped

SHOWN = 8  # of one group, unless all are asked for


def problem_lines(report: dict[str, Any], *, whole: bool = False) -> list[str]:
    """A report (as JSON) as lines; its verdict comes last.  whole: never "and 12 more"."""
    lines = [line for group in grouped(report["problems"]) for line in _group(group, whole=whole)]
    return [*lines, verdict(report)]


def verdict(report: dict[str, Any]) -> str:
    """`accepted: 5 ok, 1 missing, 0 unreadable of 6 targets`."""
    found = list(report["targets"].values())
    counted = ", ".join(f"{found.count(s)} {s}" for s in ("ok", "missing", "unreadable"))
    said = "accepted" if report["accepted"] else "rejected"
    return f"{said}: {counted} of {len(found)} targets"


def _group(group: Group, *, whole: bool) -> Iterator[str]:
    """`counts as worst: wrong_shape (2)`, then a line for each, then what to do."""
    width = max(map(len, EFFECTS.values()))
    number = len(group.problems)
    yield f"{group.effect:>{width}}  {group.code}{f' ({number})' if number > 1 else ''}"
    shown = group.problems if whole else group.problems[:SHOWN]
    for problem in shown:
        yield f"{'':{width}}  {problem['message']}"
    if number > len(shown):
        yield f"{'':{width}}  and {number - len(shown)} more; --json has all of them"
    steps = group.steps
    for step in steps[:SHOWN] if not whole else steps:
        yield f"{'':{width}}  → {step}"
