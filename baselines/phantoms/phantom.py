"""A data folder of EM-like crops with complete truth, from a seed: same seed, same bytes.

Crops are windows into one endless specimen, far from each other.  They are painted block by block,
so memory does not depend on their size.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import zarr

from baselines.box import Box, blocks_of
from baselines.layout import DataFolder, Purpose
from baselines.phantoms.imaging import Section, develop, section
from baselines.phantoms.noise import Positions
from baselines.phantoms.painting import Painted, Part, paint
from baselines.phantoms.specimen import Specimen
from baselines.progress import Progress
from evaluator.geometry import Nanometres, Shape, VoxelGrid
from evaluator.manifest import Crop, Kind, Label, Target
from evaluator.volume import create_volume

DATASET = "phantom"
_BLOCK = (64, 128, 128)  # voxels painted at once; whole chunks of 64
_HALO = (1, 3, 3)  # blur and slopes look this far beyond a block
_APART = 20_000.0  # nm between crops along Z

_ATOMS = {"ecs": Part.ECS, "pm": Part.PM, "mito_mem": Part.MITO_MEM}
_GROUPS = {
    "er": (51, (Part.ER_MEM, Part.ER_LUM)),
    "mem": (75, (Part.PM, Part.MITO_MEM, Part.VES_MEM, Part.ER_MEM, Part.NE_MEM)),
}
_OBJECTS = {
    "cell": (60, tuple(part for part in Part if part is not Part.ECS)),
    "nuc": (37, (Part.NE_MEM, Part.NE_LUM, Part.HCHROM, Part.NUCPL)),
    "mito": (50, (Part.MITO_MEM, Part.MITO_LUM)),
    "ves": (41, (Part.VES_MEM, Part.VES_LUM)),
}
LABELS: dict[str, Label] = {
    **{name: Label(name, int(part), Kind.SEMANTIC) for name, part in _ATOMS.items()},
    **{
        name: Label(name, number, kind, tuple(int(part) for part in parts))
        for kind, table in ((Kind.SEMANTIC, _GROUPS), (Kind.INSTANCE, _OBJECTS))
        for name, (number, parts) in table.items()
    },
}


@dataclass(frozen=True)
class PhantomPlan:
    """What to make: the grid of each crop, how many of each split, how the microscope sees."""

    shape: Shape = (96, 192, 192)
    voxel_size: Nanometres = (8.0, 4.0, 4.0)
    seed: int = 0
    train: int = 2
    hidden: int = 1
    cell_nm: float = 560.0
    noise: float = 0.055

    def crops(self) -> Iterator[tuple[Purpose, Crop, VoxelGrid]]:
        """Every crop, training ones first."""
        splits = [Purpose.TRAIN] * self.train + [Purpose.HIDDEN] * self.hidden
        pitch = self.shape[0] * self.voxel_size[0] + _APART
        for n, split in enumerate(splits):
            number = n + 1 if split is Purpose.TRAIN else n + 1 - self.train
            # Whole voxels, or offsets would carry rounding noise into the manifest.
            start = round(n * pitch / self.voxel_size[0]) * self.voxel_size[0]
            grid = VoxelGrid(self.shape, self.voxel_size, (float(start), 0.0, 0.0))
            yield split, Crop(f"phantom-{split}-{number}", DATASET), grid


def write_phantom(out: Path, plan: PhantomPlan, *, progress: Progress = print) -> None:
    """Write the data folder `out`: raw, labels, manifests and the bundle of the challenge."""
    folder = DataFolder(out)
    specimen = Specimen(plan.seed, plan.cell_nm)
    targets: dict[Purpose, list[Target]] = {Purpose.TRAIN: [], Purpose.HIDDEN: []}
    for split, crop, grid in plan.crops():
        progress(f"painting {crop.name} {grid.shape}")
        of_crop = [Target(crop, label, grid) for label in LABELS.values()]
        arrays = {
            target.label.name: create_volume(
                folder.label(split, target), grid, _dtype(target.label), multiscale=False
            )
            for target in of_crop
        }
        raw = create_volume(folder.raw(split, crop.folder), grid, np.uint8, multiscale=True)
        _write_crop(specimen, plan, grid, raw=raw, arrays=arrays)
        targets[split] += of_crop
    for split, found in targets.items():
        if found:
            folder.add_targets(split, found)
    if plan.hidden:
        folder.describe_challenge(
            slug="phantom", title="Phantom tissue", summary=_SUMMARY, overview=_OVERVIEW
        )


def render(specimen: Specimen, plan: PhantomPlan, grid: VoxelGrid, box: Box) -> tuple[
    np.ndarray, Painted
]:  # fmt: skip
    """Raw (uint8) and what lies there, for a box of voxels of a crop's grid."""
    wide = box.grown(_HALO)
    sections = _sections(plan.seed, grid, wide)
    z, y, x = (
        np.arange(a, b) * size + offset
        for a, b, size, offset in zip(
            wide.start, wide.stop, grid.voxel_size, grid.offset, strict=True
        )
    )
    at = Positions(
        z,
        np.stack([y + s.shift[0] for s in sections]),
        np.stack([x + s.shift[1] for s in sections]),
    )
    painted = paint(specimen, at)
    first_plane = round(grid.offset[0] / grid.voxel_size[0])
    random = np.random.default_rng(
        [plan.seed, first_plane + box.start[0], box.start[1], box.start[2]]
    )
    raw = develop(painted.grey, sections, y=y, x=x, random=random, noise=plan.noise)
    inner = tuple(slice(h, h + b - a) for h, a, b in zip(_HALO, box.start, box.stop, strict=True))
    return raw[inner], painted.inner(inner)


