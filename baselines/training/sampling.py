"""Batches of patches: where they are drawn, and what is known of each of their voxels.

A batch is a function of (seed, iteration, rank): no state is carried, so a run that goes on gets
the same next batch, and any number of threads may make batches ahead.
"""

from __future__ import annotations

import math
import os
from collections import deque
from collections.abc import Generator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from baselines.box import Box, common_box
from baselines.config import Config
from baselines.data.crops import TrainingCrop
from baselines.volumes.readers import Reader, Window, read_padded
from evaluator.geometry import Shape
from evaluator.manifest import Kind

MOST_WORKERS = 8
MOST_AHEAD = 4e9  # bytes of batches that wait: of pinned memory, if for a GPU


@dataclass(frozen=True)
class Batch:
    """raw (N, 1, Z + 2 context, Y, X) float32, normalised; ids (N, L, Z, Y, X) int32, 0: none of
    the label (uint8, 0 or 1, where no label has objects); known (N, L, Z, Y, X) bool: whether
    somebody looked."""

    raw: Tensor
    ids: Tensor
    known: Tensor

    def to(self, device: torch.device) -> Batch:
        """On a device; a pinned batch goes there while the device computes."""
        parts = (part.to(device, non_blocking=True) for part in (self.raw, self.ids, self.known))
        return Batch(*parts)

    def pinned(self) -> Batch:
        """In memory from which a GPU reads by itself."""
        return Batch(self.raw.pin_memory(), self.ids.pin_memory(), self.known.pin_memory())

    def parts(self, count: int) -> list[Batch]:
        """At most so many batches that hold it together."""
        chunks = (part.chunk(count) for part in (self.raw, self.ids, self.known))
        return [Batch(*part) for part in zip(*chunks, strict=True)]


