"""Crops to patches: what lies where, which labels are annotated, and in which light.

A batch is a function of (seed, step): no state is carried, so resuming gives the same next batch.
"""

from __future__ import annotations

import json
from collections.abc import Generator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from baselines.augment import relight, turn_and_flip
from baselines.box import Box
from baselines.config import Config, DataConfig
from baselines.layout import DataError, DataFolder, Split
from baselines.segmentation import foreground
from evaluator.geometry import Nanometres, Shape, VoxelGrid
from evaluator.volume import Volume, open_volume

_POINTS = 20_000  # foreground voxels remembered per label and crop
_SLAB = 16  # planes looked at together


class Reader(Protocol):
    """A volume in memory or on disk."""

    @property
    def shape(self) -> Shape: ...

    def read(self, start: Shape, stop: Shape) -> np.ndarray: ...


@dataclass(frozen=True)
class InMemory:
    """An array that reads like a volume."""

    array: np.ndarray

    @property
    def shape(self) -> Shape:
        """Voxels (Z, Y, X)."""
        z, y, x = self.array.shape
        return (z, y, x)

    def read(self, start: Shape, stop: Shape) -> np.ndarray:
        """A box of the array."""
        return self.array[tuple(map(slice, start, stop))]


@dataclass(frozen=True, slots=True)
class Light:
    """Grey values of a crop: the middle one, and the spread around it."""

    middle: float
    spread: float

    def normalise(self, raw: np.ndarray) -> np.ndarray:
        """float32, near mean 0 and deviation 1."""
        return (raw.astype(np.float32) - self.middle) / self.spread


@dataclass(frozen=True)
class TrainingCrop:
    """One crop.  labels: annotation by label; absent means not annotated.

    planes: how many of the first planes are for training, the rest is for validation.
    points: per label, voxels (n, 3) of it among the training planes; count: how many there are.
    """

    name: str
    grid: VoxelGrid
    raw: Reader
    light: Light
    labels: dict[str, Reader]
    planes: int
    points: dict[str, np.ndarray]
    count: dict[str, int]


@dataclass(frozen=True)
class Batch:
    """raw (N, 1, Z, Y, X) normalised; target and weight (N, L, Z, Y, X); all float32."""

    raw: np.ndarray
    target: np.ndarray
    weight: np.ndarray


def measure_light(raw: Reader) -> Light:
    """From percentiles of planes spread over the crop; black (lost) sections do not count."""
    n, y, x = raw.shape
    picks = np.unique(np.linspace(0, n - 1, 12).round().astype(int))
    values = np.stack([raw.read((int(z), 0, 0), (int(z) + 1, y, x))[0, ::2, ::2] for z in picks])
    seen = values[values > 0]
    if not len(seen):
        return Light(0.0, 1.0)
    low, middle, high = np.percentile(seen, (5, 50, 95))
    return Light(float(middle), max(float(high - low) / 3.29, 1e-3))


def read_padded(volume: Reader, start: Shape, size: Shape, *, mirror: bool = True) -> np.ndarray:
    """A box of `size` voxels that may lie anywhere; outside, the volume is mirrored.

    mirror: False repeats the outermost voxels instead.
    """
    outside = _mirrored if mirror else _repeated
    axes = [
        outside(np.arange(a, a + n), m) for a, n, m in zip(start, size, volume.shape, strict=True)
    ]
    low, high = (tuple(int(f(axis)) for axis in axes) for f in (np.min, np.max))
    part = volume.read((low[0], low[1], low[2]), (high[0] + 1, high[1] + 1, high[2] + 1))
    for k, (axis, first) in enumerate(zip(axes, low, strict=True)):
        if len(axis) != part.shape[k] or axis[0] != first:
            part = part.take(axis - first, axis=k)
    return part


def _mirrored(index: np.ndarray, n: int) -> np.ndarray:
    folded = index % (2 * n)
    return np.where(folded < n, folded, 2 * n - 1 - folded)


def _repeated(index: np.ndarray, n: int) -> np.ndarray:
    clipped: np.ndarray = np.clip(index, 0, n - 1)
    return clipped


def open_level(path: Path, voxel_size: tuple[float, ...]) -> Volume:
    """The level of a volume whose voxels are those of the model, to a tenth.

    An empty voxel_size, or a volume that does not know its own, takes the finest level.
    Raises DataError if no level fits.
    """
    finest = open_volume(path)
    if not voxel_size or finest.grid is None or _alike(finest.grid.voxel_size, voxel_size):
        return finest
    for level in _level_paths(path):
        volume = open_volume(level)
        if volume.grid is not None and _alike(volume.grid.voxel_size, voxel_size):
            return volume
    raise DataError(
        f"{path} has voxels of {finest.grid.voxel_size} nm, and no level of it fits the model, "
        f"which sees {tuple(voxel_size)} nm (Z, Y, X): resample the volume, or train a model at "
        "its voxel size."
    )


def _level_paths(path: Path) -> list[Path]:
    attributes = path / ".zattrs"
    if not attributes.is_file():
        return []
    scales = json.loads(attributes.read_text("utf-8")).get("multiscales") or [{}]
    return [path / level["path"] for level in scales[0].get("datasets", [])[1:]]


def _alike(one: tuple[float, ...], other: tuple[float, ...]) -> bool:
    return all(abs(a - b) <= 0.1 * b for a, b in zip(one, other, strict=True))


