"""Runs along X: stretches of voxels in which neither truth nor prediction changes.

A slab of voxels becomes a hundredth as many runs; all that comes after works on these.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, slots=True)
class Runs:
    """The runs of a slab that are not background in both, in raster order.

    start: flat index of the first voxel.  length: voxels, at least 1; a run ends with its row.
    truth, pred: the number of the object there, 0 for background.
    """

    start: np.ndarray
    length: np.ndarray
    truth: np.ndarray
    pred: np.ndarray

    def between(self, first: int, last: int) -> Runs:
        """The runs that start at voxel `first` or later, but before `last`."""
        low, high = np.searchsorted(self.start, (first, last)).tolist()
        return self.rows(slice(low, high))

    def rows(self, rows: np.ndarray | slice) -> Runs:
        """Some of the runs, by a mask, by indices, or by a slice."""
        return Runs(self.start[rows], self.length[rows], self.truth[rows], self.pred[rows])


def find_runs(truth: np.ndarray, pred: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """First voxel (flat index) and length of the runs that are not background in both.

    truth, pred: any two arrays (Z, Y, X) of one shape, C-contiguous.  A NaN equals nothing, itself
    included, so that each is a run.
    """
    t, p = truth.reshape(-1), pred.reshape(-1)
    begins = np.empty(t.size, bool)
    np.not_equal(t[1:], t[:-1], out=begins[1:])
    begins[1:] |= p[1:] != p[:-1]
    begins[:: truth.shape[2]] = True
    start = np.flatnonzero(begins)
    length = np.diff(start, append=t.size)
    kept = (t[start] != 0) | (p[start] != 0)
    return start[kept], length[kept]


def number_values(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Distinct values numbered 1 … k by their first place, and these places.

    values: (n,) of any dtype.  The value 0 gets the number 0, and no place; so do False and -0.0.
    Each NaN is a value of its own.
    """
    if len(values) == 0:
        return np.zeros(0, np.uint8), np.zeros(0, np.intp)
    slot, place = _places(values.view(np.uint8) if values.dtype == bool else values)
    used = np.flatnonzero(place < len(values))
    used = used[values[place[used]] != 0]
    used = used[np.argsort(place[used])]
    numbers = np.zeros(len(place), np.min_scalar_type(len(used)))
    numbers[used] = np.arange(1, len(used) + 1)
    return numbers[slot], place[used]


def _places(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A slot for each value, one per distinct value, and the first place of each slot's value.

    A slot that no value has got a place beyond the last one.
    """
    if values.dtype.kind in "iu":
        low, high = int(values.min()), int(values.max())
        if high - low <= 65536 + 16 * len(values):  # a table of all ids between is small
            slot = _above(values, low) if low else values
            place = np.full(high - low + 1, len(values))
            place[slot[::-1]] = np.arange(len(values) - 1, -1, -1)  # the first one stays
            return slot, place
    _, place, slot = np.unique(values, return_index=True, return_inverse=True, equal_nan=False)
    return slot, place


def _above(values: np.ndarray, low: int) -> np.ndarray:
    """How far integers of any width lie above the lowest of them."""
    wide = np.int64 if values.dtype.kind == "i" else np.uint64
    return (values.astype(wide) - wide(low)).astype(np.intp)
