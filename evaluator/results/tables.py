"""Results as tables: for a terminal, and as CSV that no spreadsheet takes for formulas."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from evaluator.manifest import Kind
from evaluator.protocol import PROTOCOLS, Protocol, differences, rules
from evaluator.results.saved import PARTS, Saved
from evaluator.scores import Status

Cell = str | int | float | None
FORMULA = ("=", "+", "-", "@")
SHORT = {"hausdorff_score": "hd_score", "hausdorff_nm": "hd_nm"}
COUNTS = ("tp", "fp", "fn")
MAIN = (
    "score", "iou", "dice", "f1", "pq", "mean_iou", "hausdorff_score", "hausdorff_nm", *COUNTS,
)  # fmt: skip
NARROW = ("score", "iou", "f1", "pq", "hausdorff_score")


@dataclass(frozen=True, slots=True)
class Sheet:
    """A table: names of columns, and rows of as many cells.  None is a value that is not there."""

    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]

    def to_csv(self) -> str:
        """Comma-separated values; numbers in full, what is not there empty."""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(self.columns)
        writer.writerows([_inert(cell) for cell in row] for row in self.rows)
        return text.getvalue()

    def to_json(self) -> list[dict[str, Cell]]:
        """A dictionary per row, by the names of the columns; null for what is not there."""
        return [dict(zip(self.columns, row, strict=True)) for row in self.rows]

    def to_rich(self) -> Table:
        """For a terminal: numbers on the right, ratios at four digits."""
        table = Table()
        for index, name in enumerate(self.columns):
            number = any(isinstance(row[index], int | float) for row in self.rows)
            table.add_column(
                escape(SHORT.get(name, name)),
                justify="right" if number else "left",
                no_wrap=number or index == 0,
            )
        for row in self.rows:
            table.add_row(*(escape(shown(cell)) for cell in row))
        return table


def shown(cell: Cell) -> str:
    """A cell for people: ratios at four digits, – for what is not there."""
    if cell is None:
        return "–"
    return f"{cell:.4f}" if isinstance(cell, float) else str(cell)


def counted(number: int, what: str) -> str:
    """A number of things: "1 target", "2 targets"."""
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def label_sheet(result: Saved, *, names: Sequence[str] = ()) -> Sheet:
    """One row per label.  names: of the scores to tell; all of them if none are named."""
    first = next(iter(result.labels.values()), {})
    names = names or [*MAIN, *(name for name in first if name not in {*MAIN, "kind"})]
    beside = result.beside
    head = ("label", "kind", *names, *([beside["protocol"]] if beside else []))
    rows = []
    for label, row in sorted(result.labels.items()):
        cells: list[Cell] = [label, row["kind"], *(row.get(name) for name in names)]
        if beside:
            cells.append(beside["labels"].get(label, {}).get("score"))
        rows.append(tuple(cells))
    return Sheet(head, tuple(rows))


def target_sheet(result: Saved) -> Sheet:
    """One row per target: status, score, the rules with an effect, the protocol beside."""
    beside = result.beside
    head: tuple[str, ...] = ("target", "kind", "status", "score", "voxels")
    if beside:
        head = (*head, beside["protocol"], "changed by")
    rows: list[tuple[Cell, ...]] = []
    for row in result.rows:
        cells = (row.path, row.kind.value, row.status.value, row.score, row.voxels)
        told = row.beside
        rows.append((*cells, told, " ".join(row.quirks)) if beside else cells)
    return Sheet(head, tuple(rows))


def protocol_sheet() -> Sheet:
    """The protocols there are."""
    known = PROTOCOLS.values()
    return Sheet(
        ("protocol", "what it is", "told beside it"),
        tuple((p.name, p.summary, p.beside or None) for p in known),
    )


def difference_sheet(ours: Protocol, theirs: Protocol) -> Sheet:
    """The rules on which two protocols differ, with the reason for the sound choice."""
    return Sheet(
        ("rule", ours.name, theirs.name, "why"),
        tuple((d.rule, str(d.ours), str(d.theirs), d.why) for d in differences(ours, theirs)),
    )


def rule_sheet(protocol: Protocol) -> Sheet:
    """Every rule of a protocol."""
    return Sheet(
        ("rule", protocol.name, "why"),
        tuple((name, str(getattr(protocol, name)), why) for name, why in rules().items()),
    )


def print_sheet(sheet: Sheet, console: Console) -> None:
    """Print a table on a terminal."""
    console.print(sheet.to_rich())


def print_result(result: Saved, console: Console, *, targets: bool) -> None:
    """Print a result: a table of labels or targets, the overall scores, what it was made of."""
    names = NARROW if console.width < 120 else MAIN
    print_sheet(target_sheet(result) if targets else label_sheet(result, names=names), console)
    for line in summary(result, targets=targets):
        console.print(line, markup=False, soft_wrap=True)


def summary(result: Saved, *, targets: bool = False) -> Iterable[str]:
    """Lines below the table of a result."""
    yield _overall(result.values)
    if result.beside:
        yield f"{result.beside['protocol']} says  {_overall(result.beside)}"
    worst = [row for row in result.rows if row.status in (Status.MISSING, Status.UNREADABLE)]
    if not targets:
        for row in worst:
            yield f"{row.path} is {row.status} and counts as worst."
    for row in result.rows:
        if row.status == Status.SKIPPED:
            yield f"{row.path} is skipped: it is left out of the pool under this protocol."
    for kind in Kind:
        if result.values[kind] == 0 and kind not in {row["kind"] for row in result.labels.values()}:
            yield f"There is no {kind} label, which counts 0 here (rule absent_kind_is_zero)."
    if touched := [row for row in result.rows if row.quirks]:
        yield from _quirks(result, [row.quirks for row in touched], targets=targets)
    values = result.values
    yield f"protocol {values['protocol']}, evaluator {values['evaluator']}"
    yield f"sha256 {result.digest}"


def _quirks(result: Saved, found: list[tuple[str, ...]], *, targets: bool) -> Iterable[str]:
    protocol = result.values["protocol"]
    among = f"{len(found)} of {counted(len(result.rows), 'target')}"
    yield f"Rules of {protocol} that had an effect on {among}:"
    names = sorted({name for quirks in found for name in quirks})
    for name in names:
        yield f"  {name} ({sum(name in quirks for quirks in found)}): {rules().get(name, '')}"
    if not targets:
        yield "Which rule changed which target: evaluator show RESULT --targets"


def _overall(values: Any) -> str:
    return "  ".join(f"{part} {shown(values[part])}" for part in PARTS)


def _inert(cell: Cell) -> Cell:
    """A cell that a spreadsheet shows as it is, whatever its first characters."""
    if not isinstance(cell, str):
        return cell
    text = "".join(c if c.isprintable() else " " for c in cell)
    return f"'{text}" if text.lstrip().startswith(FORMULA) else text
