"""How far the objects of matched pairs are from each other, for all pairs in one walk over slabs.

Most voxels that only one of two matched objects holds lie next to the other.  So all of them are
looked up together: at each offset, from near to far, is there a voxel of the other object?  Pairs
with a voxel that finds nothing within a few voxels are left to `evaluator.surface`, one by one.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from evaluator.geometry import Nanometres
from evaluator.surface import farthest_nm, surface_distance_nm
from evaluator.windows import Outline, Pairing, Window, outlines, windows

REACH = 3  # voxels along each axis that offsets go at most
Shells = list[tuple[float, np.ndarray]]  # distances in nm, ascending, with the offsets (n, 3) there


@dataclass(frozen=True)
class Distances:
    """By pair, float64 (count,), nm.  surface: empty unless it was asked for."""

    hausdorff: np.ndarray
    surface: np.ndarray


def measure(
    pairing: Pairing, voxel_size: Nanometres, *, cap: float, surfaces: bool = False
) -> Distances:
    """The distances of the objects of each pair; none of the pairs lacks an object.

    hausdorff: the largest distance of a voxel of one from the other, at most `cap`.
    surface: the mean distance of the surface voxels of both from the other's surface, as
    `surface_distance_nm` has it.
    """
    shells = nearest_offsets(voxel_size)
    farthest = _Farthest(shells, pairing.count)
    between = _Between(shells, pairing.count if surfaces else 0)
    z, y, x = np.max([np.abs(offsets).max(axis=0) for _, offsets in shells], axis=0).tolist()
    for window in windows(pairing, margin=(z + 1, y + 1, x + 1)):
        farthest.look(window)
        if surfaces:
            between.look(window)
    hausdorff, surface = farthest.distance[1:], between.mean() if surfaces else np.empty(0)
    for pair, truth, pred in outlines(pairing, np.logical_or(*farthest.lost)):
        least = max(float(hausdorff[pair - 1]), _apart(truth, pred, voxel_size))
        if least < cap:
            sets = truth.voxels(), pred.voxels()
            for own, other, lost in zip(sets, sets[::-1], farthest.lost[:, pair], strict=True):
                if lost:
                    least = farthest_nm(own, other, voxel_size, least=least, cap=cap)
        hausdorff[pair - 1] = least
    for pair, truth, pred in outlines(pairing, np.logical_or(*between.lost)):
        surface[pair - 1] = surface_distance_nm(truth.voxels(), pred.voxels(), voxel_size)
    return Distances(np.minimum(hausdorff, cap), surface)


def _apart(truth: Outline, pred: Outline, voxel_size: Nanometres) -> float:
    """How far, nm, one object's box stands out of the other's where it does most.

    There a voxel of the one is at least as far from the other.
    """
    (low, high), (other_low, other_high) = truth.box(), pred.box()
    beyond = np.maximum(abs(low - other_low), abs(high - other_high))
    return float((beyond * np.asarray(voxel_size)).max())


def nearest_offsets(voxel_size: Nanometres) -> Shells:
    """Distances with the offsets in voxels at each of them, the offset to oneself left out.

    Complete: no offset that is left out is as near as the last of these.
    """
    steps = np.arange(-REACH, REACH + 1)
    offsets = np.stack(np.meshgrid(steps, steps, steps, indexing="ij"), axis=-1).reshape(-1, 3)
    z, y, x = (offsets * np.asarray(voxel_size, float)).T
    distance = np.sqrt(z * z + y * y + x * x)
    near = np.flatnonzero((distance > 0) & (distance < (REACH + 1) * min(voxel_size)))
    near = near[np.argsort(distance[near], kind="stable")]
    starts = np.flatnonzero(np.diff(distance[near], prepend=0.0))
    shells = np.split(near, starts[1:])
    return [(float(distance[shell[0]]), offsets[shell]) for shell in shells]


class _Lookup:
    """Looks voxels up in the surroundings of others.

    lost: by side, truth and prediction, and by pair: whether a voxel of it found none.
    """

    def __init__(self, shells: Shells, pairs: int) -> None:
        self._shells = shells
        self.lost = np.zeros((2, pairs + 1), bool)

    def _walk(
        self, side: int, at: np.ndarray, wanted: np.ndarray, values: np.ndarray, window: Window
    ) -> Iterator[tuple[int, np.ndarray]]:
        """Per shell, the pairs of the voxels that find their pair in it and not before.

        side: 0 if they are the truth's, 1 the prediction's.  at: their flat indices.
        wanted: their pairs.  values: pairs of the window's voxels, flat.
        """
        for shell, (_, offsets) in enumerate(self._shells):
            if len(at) == 0:
                return
            hit = np.zeros(len(at), bool)
            for offset in (offsets @ window.strides).tolist():
                hit |= values[at + offset] == wanted
            yield shell, wanted[hit]
            missed = ~hit
            at, wanted = at[missed], wanted[missed]
        self.lost[side, wanted] = True


class _Farthest(_Lookup):
    """The largest distance by pair, nm, of a voxel of one object from the other, if it is near."""

    def __init__(self, shells: Shells, pairs: int) -> None:
        super().__init__(shells, pairs)
        self.distance = np.zeros(pairs + 1)

    def look(self, window: Window) -> None:
        truth, pred = window.truth.reshape(-1), window.pred.reshape(-1)
        core = window.core
        at = np.flatnonzero(truth[core] != pred[core]) + core.start
        for side, (own, other) in enumerate(((truth, pred), (pred, truth))):
            pairs = own[at]
            held = np.flatnonzero(pairs)
            for shell, found in self._walk(side, at[held], pairs[held], other, window):
                reached = np.maximum(self.distance[found], self._shells[shell][0])
                self.distance[found] = reached


class _Between(_Lookup):
    """How many surface voxels of both objects are how far from the other's surface, by pair."""

    def __init__(self, shells: Shells, pairs: int) -> None:
        super().__init__(shells, pairs)
        self._voxels = np.zeros(pairs + 1, np.int64)
        self._found = np.zeros((len(shells), pairs + 1), np.int64)

    def look(self, window: Window) -> None:
        truth, pred = (_surfaces(array, window.strides) for array in (window.truth, window.pred))
        core = window.core
        for side, (own, other) in enumerate(((truth, pred), (pred, truth))):
            at = np.flatnonzero(own[core] != 0) + core.start
            self._voxels += np.bincount(own[at], minlength=len(self._voxels))
            at = at[own[at] != other[at]]
            for shell, found in self._walk(side, at, own[at], other, window):
                self._found[shell] += np.bincount(found, minlength=len(self._voxels))

    def mean(self) -> np.ndarray:
        """The mean distance by pair, nm, where no voxel was lost: sums are exact."""
        distances = [distance for distance, _ in self._shells]
        sums = [
            math.fsum(map(float.__mul__, row, distances))
            for row in self._found.T.astype(float).tolist()
        ]
        return np.array(sums[1:]) / np.maximum(self._voxels[1:], 1)


def _surfaces(pairs: np.ndarray, strides: np.ndarray) -> np.ndarray:
    """The pairs of voxels with a face towards another object, flat; 0 elsewhere.

    The outermost voxels of the array must be background.
    """
    flat = pairs.reshape(-1)
    surface = np.zeros(flat.size, bool)
    for stride in strides.tolist():
        step = flat[stride:] != flat[:-stride]
        surface[stride:] |= step
        surface[:-stride] |= step
    return flat * surface