def load_crops(folder: DataFolder, settings: Config) -> tuple[list[str], list[TrainingCrop]]:
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
    name: str, grid: VoxelGrid, raw: Reader, labels: dict[str, Reader], *, validation: float
) -> TrainingCrop:
    """A crop with its light measured and its foreground found."""
    planes = raw.shape[0] - (round(raw.shape[0] * validation) if raw.shape[0] > 1 else 0)
    found = {label: _foreground_points(reader, planes) for label, reader in labels.items()}
    return TrainingCrop(
        name, grid, raw, measure_light(raw), labels, planes,
        points={label: points for label, (points, _) in found.items()},
        count={label: count for label, (_, count) in found.items()},
    )  # fmt: skip


def _foreground_points(labels: Reader, planes: int) -> tuple[np.ndarray, int]:
    """A sample of the voxels of a label in the first planes, and how many there are."""
    _, y, x = labels.shape
    random = np.random.default_rng(0)
    sample, count = [], 0
    slabs = range(0, planes, _SLAB)
    for z in slabs:
        inside = np.flatnonzero(labels.read((z, 0, 0), (min(z + _SLAB, planes), y, x)))
        count += len(inside)
        pick = random.choice(inside, min(len(inside), _POINTS // len(slabs) + 1), replace=False)
        sample.append(pick + z * y * x)
    return np.stack(np.unravel_index(np.concatenate(sample), (planes, y, x)), axis=1), count


@dataclass(frozen=True)
class Patches:
    """Batches of patches from training crops."""

    crops: list[TrainingCrop]
    labels: list[str]
    config: Config

    def batches(self, first: int, last: int) -> Generator[Batch, None, None]:
        """The batches of steps first .. last - 1; the next is made while one is in use."""
        with ThreadPoolExecutor(max_workers=1) as maker:
            ahead = maker.submit(self.batch, first)
            for step in range(first, last):
                batch = ahead.result()
                if step + 1 < last:
                    ahead = maker.submit(self.batch, step + 1)
                yield batch

    def batch(self, step: int) -> Batch:
        """The batch of a step."""
        training = self.config.training
        random = np.random.default_rng([training.seed, step])
        parts = [self._patch(random) for _ in range(training.batch)]
        raw, target, weight = (np.stack(column) for column in zip(*parts, strict=True))
        return Batch(raw[:, None], target, weight)

    def _patch(self, random: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        z, y, x = self.config.training.patch
        crop, centre = self._place(random)
        start = (int(centre[0]) - z // 2, int(centre[1]) - y // 2, int(centre[2]) - x // 2)
        raw, target, weight = cut(crop, start, (z, y, x), self.labels, self.config.objects.shrink)
        raw, target, weight = turn_and_flip([raw, target, weight], self.config.augment, random)
        return relight(crop.light.normalise(raw), self.config.augment, random), target, weight

    def _place(self, random: np.random.Generator) -> tuple[TrainingCrop, np.ndarray]:
        """A crop and a centre: on a voxel of a label drawn evenly, or anywhere."""
        present = [n for n in self.labels if any(crop.count.get(n, 0) for crop in self.crops)]
        size = np.array(self.config.training.patch)
        if present and random.random() < self.config.sampling.foreground:
            label = present[int(random.integers(len(present)))]
            shares = np.sqrt([crop.count.get(label, 0) for crop in self.crops])
            crop = self.crops[int(random.choice(len(self.crops), p=shares / shares.sum()))]
            points = crop.points[label]
            # Off the middle, or the network learns where the middle is.
            centre = points[random.integers(len(points))] + random.integers(
                -size // 3, size // 3 + 1
            )
        else:
            shares = np.array([crop.grid.voxels for crop in self.crops], float)
            crop = self.crops[int(random.choice(len(self.crops), p=shares / shares.sum()))]
            centre = random.integers(0, (crop.planes, *crop.grid.shape[1:]))
        room = np.array((crop.planes, *crop.grid.shape[1:]))
        low = np.minimum(size // 2, room // 2)
        return crop, np.clip(centre, low, np.maximum(room - (size - size // 2), low))


def cut(
    crop: TrainingCrop, start: Shape, size: Shape, labels: Sequence[str], shrink: dict[str, int]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Raw (Z, Y, X), and targets and weights (L, Z, Y, X) float32, of a box.

    Weight is 0 outside the crop, among its validation planes, and for labels not annotated there.
    """
    raw = read_padded(crop.raw, start, size)
    z, y, x = (a + n for a, n in zip(start, size, strict=True))
    box = Box(start, (z, y, x))
    target = np.zeros((len(labels), *size), np.float32)
    weight = np.zeros((len(labels), *size), np.float32)
    room = (crop.planes, *crop.grid.shape[1:])
    inside = tuple(
        slice(max(-a, 0), max(min(m - a, n), 0)) for a, n, m in zip(start, size, room, strict=True)
    )
    for k, label in enumerate(labels):
        if label in crop.labels:
            # A little more on each side, so that borders with neighbours outside are seen.
            less = shrink.get(label, 0)
            margin = 1 + less
            wide = box.grown((margin, margin, margin))
            ids = read_padded(crop.labels[label], wide.start, wide.shape, mirror=False)
            inner = (slice(margin, -margin),) * 3
            target[k] = foreground(ids, shrink=less)[inner]
            weight[k][inside] = 1
    return raw, target, weight


def validation_box(crop: TrainingCrop) -> tuple[Shape, Shape] | None:
    """Start and stop of the planes kept from training; None if there are none."""
    z, y, x = crop.grid.shape
    return ((crop.planes, 0, 0), (z, y, x)) if crop.planes < z else None


def common_voxel_size(crops: list[TrainingCrop], config: DataConfig) -> Nanometres:
    """The voxel size the model is for: the one asked for, else that of the crops."""
    z, y, x = config.voxel_size or crops[0].grid.voxel_size
    return (z, y, x)
