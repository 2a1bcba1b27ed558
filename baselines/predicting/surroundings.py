"""A crop in its raw: what is to be predicted of it, and the raw around as far as it was fetched."""

from __future__ import annotations

import math
from dataclasses import dataclass

from baselines.box import Box, box_around, common_box
from baselines.config import Config
from baselines.volumes.images import Image, Level
from baselines.volumes.levels import OnGrid, alike, box_on, part_of, ranked, touched, window
from baselines.volumes.resampling import Resampled, Rule
from evaluator.geometry import Nanometres, Shape, VoxelGrid


@dataclass(frozen=True)
class Raw(OnGrid):
    """A volume at the model's voxels.  core: what of it is to be predicted; the rest is context."""

    core: Box

    @property
    def predicted(self) -> VoxelGrid:
        """The grid of a prediction."""
        return part_of(self.grid, self.core)


def whole(volume: OnGrid) -> Raw:
    """All of a volume is to be predicted."""
    return Raw(volume.reader, volume.grid, Box((0, 0, 0), volume.shape))


def margin_of(config: Config, shape: Shape) -> Shape:
    """Voxels around a crop that its prediction looks at: tiles overlap there as they do inside, and
    a tile that is larger than the crop sees what is there rather than a mirror."""
    settings = config.prediction
    over = settings.overlap if not settings.orthoplanes else (max(settings.overlap),) * 3
    wide = settings.tile if not settings.orthoplanes else (max(settings.tile),) * 3
    z, y, x = (max(o, -((n - t) // 2)) for o, t, n in zip(over, wide, shape, strict=True))
    return (z + config.model.context, y, x)


def in_its_raw(image: Image, crop: VoxelGrid, size: Nanometres, config: Config) -> Raw | None:
    """A crop at voxels of a size, from the best level that has it; `levels` has the rule.

    None: no level has all of it.
    """
    for level in ranked(image.levels, size, coarsest=config.data.coarsest):
        near = touched(level.grid, crop)
        if near is None or level.data.absent(near):
            continue
        if alike(level.grid.voxel_size, size):
            margin = margin_of(config, near.shape)
            if (data := _data(level, near, near.grown(margin))) is not None:
                part, back = window(level, data), tuple(-n for n in data.start)
                return Raw(part.reader, part.grid, near.moved(back))
        elif (found := _resampled(level, near, crop, size, config)) is not None:
            return found
    return None


def _data(level: Level, near: Box, region: Box) -> Box | None:
    """The part of a region around a crop that is there, with all of the crop."""
    inside = common_box(region, Box((0, 0, 0), level.grid.shape)) or near
    found = level.data.around(near, inside)
    return None if found is None else box_around((near, found))


def _resampled(
    level: Level, near: Box, crop: VoxelGrid, size: Nanometres, config: Config
) -> Raw | None:
    """Voxels begin at the crop's corner, so that its own are met where they are as large."""
    core = _covering(crop, size)
    margin = margin_of(config, core.shape)
    wide = part_of(core, Box((0, 0, 0), core.shape).grown(margin))
    data = _data(level, near, touched(level.grid, wide) or near)
    if data is None:
        return None
    source = window(level, data)
    inside = box_on(wide, source.grid)
    wanted = inside and common_box(Box((0, 0, 0), core.shape).moved(margin), inside)
    if inside is None or wanted is None:
        return None
    grid = part_of(wide, inside)
    reader = Resampled(source.reader, source.grid, grid, Rule.MEAN)
    return Raw(reader, grid, wanted.moved(tuple(-n for n in inside.start)))


def _covering(crop: VoxelGrid, size: Nanometres) -> VoxelGrid:
    """Voxels of a size from a crop's corner to its end, and beyond it by less than one."""
    z, y, x = (
        math.ceil(round(n / s, 6)) for n, s in zip(crop.extent_nm, size, strict=True)
    )  # fmt: skip
    places = zip(crop.offset, crop.voxel_size, size, strict=True)
    a, b, c = (start - old / 2 + new / 2 for start, old, new in places)
    return VoxelGrid((z, y, x), size, (a, b, c))
