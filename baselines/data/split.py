"""What of the annotated crops trains, and what is kept to validate on.

Every kind of split gives each crop a `Place`: the fold that validates on it, whole or on a box of
it.  A run validates on one fold and trains on all else.  Groups (crops, datasets or specimens) stay
together, and so do crops of one dataset that overlap: what was trained on is never validated on.
Same parts, settings and seed: same split, in whatever order the parts come.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from baselines.box import Box, common_box
from baselines.config import SplitConfig
from baselines.data.split_file import Row, read_split
from baselines.layout import DataError
from evaluator.geometry import Nanometres, VoxelGrid

ALWAYS_TRAINS = -1


@dataclass(frozen=True, slots=True)
class Place:
    """Which fold validates on a crop, -1: none; on which box of it, None: on all of it."""

    fold: int
    box: Box | None = None


@dataclass(frozen=True)
class Part:
    """What a split needs to know of a crop.

    box: what is annotated, in voxels of the raw.  counts: voxels of each annotated label.
    grid: where the raw lies; without it nobody can tell whether crops overlap.
    """

    name: str
    dataset: str
    specimen: str
    box: Box
    counts: Mapping[str, int] = field(default_factory=dict)
    grid: VoxelGrid | None = None

    @property
    def present(self) -> frozenset[str]:
        """Labels with at least one voxel."""
        return frozenset(name for name, count in self.counts.items() if count)


@dataclass(frozen=True, slots=True)
class Boxes:
    """Boxes of a crop, disjoint, in voxels of its raw."""

    training: tuple[Box, ...] = ()
    validation: tuple[Box, ...] = ()


def boxes_of(parts: Sequence[Part], settings: SplitConfig) -> dict[str, Boxes]:
    """What trains and what validates, by crop.  A crop that a split file leaves out does neither.

    Raises DataError: the fold does not exist, a file cannot be read, or it trains and validates on
    the same voxels.
    """
    places = places_of(parts, settings)
    fold = settings.fold if settings.kind in ("kfold", "file") else 0
    folds = 1 + max((place.fold for place in places.values()), default=0)
    if fold >= max(1, folds):
        raise DataError(
            f"split.fold is {fold}, but the folds are numbered 0 to {folds - 1}: "
            f"{len(parts)} crops split by {settings.by} make no more, or the file has no more."
        )
    boxes = {part.name: _boxes(part, places.get(part.name), fold) for part in parts}
    _check_apart(parts, boxes)
    return boxes


def places_of(parts: Sequence[Part], settings: SplitConfig) -> dict[str, Place]:
    """The place of each crop by its name; see `boxes_of`."""
    names = Counter(part.name for part in parts)
    if twice := sorted(name for name, count in names.items() if count > 1):
        raise DataError(f"crop {twice[0]} is there twice: names of crops are unique.")
    parts = sorted(parts, key=lambda part: part.name)
    if settings.kind == "file":
        return _filed(parts, Path(settings.file))
    groups = groups_of(parts, by=settings.by, apart=settings.apart)
    if settings.kind == "kfold":
        return _in_folds(groups, settings)
    if settings.kind == "planes" and any(part.box.shape[0] > 1 for part in parts):
        return {part.name: _last_planes(part, settings.fraction) for part in parts}
    # Single planes have no last planes: of those, whole groups are kept.
    return _at_random(groups, settings)


def fold_count(groups: int, most: int) -> int:
    """min(groups, most), at least 1: so many folds, models of an ensemble, validation sets."""
    return max(1, min(groups, most))


def groups_of(parts: Sequence[Part], *, by: str, apart: float = 0.0) -> list[list[Part]]:
    """Parts that must stay together, by crop, dataset or specimen, in order of their names.

    apart: parts of one dataset that lie nearer than so many nm, or overlap, are one group.
    """
    key: dict[str, Callable[[Part], str]] = {
        "crop": lambda part: part.name,
        "dataset": lambda part: part.dataset,
        "specimen": lambda part: part.specimen,
    }
    group = {part.name: key[by](part) for part in parts}
    for one, other in itertools.combinations(parts, 2):
        if group[one.name] != group[other.name] and gap_nm(one, other) < apart:
            old, new = group[other.name], group[one.name]
            group = {name: new if g == old else g for name, g in group.items()}
    return [
        [part for part in parts if group[part.name] == g] for g in dict.fromkeys(group.values())
    ]


def gap_nm(one: Part, other: Part) -> float:
    """How far two annotated boxes of one dataset lie apart, in nm; negative: they overlap.

    Infinite between datasets, and where nobody knows where the parts lie.
    """
    if one.dataset != other.dataset or one.grid is None or other.grid is None:
        return float("inf")
    return _gap(one.grid, one.box, other.grid, other.box)


def distribute(
    groups: Sequence[frozenset[str]], sizes: Sequence[int], random: np.random.Generator
) -> list[int]:
    """The bin of each group, so that each bin has its size and its share of every label.

    Iterative stratification (Sechidis, Tsoumakas, Vlahavas 2011): the rarest label goes first, each
    of its groups to the bin that lacks it most.
    """
    total = sum(sizes)
    wanted = Counter(label for group in groups for label in group)
    lack = [{label: n * size / total for label, n in wanted.items()} for size in sizes]
    room = list(sizes)
    bins = [-1] * len(groups)
    order = [int(i) for i in random.permutation(len(groups))]
    while left := [i for i in order if bins[i] < 0]:
        rest = Counter(label for i in left for label in groups[i])
        rarest = min(sorted(rest), key=lambda label: rest[label], default="")
        for i in [i for i in left if not rest or rarest in groups[i]]:
            free = [k for k in range(len(sizes)) if room[k]]
            bins[i] = max(free, key=lambda k: (lack[k].get(rarest, 0.0), room[k]))
            room[bins[i]] -= 1
            for label in groups[i]:
                lack[bins[i]][label] -= 1
    return bins


def _in_folds(groups: list[list[Part]], settings: SplitConfig) -> dict[str, Place]:
    if len(groups) < 2:
        return _alone(groups, settings)
    folds = fold_count(len(groups), settings.folds)
    sizes = [len(groups) // folds + (k < len(groups) % folds) for k in range(folds)]
    return _placed(groups, range(folds), sizes, settings)


def _at_random(groups: list[list[Part]], settings: SplitConfig) -> dict[str, Place]:
    if settings.fraction <= 0:
        return {part.name: Place(ALWAYS_TRAINS) for group in groups for part in group}
    if len(groups) < 2:
        return _alone(groups, settings)
    kept = min(max(1, round(settings.fraction * len(groups))), len(groups) - 1)
    return _placed(groups, (ALWAYS_TRAINS, 0), (len(groups) - kept, kept), settings)


def _placed(
    groups: list[list[Part]], folds: Sequence[int], sizes: Sequence[int], settings: SplitConfig
) -> dict[str, Place]:
    labels = [frozenset().union(*(part.present for part in group)) for group in groups]
    bins = distribute(labels, sizes, np.random.default_rng(settings.seed))
    return {part.name: Place(folds[bins[k]]) for k, group in enumerate(groups) for part in group}


def _alone(groups: list[list[Part]], settings: SplitConfig) -> dict[str, Place]:
    """One group only: nothing can be kept whole, so the last planes of each of its crops are."""
    return {part.name: _last_planes(part, settings.fraction) for group in groups for part in group}


def _last_planes(part: Part, fraction: float) -> Place:
    planes = part.box.shape[0]
    kept = min(round(planes * fraction), planes - 1)
    if kept <= 0:
        return Place(ALWAYS_TRAINS)
    z, y, x = part.box.stop
    return Place(0, Box((z - kept, *part.box.start[1:]), (z, y, x)))


def _filed(parts: Sequence[Part], file: Path) -> dict[str, Place]:
    rows = {row.name: row for row in read_split(file).rows}
    if not any(part.name in rows for part in parts):
        raise DataError(
            f"{file} names none of the crops that are there: it has "
            f"{', '.join(sorted(rows)[:5])}, there are {', '.join(p.name for p in parts[:5])}. "
            "Make it anew with `baselines split`."
        )
    return {part.name: _place(rows[part.name], part) for part in parts if part.name in rows}


def _place(row: Row, part: Part) -> Place:
    """Where a row says a part belongs; boxes in nm become voxels of its raw."""
    if row.validation is None:
        return Place(row.fold)
    corners = [
        [round((nm - corner) / size) for nm, corner, size in zip(point, *_frame(part), strict=True)]
        for point in row.validation
    ]
    (z, y, x), (end_z, end_y, end_x) = corners
    return Place(row.fold, Box((z, y, x), (end_z, end_y, end_x)))


def _frame(part: Part) -> tuple[Nanometres, Nanometres]:
    """The outer corner of voxel (0, 0, 0) of a part's raw, and the size of its voxels, in nm."""
    grid = part.grid or VoxelGrid(part.box.stop, (1.0, 1.0, 1.0), (0.5, 0.5, 0.5))
    z, y, x = (o - size / 2 for o, size in zip(grid.offset, grid.voxel_size, strict=True))
    return (z, y, x), grid.voxel_size


