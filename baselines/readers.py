"""Volumes that are read box by box, in memory or on disk.  Axes are (Z, Y, X)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from evaluator.geometry import Shape


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