@dataclass(frozen=True)
class Patches:
    """Patches from training crops.  rank: this process among those that train together."""

    crops: list[TrainingCrop]
    labels: Sequence[str]
    config: Config
    rank: int = 0
    pin: bool = False
    places: Places = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "places", Places(self.crops, self.labels, self.config))

    def batches(self, first: int, last: int) -> Generator[Batch, None, None]:
        """The batches of iterations first .. last - 1, made ahead by some threads."""
        workers = threads_of(self.config.training.workers)
        makers = ThreadPoolExecutor(workers, thread_name_prefix="patches")
        ahead = max(2, min(2 * workers, int(MOST_AHEAD // self.batch_bytes)))
        try:
            queue = deque(makers.submit(self.batch, n) for n in range(first, last)[:ahead])
            for n in range(first, last):
                batch = queue.popleft().result()
                if n + ahead < last:
                    queue.append(makers.submit(self.batch, n + ahead))
                yield batch
        finally:
            makers.shutdown(cancel_futures=True)

    @property
    def batch_bytes(self) -> int:
        """What a batch takes in memory, more or less."""
        training = self.config.training
        voxels = training.batch * math.prod(training.patch)
        return voxels * (4 + len(self.labels) * (2 if self.masks else 5))

    @property
    def masks(self) -> bool:
        """Whether no label has objects, so that ids are 0 or 1."""
        kinds = [self.config.trained.kinds.get(label) for label in self.labels]
        return all(kind == Kind.SEMANTIC for kind in kinds)

    def batch(self, iteration: int) -> Batch:
        """The batch of an iteration."""
        training = self.config.training
        first = self.rank * training.batch
        parts = [self._patch(iteration, first + n) for n in range(training.batch)]
        raw, ids, known = (np.stack(column) for column in zip(*parts, strict=True))
        batch = Batch(*map(torch.from_numpy, (raw[:, None], ids, known)))
        return batch.pinned() if self.pin else batch

    def _patch(self, iteration: int, number: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        z, y, x = self.config.training.patch
        random = np.random.default_rng([self.config.training.seed, iteration, number])
        crop, start = self.places.draw(random, (z, y, x))
        box = Box(start, (start[0] + z, start[1] + y, start[2] + x))
        return cut(
            crop, box, self.labels, boxes=crop.training, context=self.config.model.context,
            masks=self.masks,
        )  # fmt: skip


class Places:
    """Where patches are drawn: on a label, where none of them is, or anywhere."""

    def __init__(self, crops: list[TrainingCrop], labels: Sequence[str], config: Config) -> None:
        self.crops, self.config = crops, config.sampling
        self.present = [n for n in labels if any(crop.count.get(n, 0) for crop in crops)]
        counts = np.array([[crop.count.get(n, 0) for crop in crops] for n in self.present], float)
        rarity = counts.sum(axis=1) ** (1 - self.config.balance) if self.present else counts
        self.label_shares = rarity / rarity.sum() if self.present else rarity
        # The root: a crop with a hundred times the voxels is drawn from ten times as often.
        self.crop_shares = [np.sqrt(row) / np.sqrt(row).sum() for row in counts]
        self.boxes = [(crop, box) for crop in crops for box in crop.training]
        sizes = np.array([box.voxels for _, box in self.boxes], float)
        self.box_shares = sizes / max(sizes.sum(), 1)
        self.empty = [crop for crop in crops if len(crop.negatives)]

    def draw(self, random: np.random.Generator, size: Shape) -> tuple[TrainingCrop, Shape]:
        """A crop and where a patch of this size begins, inside a training box where it fits."""
        share = random.random()
        if self.present and share < self.config.foreground:
            crop, point = self._on_a_label(random)
            # Off the middle, or the network learns where the middle is.
            third = np.array(size) // 3
            return crop, _start(crop, point, size, off=random.integers(-third, third + 1))
        if self.empty and share >= 1 - self.config.negatives:
            crop = self.empty[int(random.integers(len(self.empty)))]
            return crop, _start(crop, crop.negatives[random.integers(len(crop.negatives))], size)
        crop, box = self.boxes[int(random.choice(len(self.boxes), p=self.box_shares))]
        return crop, _start(crop, random.integers(box.start, box.stop), size)

    def _on_a_label(self, random: np.random.Generator) -> tuple[TrainingCrop, np.ndarray]:
        k = int(random.choice(len(self.present), p=self.label_shares))
        crop = self.crops[int(random.choice(len(self.crops), p=self.crop_shares[k]))]
        points = crop.points[self.present[k]]
        return crop, points[random.integers(len(points))]


def cut(
    crop: TrainingCrop, box: Box, labels: Sequence[str], *, boxes: Sequence[Box],
    context: int = 0, masks: bool = False,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:  # fmt: skip
    """What a crop holds in a box that may reach outside.

    Returns normalised raw (Z + 2 context, Y, X) float32, ids (L, Z, Y, X) int32 and known
    (L, Z, Y, X) bool: annotated, and in one of `boxes`.  Raw goes on as in a mirror where it has no
    data, ids where nobody looked, so that no object seems to end there.  A voxel of a label that
    nobody annotated is -1 in its reader.  masks: ids are 0 or 1, uint8: a quarter of the memory.
    """
    (z, y, x), shape = box.start, box.shape
    deep = (shape[0] + 2 * context, *shape[1:])
    raw = _mirrored(crop.raw, crop.valid, (z - context, y, x), deep)
    ids = np.zeros((len(labels), *shape), np.uint8 if masks else np.int32)
    known = np.zeros((len(labels), *shape), bool)
    seen = np.zeros(shape, bool)
    for part in boxes:
        seen[part.within(box)] = True
    for k, label in enumerate(labels):
        where = crop.known.get(label)
        here = common_box(where, box) if where else None
        if where and here:
            values = _mirrored(crop.labels[label], where, box.start, shape)
            ids[k] = values > 0 if masks else np.maximum(values, 0)
            inside = here.within(box)
            known[k][inside] = (seen & (values >= 0))[inside]
    return crop.light.normalise(raw), ids, known


def threads_of(workers: int) -> int:
    """How many threads make batches: as asked, else one less than there are processors."""
    processors = len(os.sched_getaffinity(0))
    wanted = workers if workers >= 0 else min(MOST_WORKERS, processors - 1)
    return max(1, min(wanted, processors))


def _mirrored(volume: Reader, box: Box, start: Shape, size: Shape) -> np.ndarray:
    a, b, c = box.start
    return read_padded(Window(volume, box), (start[0] - a, start[1] - b, start[2] - c), size)


def _start(crop: TrainingCrop, point: np.ndarray, size: Shape, off: np.ndarray | int = 0) -> Shape:
    """Where a patch around a point begins: inside the point's box, or around a smaller box."""
    box = next(b for b in crop.training if all((point >= b.start) & (point < b.stop)))
    begin = point + off - np.array(size) // 2
    room = np.array(box.shape) - size
    begin = np.clip(begin, box.start, np.array(box.stop) - size)
    begin = np.where(room >= 0, begin, np.array(box.start) + room // 2)
    return (int(begin[0]), int(begin[1]), int(begin[2]))
