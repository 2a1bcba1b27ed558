"""Volumes that are read box by box, in memory or on disk.  Axes are (Z, Y, X)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from baselines.box import Box, common_box
from evaluator.geometry import Shape
from evaluator.volume import Planes


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
    stop = tuple(a + n for a, n in zip(start, size, strict=True))
    if min(start) >= 0 and all(b <= m for b, m in zip(stop, volume.shape, strict=True)):
        return volume.read(start, (stop[0], stop[1], stop[2]))
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


@dataclass(frozen=True)
class Window:
    """A box of a volume as a volume of its own."""

    source: Reader
    box: Box

    @property
    def shape(self) -> Shape:
        """Voxels (Z, Y, X)."""
        return self.box.shape

    def read(self, start: Shape, stop: Shape) -> np.ndarray:
        """A box, counted from the window's corner."""
        asked = Box(start, stop).moved(self.box.start)
        return self.source.read(asked.start, asked.stop)


@dataclass(frozen=True)
class Placed:
    """A volume inside a larger one, which is 0 around it."""

    source: Reader
    start: Shape
    shape: Shape

    def read(self, start: Shape, stop: Shape) -> np.ndarray:
        """A box of the larger volume."""
        asked = Box(start, stop)
        inner = common_box(asked, Box((0, 0, 0), self.source.shape).moved(self.start))
        if inner is None:
            return np.zeros(asked.shape, np.uint8)
        mine = inner.moved(tuple(-n for n in self.start))
        found = self.source.read(mine.start, mine.stop)
        if inner == asked:
            return found
        out = np.zeros(asked.shape, found.dtype)
        out[inner.within(asked)] = found
        return out


@dataclass(frozen=True)
class Stacked:
    """Planes that are read a few at a time, as TIFF stacks are."""

    planes: Planes

    @property
    def shape(self) -> Shape:
        """Voxels (Z, Y, X)."""
        return self.planes.shape

    def read(self, start: Shape, stop: Shape) -> np.ndarray:
        """A box of the planes."""
        planes = self.planes.planes(start[0], stop[0])
        return planes[:, start[1] : stop[1], start[2] : stop[2]]
