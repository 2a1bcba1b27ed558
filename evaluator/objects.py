"""The objects of truth and prediction, found slab by slab: their numbers, and what they share.

Each slab numbers its own objects.  When all slabs are known, objects of several slabs that are one
get one number, and a small table per slab says which.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import pairwise

import cc3d
import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from evaluator.errors import Unreadable
from evaluator.geometry import Shape
from evaluator.overlap import Overlap, Triples, count_pairs, gather
from evaluator.runs import Runs, find_runs, number_values
from evaluator.slabs import Slab


@dataclass(frozen=True, slots=True)
class Piece:
    """What is kept of a slab.

    first: its first plane.  planes: how many.  runs: with the numbers objects have in this slab.
    truth_ids, pred_ids: the value of the object with the number 1, 2, …
    """

    first: int
    planes: int
    runs: Runs
    truth_ids: np.ndarray
    pred_ids: np.ndarray


@dataclass(frozen=True, slots=True)
class Numbering:
    """Objects of the whole volume, numbered 1 … n.

    tables: per slab, the number of each of its objects; at 0 the background.
    ids: the value of object 1, 2, …
    """

    tables: list[np.ndarray]
    ids: np.ndarray

    @property
    def count(self) -> int:
        """How many objects there are."""
        return len(self.ids)


@dataclass(frozen=True, slots=True)
class Objects:
    """The objects of a truth and a prediction.

    split: the prediction's objects are connected components of its values.
    ids: how many distinct values the prediction has, 0 left out.
    """

    shape: Shape
    pieces: list[Piece]
    truth: Numbering
    pred: Numbering
    overlap: Overlap
    split: bool
    ids: int


def find_objects(
    slabs: Iterable[Slab], shape: Shape, *, components: bool, order: str = "C"
) -> Objects:
    """The objects of a truth, by id, and of a prediction: components, or by id unless it is a mask.

    A prediction of bool or with one value besides 0 is a mask, and falls into its components.
    Components hang together by faces, edges or corners and have one value.  Objects are numbered in
    the order of their first voxels; components of a prediction with the memory order "F" as if X
    were the slow axis.  Raises Unreadable if ids are no whole numbers.
    """
    pieces: list[Piece] = []
    values: set[int | float] = set()
    for first, truth, pred in slabs:
        if components and pred.dtype == np.float16:
            pred = pred.view(np.uint16)  # as cc3d has it: equal are those of equal bits
        start, length = find_runs(truth, pred)
        truth_values, pred_values = truth.reshape(-1)[start], pred.reshape(-1)[start]
        t, t_at = number_values(truth_values)
        p, p_at = number_values(pred_values)
        values.update(pred_values[p_at[:2]].tolist())
        if not components:
            _check_whole(pred_values[p_at])
        if len(p_at) and (components or len(values) == 1):
            p, p_at = number_values(_components(pred if components else pred != 0)[start])
        runs = Runs(start.astype(np.uint32), _small(length), t, p)
        pieces.append(Piece(first, len(truth), runs, truth_values[t_at], pred_values[p_at]))
    split = components or len(values) <= 1
    truth_numbers = _by_value([piece.truth_ids for piece in pieces])
    pred_ids = [piece.pred_ids for piece in pieces]
    pred_numbers = _by_contact(pieces, shape, order=order) if split else _by_value(pred_ids)
    overlap = gather(
        _counted(pieces, truth_numbers, pred_numbers),
        truths=truth_numbers.count,
        preds=pred_numbers.count,
    )
    ids = _distinct(pred_ids) if split else pred_numbers.count
    return Objects(shape, pieces, truth_numbers, pred_numbers, overlap, split, ids)


def _components(values: np.ndarray) -> np.ndarray:
    """A number for each component of equal values, connected by faces, edges or corners; flat."""
    if values.dtype == np.uint64:
        values = values.view(np.int64)  # cc3d does not know numbers from 2 ** 63 on
    return np.asarray(cc3d.connected_components(values, connectivity=26)).reshape(-1)


def _check_whole(values: np.ndarray) -> None:
    if values.dtype.kind != "f":
        return
    if not (abs(values.astype(np.float64)) < 2.0**63).all():  # false for NaN, too
        raise Unreadable("it holds values that are not finite; expected whole object ids.")
    if (values != np.rint(values)).any():
        raise Unreadable(
            "it holds fractions such as probabilities; expected whole object ids, 0 background."
        )


def _small(values: np.ndarray) -> np.ndarray:
    return values.astype(np.min_scalar_type(int(values.max(initial=0))))


def _counted(pieces: list[Piece], truth: Numbering, pred: Numbering) -> Iterator[Triples]:
    for piece, t, p in zip(pieces, truth.tables, pred.tables, strict=True):
        runs = piece.runs
        truths, preds, voxels = count_pairs(runs.truth, runs.pred, runs.length)
        yield t[truths], p[preds], voxels


def _distinct(parts: list[np.ndarray]) -> int:
    """How many different values there are; each NaN is one."""
    values = np.sort(np.concatenate(parts))
    return len(values) - int(np.count_nonzero(values[1:] == values[:-1]))


def _by_value(parts: list[np.ndarray]) -> Numbering:
    """Objects with equal values are one, numbered by their first slab and number there.

    There may be as many as voxels, so tables are small: a value's place among all is looked up.
    """
    values = np.concatenate(parts)
    values.sort()
    new = np.ones(len(values), bool)
    np.not_equal(values[1:], values[:-1], out=new[1:])
    total, values = len(values), values[new]
    first = np.zeros(len(values), np.min_scalar_type(total))
    stop = total
    for part in reversed(parts):
        first[_places(values, part)[::-1]] = np.arange(stop, stop - len(part), -1)
        stop -= len(part)
    taken = np.zeros(total + 1, bool)
    taken[first] = True
    numbers = np.cumsum(taken, dtype=first.dtype)[first]
    ids = np.empty_like(values)
    ids[numbers - 1] = values
    tables = [_table(numbers[_places(values, part)]) for part in parts]
    return Numbering(tables, ids)


def _places(values: np.ndarray, part: np.ndarray) -> np.ndarray:
    """Where ascending values hold those of a part; looked up in order, which is faster."""
    order = np.argsort(part, kind="stable")
    places = np.empty(len(part), np.intp)
    places[order] = np.searchsorted(values, part[order])
    return places


def _table(numbers: np.ndarray) -> np.ndarray:
    return np.concatenate((np.zeros(1, numbers.dtype), numbers))


def _by_contact(pieces: list[Piece], shape: Shape, *, order: str) -> Numbering:
    """Objects that touch across the face between two slabs and have equal values are one."""
    parts = [piece.pred_ids for piece in pieces]
    offsets = np.cumsum([0, *map(len, parts)])
    joins = [
        np.stack(_touching(a, b, shape)) + offsets[i : i + 2, None] - 1
        for i, (a, b) in enumerate(pairwise(pieces))
    ]
    a, b = np.concatenate(joins, axis=1) if joins else np.zeros((2, 0), np.intp)
    nodes = int(offsets[-1])
    graph = coo_array((np.ones(len(a), bool), (a, b)), (nodes, nodes))
    whole = connected_components(graph, directed=False)[1] if nodes else np.zeros(0, np.intp)
    numbers, place = number_values(whole + 1)
    ids = np.concatenate(parts)[place]
    if order == "F":
        numbers, ids = _by_column(pieces, shape, numbers, ids)
    return Numbering(_tables(parts, numbers), ids)


def _by_column(
    pieces: list[Piece], shape: Shape, numbers: np.ndarray, ids: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """The numbers, changed to the order of first voxels with X as the slow axis, Z as the fast."""
    depth, height, width = shape
    first = np.full(len(ids) + 1, depth * height * width)
    for piece, table in zip(pieces, _tables([p.pred_ids for p in pieces], numbers), strict=True):
        z, y, x = np.unravel_index(piece.runs.start.astype(np.intp), (depth, height, width))
        np.minimum.at(first, table[piece.runs.pred], (x * height + y) * depth + z + piece.first)
    ranks = np.argsort(first[1:])
    moved = np.empty(len(ids), numbers.dtype)
    moved[ranks] = np.arange(1, len(ids) + 1)
    return moved[numbers.astype(np.intp) - 1], ids[ranks]


def _tables(parts: list[np.ndarray], numbers: np.ndarray) -> list[np.ndarray]:
    """The numbers of all slabs' objects one after the other, as one table per slab."""
    cuts = np.cumsum([len(part) for part in parts])[:-1]
    return [_table(part) for part in np.split(numbers, cuts)]


