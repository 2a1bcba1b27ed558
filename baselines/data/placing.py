"""Annotated crops on a model's grid: which level is read, what is resampled, what is left out."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from baselines.box import Box, box_around, common_box
from baselines.config import DataConfig
from baselines.data.exclusion import Known, exclude, exclusive_groups
from baselines.data.masks import IDS, Chosen, Components, Union, Unseen
from baselines.data.sources.source import Source, SourceCrop
from baselines.layout import DataError
from baselines.progress import Progress, counted
from baselines.volumes.images import Image, Level
from baselines.volumes.levels import OnGrid, alike, box_on, part_of, ranked, touched, window
from baselines.volumes.readers import InMemory, Placed, Reader, Window
from baselines.volumes.resampling import Resampled, Rule
from evaluator.geometry import Nanometres, Shape, VoxelGrid
from evaluator.manifest import Kind


class LeftOut(DataError):
    """A crop that cannot be learnt from, which is no reason not to learn from the others."""


@dataclass(frozen=True)
class OpenCrop:
    """A crop whose images are open, of which no voxel is read yet."""

    source: SourceCrop
    raw: Image
    labels: Mapping[str, Image]

    @property
    def voxel_size(self) -> Nanometres:
        """Of the finest annotation, or of the raw where that is coarser."""
        grids = [self.raw.finest, min((i.finest for i in self.labels.values()), key=_volume)]
        z, y, x = (max(grid.voxel_size[k] for grid in grids) for k in range(3))
        return (z, y, x)


@dataclass(frozen=True)
class PlacedCrop:
    """A crop on the model's grid; see `TrainingCrop`."""

    source: SourceCrop
    grid: VoxelGrid
    raw: Reader
    valid: Box
    labels: dict[str, Reader]
    known: dict[str, Box]
    where: str

    @property
    def box(self) -> Box:
        """Around all that is annotated."""
        return box_around(self.known.values())

    def with_components(self, label: str) -> PlacedCrop:
        """What hangs together in a label's mask becomes objects."""
        box = self.known[label]
        objects = Components(Window(self.labels[label], box))
        placed = Placed(objects, box.start, self.grid.shape)
        return replace(self, labels={**self.labels, label: placed})

    @property
    def bytes(self) -> int:
        """About so many it takes in memory."""
        return 2 * self.grid.voxels + sum(4 * box.voxels for box in self.known.values())

    def in_memory(self) -> PlacedCrop:
        """The same, read."""
        raw = InMemory(self.raw.read((0, 0, 0), self.grid.shape))
        labels: dict[str, Reader] = {}
        for label, box in self.known.items():
            part = InMemory(self.labels[label].read(box.start, box.stop))
            whole = box.shape == self.grid.shape
            labels[label] = part if whole else Placed(part, box.start, self.grid.shape)
        return replace(self, raw=raw, labels=labels)


def open_crop(crop: SourceCrop, labels: Sequence[str], source: Source) -> OpenCrop | None:
    """The crop with those annotations that are wanted, or needed for groups that are.

    None: it has none of them.
    """
    derived = (source.contains.get(name, ()) for name in labels if name not in crop.labels)
    atoms = {a for group in derived if set(group) <= set(crop.labels) for a in group}
    wanted = [name for name in crop.labels if name in {*labels, *atoms}]
    if not wanted:
        return None
    return OpenCrop(crop, crop.raw(), {name: crop.labels[name]() for name in wanted})


def place(
    crop: OpenCrop, labels: Sequence[str], source: Source, size: Nanometres, margin: Shape,
    config: DataConfig, *, progress: Progress,
) -> PlacedCrop:  # fmt: skip
    """A crop at voxels of a size, with raw around what is annotated.

    margin: voxels of it on each side, as far as there is raw.
    Raises LeftOut: the raw is missing or too coarse, or no annotation can be used.
    """
    levels = _usable(crop, size, config, progress)
    context, valid, absent = _context(
        crop, [level.grid for level in levels.values()], size, margin, config, progress
    )
    readers: dict[str, Reader] = {}
    known: dict[str, Box] = {}
    for name, level in levels.items():
        grid = _planes_of(level.grid, crop.labels[name].finest, config.planes)
        found = box_on(context.grid, grid)
        if found is not None and (box := common_box(found, valid)) is not None:
            known[name] = box
            ids = Chosen(_on(context.grid, level, source.kinds[name]), IDS)
            readers[name] = Unseen(ids, absent) if absent else ids
    for name in labels:
        _derive(name, source, readers, known)
    if config.exclusive:
        groups = exclusive_groups(config.exclusive, sorted({*source.labels, *source.contains}))
        annotated = {name: Known(reader, known[name]) for name, reader in readers.items()}
        told = exclude(annotated, labels, groups, context.grid.shape)
        readers = {name: label.reader for name, label in told.items()}
        known = {name: label.box for name, label in told.items()}
    kept = [name for name in labels if name in known]
    if not kept:
        raise LeftOut(
            f"{crop.source.name} is left out: none of its annotations lies in its raw. Check the "
            "offsets of both, or fetch them from one source."
        )
    return PlacedCrop(
        crop.source, context.grid, context.reader, valid,
        {name: readers[name] for name in kept}, {name: known[name] for name in kept},
        crop.raw.where,
    )  # fmt: skip


