"""Two results of the same targets side by side: who won where, and by how much."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from evaluator.errors import EvaluatorError
from evaluator.results.html import Html, el, facts, page, table
from evaluator.results.saved import PARTS, Row, Saved
from evaluator.results.tables import Cell, Sheet, shown

SAME = 1e-12  # scores nearer than this are a tie: they differ by rounding at most


@dataclass(frozen=True, slots=True)
class Contest:
    """The scores of A and B for one target or label; None where one of them has none."""

    name: str
    kind: str
    a: float | None
    b: float | None
    note: str = ""

    @property
    def lead(self) -> float | None:
        """How far A is ahead; None without two scores."""
        return None if self.a is None or self.b is None else self.a - self.b

    @property
    def winner(self) -> str:
        """ "A", "B", "tie", or "" without two scores."""
        if self.lead is None:
            return ""
        if abs(self.lead) <= SAME:
            return "tie"
        return "A" if self.lead > 0 else "B"


@dataclass(frozen=True)
class Comparison:
    """A and B, contest by contest, the largest differences first."""

    a: Saved
    b: Saved
    labels: tuple[Contest, ...]
    targets: tuple[Contest, ...]


def compare(a: Saved, b: Saved) -> Comparison:
    """Who won where.  Raises EvaluatorError unless both were made of the same targets and truth."""
    for part, remedy in (
        ("manifest", "Score both with the same --manifest, --labels, --crops, --instance-classes."),
        ("truth", "Score both against the same truth."),
    ):
        if a.values[part] != b.values[part]:
            raise EvaluatorError(
                f"{a.name} and {b.name} cannot be compared: their {part} differs "
                f"({a.values[part][:12]}… and {b.values[part][:12]}…). {remedy}"
            )
    labels = [
        Contest(name, _kind(name, a, b), _label(name, a), _label(name, b))
        for name in sorted({*a.labels, *b.labels})
    ]
    rows = {row.path: row for row in a.rows}, {row.path: row for row in b.rows}
    targets = [
        _contest(path, *(side.get(path) for side in rows)) for path in sorted({*rows[0], *rows[1]})
    ]
    return Comparison(a, b, _sorted(labels), _sorted(targets))


def contest_sheet(contests: Iterable[Contest], *, named: str) -> Sheet:
    """Contests as a table.  named: what they are of."""
    rows: list[tuple[Cell, ...]] = [
        (c.name, c.winner, c.lead, c.a, c.b, c.kind, c.note) for c in contests
    ]
    return Sheet((named, "winner", "A - B", "A", "B", "kind", "note"), tuple(rows))


def comparison_lines(found: Comparison) -> Iterable[str]:
    """What is to be said beside the tables."""
    a, b = found.a, found.b
    for side, result in (("A", a), ("B", b)):
        scores = "  ".join(f"{part} {shown(result.values[part])}" for part in PARTS)
        yield f"{side} is {result.name}: {scores}"
    yield tally(found.labels, "labels")
    yield tally(found.targets, "targets")
    for key, what in (("protocol", "protocols"), ("evaluator", "versions of the evaluator")):
        if a.values[key] != b.values[key]:
            yield (
                f"They were scored by different {what}, {a.values[key]} and {b.values[key]}: "
                "a difference may come from the rules and not from the prediction."
            )
    if a.values["submission"] == b.values["submission"]:
        yield "Both score the same submission."


def tally(contests: Sequence[Contest], what: str) -> str:
    """How many were won, in a line."""
    won = [c.winner for c in contests]
    line = f"{what}: A wins {won.count('A')}, B wins {won.count('B')}, ties {won.count('tie')}"
    open_ = won.count("")
    return f"{line}, not comparable {open_}" if open_ else line


def comparison_page(found: Comparison) -> str:
    """The comparison as one HTML file that needs nothing else."""
    a, b = found.a, found.b
    lines = [el("li", line) for line in comparison_lines(found)]
    digests = [(f"result {side} (SHA-256)", r.digest) for side, r in (("A", a), ("B", b))]
    return page(
        f"{a.name} and {b.name}",
        el("ul", *lines),
        el("p", "In the plots, the dot is A's score and the ring is B's.", class_="soft"),
        el("h2", "Labels"),
        _plotted(found.labels, "label"),
        el("h2", "Targets"),
        _plotted(found.targets, "target"),
        el("h2", "Made of"),
        facts(
            [*digests, *((f"{part} (SHA-256)", a.values[part]) for part in ("manifest", "truth"))]
        ),
    )


def _plotted(contests: Sequence[Contest], named: str) -> Html:
    sheet = contest_sheet(contests, named=named)
    column = sheet.columns.index("A - B")
    marks = {(y, column): _pair(contest) for y, contest in enumerate(contests)}
    return table(sheet, called=f"Who won, by {named}", marks=marks)


def _pair(contest: Contest) -> Html:
    """The difference, and both scores on a line from 0 to 1."""
    if contest.a is None or contest.b is None or contest.lead is None:
        return Html("–")
    a, b = (f"{4 + 92 * max(0.0, min(1.0, score)):.2f}%" for score in (contest.a, contest.b))
    plot = el(
        "svg",
        el("line", x1="4%", x2="96%", y1="8", y2="8", class_="axis"),
        el("line", x1=a, x2=b, y1="8", y2="8", class_="link"),
        el("circle", cx=b, cy="8", r="4", class_="worst"),
        el("circle", cx=a, cy="8", r="4", class_="dot"),
        width="110", height="16", aria_hidden="true",
    )  # fmt: skip
    return el("span", el("b", f"{contest.lead:+.4f}"), plot, class_="bar")


def _sorted(contests: list[Contest]) -> tuple[Contest, ...]:
    """The largest lead of A first, the largest of B last, what cannot be compared at the end."""
    return tuple(sorted(contests, key=lambda c: (c.lead is None, -(c.lead or 0.0), c.name)))


def _kind(name: str, a: Saved, b: Saved) -> str:
    return str((a.labels.get(name) or b.labels[name])["kind"])


def _label(name: str, result: Saved) -> float | None:
    row = result.labels.get(name)
    return None if row is None else row["score"]


def _contest(path: str, a: Row | None, b: Row | None) -> Contest:
    kind = next(row.kind.value for row in (a, b) if row)
    notes = [
        f"{side}: {row.status if row else 'no such target'}"
        for side, row in (("A", a), ("B", b))
        if row is None or row.status != "scored"
    ]
    a_score, b_score = (row.score if row else None for row in (a, b))
    return Contest(path, kind, a_score, b_score, ", ".join(notes))
