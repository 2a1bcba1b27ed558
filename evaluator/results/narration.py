"""An explanation told on a terminal, and written into a folder."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from rich.console import Console

from evaluator.errors import EvaluatorError
from evaluator.journal import write_whole
from evaluator.manifest import Kind
from evaluator.protocol import rules
from evaluator.results.explain import (
    Explanation,
    Objects,
    collision_sheet,
    group_sheet,
    object_sheet,
    pair_sheet,
    plane_errors,
    plane_sheet,
)
from evaluator.results.montage import draw, save
from evaluator.results.tables import Sheet, print_sheet, shown
from evaluator.scores import Status, label_score

MOST = 10  # rows of each table on the terminal; the files hold them all


def print_explanation(told: Explanation, console: Console) -> None:
    """Print what was scored and the worst of it."""
    for line in summary(told):
        console.print(line, markup=False, soft_wrap=True)
    for title, sheet in sheets(told):
        if told.objects is None:
            sheet = _worst_rows(sheet)
        if sheet.rows:
            more = f", the first {MOST} of {len(sheet.rows)}" if len(sheet.rows) > MOST else ""
            console.print(f"\n{title}{more}", markup=False)
            print_sheet(Sheet(sheet.columns, sheet.rows[:MOST]), console)


def write_explanation(told: Explanation, folder: Path) -> Iterator[Path]:
    """Write every table as CSV and the montage as PNG; their paths.  Raises EvaluatorError."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise EvaluatorError(f"{folder} cannot be made: {error.strerror}.") from error
    for title, sheet in sheets(told):
        path = folder / f"{title.replace(' ', '-')}.csv"
        write_whole(path, sheet.to_csv())
        yield path
    save(draw(told), folder / "montage.png")
    yield folder / "montage.png"


def sheets(told: Explanation) -> Iterator[tuple[str, Sheet]]:
    """Every table with its title, the worst rows first."""
    if told.objects is None:
        for axis, name in enumerate("zyx"):
            yield f"planes along {name}", plane_sheet(told, axis)
        return
    objects = told.objects
    farthest = sorted(objects.pairs, key=lambda pair: -pair.hausdorff_nm)
    yield "pairs by overlap", pair_sheet(objects.pairs)
    yield "pairs by distance", pair_sheet(farthest)
    yield "missed", object_sheet(objects.missed, named="truth")
    yield "false", object_sheet(objects.false, named="pred")
    yield "split", group_sheet(objects.splits, named="truth")
    yield "merged", group_sheet(objects.merges, named="pred")
    if objects.collided:
        yield "collided", collision_sheet(objects.collided)


def summary(told: Explanation) -> Iterator[str]:
    """The target's score and its counts, in lines."""
    score = told.score
    row = label_score(told.target.label, score.sums)
    yield f"{score.path} ({told.target.label.kind}) is {score.status}: score {shown(row['score'])}"
    if told.reason:
        yield f"It cannot be read: {told.reason}"
    elif score.status == Status.MISSING:
        yield "The submission holds no array for it, so everything is missed."
    if told.target.label.kind == Kind.SEMANTIC or told.objects is None:
        fp, fn, tp = (int(part.sum()) for part in plane_errors(told, 0))
        yield f"voxels: {tp} right, {fp} false, {fn} missed; IoU {shown(row['iou'])}"
    else:
        yield from _counted(told.objects, row["f1"], row["hausdorff_score"])
    for name in score.quirks:
        yield f"changed by {name}: {rules().get(name, '')}"
    if score.beside:
        beside = label_score(told.target.label, score.beside.sums)["score"]
        yield f"The protocol beside says {shown(beside)} ({score.beside.status})."


def _counted(objects: Objects, f1: float, distance: float) -> Iterator[str]:
    yield (
        f"objects: {len(objects.pairs)} matched, {len(objects.false)} false, "
        f"{len(objects.missed)} missed, {len(objects.splits)} split, {len(objects.merges)} merged; "
        f"F1 {shown(f1)}, distance score {shown(distance)}"
    )


def _worst_rows(sheet: Sheet) -> Sheet:
    """Planes with something wrong, the worst first."""
    wrong = [row for row in sheet.rows if row[1] or row[2]]
    return Sheet(sheet.columns, tuple(sorted(wrong, key=lambda row: -_wrong(row[1], row[2]))))


def _wrong(*counts: object) -> int:
    return sum(int(str(count)) for count in counts)