def _usable(
    crop: OpenCrop, size: Nanometres, config: DataConfig, progress: Progress
) -> dict[str, Level]:
    """The level of each annotation that is not too coarse."""
    usable = {}
    for name, image in crop.labels.items():
        most = math.inf if name in config.allow_coarse else config.coarsest
        if found := ranked(image.levels, size, coarsest=most):
            usable[name] = found[0]
        else:
            progress(
                f"{crop.source.name}: {name} is left out: its voxels of {image.finest.voxel_size} "
                f"nm are more than {most:g} times as large as the model's {size} nm; "
                "data.allow_coarse takes it all the same."
            )
    if not usable:
        raise LeftOut(
            f"{crop.source.name} is left out: its annotations are coarser than the model's {size} "
            "nm (Z, Y, X). Choose a data.voxel_size that fits them."
        )
    return usable


def _context(
    crop: OpenCrop, grids: Sequence[VoxelGrid], size: Nanometres, margin: Shape,
    config: DataConfig, progress: Progress,
) -> tuple[OnGrid, Box, list[Box]]:  # fmt: skip
    """Raw around annotations at the model's voxels, the box of it that has data, and boxes in that
    which have none."""

    def reach(voxel_size: Nanometres) -> Shape:
        pairs = zip(margin, size, voxel_size, strict=True)
        z, y, x = (math.ceil(m * new / old) for m, new, old in pairs)
        return (z, y, x)

    found = raw_around(crop, grids, size, reach, config, progress)
    raw, valid = _at(found, grids, size)
    return raw, valid, found.absent_on(raw.grid)


@dataclass(frozen=True)
class RawAround:
    """Raw near annotations, in voxels of its level.

    core: around the annotations.  region: the same with a margin.  data: of the region, the box
    that has data.  absent: chunks of the core, as far as they lie in it, that are not there.
    """

    level: Level
    core: Box
    region: Box
    data: Box
    absent: Sequence[Box]

    def absent_on(self, grid: VoxelGrid) -> list[Box]:
        """Voxels of a grid that have a share in what is not there; resampling blurs its rim."""
        blur = 0 if alike(self.level.grid.voxel_size, grid.voxel_size) else 1
        parts = (part_of(self.level.grid, box.grown((blur,) * 3)) for box in self.absent)
        return [box for part in parts if (box := touched(grid, part)) is not None]


def raw_around(
    crop: OpenCrop, grids: Sequence[VoxelGrid], size: Nanometres,
    margin: Callable[[Nanometres], Shape], config: DataConfig, progress: Progress,
) -> RawAround:  # fmt: skip
    """Raw near annotations, of the level that suits voxels of a size: rather of one that is there
    whole.  Says how much is absent.

    margin: voxels (Z, Y, X) beside the annotations, at voxels of a size in nm.
    Raises LeftOut.
    """
    levels = ranked(crop.raw.levels, size, coarsest=config.coarsest)
    found = []
    for level in levels:
        near = [box for grid in grids if (box := touched(level.grid, grid)) is not None]
        if not near:
            raise LeftOut(
                f"{crop.source.name} is left out: it lies outside its raw. Check the offsets of "
                "both, or fetch them from one source."
            )
        core, whole = box_around(near), Box((0, 0, 0), level.grid.shape)
        region = common_box(core.grown(margin(level.grid.voxel_size)), whole) or core
        data = level.data.around(core, region)
        if data is not None:
            found.append(RawAround(level, core, region, data, level.data.absent(core)))
    if found:
        best = next((raw for raw in found if not raw.absent), found[0])
        if best.absent:
            progress(_of_absent(crop, best))
        return best
    if levels:
        raise LeftOut(
            f"{crop.source.name} is left out: {crop.raw.where} has no data there at "
            f"{[level.grid.voxel_size for level in levels]} nm: get it with `baselines fetch`."
        )
    raise LeftOut(
        f"{crop.source.name} is left out: {crop.raw.where} has voxels of "
        f"{crop.raw.finest.voxel_size} nm, more than {config.coarsest:g} times as large as the "
        f"model's {size} nm (Z, Y, X). Train at its voxel size, or allow it with data.coarsest."
    )


