"""Distances between two shapes, in nanometres."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy.spatial import cKDTree

from evaluator.geometry import Nanometres

BLOCK = 8  # voxels along each side of the blocks that are ruled out together
BATCH = 64  # blocks looked into at a time, at most
ROUNDING = 1.0 + 1e-9


@dataclass(frozen=True)
class Solid:
    """A set of voxels: those that are True in a box whose first voxel lies at `corner`."""

    mask: np.ndarray
    corner: np.ndarray

    def without(self, other: Solid | Dust) -> np.ndarray:
        """The mask, but for the voxels of another set."""
        if isinstance(other, Dust):
            mask, inside = self.mask.copy(), other.voxels[self.holds(other.voxels)]
            mask[tuple((inside - self.corner).T)] = False
            return mask
        low = np.maximum(self.corner, other.corner)
        high = np.minimum(self.corner + self.mask.shape, other.corner + other.mask.shape)
        mask = self.mask.copy()
        if (low < high).all():
            mine = tuple(map(slice, low - self.corner, high - self.corner))
            mask[mine] &= ~other.mask[tuple(map(slice, low - other.corner, high - other.corner))]
        return mask

    def holds(self, voxels: np.ndarray) -> np.ndarray:
        """Which voxels (n, 3) are of the set."""
        place = voxels - self.corner
        known = ((place >= 0) & (place < self.mask.shape)).all(axis=1)
        known[known] = self.mask[tuple(place[known].T)]
        return np.asarray(known)

    def surface(self) -> np.ndarray:
        """Indices (n, 3) of the voxels with a face towards one that is not of the set.

        The voxel of a set that is nearest to a point outside is always one of them.
        """
        padded = np.zeros(np.add(self.mask.shape, 2), bool)
        padded[1:-1, 1:-1, 1:-1] = self.mask
        surface = np.zeros_like(padded)
        for axis in range(3):
            lower = (slice(None),) * axis + (slice(None, -1),)
            upper = (slice(None),) * axis + (slice(1, None),)
            step = padded[lower] != padded[upper]
            surface[lower] |= step
            surface[upper] |= step
        surface &= padded
        return np.asarray(np.argwhere(surface) + (self.corner - 1))


@dataclass(frozen=True)
class Dust:
    """A set of voxels that are few beside those of the box around them.

    voxels: indices (n, 3), each from 0 up to 2 ** 20, in raster order.
    """

    voxels: np.ndarray

    def holds(self, voxels: np.ndarray) -> np.ndarray:
        """Which voxels (n, 3) are of the set."""
        mine, asked = (self._keys(v) for v in (self.voxels, voxels))
        place = np.minimum(np.searchsorted(mine, asked), len(mine) - 1)
        return np.asarray(mine[place] == asked)

    def surface(self) -> np.ndarray:
        """As of a `Solid`."""
        inner = np.ones(len(self.voxels), bool)
        for step in np.concatenate((np.eye(3, dtype=np.int64), -np.eye(3, dtype=np.int64))):
            inner[inner] = self.holds(self.voxels[inner] + step)
        return self.voxels[~inner]

    @staticmethod
    def _keys(voxels: np.ndarray) -> np.ndarray:
        """One number per voxel, in raster order; neighbours outside of the volume have one too."""
        z, y, x = (voxels + 1).T
        return np.asarray((z << 42) + (y << 21) + x)


def hausdorff_nm(
    truth: np.ndarray, pred: np.ndarray, voxel_size: Nanometres, *, cap: float = math.inf
) -> float:
    """Symmetric Hausdorff distance between two sets of voxels, in nm, at most `cap`.

    truth, pred: bool, same shape (Z, Y, X); a box that holds both sets is enough.
    Two empty sets agree: 0.0.  One empty set has no distance: `cap`.
    """
    if not truth.any() or not pred.any():
        return 0.0 if truth.any() == pred.any() else cap
    corner = np.zeros(3, np.intp)
    sets = Solid(truth, corner), Solid(pred, corner)
    least = farthest_nm(*sets, voxel_size, cap=cap)
    return min(cap, farthest_nm(*sets[::-1], voxel_size, least=least, cap=cap))


def farthest_nm(
    shape: Solid | Dust,
    other: Solid | Dust,
    voxel_size: Nanometres,
    *,
    least: float = 0.0,
    cap: float = math.inf,
) -> float:
    """The largest distance of a voxel of a set from another set, or `least` if that is larger.

    The other set is not empty.  Stops at `cap`: what is returned then is this far, or farther.
    The distance from a set cannot change faster than one moves, so the distance of a block's
    centre bounds that of its voxels, and few blocks need a closer look.
    """
    if least >= cap:
        return least
    if isinstance(shape, Dust):
        voxels = shape.voxels[~other.holds(shape.voxels)]
        found = _nearest(voxels, other.surface(), np.asarray(voxel_size, float))
        return max(least, float(found.max(initial=0.0)))
    outside = shape.without(other)
    if not outside.any():
        return least
    size = np.asarray(voxel_size, float)
    surface = other.surface()
    tree = cKDTree(surface * size, balanced_tree=False, compact_nodes=False)
    blocks = _blocks_with_voxels(outside)
    radius = math.sqrt(float(np.square(size * (BLOCK - 1) / 2).sum()))
    centres = (blocks * BLOCK + (BLOCK - 1) / 2 + shape.corner) * size
    bounds = (tree.query(centres)[0] + radius) * ROUNDING
    order = np.argsort(-bounds, kind="stable")
    start, batch = 0, 2
    while start < len(order) and least < min(bounds[order[start]], cap):
        near = blocks[order[start : start + batch]]
        voxels = np.concatenate([_voxels(outside, block) for block in near])
        found = _distances(voxels + shape.corner, surface, tree, size)
        least = max(least, float(found.max()))
        start, batch = start + batch, min(2 * batch, BATCH)
    return least


def surface_distance_nm(truth: Solid | Dust, pred: Solid | Dust, voxel_size: Nanometres) -> float:
    """Mean distance of the surface voxels of two sets from the other's surface, in nm.

    Also called average symmetric surface distance: the distances of both sides are added and
    divided by their number.  Neither set is empty.  Beyond its box a set has no voxels.
    """
    size = np.asarray(voxel_size, float)
    sides = truth.surface(), pred.surface()
    distances = [_nearest(own, other, size) for own, other in (sides, sides[::-1])]
    return math.fsum(np.concatenate(distances)) / sum(map(len, sides))


def _nearest(voxels: np.ndarray, others: np.ndarray, size: np.ndarray) -> np.ndarray:
    """The distance of each voxel (n, 3) from the nearest of the others (m, 3), in nm."""
    return _distances(voxels, others, cKDTree(others * size, leafsize=32), size)


def _distances(
    voxels: np.ndarray, others: np.ndarray, tree: cKDTree, size: np.ndarray
) -> np.ndarray:
    z, y, x = ((others[tree.query(voxels * size)[1]] - voxels) * size).T
    return np.asarray(np.sqrt(z * z + y * y + x * x))


def _blocks_with_voxels(mask: np.ndarray) -> np.ndarray:
    """Indices (n, 3) of the blocks that hold a voxel of the mask."""
    for axis in range(3):
        mask = np.logical_or.reduceat(mask, np.arange(0, mask.shape[axis], BLOCK), axis=axis)
    return np.argwhere(mask)


def _voxels(mask: np.ndarray, block: np.ndarray) -> np.ndarray:
    """Indices (n, 3) of the mask's voxels in one block."""
    start = block * BLOCK
    box = tuple(slice(int(low), int(low) + BLOCK) for low in start)
    return np.asarray(np.argwhere(mask[box]) + start)
