"""What of the annotated crops trains, and what is kept to validate on.

Every kind of split gives each crop a `Place`: the fold that validates on it, whole or on a block of
it; where there is but one group, a place per block.  A run validates on one fold and trains on all
else but the gaps beside its blocks.  Groups (crops, datasets or specimens) stay together, and so do
crops of one dataset that overlap: what was trained on is never validated on.  Same parts, settings
and seed: same split, in whatever order the parts come.
"""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from baselines.box import Box, common_box
from baselines.config import SplitConfig
from baselines.data.blocks import Block, Sight, blocks_along, last_block, last_planes, without
from baselines.data.split_file import Corners, Row, RowBlock, read_split
from baselines.layout import DataError
from evaluator.geometry import Nanometres, VoxelGrid

ALWAYS_TRAINS = -1
POINT = Sight()


@dataclass(frozen=True, slots=True)
class Place:
    """Which fold validates on a crop, -1: none; on which block of it, None: on all of it."""

    fold: int
    block: Block | None = None


Places = tuple[Place, ...]  # of one crop: at most one per fold


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


def boxes_of(
    parts: Sequence[Part], settings: SplitConfig, sight: Sight = POINT
) -> dict[str, Boxes]:
    """What trains and what validates, by crop.  A crop that a split file leaves out does neither.

    sight: of the network, which blocks of one volume are kept apart by.
    Raises DataError: the fold does not exist, a file cannot be read, or it trains and validates on
    the same voxels.
    """
    places = places_of(parts, settings, sight)
    fold = settings.fold if settings.kind in ("kfold", "file") else 0
    folds = folds_in(places)
    if fold >= folds:
        raise DataError(
            f"split.fold is {fold}, but the folds are numbered 0 to {folds - 1}: "
            f"{len(parts)} crops split by {settings.by} make no more, or the file has no more."
        )
    boxes = {part.name: _boxes(part, places.get(part.name, ()), fold) for part in parts}
    _check_apart(parts, boxes)
    return boxes


def places_of(
    parts: Sequence[Part], settings: SplitConfig, sight: Sight = POINT
) -> dict[str, Places]:
    """The places of each crop by its name; see `boxes_of`."""
    names = Counter(part.name for part in parts)
    if twice := sorted(name for name, count in names.items() if count > 1):
        raise DataError(f"crop {twice[0]} is there twice: names of crops are unique. Rename one.")
    parts = sorted(parts, key=lambda part: part.name)
    if settings.kind == "file":
        return _filed(parts, Path(settings.file))
    if settings.kind == "planes" and any(part.box.shape[0] > 1 for part in parts):
        return {part.name: _last_planes(part, settings) for part in parts}
    groups = groups_of(parts, by=settings.by, apart=settings.apart)
    if len(groups) < 2:
        return {part.name: _alone(part, settings, sight) for part in parts}
    # Single planes have no last planes: of those, whole groups are kept.
    return _in_folds(groups, settings) if settings.kind == "kfold" else _at_random(groups, settings)


def folds_in(places: Mapping[str, Places]) -> int:
    """How many folds there are, at least 1."""
    return max(1, 1 + max((place.fold for each in places.values() for place in each), default=0))


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


