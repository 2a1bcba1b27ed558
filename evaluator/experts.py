"""A folder of experts' masks: brought together, compared, written; the command `consensus`.

PARENT/expert1/mask1.png        one folder per expert, files of one name belong together
PARENT/expert1/mask2.tif        TIFF, PNG or Zarr; planes or stacks (Z, Y, X)
PARENT/expert2/mask1.png

OUT/staple/mask1.tif            the consensus by each method asked for
OUT/majority/mask1.tif
OUT/agreement.csv               each expert against each consensus, one row per file and label
"""

from __future__ import annotations

import csv
import enum
import io
import json
import re
from collections.abc import Sequence
from dataclasses import asdict, astuple, dataclass, fields
from pathlib import Path
from statistics import fmean
from typing import Annotated, Any

import numpy as np
import tifffile
import typer
from PIL import Image
from rich.console import Console
from rich.table import Table

from evaluator.consensus import ConsensusError, Votes, count_votes, fuse
from evaluator.errors import EvaluatorError, Unreadable
from evaluator.tiff import is_tiff, natural, open_stack
from evaluator.volume import ArrayPlanes, Planes, open_volume

MASK = re.compile(r"(\.ome)?\.(zarr|tiff?|png)$", re.IGNORECASE)
STRANGER = (
    0.5  # of the others' mean Dice among themselves: whoever reaches less has another picture
)


class Method(enum.StrEnum):
    """How votes become a consensus."""

    STAPLE = "staple"
    MAJORITY = "majority"
    BOTH = "both"

    @property
    def each(self) -> tuple[Method, ...]:
        """The methods this one means."""
        return (Method.STAPLE, Method.MAJORITY) if self == Method.BOTH else (self,)


@dataclass(frozen=True, slots=True)
class Agreement:
    """How one expert agrees with a consensus on one label of one file.

    voxels: the expert's.  dice, iou, sensitivity, specificity: against the consensus, 0 … 1; 1
    where there is nothing to agree on.  estimated_*: STAPLE's own, None for majority.
    dice_with_others: mean over the other experts; None if there are none.
    stranger: True if that is less than half of what the others reach among themselves.
    """

    file: str
    label: int
    expert: str
    method: str
    voxels: int
    dice: float
    iou: float
    sensitivity: float
    specificity: float
    estimated_sensitivity: float | None
    estimated_specificity: float | None
    dice_with_others: float | None
    stranger: bool


def find_masks(parent: Path) -> dict[str, dict[str, Path]]:
    """For each name of a mask, without suffix, the experts who drew it and their files.

    Raises EvaluatorError: fewer than two experts, no mask, one name twice.
    """
    if not parent.is_dir():
        raise EvaluatorError(f"There is no folder {parent}; expected one with a folder per expert.")
    experts = [path for path in natural(parent.iterdir()) if _is_expert(path)]
    if len(experts) < 2:
        raise EvaluatorError(
            f"{parent} holds {len(experts)} folders with masks; expected one for each of at least "
            "two experts, such as expert1/mask1.png and expert2/mask1.png."
        )
    found: dict[str, dict[str, Path]] = {}
    for expert in experts:
        for path in filter(_is_mask, natural(expert.iterdir())):
            masks = found.setdefault(MASK.sub("", path.name), {})
            if twin := masks.get(expert.name):
                raise EvaluatorError(
                    f"{expert.name} has two masks of one name: {twin.name} and {path.name}. "
                    "Keep one of them."
                )
            masks[expert.name] = path
    return found


def open_mask(path: Path) -> Planes:
    """A TIFF stack, a PNG or a Zarr array.  Raises Unreadable, naming the file."""
    if path.is_dir():
        return open_volume(path)
    if is_tiff(path):
        return open_stack(path)
    try:
        with Image.open(path) as picture:
            plane = np.asarray(picture)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise Unreadable(f"{path}: it cannot be read as a picture ({error}).") from error
    if plane.ndim == 3 and (plane[..., :3] == plane[..., :1]).all():
        plane = plane[..., 0]  # grey, saved in colours
    if plane.ndim != 2:
        raise Unreadable(f"{path}: it holds colours; expected one value per pixel.")
    return ArrayPlanes(plane[None])


