"""Volumes of one shape read together, slab by slab along Z, while the next part is decoded."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from evaluator.volume import Planes

SLAB_VOXELS = 1 << 21  # in work at a time: 2 M voxels of two arrays stay in the processor's cache
UNKNOWN_DEPTH = 64  # planes, where a volume does not say how many are decoded together
Slab = tuple[int, np.ndarray, np.ndarray]  # first plane; truth and prediction (planes, Y, X)


@dataclass
class Pair:
    """Truth and prediction read together, slab by slab, with the mask applied.

    mask: of the truth, or None.  factors: both are multiplied by it, as numpy multiplies; else
    where it is 0 both are background, and elsewhere they stay as they are.
    scaled: whether a factor other than 0 and 1 was met.
    """

    truth: Planes
    pred: Planes
    mask: Planes | None = None
    factors: bool = False
    scaled: bool = False

    def __iter__(self) -> Iterator[Slab]:
        if self.mask is None:
            for first, (truth, pred) in read_slabs((self.truth, self.pred)):
                yield first, truth, pred
            return
        for first, (truth, pred, mask) in read_slabs((self.truth, self.pred, self.mask)):
            yield first, self._masked(truth, mask), self._masked(pred, mask)

    def _masked(self, values: np.ndarray, mask: np.ndarray) -> np.ndarray:
        if not self.factors:
            return np.where(mask != 0, values, np.zeros((), values.dtype))
        self.scaled = self.scaled or bool(((mask != 0) & (mask != 1)).any())
        with np.errstate(all="ignore"):  # products that overflow, and infinity times 0
            return np.asarray(values * mask)


def read_slabs(volumes: Sequence[Planes]) -> Iterator[tuple[int, list[np.ndarray]]]:
    """The first plane of each slab and the slab of each volume: (planes, Y, X), C-contiguous.

    Volumes have one shape.  No plane is read twice; a thread is one layer of chunks ahead.
    Raises Unreadable as their `planes` does.
    """
    depth, height, width = volumes[0].shape
    step = max(1, SLAB_VOXELS // (height * width))
    with ThreadPoolExecutor(1, "reader") as reader:
        layers = [_Layers(volume, step, reader) for volume in volumes]
        for z in range(0, depth, step):
            yield z, [layer.take(z, min(z + step, depth)) for layer in layers]


class _Layers:
    """A volume read in layers as thick as its chunks, given out in slabs of any thickness."""

    def __init__(self, volume: Planes, step: int, reader: ThreadPoolExecutor) -> None:
        chunk = int(getattr(volume, "depth", UNKNOWN_DEPTH))
        self._volume, self._reader = volume, reader
        self._thickness = chunk * math.ceil(step / chunk)
        self._start = self._stop = 0  # of the layer in hand
        self._layer = np.empty(0)
        self._coming = self._ask(0)

    def _ask(self, start: int) -> Future[np.ndarray]:
        stop = min(start + self._thickness, self._volume.shape[0])
        return self._reader.submit(self._volume.planes, start, stop)

    def _advance(self) -> None:
        self._layer = self._coming.result()
        self._start, self._stop = self._stop, self._stop + len(self._layer)
        if self._stop < self._volume.shape[0]:
            self._coming = self._ask(self._stop)
        else:
            del self._coming  # it holds the layer, which may be the whole volume

    def take(self, start: int, stop: int) -> np.ndarray:
        """Planes `start` up to `stop`, after those taken before."""
        parts = []
        while start < stop:
            if start >= self._stop:
                self._advance()
            end = min(stop, self._stop)
            parts.append(self._layer[start - self._start : end - self._start])
            start = end
        return parts[0] if len(parts) == 1 else np.concatenate(parts)
