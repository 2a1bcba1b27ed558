"""Crops to patches.

A batch is a function of (seed, step): no state is carried, so resuming gives the same next batch.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from baselines.augment import relight, turn_and_flip
from baselines.box import Box, common_box
from baselines.config import Config
from baselines.crops import TrainingCrop
from baselines.readers import read_padded
from baselines.segmentation import foreground
from evaluator.geometry import Shape


@dataclass(frozen=True)
class Batch:
    """raw (N, 1, Z, Y, X) normalised; target and weight (N, L, Z, Y, X); all float32."""

    raw: np.ndarray
    target: np.ndarray
    weight: np.ndarray


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
            boxes = [(crop, box) for crop in self.crops for box in crop.training]
            shares = np.array([box.voxels for _, box in boxes], float)
            crop, box = boxes[int(random.choice(len(boxes), p=shares / shares.sum()))]
            centre = random.integers(box.start, box.stop)
        return crop, _inside(centre, size, crop.training)


def _inside(centre: np.ndarray, size: np.ndarray, boxes: Sequence[Box]) -> np.ndarray:
    """The centre, moved so that a patch stays in the nearest of the boxes, where it can."""
    near = min(boxes, key=lambda b: float(np.abs(np.clip(centre, b.start, b.stop) - centre).sum()))
    room = np.array(near.shape)
    low = np.minimum(size // 2, room // 2)
    high = np.maximum(room - (size - size // 2), low)
    moved: np.ndarray = np.clip(centre, near.start + low, near.start + high)
    return moved


def cut(
    crop: TrainingCrop, start: Shape, size: Shape, labels: Sequence[str], shrink: dict[str, int]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Raw (Z, Y, X), and targets and weights (L, Z, Y, X) float32, of a box.

    Weight is 0 outside the training boxes, and where a label is not annotated.
    """
    raw = read_padded(crop.raw, start, size)
    z, y, x = (a + n for a, n in zip(start, size, strict=True))
    box = Box(start, (z, y, x))
    target = np.zeros((len(labels), *size), np.float32)
    weight = np.zeros((len(labels), *size), np.float32)
    for k, label in enumerate(labels):
        if label in crop.labels:
            # A little more on each side, so that borders with neighbours outside are seen.
            less = shrink.get(label, 0)
            margin = 1 + less
            wide = box.grown((margin, margin, margin))
            ids = read_padded(crop.labels[label], wide.start, wide.shape, mirror=False)
            inner = (slice(margin, -margin),) * 3
            target[k] = foreground(ids, shrink=less)[inner]
            for part in crop.training:
                if (shown := common_box(part, crop.known[label])) is not None:
                    weight[k][shown.within(box)] = 1
    return raw, target, weight
