"""Small arrays and targets whose scores can be worked out by hand."""

from __future__ import annotations

import numpy as np

from evaluator import Crop, Kind, Label, Target, VoxelGrid
from evaluator.overlap import Overlap, gather


def target(
    kind: str = "instance",
    shape: tuple[int, int, int] = (10, 10, 10),
    voxel_size: tuple[float, float, float] = (1.0, 1.0, 1.0),
    *,
    label: str = "mito",
    crop: str = "1",
    offset: tuple[float, float, float] = (0.0, 0.0, 0.0),
) -> Target:
    """A target; the label's id follows from its name so that several fit into one manifest."""
    number = 1 + sum(map(ord, label))
    grid = VoxelGrid(shape, voxel_size, offset)
    return Target(Crop(crop, "made-up"), Label(label, number, Kind(kind)), grid)


def boxes(
    *corners: tuple[tuple[int, int, int], tuple[int, int, int]],
    shape: tuple[int, int, int] = (10, 10, 10),
    dtype: str = "uint16",
) -> np.ndarray:
    """Boxes from (start, stop), numbered 1, 2, … in the order given; later ones lie on top."""
    array = np.zeros(shape, dtype)
    for number, (start, stop) in enumerate(corners, start=1):
        array[tuple(map(slice, start, stop))] = number
    return array


def cube(at: tuple[int, int, int], side: int = 2, shape: tuple[int, int, int] = (10, 10, 10)):
    """A bool cube with its first voxel at a place."""
    z, y, x = at
    return boxes((at, (z + side, y + side, x + side)), shape=shape) > 0


def numbered(labels: np.ndarray) -> np.ndarray:
    """The same objects numbered 1 … n in the order of their first voxel; 0 stays background."""
    ids, first, index = np.unique(labels, return_index=True, return_inverse=True)
    rank = np.zeros(len(ids), np.int64)
    order = [i for i in np.argsort(first) if ids[i] != 0]
    rank[order] = np.arange(1, len(order) + 1)
    return rank[index].reshape(labels.shape)


def count_overlaps(truth: np.ndarray, pred: np.ndarray, *, planes: int = 2) -> Overlap:
    """The table of two arrays whose objects are numbered, counted voxel by voxel in parts."""
    parts = (
        (truth[z : z + planes].ravel(), pred[z : z + planes].ravel())
        for z in range(0, len(truth), planes)
    )
    return gather(
        ((t, p, np.ones(t.size, np.int64)) for t, p in parts),
        truths=int(truth.max()),
        preds=int(pred.max()),
    )
