"""Small arrays and targets whose scores can be worked out by hand."""

from __future__ import annotations

import numpy as np

from evaluator import Crop, Kind, Label, Target, VoxelGrid


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
