"""Training crops: raw with its light, what is annotated where, and what is kept to validate on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from baselines.box import Box, box_around
from baselines.config import Config, DataConfig
from baselines.foreground import find_foreground
from baselines.layout import DataError, DataFolder, Split
from baselines.levels import open_level
from baselines.light import Light, measure_light
from baselines.readers import InMemory, Reader
from evaluator.geometry import Nanometres, VoxelGrid
from evaluator.manifest import Kind
from evaluator.volume import Volume, open_volume

Progress = Callable[[str], None]


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


def load_crops(
    folder: DataFolder, settings: Config, *, progress: Progress = print
) -> tuple[list[str], list[TrainingCrop]]:
    """The labels to learn, and the training crops with their annotations.

    Raises DataError if there is nothing to learn from, a label is nowhere annotated, or voxel sizes
    differ between crops and none was asked for.
    """
    config = settings.data
    manifest = folder.manifest(Split.TRAIN)
    labels = list(config.labels) or list(manifest.labels)
    if missing := [name for name in labels if name not in manifest.labels]:
        raise DataError(
            f"no training crop annotates {', '.join(missing)}; annotated are "
            f"{', '.join(manifest.labels)}."
        )
    crops = []
    for name in manifest.crops:
        raw = open_level(folder.raw(Split.TRAIN, name), config.voxel_size)
        annotated = {
            target.label.name: open_volume(folder.label(Split.TRAIN, target))
            for target in manifest.targets
            if target.crop.folder == name and target.label.name in labels
        }
        crops.append(_load_crop(name, raw, annotated, settings, share=len(manifest.crops)))
    if len(sizes := {crop.grid.voxel_size for crop in crops}) > 1 and not config.voxel_size:
        raise DataError(
            f"training crops have different voxel sizes {sorted(sizes)}: set data.voxel_size."
        )
    return labels, crops


def kinds_of(folder: DataFolder, settings: Config) -> dict[str, Kind]:
    """Whether each label of the data is a semantic or an instance label."""
    return {name: label.kind for name, label in folder.known_labels().items()}


def _load_crop(
    name: str, raw: Volume, annotated: dict[str, Volume], config: Config, *, share: int
) -> TrainingCrop:
    for label, volume in annotated.items():
        if volume.shape != raw.shape:
            raise DataError(f"{name}: {label} has shape {volume.shape}, its raw has {raw.shape}.")
    grid = raw.grid or VoxelGrid(raw.shape, (1.0, 1.0, 1.0))
    readers: dict[str, Reader] = dict(annotated)
    image: Reader = raw
    if grid.voxels * (4 * len(annotated) + 1) * share < config.data.cache_gb * 1e9:
        image = InMemory(raw.read((0, 0, 0), raw.shape))
        readers = {k: InMemory(v.read((0, 0, 0), v.shape)) for k, v in annotated.items()}
    return make_crop(name, grid, image, readers, validation=config.split.fraction)


def make_crop(
    name: str, grid: VoxelGrid, raw: Reader, labels: dict[str, Reader], *,
    validation: float = 0.0, known: dict[str, Box] | None = None, valid: Box | None = None,
    dataset: str = "", specimen: str = "",
) -> TrainingCrop:  # fmt: skip
    """A crop with its light measured and its foreground found.

    validation: share of the annotated planes, the last ones, that is kept from training.
    known, valid: all of the raw if not given.
    """
    whole = Box((0, 0, 0), raw.shape)
    known = known if known is not None else dict.fromkeys(labels, whole)
    training, kept = split_planes(box_around(known.values() or [whole]), validation)
    found = find_foreground(labels, known, training)
    return TrainingCrop(
        name, dataset, specimen or dataset, grid, raw, measure_light(raw), labels, known,
        valid or whole, training, kept, found.points, found.count, found.negatives,
    )  # fmt: skip


def split_planes(box: Box, validation: float) -> tuple[tuple[Box, ...], tuple[Box, ...]]:
    """The first planes of a box, for training, and the last ones; a single plane trains."""
    (z, y, x), (end, end_y, end_x) = box.start, box.stop
    cut = end - (round((end - z) * validation) if end - z > 1 else 0)
    training, kept = Box((z, y, x), (cut, end_y, end_x)), Box((cut, y, x), (end, end_y, end_x))
    return tuple(b for b in (training,) if b.voxels), tuple(b for b in (kept,) if b.voxels)


def common_voxel_size(crops: list[TrainingCrop], config: DataConfig) -> Nanometres:
    """The voxel size the model is for: the one asked for, else that of the crops."""
    z, y, x = config.voxel_size or crops[0].grid.voxel_size
    return (z, y, x)
