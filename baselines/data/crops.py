"""Training crops: raw with its light, what is annotated where, and what is kept to validate on."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np

from baselines.box import Box
from baselines.config import Config, DataConfig
from baselines.data.blocks import sight_of
from baselines.data.foreground import Foreground, find_foreground
from baselines.data.placing import LeftOut, OpenCrop, PlacedCrop, open_crop, place
from baselines.data.sources import Source, open_source
from baselines.data.split import Boxes, Part, boxes_of
from baselines.layout import DataError, DataFolder
from baselines.progress import Progress
from baselines.volumes.levels import alike, triple
from baselines.volumes.light import Light, measure_light
from baselines.volumes.readers import Reader, Window
from evaluator.geometry import Nanometres, Shape, VoxelGrid
from evaluator.manifest import Kind

READERS = 4  # crops read at once
T = TypeVar("T")


@dataclass(frozen=True)
class TrainingCrop:
    """One crop.  All boxes and points are in voxels of its raw.

    grid: where its voxels lie; they have the model's size.  raw: any integer or float type.
    labels: ids by label, of the raw's shape, 0 where nobody looked; an absent label was not
    annotated here.  known: where each of them is annotated, inside `valid`.
    valid: where raw has data; chunks that nobody fetched are none.
    training, validation: boxes that share no voxel, around what is annotated; either may be empty.
    points: voxels (n, 3) of each label in the training boxes, a sample; count: how many there are.
    negatives: annotated voxels (n, 3) of the training boxes with none of the labels, a sample.
    where: the path of its raw; empty: it has none.
    """

    name: str
    dataset: str
    specimen: str
    grid: VoxelGrid
    raw: Reader
    light: Light
    labels: dict[str, Reader]
    known: dict[str, Box]
    valid: Box
    training: tuple[Box, ...]
    validation: tuple[Box, ...]
    points: dict[str, np.ndarray]
    count: dict[str, int]
    negatives: np.ndarray
    where: str = ""


def load_crops(
    data: DataFolder | Path, config: Config, *, progress: Progress = print
) -> tuple[list[str], list[TrainingCrop]]:
    """The labels to learn, and the crops with their annotations, on the model's grid.

    Says which crops and labels are left out, and why.  Raises DataError if there is nothing to
    learn from, a label has no annotated voxel, or voxel sizes differ between crops and none was
    asked for.
    """
    source = open_source(data, config.data)
    labels = list(config.data.labels) or source.labels
    opened = [o for crop in source.crops if (o := open_crop(crop, labels, source)) is not None]
    size = _voxel_size(opened, config.data) if opened else (1.0, 1.0, 1.0)
    placed = _placed(opened, labels, source, size, config, progress)
    if sum(crop.bytes for crop in placed) < config.data.cache_gb * 1e9:
        placed = _each(PlacedCrop.in_memory, placed)
    seen = _each(lambda crop: find_foreground(crop.labels, crop.known, [crop.box]), placed)
    found = {crop.source.name: part for crop, part in zip(placed, seen, strict=True)}
    labels = _with_voxels(labels, placed, found, config, source, progress)
    placed = [crop for crop in placed if not crop.known.keys().isdisjoint(labels)]
    if config.data.drop_empty:
        placed = [crop for crop in placed if any(found[crop.source.name].count.values())]
    return labels, _split(placed, found, source, labels, config)


def kinds_of(data: DataFolder | Path, config: Config) -> dict[str, Kind]:
    """Whether each label of the data is a semantic or an instance label."""
    return dict(open_source(data, config.data).kinds)


def _each(work: Callable[[PlacedCrop], T], crops: Sequence[PlacedCrop]) -> list[T]:
    """Some work on every crop: decoding leaves Python to others, so a few go side by side."""
    with ThreadPoolExecutor(max_workers=READERS) as readers:
        return list(readers.map(work, crops))


def _voxel_size(crops: Sequence[OpenCrop], config: DataConfig) -> Nanometres:
    if config.voxel_size:
        return triple(config.voxel_size)
    sizes = sorted({crop.voxel_size for crop in crops})
    if not all(alike(size, sizes[0]) for size in sizes):
        raise DataError(f"training crops have different voxel sizes {sizes}: set data.voxel_size.")
    return sizes[0]


def _placed(
    opened: Sequence[OpenCrop], labels: Sequence[str], source: Source, size: Nanometres,
    config: Config, progress: Progress,
) -> list[PlacedCrop]:  # fmt: skip
    """The crops that can be learnt from.  Raises LeftOut if there are some, but none can."""
    placed, reasons = [], []
    for crop in opened:
        try:
            placed.append(
                place(crop, labels, source, size, _margin(config), config.data, progress=progress)
            )
        except LeftOut as error:
            progress(str(error))
            reasons.append(error)
    if reasons and not placed:
        raise reasons[0]
    return placed


def _margin(config: Config) -> Shape:
    """Raw that a patch or a tile may see beyond what is annotated."""
    sizes = zip(config.training.patch, config.prediction.tile, strict=True)
    z, y, x = (max(patch, tile // 2) for patch, tile in sizes)
    return (z + config.model.context, y, x)


def _with_voxels(
    labels: Sequence[str], crops: Sequence[PlacedCrop], found: Mapping[str, Foreground],
    config: Config, source: Source, progress: Progress,
) -> list[str]:  # fmt: skip
    """The labels that have a voxel.  Raises DataError if one was asked for that has none."""
    kept = [n for n in labels if any(found[crop.source.name].count.get(n) for crop in crops)]
    if empty := [name for name in labels if name not in kept]:
        times = ", ".join(
            f"{name} (annotated in {sum(name in crop.known for crop in crops)} of "
            f"{len(source.crops)} crops)"
            for name in empty
        )
        said = f"no annotated voxels for {times}"
        if not kept or (config.data.labels and not config.data.skip_empty):
            have = f"; with voxels are {', '.join(kept)}" if kept else ""
            raise DataError(
                f"{said}{have}; labels of the data are {', '.join(source.labels)}. Leave it out, "
                "or set data.skip_empty = true."
            )
        progress(f"{said}: left out")
    return kept


def _split(
    crops: Sequence[PlacedCrop], found: Mapping[str, Foreground], source: Source,
    labels: Sequence[str], config: Config,
) -> list[TrainingCrop]:  # fmt: skip
    parts = [
        Part(c.source.name, c.source.dataset, c.source.specimen, c.box,
             found[c.source.name].count, c.grid)
        for c in crops
    ]  # fmt: skip
    boxes = boxes_of(parts, config.split, sight_of(config))
    done = []
    for crop in crops:
        name, mine = crop.source.name, boxes[crop.source.name]
        for label in labels if source.masks else ():
            if found[name].highest.get(label) == 1 and source.kinds[label] is Kind.INSTANCE:
                crop = crop.with_components(label)
        whole = mine.training == (crop.box,)
        seen = found[name] if whole else find_foreground(crop.labels, crop.known, mine.training)
        if mine.training or mine.validation:
            done.append(_training_crop(crop, mine, seen))
    if not any(crop.training for crop in done):
        raise DataError(
            "nothing is left to train on: every crop validates, or is left out; see split.kind and "
            "split.fraction."
        )
    return done


def _training_crop(crop: PlacedCrop, boxes: Boxes, seen: Foreground) -> TrainingCrop:
    source = crop.source
    return TrainingCrop(
        source.name, source.dataset, source.specimen, crop.grid, crop.raw,
        measure_light(Window(crop.raw, crop.valid)), crop.labels, crop.known, crop.valid,
        boxes.training, boxes.validation, seen.points, seen.count, seen.negatives, crop.where,
    )  # fmt: skip


def common_voxel_size(crops: list[TrainingCrop], config: DataConfig) -> Nanometres:
    """The voxel size the model is for: the one asked for, else that of the crops."""
    z, y, x = config.voxel_size or crops[0].grid.voxel_size
    return (z, y, x)
