"""A volume at the voxels of another grid, worked out box by box.

Raw becomes the mean of what a voxel covers, or is interpolated linearly where the source is
coarser.  A mask is where it covers half of a voxel, as the evaluator sees it.  Ids are those of the
nearest voxel.  Each is a weighted sum over a few source voxels ("taps") per axis.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from baselines.box import Box
from baselines.volumes.readers import Reader
from evaluator.geometry import Shape, VoxelGrid

MOST_VOXELS = 1 << 25  # of the source, read at once
NOISE = 1e-5  # a share is a sum of rounded products; half a voxel is half within this


class Rule(enum.Enum):
    """What a voxel of the new grid takes from the source."""

    MEAN = "mean"
    MASK = "mask"
    NEAREST = "nearest"


@dataclass(frozen=True)
class Taps:
    """Along one axis, for each of n voxels: K source voxels and their weights, both (K, n).

    Weights of a voxel sum to 1, or to 0 if it lies outside the source.
    """

    index: np.ndarray
    weight: np.ndarray

    def cut(self, start: int, stop: int) -> Taps:
        """Those of the voxels from start up to stop."""
        return Taps(self.index[:, start:stop], self.weight[:, start:stop])

    @property
    def inside(self) -> tuple[int, int]:
        """First voxel that has weight, and the one behind the last; (0, 0) if none has."""
        (found,) = np.nonzero(self.weight.any(axis=0))
        return (int(found[0]), int(found[-1]) + 1) if len(found) else (0, 0)

    @property
    def span(self) -> tuple[int, int]:
        """First source voxel that counts, and the one behind the last."""
        used = self.index[self.weight > 0]
        return int(used.min()), int(used.max()) + 1

    def sum(self, values: np.ndarray, axis: int) -> np.ndarray:
        """Weighted sums, float32.  values: begins at `span` along the axis."""
        low, high = self.span
        shape = [-1 if k == axis else 1 for k in range(3)]
        total = np.float32(0.0)
        for index, weight in zip(self.index, self.weight, strict=True):
            if weight.any():
                part = values.take(index.clip(low, high - 1) - low, axis=axis)
                total = total + part * weight.reshape(shape)
        return np.asarray(total)


@dataclass(frozen=True)
class Resampled:
    """A source on another grid, 0 outside it.  Reads like a volume of the grid's shape."""

    source: Reader
    source_grid: VoxelGrid
    grid: VoxelGrid
    rule: Rule

    @property
    def shape(self) -> Shape:
        """Voxels (Z, Y, X)."""
        return self.grid.shape

    @cached_property
    def taps(self) -> tuple[Taps, Taps, Taps]:
        """Along Z, Y and X."""
        z, y, x = (taps_of(self.source_grid, self.grid, axis, self.rule) for axis in range(3))
        return z, y, x

    def read(self, start: Shape, stop: Shape) -> np.ndarray:
        """A box of the grid: uint8 or int8 of a mask, else of the source's type."""
        taps = [axis.cut(a, b) for axis, a, b in zip(self.taps, start, stop, strict=True)]
        depth = stop[0] - start[0]
        inside = [axis.inside for axis in taps]
        if any(a == b for a, b in inside):
            return np.zeros(Box(start, stop).shape, np.uint8)
        spans = [axis.span for axis in taps]
        if depth > 1 and np.prod([b - a for a, b in spans]) > MOST_VOXELS:
            middle = start[0] + depth // 2
            halves = (self.read(start, (middle, *stop[1:])), self.read((middle, *start[1:]), stop))
            return np.concatenate(halves)
        values = self.source.read(*zip(*spans, strict=True))
        (a, b), (c, d), (e, f) = inside
        part = self._sampled(values, [t.cut(*i) for t, i in zip(taps, inside, strict=True)])
        out = np.zeros(Box(start, stop).shape, part.dtype)
        out[a:b, c:d, e:f] = part
        return out

    def _sampled(self, values: np.ndarray, taps: list[Taps]) -> np.ndarray:
        if self.rule is Rule.NEAREST:
            for axis, tap in enumerate(taps):
                values = values.take(tap.index[0] - tap.span[0], axis=axis)
            return values
        if self.rule is Rule.MASK:
            found = (_sums(values > 0, taps) >= 0.5 - NOISE).astype(np.int8)
            if values.min() < 0:  # where nobody looked
                found[_sums(values < 0, taps) > 0.5] = -1
            return found
        mean = _sums(values, taps)
        whole = values.dtype.kind in "iu"
        return (np.round(mean) if whole else mean).astype(values.dtype if whole else np.float32)


def _sums(values: np.ndarray, taps: list[Taps]) -> np.ndarray:
    for axis, tap in enumerate(taps):
        values = tap.sum(values, axis)
    return values


def taps_of(source: VoxelGrid, grid: VoxelGrid, axis: int, rule: Rule) -> Taps:
    """Which source voxels make up the voxels of a grid along an axis."""
    n = source.shape[axis]
    if rule is Rule.NEAREST:
        nearest = grid.nearest(source)[axis]
        return Taps(nearest.clip(0)[None], (nearest >= 0).astype(np.float32)[None])
    size, step = source.voxel_size[axis], grid.voxel_size[axis] / source.voxel_size[axis]
    centres = grid.offset[axis] - source.offset[axis] + np.arange(grid.shape[axis]) * (
        grid.voxel_size[axis]
    )  # fmt: skip
    # Offsets such as 23837.13 nm are not exact in binary: a millionth of a voxel is noise.
    x = np.round(centres / size, 6)
    if step > 1 + 1e-5:
        left = x - step / 2
        index = np.floor(left + 0.5) + np.arange(np.ceil(step) + 1)[:, None]
        weight = np.minimum(index + 0.5, left + step) - np.maximum(index - 0.5, left)
        weight = np.where((index < 0) | (index >= n), 0, weight.clip(0))
    else:
        index = np.floor(x) + np.arange(2)[:, None]
        weight = (1 - np.abs(x - index)) * ((x >= -0.5) & (x < n - 0.5))
    weight[weight < 1e-5] = 0
    total = weight.sum(axis=0)
    weight = np.divide(weight, total, out=np.zeros_like(weight), where=total > 0)
    return Taps(index.clip(0, n - 1).astype(np.int64), weight.astype(np.float32))