def rows_of(parts: Sequence[Part], settings: SplitConfig) -> tuple[Row, ...]:
    """The split as rows of a file, which gives the same split again."""
    places = places_of(parts, settings)
    return tuple(
        Row(
            part.name, places[part.name].fold, _corners(part, places[part.name].box),
            dataset=part.dataset, specimen=part.specimen, voxels=dict(part.counts),
        )
        for part in sorted(parts, key=lambda part: part.name) if part.name in places
    )  # fmt: skip


def _corners(part: Part, box: Box | None) -> tuple[Nanometres, Nanometres] | None:
    if box is None:
        return None
    corner, sizes = _frame(part)
    (z, y, x), (end_z, end_y, end_x) = (
        tuple(c + n * size for c, n, size in zip(corner, point, sizes, strict=True))
        for point in (box.start, box.stop)
    )
    return (z, y, x), (end_z, end_y, end_x)


def _boxes(part: Part, place: Place | None, fold: int) -> Boxes:
    if place is None:
        return Boxes()
    if place.fold != fold:
        return Boxes(training=(part.box,))
    if place.box is None:
        return Boxes(validation=(part.box,))
    kept = common_box(place.box, part.box)
    if kept is None:
        return Boxes(training=(part.box,))
    return Boxes(tuple(_around(kept, part.box)), (kept,))