def _touching(above: Piece, below: Piece, shape: Shape) -> tuple[np.ndarray, np.ndarray]:
    """Pairs of predicted objects of two slabs that are one, by their numbers there.

    Two runs touch, corners included, if their rows do and neither ends more than a voxel before the
    other begins.  A row is given room for one voxel more, so that no run touches the next row's.
    """
    height, width = shape[1:]
    a = _plane(above, below.first - 1, height * width)
    b = _plane(below, below.first, height * width)
    a_start, a_stop = _spans(a, width)
    b_start, b_stop = _spans(b, width)
    objects = len(below.pred_ids) + 1
    found = []
    for row in (-width - 1, 0, width + 1):
        low = np.searchsorted(a_stop, b_start + row)
        count = np.searchsorted(a_start, b_stop + row, side="right") - low
        mine = np.repeat(np.arange(len(b_start)), count)
        theirs = np.arange(len(mine)) - np.repeat(np.cumsum(count) - count - low, count)
        found.append(a.pred[theirs].astype(np.intp) * objects + b.pred[mine])
    upper, lower = np.divmod(np.unique(np.concatenate(found)), objects)
    same = above.pred_ids[upper - 1] == below.pred_ids[lower - 1]
    return upper[same], lower[same]


def _plane(piece: Piece, z: int, voxels: int) -> Runs:
    """The runs of predicted objects in one plane, counted from the plane's first voxel."""
    offset = (z - piece.first) * voxels
    runs = piece.runs.between(offset, offset + voxels)
    runs = runs.rows(runs.pred > 0)
    return Runs(runs.start - np.uint32(offset), runs.length, runs.truth, runs.pred)


def _spans(runs: Runs, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Where runs of a plane begin and end if each row had one voxel more."""
    start = runs.start.astype(np.int64)
    start += start // width
    return start, start + runs.length