@dataclass
class _Counter:
    """Gives objects the numbers 1, 2, 3 … in the order in which they are first met."""

    known: dict[int, int] = field(default_factory=lambda: {0: 0})

    def compact(self, numbers: np.ndarray) -> np.ndarray:
        found, inverse = np.unique(numbers, return_inverse=True)
        short = [self.known.setdefault(int(n), len(self.known)) for n in found]
        return np.array(short, np.uint32)[inverse].reshape(numbers.shape)


def _write_crop(
    specimen: Specimen,
    plan: PhantomPlan,
    grid: VoxelGrid,
    *,
    raw: zarr.Array[Any],
    arrays: dict[str, zarr.Array[Any]],
) -> None:
    counters = {name: _Counter() for name in arrays}
    for box in blocks_of(grid.shape, _BLOCK):
        image, painted = render(specimen, plan, grid, box)
        raw[box.slices] = image
        for name, array in arrays.items():
            array[box.slices] = _labelled(painted, LABELS[name], counters[name])


def _labelled(painted: Painted, label: Label, counter: _Counter) -> np.ndarray:
    if label.kind is Kind.INSTANCE:
        return counter.compact(getattr(painted, label.name))
    return np.isin(painted.part, label.contains or (label.id,)).astype(np.uint8)


def _dtype(label: Label) -> type[np.unsignedinteger]:
    return np.uint32 if label.kind is Kind.INSTANCE else np.uint8


def _sections(seed: int, grid: VoxelGrid, box: Box) -> list[Section]:
    extent = grid.extent_nm[1:]
    first = math.floor(grid.offset[0] / grid.voxel_size[0] + 0.5)
    return [section(seed, first + z, extent) for z in range(box.start[0], box.stop[0])]


_SUMMARY = "Cells, nuclei, mitochondria, vesicles and membranes in synthetic electron microscopy."
_OVERVIEW = """# Phantom tissue

A synthetic specimen that looks like volume electron microscopy, with truth that is complete and
exact. It exists to try Crista out: train a baseline on the training crops, predict the hidden
ones, and submit.

| label | kind | what |
| --- | --- | --- |
| cell | instance | cells, plasma membrane included |
| nuc | instance | nuclei, envelope included |
| mito | instance | mitochondria, membranes included |
| ves | instance | vesicles |
| ecs | semantic | the space between cells |
| pm | semantic | plasma membranes |
| mito_mem | semantic | membranes of mitochondria |
| er | semantic | endoplasmic reticulum |
| mem | semantic | every membrane (a group) |

Sections are shifted, scratched, folded, dark or lost here and there, as in life.
"""