def _around(hole: Box, box: Box) -> Iterator[Box]:
    """A box without a box inside it, as up to six disjoint boxes."""
    low, high = list(box.start), list(box.stop)
    for k in range(3):
        for start, stop in ((low[k], hole.start[k]), (hole.stop[k], high[k])):
            if start < stop:
                corner, end = low.copy(), high.copy()
                corner[k], end[k] = start, stop
                yield Box((corner[0], corner[1], corner[2]), (end[0], end[1], end[2]))
        low[k], high[k] = hole.start[k], hole.stop[k]


def _check_apart(parts: Sequence[Part], boxes: Mapping[str, Boxes]) -> None:
    """Raises DataError if a box that trains overlaps one that validates."""
    for one, other in itertools.permutations(parts, 2):
        if one.dataset != other.dataset or one.grid is None or other.grid is None:
            continue
        pairs = itertools.product(boxes[one.name].training, boxes[other.name].validation)
        if any(_gap(one.grid, a, other.grid, b) < 0 for a, b in pairs):
            raise DataError(
                f"crops {one.name} (training) and {other.name} (validation) of {one.dataset} "
                "overlap, so the split would validate on what it trained on: give them the same "
                'fold, or take split.kind = "random", which keeps them together.'
            )


def _gap(one: VoxelGrid, box: Box, other: VoxelGrid, beside: Box) -> float:
    """nm between two boxes along the axis where they are furthest apart; negative: overlap."""
    gaps = []
    for k in range(3):
        start, stop = _extent(one, box, k)
        other_start, other_stop = _extent(other, beside, k)
        gaps.append(max(other_start - stop, start - other_stop))
    # Offsets such as 23837.13 nm are not exact in binary: a millionth of a nanometre is noise.
    return round(max(gaps), 6)


def _extent(grid: VoxelGrid, box: Box, axis: int) -> tuple[float, float]:
    corner = grid.offset[axis] - grid.voxel_size[axis] / 2
    size = grid.voxel_size[axis]
    return corner + box.start[axis] * size, corner + box.stop[axis] * size