def _in_folds(groups: list[list[Part]], settings: SplitConfig) -> dict[str, Places]:
    folds = fold_count(len(groups), settings.folds)
    sizes = [len(groups) // folds + (k < len(groups) % folds) for k in range(folds)]
    return _placed(groups, range(folds), sizes, settings)


def _at_random(groups: list[list[Part]], settings: SplitConfig) -> dict[str, Places]:
    if settings.fraction <= 0:
        return {part.name: (Place(ALWAYS_TRAINS),) for group in groups for part in group}
    kept = min(max(1, round(settings.fraction * len(groups))), len(groups) - 1)
    return _placed(groups, (ALWAYS_TRAINS, 0), (len(groups) - kept, kept), settings)


def _placed(
    groups: list[list[Part]], folds: Sequence[int], sizes: Sequence[int], settings: SplitConfig
) -> dict[str, Places]:
    labels = [frozenset().union(*(part.present for part in group)) for group in groups]
    bins = distribute(labels, sizes, np.random.default_rng(settings.seed))
    return {part.name: (Place(folds[bins[k]]),) for k, group in enumerate(groups) for part in group}


def _alone(part: Part, settings: SplitConfig, sight: Sight) -> Places:
    """Of a crop of the only group: nothing can be kept whole, so blocks of it are.

    Where not even two fit, the last planes.
    """
    size = _frame(part)[1]
    if settings.kind == "kfold":
        blocks = blocks_along(
            part.box, size, most=settings.folds, sight=sight, apart=settings.apart
        )
        if blocks:
            return tuple(Place(fold, block) for fold, block in enumerate(blocks))
    elif settings.fraction > 0:
        block = last_block(
            part.box, size, fraction=settings.fraction, sight=sight, apart=settings.apart
        )
        if block is not None:
            return (Place(0, block),)
    return _last_planes(part, settings)


def _last_planes(part: Part, settings: SplitConfig) -> Places:
    block = last_planes(part.box, _frame(part)[1], fraction=settings.fraction, apart=settings.apart)
    return (Place(ALWAYS_TRAINS),) if block is None else (Place(0, block),)


def _filed(parts: Sequence[Part], file: Path) -> dict[str, Places]:
    rows = {row.name: row for row in read_split(file).rows}
    if not any(part.name in rows for part in parts):
        raise DataError(
            f"{file} names none of the crops that are there: it has "
            f"{', '.join(sorted(rows)[:5])}, there are {', '.join(p.name for p in parts[:5])}. "
            "Make it anew with `baselines split`."
        )
    return {part.name: _places(rows[part.name], part) for part in parts if part.name in rows}


def _places(row: Row, part: Part) -> Places:
    """Where a row says a part belongs; boxes in nm become voxels of its raw."""
    if row.blocks:
        return tuple(_place(block.fold, block.validation, row, part) for block in row.blocks)
    return (_place(row.fold, row.validation, row, part),)


def _place(fold: int, validation: Corners | None, row: Row, part: Part) -> Place:
    if validation is None:
        return Place(fold)
    (corner, sizes), ends = _frame(part), []
    for point in validation:
        z, y, x = (round((nm - c) / n) for nm, c, n in zip(point, corner, sizes, strict=True))
        ends.append((z, y, x))
    # A gap that is no whole number of voxels is rather wider than narrower.
    z, y, x = (math.ceil(round(nm / n, 6)) for nm, n in zip(row.gap, sizes, strict=True))
    return Place(fold, Block(Box(*ends), (z, y, x)))


def _frame(part: Part) -> tuple[Nanometres, Nanometres]:
    """The outer corner of voxel (0, 0, 0) of a part's raw, and the size of its voxels, in nm."""
    grid = part.grid or VoxelGrid(part.box.stop, (1.0, 1.0, 1.0), (0.5, 0.5, 0.5))
    z, y, x = (o - size / 2 for o, size in zip(grid.offset, grid.voxel_size, strict=True))
    return (z, y, x), grid.voxel_size


def rows_of(parts: Sequence[Part], settings: SplitConfig, sight: Sight = POINT) -> tuple[Row, ...]:
    """The split as rows of a file, which gives the same split again."""
    places = places_of(parts, settings, sight)
    return tuple(
        _row(part, places[part.name])
        for part in sorted(parts, key=lambda part: part.name) if part.name in places
    )  # fmt: skip


def _row(part: Part, places: Places) -> Row:
    said = Row(
        part.name, places[0].fold, dataset=part.dataset, specimen=part.specimen,
        voxels=dict(part.counts),
    )  # fmt: skip
    blocks = [(place.fold, place.block) for place in places if place.block is not None]
    if not blocks:
        return said
    z, y, x = (n * nm for n, nm in zip(blocks[0][1].gap, _frame(part)[1], strict=True))
    if len(blocks) == 1:
        return replace(said, validation=_corners(part, blocks[0][1].box), gap=(z, y, x))
    found = tuple(RowBlock(fold, _corners(part, block.box)) for fold, block in blocks)
    return replace(said, fold=ALWAYS_TRAINS, gap=(z, y, x), blocks=found)


def _corners(part: Part, box: Box) -> Corners:
    corner, sizes = _frame(part)
    (z, y, x), (end_z, end_y, end_x) = (
        tuple(c + n * size for c, n, size in zip(corner, point, sizes, strict=True))
        for point in (box.start, box.stop)
    )
    return (z, y, x), (end_z, end_y, end_x)


def _boxes(part: Part, places: Places, fold: int) -> Boxes:
    """A crop without places does neither."""
    here = [place for place in places if place.fold == fold]
    if any(place.block is None for place in here):
        return Boxes(validation=(part.box,))
    blocks = [place.block for place in here if place.block is not None]
    training = [part.box] if places else []
    for block in blocks:
        training = [piece for box in training for piece in without(box, block)]
    kept = [found for block in blocks if (found := common_box(block.box, part.box)) is not None]
    return Boxes(tuple(training), tuple(kept))


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
