"""`baselines export-crops`: annotated crops and the raw around them, as small data of their own.

OUT/export.json                     what was asked for: the same command goes on, another is refused
OUT/train.csv, labels.toml, train/  a data folder (`baselines.layout`), at the source's own voxels

With TIFF in its place, on one grid per crop, that of the model's voxels:

OUT/images/<crop>.tif               raw
OUT/masks/<label>/<crop>.tif        0, 1 and 255 (nobody looked), or ids and -1; of one shape each
OUT/crops.json                      where they lie, in nm
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from baselines.config import Config
from baselines.data.exported import CutOut, FolderOfCrops, FolderOfStacks, Looked
from baselines.data.masks import Unseen
from baselines.data.placing import LeftOut, OpenCrop, RawAround, open_crop, place, raw_around
from baselines.data.sources import Source, SourceCrop, open_source
from baselines.layout import DataError, crop_of
from baselines.progress import Progress
from baselines.volumes.levels import OnGrid, box_on, triple, window
from evaluator.cellmap import labels_toml
from evaluator.errors import meant
from evaluator.geometry import Nanometres, Shape, VoxelGrid
from evaluator.manifest import Crop, Kind, Label, parse_labels


@dataclass(frozen=True, slots=True)
class Padding:
    """Raw beside annotations, on each side, as far as there is raw: voxels (Z, Y, X) and nm."""

    voxels: Shape = (0, 0, 0)
    nm: float = 0.0

    def at(self, voxel_size: Nanometres) -> Shape:
        """In voxels of a size; the larger of both."""
        pairs = zip(self.voxels, voxel_size, strict=True)
        z, y, x = (max(n, math.ceil(round(self.nm / size, 6))) for n, size in pairs)
        return (z, y, x)


def export_crops(
    data: Path, out: Path, config: Config, *, padding: Padding, names: Sequence[str] = (),
    tiff: bool = False, progress: Progress = print,
) -> list[str]:  # fmt: skip
    """Write the annotated crops of any data, or those that are named; the names of those written.

    config.data: the layout, the labels, and the voxel size for which a level of raw is chosen.
    An annotation, and raw, keep their own voxels; for TIFF both are put on one grid.  Crops that
    were written before are kept, so that an export that was broken off goes on.
    Raises DataError: the folder holds something else, or a crop that is named does not exist.
    """
    source = open_source(data, config.data)
    wanted = list(config.data.labels) or source.labels
    crops = _chosen(source, names)
    labels = definitions(data, source)
    asked = {
        "source": str(data.resolve()), "labels": wanted, "padding": asdict(padding), "tiff": tiff,
        "voxel_size": list(config.data.voxel_size),
    }  # fmt: skip
    _begin(out, json.loads(json.dumps(asked)))
    writer = (FolderOfStacks if tiff else FolderOfCrops)(out, labels, source)
    written = []
    for crop in crops:
        name = _named(crop)
        opened = open_crop(crop, wanted, source)
        if opened is None:
            progress(f"{crop.name} is left out: it has none of the labels")
        elif writer.has(name):
            progress(f"{name.folder} is there already")
        else:
            try:
                found = (_placed if tiff else _cut_out)(
                    opened, source, wanted, config, padding, progress
                )
            except LeftOut as error:
                progress(str(error))
                continue
            writer.write(found)
            said = f"{' x '.join(map(str, found.raw.shape))} voxels, {', '.join(found.labels)}"
            progress(f"{name.folder}: {said}")
            written.append(name.folder)
    return written


def definitions(data: Path, source: Source) -> dict[str, Label]:
    """Each label and group with an id: its own in labels.toml or in the challenge's table, if it
    has one that nobody else uses, else the next free one."""
    own = data / "labels.toml"
    known = parse_labels(own.read_text("utf-8") if own.is_file() else labels_toml())
    parts = {part for group in source.contains.values() for part in group}
    names = sorted({*source.labels, *source.contains, *parts})
    ids = {name: known[name].id for name in names if name in known}
    free = (n for n in range(1, 10_000) if n not in ids.values())
    ids |= {name: next(free) for name in names if name not in ids}
    return {
        name: Label(
            name, ids[name], source.kinds.get(name, Kind.SEMANTIC),
            tuple(ids[part] for part in source.contains.get(name, ())),
        )
        for name in names
    }  # fmt: skip


def _chosen(source: Source, names: Sequence[str]) -> list[SourceCrop]:
    known = {crop.name: crop for crop in source.crops} | {
        _named(crop).name: crop for crop in source.crops
    }
    if unknown := [name for name in names if name not in known]:
        listed = [crop.name for crop in source.crops]
        raise DataError(
            f"there is no crop {unknown[0]}{meant(unknown[0], listed)}; crops are "
            f"{', '.join(listed[:10])}{', …' if len(listed) > 10 else ''}."
        )
    return [known[name] for name in dict.fromkeys(names)] or list(source.crops)


def _named(crop: SourceCrop) -> Crop:
    """The crop under a name that a folder and a manifest can have."""
    return crop_of(re.sub(r"[^A-Za-z0-9._-]+", "-", crop.name).strip("-."), crop.dataset)


def _begin(out: Path, asked: Mapping[str, Any]) -> None:
    """A new folder for an export, or one that the same export began."""
    note = out / "export.json"
    if note.is_file() and json.loads(note.read_text("utf-8")) == asked:
        return
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise DataError(
            f"{out} is there already, and is not the begin of this export: nothing is overwritten. "
            "Give a new folder."
        )
    out.mkdir(parents=True, exist_ok=True)
    note.write_text(json.dumps(asked, indent=1) + "\n", "utf-8")


def _cut_out(
    crop: OpenCrop, source: Source, wanted: Sequence[str], config: Config, padding: Padding,
    progress: Progress,
) -> CutOut:  # fmt: skip
    """Raw around annotations at the level that suits them, and annotations at their own voxels."""
    size = triple(config.data.voxel_size or crop.voxel_size)
    grids = [image.finest for image in crop.labels.values()]
    found = raw_around(crop, grids, size, padding.at, config.data, progress)
    raw = window(found.level, found.data)
    return CutOut(_named(crop.source), raw, dict(_inside(crop, raw.grid, found)))


def _inside(crop: OpenCrop, raw: VoxelGrid, found: RawAround) -> Iterator[tuple[str, OnGrid]]:
    """Each annotation, as far as it lies in some raw that is there."""
    for name, image in crop.labels.items():
        box = box_on(image.finest, raw)
        if box is not None:
            ids = window(image.levels[0], box)
            absent = found.absent_on(ids.grid)
            yield name, OnGrid(Unseen(ids.reader, absent), ids.grid) if absent else ids


def _placed(
    crop: OpenCrop, source: Source, wanted: Sequence[str], config: Config, padding: Padding,
    progress: Progress,
) -> CutOut:  # fmt: skip
    """Raw and annotations on the grid that a model sees."""
    size = triple(config.data.voxel_size or crop.voxel_size)
    data = replace(config.data, allow_coarse=tuple(wanted))
    placed = place(crop, wanted, source, size, padding.at(size), data, progress=lambda _: None)
    labels = {
        name: OnGrid(Looked(reader, placed.known[name]), placed.grid)
        for name, reader in placed.labels.items()
    }
    return CutOut(_named(crop.source), OnGrid(placed.raw, placed.grid), labels)