def consensus(
    parent: Path, out: Path, *, method: Method = Method.BOTH, undecided: int = 0
) -> list[Agreement]:
    """Write the consensus of each mask and the table of agreement; return the table.

    A mask that only some experts drew is the consensus of these.  undecided: label of voxels whose
    votes are tied.  Raises EvaluatorError, naming expert and file.
    """
    rows: list[Agreement] = []
    for name, paths in find_masks(parent).items():
        try:
            masks = [open_mask(path) for path in paths.values()]
            votes = count_votes(masks)
            for way in method.each:
                labels = _decide(votes, way, undecided)
                _write(out / way / f"{name}.tif", masks, votes, labels)
                rows += compare(votes, labels, method=way, file=name, experts=list(paths))
        except ConsensusError as error:
            expert, path = list(paths.items())[error.expert]
            first = next(iter(paths))
            raise EvaluatorError(
                f"{expert}, file {path.name}: {error} The first mask of that name is {first}'s."
            ) from error
    (out / "agreement.csv").write_text(as_csv(rows), "utf-8")
    return rows


def compare(
    votes: Votes, decided: np.ndarray, *, method: Method, file: str, experts: Sequence[str]
) -> list[Agreement]:
    """A row for each label and expert.  decided: the consensus, one label for each pattern."""
    rows = []
    for label in votes.labels:
        said, true, counts = votes.patterns == label, decided == label, votes.counts
        pairs = _pairwise_dice(said, counts)
        found = votes.staple[label] if method == Method.STAPLE else None
        for expert, name in enumerate(experts):
            tp = int(counts[said[:, expert] & true].sum())
            fp = int(counts[said[:, expert] & ~true].sum())
            fn = int(counts[~said[:, expert] & true].sum())
            tn = int(counts.sum()) - tp - fp - fn
            others = np.delete(pairs[expert], expert)
            rows.append(Agreement(
                file, label, name, method, tp + fp,
                _ratio(2 * tp, 2 * tp + fp + fn), _ratio(tp, tp + fp + fn),
                _ratio(tp, tp + fn), _ratio(tn, tn + fp),
                float(found.sensitivity[expert]) if found else None,
                float(found.specificity[expert]) if found else None,
                float(others.mean()) if len(others) else None, _is_stranger(pairs, expert),
            ))  # fmt: skip
    return rows


def as_csv(rows: Sequence[Agreement]) -> str:
    """The table of agreement, ratios at 6 digits, what is not defined empty."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(field.name for field in fields(Agreement))
    writer.writerows([_cell(value) for value in astuple(row)] for row in rows)
    return text.getvalue()


def as_table(rows: Sequence[Agreement]) -> Table:
    """Each expert's means over the files, for reading."""
    columns = ("dice", "iou", "sensitivity", "specificity", "dice_with_others")
    table = Table("method", "label", "expert", "files")
    for column in columns:
        table.add_column(column.replace("_", " "), justify="right")
    for key in sorted({(row.method, row.label, row.expert) for row in rows}):
        mine = [row for row in rows if (row.method, row.label, row.expert) == key]
        values = [[getattr(row, column) for row in mine] for column in columns]
        table.add_row(*map(str, key), str(len(mine)), *map(_mean, values))
    return table


def register(app: typer.Typer) -> None:
    """Add the command `consensus`."""
    app.command(name="consensus")(_consensus)