def _of_absent(crop: OpenCrop, raw: RawAround) -> str:
    share = sum(box.voxels for box in raw.absent) / raw.core.voxels
    size = ",".join(f"{n:g}" for n in raw.level.grid.voxel_size)
    return (
        f"{crop.source.name}: {crop.raw.where} lacks {counted(len(raw.absent), 'chunk')} at {size} "
        f"nm, {100 * share:.3g} % of the raw at its annotations: nothing is learnt there. Get it "
        f"with `baselines fetch SOURCE --dest DATA --crops {crop.source.name} --voxel-size {size}`"
        "; where it is black, set data.absent = 'black'."
    )


def _at(found: RawAround, grids: Sequence[VoxelGrid], size: Nanometres) -> tuple[OnGrid, Box]:
    level, region, data = found.level, found.region, found.data
    back = tuple(-n for n in region.start)
    if alike(level.grid.voxel_size, size):
        return window(level, region), data.moved(back)
    # Voxels begin at the annotations' corner, so that those need not be resampled where they fit.
    wide = _aligned(part_of(level.grid, region), grids, size)
    whole = box_on(wide, level.grid)
    grid = wide if whole is None else part_of(wide, whole)
    valid = box_on(grid, part_of(level.grid, data)) or Box((0, 0, 0), grid.shape)
    return OnGrid(Resampled(level.reader, level.grid, grid, Rule.MEAN), grid), valid


def _aligned(extent: VoxelGrid, grids: Sequence[VoxelGrid], size: Nanometres) -> VoxelGrid:
    """A grid over an extent, with voxels of a size that begin at the corner of the first grid."""
    start, shape = [], []
    for k in range(3):
        anchor = grids[0].offset[k] - grids[0].voxel_size[k] / 2
        low = extent.offset[k] - extent.voxel_size[k] / 2
        first = math.ceil(round((low - anchor) / size[k] - 0.5, 6))
        last = math.floor(round((low + extent.extent_nm[k] - anchor) / size[k] + 0.5, 6))
        start.append(anchor + (first + 0.5) * size[k])
        shape.append(max(1, last - first))
    return VoxelGrid((shape[0], shape[1], shape[2]), size, (start[0], start[1], start[2]))


def _planes_of(grid: VoxelGrid, finest: VoxelGrid, planes: tuple[int, ...]) -> VoxelGrid:
    """The part of a grid that lies in some planes, counted in the finest level."""
    if not planes:
        return grid
    first, last = max(planes[0], 0), min(planes[1], finest.shape[0])
    if first >= last:
        raise DataError(
            f"data.planes is {list(planes)}; there are planes 0 to {finest.shape[0]}. Take a "
            "first and a last + 1 within them."
        )
    box = box_on(grid, part_of(finest, Box((first, 0, 0), (last, *finest.shape[1:]))))
    return grid if box is None else part_of(grid, box)


def _on(grid: VoxelGrid, level: Level, kind: Kind) -> Reader:
    if level.grid == grid:
        return level.reader
    fits = kind is Kind.INSTANCE or alike(level.grid.voxel_size, grid.voxel_size)
    return Resampled(level.reader, level.grid, grid, Rule.NEAREST if fits else Rule.MASK)


def _derive(name: str, source: Source, readers: dict[str, Reader], known: dict[str, Box]) -> None:
    """A group without an annotation of its own is where its labels are, if all are annotated."""
    parts = source.contains.get(name, ())
    if name in known or not parts or not all(part in known for part in parts):
        return
    box: Box | None = known[parts[0]]
    for part in parts[1:]:
        box = common_box(box, known[part]) if box else None
    if box is None:
        return
    group: Reader = Union(tuple(readers[part] for part in parts))
    if source.kinds.get(name) is Kind.INSTANCE:
        group = Placed(Components(Window(group, box)), box.start, group.shape)
    readers[name], known[name] = group, box


def _volume(grid: VoxelGrid) -> float:
    return math.prod(grid.voxel_size)
