"""What an export leaves on disk, crop by crop: each is there whole or not at all."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from baselines.box import Box, blocks_of, common_box
from baselines.data.masks import Components
from baselines.data.sources import Source
from baselines.layout import DataFolder, Purpose
from baselines.volumes.levels import OnGrid
from baselines.volumes.ome_tiff import write_tiff
from baselines.volumes.readers import Reader
from evaluator.geometry import Shape
from evaluator.manifest import Crop, Kind, Label, Target, format_labels
from evaluator.volume import create_volume

UNKNOWN = 255  # of a mask: nobody looked
_BLOCK = (64, 512, 512)  # voxels that are read and written at once


@dataclass(frozen=True)
class CutOut:
    """What is written of a crop.  Ids: 0 is absent, below 0 nobody looked."""

    crop: Crop
    raw: OnGrid
    labels: Mapping[str, OnGrid]


@dataclass(frozen=True)
class Looked:
    """Ids that are known in a box alone: -1 around it."""

    source: Reader
    known: Box

    @property
    def shape(self) -> Shape:
        """Voxels (Z, Y, X)."""
        return self.source.shape

    def read(self, start: Shape, stop: Shape) -> np.ndarray:
        """int32."""
        asked = Box(start, stop)
        out = np.full(asked.shape, -1, np.int32)
        inner = common_box(asked, self.known)
        if inner is not None:
            out[inner.within(asked)] = self.source.read(inner.start, inner.stop)
        return out


class FolderOfCrops:
    """A data folder (`baselines.layout`) to which crops are added."""

    def __init__(self, root: Path, labels: Mapping[str, Label], source: Source) -> None:
        self.data, self.labels, self.source = DataFolder(root), labels, source
        (root / "labels.toml").write_text(format_labels(labels.values()), "utf-8")
        specimens = {c.dataset: c.specimen for c in source.crops if c.specimen != c.dataset}
        if specimens:
            lines = (f"{json.dumps(d)} = {json.dumps(s)}\n" for d, s in sorted(specimens.items()))
            (root / "specimens.toml").write_text("".join(lines), "utf-8")

    def has(self, crop: Crop) -> bool:
        """Whether a crop was written whole: the manifest is the last to hear of it."""
        table = self.data.table(Purpose.TRAIN)
        return table.is_file() and crop.folder in self.data.manifest(Purpose.TRAIN).crops

    def write(self, found: CutOut) -> None:
        """Add a crop, in a folder of another name until all of it is there."""
        targets = [Target(found.crop, self.labels[n], v.grid) for n, v in found.labels.items()]
        folder = self.data.raw(Purpose.TRAIN, found.crop.folder).parent
        begun = DataFolder(self.data.root / ".begun")
        shutil.rmtree(begun.root, ignore_errors=True)
        _store(begun.raw(Purpose.TRAIN, found.crop.folder), found.raw)
        for target in targets:
            ids = objects_in(found.labels[target.label.name], target.label, self.source)
            _store(begun.label(Purpose.TRAIN, target), ids)
        shutil.rmtree(folder, ignore_errors=True)  # of an export that ended before the manifest
        folder.parent.mkdir(exist_ok=True)
        begun.raw(Purpose.TRAIN, found.crop.folder).parent.replace(folder)
        shutil.rmtree(begun.root)
        self.data.add_targets(Purpose.TRAIN, targets)


class FolderOfStacks:
    """Folders of TIFF stacks, images and masks, to which crops are added."""

    def __init__(self, root: Path, labels: Mapping[str, Label], source: Source) -> None:
        self.root, self.labels, self.source = root, labels, source
        self.table = root / "crops.json"

    def has(self, crop: Crop) -> bool:
        """Whether a crop was written whole: the table is the last to hear of it."""
        return crop.folder in self._entries()

    def write(self, found: CutOut) -> None:
        """Add a crop."""
        name, grid = found.crop.folder, found.raw.grid
        _stack(self.root / "images" / f"{name}.tif", found.raw)
        for label, ids in found.labels.items():
            known = self.labels[label]
            ids = objects_in(ids, known, self.source)
            masks = known.kind is Kind.SEMANTIC
            _stack(self.root / "masks" / label / f"{name}.tif", ids, masks=masks)
        entry = {
            "dataset": found.crop.dataset, "shape": list(grid.shape),
            "voxel_size": list(grid.voxel_size), "translation": list(grid.offset),
            "labels": {label: str(self.labels[label].kind) for label in found.labels},
        }  # fmt: skip
        text = json.dumps({**self._entries(), name: entry}, indent=1) + "\n"
        begun = self.table.with_name(".crops.json.part")
        begun.write_text(text, "utf-8")
        begun.replace(self.table)

    def _entries(self) -> dict[str, Any]:
        there = self.table.is_file()
        entries: dict[str, Any] = json.loads(self.table.read_text("utf-8")) if there else {}
        return entries


def objects_in(ids: OnGrid, label: Label, source: Source) -> OnGrid:
    """Ids of objects.  Where a source may have masks for them, what hangs together in a mask is
    an object, as it is in training."""
    if not source.masks or label.kind is not Kind.INSTANCE:
        return ids
    highest = max(int(values.max()) for _, values in _blocks(ids))
    return OnGrid(Components(ids.reader), ids.grid) if highest == 1 else ids


def _store(path: Path, volume: OnGrid) -> None:
    """Copy a volume into a new OME-Zarr, a block of it in memory at a time."""
    dtype = volume.read((0, 0, 0), (1, 1, 1)).dtype
    array = create_volume(path, volume.grid, dtype, multiscale=True)
    for box, values in _blocks(volume):
        array[box.slices] = values


def _blocks(volume: OnGrid) -> Iterator[tuple[Box, np.ndarray]]:
    for box in blocks_of(volume.shape, _BLOCK):
        yield box, volume.read(box.start, box.stop)


def _stack(path: Path, volume: OnGrid, *, masks: bool = False) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    dtype = np.dtype(np.uint8) if masks else volume.read((0, 0, 0), (1, 1, 1)).dtype
    write_tiff(
        path, _planes(volume, masks=masks), shape=volume.shape, dtype=dtype,
        voxel_size=volume.grid.voxel_size,
    )  # fmt: skip


def _planes(volume: OnGrid, *, masks: bool) -> Iterator[np.ndarray]:
    """Plane by plane, (Y, X); of masks 0, 1, and 255 where nobody looked."""
    for z in range(volume.shape[0]):
        (plane,) = volume.read((z, 0, 0), (z + 1, *volume.shape[1:]))
        if masks:
            plane = np.where(plane < 0, UNKNOWN, plane > 0).astype(np.uint8)
        yield plane
