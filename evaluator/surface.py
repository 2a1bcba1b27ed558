"""Hausdorff distances between shapes, in nanometres."""

from __future__ import annotations

import math

import numpy as np
from scipy.spatial import cKDTree

from evaluator.geometry import Nanometres

BLOCK = 8  # voxels along each side of the blocks that are ruled out together
BATCH = 64  # blocks looked into at a time
ROUNDING = 1.0 + 1e-9


def hausdorff_nm(
    truth: np.ndarray,
    pred: np.ndarray,
    voxel_size: Nanometres,
    *,
    cap: float = math.inf,
    least: float = 0.0,
) -> float:
    """Symmetric Hausdorff distance between two sets of voxels, in nm, at most `cap`.

    truth, pred: bool, same shape (Z, Y, X); a box that holds both sets is enough.
    least: a distance that is known to occur, which spares a look at all that is nearer.
    Two empty sets agree: 0.0.  One empty set has no distance: `cap`.
    """
    if not truth.any() or not pred.any():
        return 0.0 if truth.any() == pred.any() else cap
    size = np.asarray(voxel_size, float)
    least = max(least, _beyond(truth, pred, size))
    if least >= cap:
        return cap
    reached = _farthest(truth & ~pred, pred, size, least=least, cap=cap)
    return min(cap, _farthest(pred & ~truth, truth, size, least=reached, cap=cap))


def surface_distance_nm(truth: np.ndarray, pred: np.ndarray, voxel_size: Nanometres) -> float:
    """Mean distance of the surface voxels of two sets from the other's surface, in nm.

    Also called average symmetric surface distance: the distances of both sides are added and
    divided by their number.  A surface voxel has a face towards a voxel that is not of its set,
    or towards the outside.  truth, pred: bool, same shape (Z, Y, X), neither is empty.
    """
    size = np.asarray(voxel_size, float)
    sides = [_surface(np.pad(shape, 1)) for shape in (truth, pred)]
    distances = [_nearest(own & ~other, other, size) for own, other in (sides, sides[::-1])]
    count = sum(int(np.count_nonzero(side)) for side in sides)
    return math.fsum(np.sort(np.concatenate(distances))) / count


def _nearest(points: np.ndarray, shape: np.ndarray, size: np.ndarray) -> np.ndarray:
    """The distance of each voxel of `points` from `shape`, neither of them empty, in nm."""
    voxels, others = np.argwhere(points), np.argwhere(shape)
    tree = cKDTree(others * size, balanced_tree=False, compact_nodes=False)
    z, y, x = ((others[tree.query(voxels * size)[1]] - voxels) * size).T
    return np.asarray(np.sqrt(z * z + y * y + x * x))


def _beyond(truth: np.ndarray, pred: np.ndarray, size: np.ndarray) -> float:
    """How far one set's box stands out of the other's, along the axis where it does most."""
    ends = []
    for shape in (truth, pred):
        along = [np.flatnonzero(shape.any(axis=axes)) for axes in ((1, 2), (0, 2), (0, 1))]
        ends.append(np.array([(found[0], found[-1]) for found in along]))
    return float((abs(ends[0] - ends[1]) * size[:, None]).max())


def _farthest(
    outside: np.ndarray, shape: np.ndarray, size: np.ndarray, *, least: float, cap: float
) -> float:
    """The largest distance of a voxel of `outside` from `shape`, or `least` if that is larger.

    The distance from the shape cannot change faster than one moves, so the distance of a block's
    centre bounds that of its voxels, and few blocks need a closer look.  Stops at `cap`.
    """
    if not outside.any():
        return least
    surface = np.argwhere(_surface(shape))
    tree = cKDTree(surface * size, balanced_tree=False, compact_nodes=False)
    blocks = _blocks_with_voxels(outside)
    radius = math.sqrt(float(np.square(size * (BLOCK - 1) / 2).sum()))
    centres = (blocks * BLOCK + (BLOCK - 1) / 2) * size
    bounds = (tree.query(centres)[0] + radius) * ROUNDING
    order = np.argsort(-bounds, kind="stable")
    for start in range(0, len(order), BATCH):
        batch = order[start : start + BATCH]
        if least >= min(bounds[batch[0]], cap):
            break
        voxels = np.concatenate([_voxels(outside, block) for block in blocks[batch]])
        nearest = surface[tree.query(voxels * size)[1]]
        z, y, x = ((nearest - voxels) * size).T
        least = max(least, math.sqrt(float((z * z + y * y + x * x).max())))
    return least


def _surface(shape: np.ndarray) -> np.ndarray:
    """Voxels of a shape with a face towards a voxel that is not its own.

    The voxel of a shape that is nearest to a point outside is always one of them.
    """
    surface = np.zeros_like(shape)
    for axis in range(3):
        lower = (slice(None),) * axis + (slice(None, -1),)
        upper = (slice(None),) * axis + (slice(1, None),)
        step = shape[lower] != shape[upper]
        surface[lower] |= step
        surface[upper] |= step
    surface &= shape
    return surface


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