def _consensus(
    parent: Annotated[Path, typer.Argument(help="Folder with one folder of masks per expert.")],
    out: Annotated[Path, typer.Option(help="Folder for the masks and agreement.csv.")],
    method: Annotated[Method, typer.Option(help="How votes are counted.")] = Method.BOTH,
    undecided: Annotated[
        int, typer.Option(min=0, max=65535, help="Label of voxels whose votes are tied.")
    ] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Print how they agree as JSON.")] = False,
) -> None:
    """Bring several experts' masks together, and say how far each of them agrees."""
    try:
        rows = consensus(parent, out, method=method, undecided=undecided)
    except OSError as error:  # a full disk, a file in the way, no permission
        place = error.filename or out
        raise EvaluatorError(f"{place} cannot be read or written: {error.strerror}.") from error
    if as_json:
        print(json.dumps([asdict(row) for row in rows], indent=1))
    else:
        _tell(rows, method, out)


def _tell(rows: Sequence[Agreement], method: Method, out: Path) -> None:
    """The table, what is odd in it, and where the masks are."""
    Console(width=110, highlight=False).print(as_table(rows))
    experts = {row.expert for row in rows}
    for file in sorted({row.file for row in rows}):
        if lacking := experts - {row.expert for row in rows if row.file == file}:
            print(f"{file}: no mask of {', '.join(sorted(lacking))}; the others decided.")
    for row in rows:
        if row.stranger and row.method == method.each[0]:
            print(
                f"{row.file}: {row.expert} agrees with nobody on label {row.label} (mean Dice with "
                f"the others {row.dice_with_others:.2f}); look whether the mask is of this image."
            )
    print(f"{len({row.file for row in rows})} masks by {' and '.join(method.each)} in {out}.")


def _decide(votes: Votes, method: Method, undecided: int) -> np.ndarray:
    if method == Method.STAPLE:
        return votes.by_staple(undecided=undecided)
    return votes.by_majority(undecided=undecided)


def _write(path: Path, masks: Sequence[Planes], votes: Votes, labels: np.ndarray) -> None:
    """A TIFF of the masks' shape, written as it is worked out; it appears when it is whole.

    A single plane becomes a plain image (Y, X).
    """
    shape = masks[0].shape
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.part")
    try:
        tifffile.imwrite(
            part,
            (plane for slab in fuse(masks, votes, labels) for plane in slab),
            shape=shape if shape[0] > 1 else shape[1:],
            dtype=np.min_scalar_type(int(labels.max())),
            compression="zlib",
            photometric="minisblack",
            metadata={"axes": "ZYX" if shape[0] > 1 else "YX"},
        )
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def _pairwise_dice(said: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Dice of each expert with each.  said: bool (patterns, experts)."""
    weighed = said * counts[:, None]
    both, sizes = said.T.astype(np.int64) @ weighed, weighed.sum(axis=0)
    whole = sizes[:, None] + sizes
    dice = np.ones(both.shape)
    np.divide(2.0 * both, whole, out=dice, where=whole > 0)
    return dice


def _is_stranger(pairs: np.ndarray, expert: int) -> bool:
    """True if the others agree among each other, but not with this expert."""
    others = np.delete(np.delete(pairs, expert, 0), expert, 1)
    among = others[np.triu_indices(len(others), 1)]
    with_me = np.delete(pairs[expert], expert)
    return len(among) > 0 and bool(with_me.mean() < STRANGER * among.mean())


def _is_expert(path: Path) -> bool:
    return path.is_dir() and not path.name.startswith(".") and any(map(_is_mask, path.iterdir()))


def _is_mask(path: Path) -> bool:
    return not path.name.startswith(".") and bool(MASK.search(path.name))


def _ratio(part: int, whole: int) -> float:
    return part / whole if whole else 1.0


def _mean(values: Sequence[float | None]) -> str:
    known = [value for value in values if value is not None]
    return f"{fmean(known):.4f}" if known else "–"


def _cell(value: Any) -> str:
    match value:
        case None:
            return ""
        case bool():
            return "yes" if value else ""
        case float():
            return f"{value:.6f}"
    return str(value)
