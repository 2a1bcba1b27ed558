"""Which level of an image suits a voxel size, and how it comes onto a model's grid.

The rule: the coarsest level that is not coarser than wanted (to a twentieth) and has data; else the
least coarse one, if it is at most so many times as coarse.  The rest is resampled.  Names of levels
mean nothing, only their voxel sizes do.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from baselines.box import Box, common_box
from baselines.layout import DataError
from baselines.volumes.images import Level, open_image
from baselines.volumes.readers import Reader, Window
from baselines.volumes.resampling import Resampled, Rule
from evaluator.geometry import Nanometres, Shape, VoxelGrid

SAME = 1.05  # voxels up to so many times as large count as not coarser, down to as alike
COARSEST = 1.5


@dataclass(frozen=True)
class OnGrid:
    """A volume that knows where its voxels lie."""

    reader: Reader
    grid: VoxelGrid

    @property
    def shape(self) -> Shape:
        """Voxels (Z, Y, X)."""
        return self.grid.shape

    def read(self, start: Shape, stop: Shape) -> np.ndarray:
        """A box of it."""
        return self.reader.read(start, stop)


def open_level(
    path: Path, voxel_size: tuple[float, ...], *, coarsest: float = COARSEST, channel: int = -1
) -> OnGrid:
    """An image at a model's voxels.  An empty voxel_size takes the finest level.

    Raises DataError if all levels are coarser than `coarsest` times the model's voxels.
    """
    image = open_image(path, voxel_size=voxel_size, channel=channel)
    size = triple(voxel_size or image.finest.voxel_size)
    levels = ranked(image.levels, size, coarsest=coarsest)
    if not levels:
        raise DataError(
            f"{path} has voxels of {image.finest.voxel_size} nm, more than {coarsest:g} times as "
            f"large as the {size} nm (Z, Y, X) that the model sees: train a model at its voxel "
            "size, or allow it with data.coarsest."
        )
    level = levels[0]
    if alike(level.grid.voxel_size, size):
        return OnGrid(level.reader, level.grid)
    grid = covering(level.grid, size)
    return OnGrid(Resampled(level.reader, level.grid, grid, Rule.MEAN), grid)


def ranked(levels: Sequence[Level], size: Nanometres, *, coarsest: float) -> list[Level]:
    """Levels that may serve a voxel size, the best first; see the rule above."""
    fine = [level for level in levels if coarseness(level.grid, size) <= SAME]
    fine.sort(key=lambda level: -math.prod(level.grid.voxel_size))
    coarse = [level for level in levels if SAME < coarseness(level.grid, size) <= coarsest]
    coarse.sort(key=lambda level: coarseness(level.grid, size))
    return fine + coarse


def coarseness(grid: VoxelGrid, size: Nanometres) -> float:
    """How many times as large as wanted voxels are, along the axis where they are most so."""
    return max(a / b for a, b in zip(grid.voxel_size, size, strict=True))


def alike(one: tuple[float, ...], other: tuple[float, ...]) -> bool:
    """True if voxel sizes agree to a twentieth."""
    return all(max(a / b, b / a) <= SAME for a, b in zip(one, other, strict=True))


def covering(grid: VoxelGrid, size: Nanometres) -> VoxelGrid:
    """A grid of other voxels over the same extent, from the same corner."""
    counts = zip(grid.extent_nm, size, strict=True)
    z, y, x = (max(1, math.ceil(round(extent / n - 0.5, 6))) for extent, n in counts)
    corner = zip(grid.offset, grid.voxel_size, size, strict=True)
    a, b, c = (start - old / 2 + new / 2 for start, old, new in corner)
    return VoxelGrid((z, y, x), size, (a, b, c))


def window(level: Level, box: Box) -> OnGrid:
    """A box of a level, as it is."""
    whole = box.shape == level.grid.shape
    return OnGrid(level.reader if whole else Window(level.reader, box), part_of(level.grid, box))


def box_on(grid: VoxelGrid, other: VoxelGrid) -> Box | None:
    """The voxels of a grid whose centres lie in another grid's extent; None if there are none."""
    bounds = []
    for index in grid.nearest(other):
        (inside,) = np.nonzero(index >= 0)
        if not len(inside):
            return None
        bounds.append((int(inside[0]), int(inside[-1]) + 1))
    (z, end_z), (y, end_y), (x, end_x) = bounds
    return Box((z, y, x), (end_z, end_y, end_x))


def part_of(grid: VoxelGrid, box: Box) -> VoxelGrid:
    """The grid of a box of a grid."""
    places = zip(grid.offset, box.start, grid.voxel_size, strict=True)
    z, y, x = (offset + n * size for offset, n, size in places)
    return VoxelGrid(box.shape, grid.voxel_size, (z, y, x))


def touched(grid: VoxelGrid, other: VoxelGrid) -> Box | None:
    """The voxels of a grid that another grid's extent touches; None if it touches none."""
    low, high = [], []
    for k in range(3):
        start = other.offset[k] - other.voxel_size[k] / 2
        corner = grid.offset[k] - grid.voxel_size[k] / 2
        first = (start - corner) / grid.voxel_size[k]
        last = (start + other.extent_nm[k] - corner) / grid.voxel_size[k]
        low.append(math.floor(round(first, 6)))
        high.append(math.ceil(round(last, 6)))
    found = Box((low[0], low[1], low[2]), (high[0], high[1], high[2]))
    return common_box(found, Box((0, 0, 0), grid.shape))


def triple(size: tuple[float, ...]) -> Nanometres:
    """A voxel size as three numbers."""
    z, y, x = size
    return (z, y, x)
