"""Pairs of objects drawn back into voxels: window by window along Z, or pair by pair."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from evaluator.geometry import Shape
from evaluator.objects import Objects
from evaluator.runs import Runs
from evaluator.surface import Dust, Solid

WINDOW_VOXELS = 1 << 20
SPARSE = 64  # voxels of a box per voxel of an object from which on they are listed


@dataclass(frozen=True)
class Pairing:
    """Which objects are measured against which.

    truth, pred: by number of an object, the number of its pair 1 … count; 0 for those without one.
    Several predicted objects of one pair count as one.
    """

    objects: Objects
    truth: np.ndarray
    pred: np.ndarray
    count: int


@dataclass(frozen=True, slots=True)
class Window:
    """Some planes of the volume, with a margin on all sides that others or background fill.

    truth, pred: the number of the pair at each voxel, 0 for none; C-contiguous.
    core: the flat indices of the planes that are the window's own.
    """

    truth: np.ndarray
    pred: np.ndarray
    core: slice

    @property
    def strides(self) -> np.ndarray:
        """How far neighbours along Z, Y, X are apart in flat indices."""
        return np.array([self.truth[0].size, self.truth.shape[2], 1])


def windows(pairing: Pairing, *, margin: tuple[int, int, int]) -> Iterator[Window]:
    """Windows that cover the volume, in ascending order; each uses the memory of the one before."""
    depth, height, width = pairing.objects.shape
    z, y, x = margin
    planes = min(depth, max(1, 2 * z, WINDOW_VOXELS // (height * width)))
    shape = (planes + 2 * z, height + 2 * y, width + 2 * x)
    dtype = np.min_scalar_type(pairing.count)
    arrays = np.zeros(shape, dtype), np.zeros(shape, dtype)
    inside = (slice(y, y + height), slice(x, x + width))
    drawn = 0  # planes so far
    for first in range(0, depth, planes):
        last = min(first + planes, depth)
        known, goal = drawn - first + z, min(last + z, depth)
        for array in arrays if first else ():
            array[:known] = array[planes : planes + known]
            array[known:] = 0
        if drawn < goal:
            for array, values in zip(arrays, _draw(pairing, drawn, goal, dtype), strict=True):
                array[known : known + goal - drawn, *inside] = values
        drawn = goal
        plane = arrays[0][0].size
        yield Window(*arrays, slice(z * plane, (z + last - first) * plane))


@dataclass(frozen=True, slots=True)
class Outline:
    """The runs of one object, counted in a volume of a shape.

    start: flat indices of first voxels, ascending, at least one.  length: voxels.
    """

    start: np.ndarray
    length: np.ndarray
    shape: Shape

    def box(self) -> tuple[np.ndarray, np.ndarray]:
        """The first voxel of the box around the object, and the one after its last."""
        first = np.stack(np.unravel_index(self.start, self.shape))
        high = first.max(axis=1) + 1
        high[2] = (first[2] + self.length).max()
        return first.min(axis=1), high

    def voxels(self) -> Solid | Dust:
        """The object in the box around it; voxel by voxel where these are few beside the box."""
        low, high = self.box()
        if int(self.length.sum(dtype=np.int64)) * SPARSE < np.prod(high - low):
            ends = np.cumsum(self.length, dtype=np.int64)
            within = np.arange(ends[-1]) - np.repeat(ends - self.length, self.length)
            flat = np.repeat(self.start, self.length) + within
            return Dust(np.stack(np.unravel_index(flat, self.shape), axis=1))
        mask = np.zeros(high - low, bool)
        place = np.stack(np.unravel_index(self.start, self.shape)) - low[:, None]
        start = np.ravel_multi_index(tuple(place), mask.shape)
        _paint(mask, start, self.length, np.ones(len(start), bool))
        return Solid(mask, low)


def outlines(pairing: Pairing, wanted: np.ndarray) -> Iterator[tuple[int, Outline, Outline]]:
    """The wanted pairs, ascending, with their truth and what they have of the prediction.

    wanted: bool, by number of a pair.
    """
    if not wanted.any():
        return
    sides = [_spans(pairing, wanted, of) for of in ("truth", "pred")]
    for pair in np.flatnonzero(wanted).tolist():
        rows = [slice(*np.searchsorted(pairs, (pair, pair + 1))) for pairs, _, _ in sides]
        truth, pred = (
            Outline(start[row], length[row], pairing.objects.shape)
            for (_, start, length), row in zip(sides, rows, strict=True)
        )
        yield pair, truth, pred


def _spans(
    pairing: Pairing, wanted: np.ndarray, of: str
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Pair, start and length of the runs of the wanted pairs' objects, by pair, in raster order.

    of: "truth" or "pred".
    """
    found = []
    for runs in _runs(pairing, 0, pairing.objects.shape[0]):
        pairs = getattr(runs, of)
        rows = np.flatnonzero(wanted[pairs])
        found.append((pairs[rows], runs.start[rows], runs.length[rows]))
    pairs, start, length = (np.concatenate(column) for column in zip(*found, strict=True))
    order = np.argsort(pairs, kind="stable")
    return pairs[order], start[order], length[order]


def _draw(
    pairing: Pairing, start: int, stop: int, dtype: np.dtype[np.unsignedinteger]
) -> tuple[np.ndarray, np.ndarray]:
    """The numbers of pairs in the planes from `start` up to `stop`: of truth, of prediction."""
    shape = (stop - start, *pairing.objects.shape[1:])
    truth, pred = np.zeros(shape, dtype), np.zeros(shape, dtype)
    parts = list(_runs(pairing, start, stop))
    for array, of in ((truth, "truth"), (pred, "pred")):
        begin, length, pairs = (
            np.concatenate([getattr(part, name) for part in parts])
            for name in ("start", "length", of)
        )
        rows = np.flatnonzero(pairs)
        _paint(array, begin[rows], length[rows], pairs[rows])
    return truth, pred


def _runs(pairing: Pairing, start: int, stop: int) -> Iterator[Runs]:
    """The runs in some planes, slab by slab, counted from the first of these planes.

    Instead of numbers of objects they have numbers of pairs.
    """
    objects = pairing.objects
    plane = objects.shape[1] * objects.shape[2]
    tables = zip(objects.pieces, objects.truth.tables, objects.pred.tables, strict=True)
    for piece, truth, pred in tables:
        low, high = max(start, piece.first), min(stop, piece.first + piece.planes)
        if low < high:
            part = piece.runs.between((low - piece.first) * plane, (high - piece.first) * plane)
            begin = part.start.astype(np.int64) + (piece.first - start) * plane
            yield Runs(
                begin, part.length, pairing.truth[truth][part.truth], pairing.pred[pred][part.pred]
            )


def _paint(array: np.ndarray, start: np.ndarray, length: np.ndarray, values: np.ndarray) -> None:
    """Fill the runs of an array of zeros, each with its value."""
    if len(start) == 0:
        return
    ends = start + length
    pieces = np.empty(2 * len(start) + 1, np.intp)
    pieces[0], pieces[1::2], pieces[-1] = start[0], length, array.size - ends[-1]
    pieces[2:-1:2] = start[1:] - ends[:-1]
    drawn = np.zeros(len(pieces), array.dtype)
    drawn[1::2] = values
    array.reshape(-1)[:] = np.repeat(drawn, pieces)
