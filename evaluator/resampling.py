"""Values of a volume at the voxels of another grid, worked out slab by slab.

What is read where is said per axis by `Stretch`es; what becomes of the values read, by a kernel:

    nearest      the value of the nearest voxel, for object ids
    MaskShares   foreground where a mask covers half of a voxel
    RawLinear    foreground where blurred and interpolated values exceed one half
    BlurredIds   the nearest of blurred values

The last two repeat what `skimage.transform.rescale(mode="constant", preserve_range=True)` does of
scikit-image 0.26, to the bit, but in slabs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from scipy.ndimage import gaussian_filter

from evaluator.geometry import Shape
from evaluator.volume import Volume

SLAB_VOXELS = 1 << 22  # of the source, read at once
TRUNCATE = 4.0  # a Gaussian ends at so many standard deviations
NOISE = 1e-5  # a share is a sum of rounded products; half a voxel is half within this


@dataclass(frozen=True, eq=False, slots=True)
class Stretch:
    """Voxels of a target along one axis that are sampled from a stretch of a source's axis.

    at: the first of these target voxels.
    low, high: source voxels from `low` up to, but without, `high`; all others are outside.
    x: float64, ascending: where the centre of each target voxel lies, in source voxels from the
    centre of voxel `low`; from -0.5 up to, but without, high - low - 0.5.
    step: source voxels per target voxel.
    """

    at: int
    low: int
    high: int
    x: np.ndarray
    step: float = 1.0

    @property
    def stop(self) -> int:
        """The first target voxel behind it."""
        return self.at + len(self.x)

    def cut(self, start: int, stop: int) -> Stretch:
        """What of it lies at the target voxels from `start` up to `stop`; maybe nothing."""
        first = min(max(start - self.at, 0), len(self.x))
        x = self.x[first : max(stop - self.at, first)]
        return Stretch(self.at + first, self.low, self.high, x, self.step)

    def extent(self, count: int) -> float:
        """Source voxels that are read for so many target voxels, at most; a blur reaches far."""
        return count * max(self.step, 1) + TRUNCATE * max(self.step - 1, 0) + 2

    def fitting(self, extent: float) -> int:
        """Target voxels that read so many source voxels; at least one, at most all."""
        count = (extent - self.extent(0)) / max(self.step, 1)
        return int(min(max(count, 1), max(len(self.x), 1)))

    def index(self) -> np.ndarray:
        """The nearest source voxel of each target voxel; half way between two, the upper one."""
        return np.floor(self.x + 0.5).astype(np.int64).clip(0, self.high - self.low - 1) + self.low


Axes = tuple[list[Stretch], list[Stretch], list[Stretch]]
Tile = tuple[Stretch, Stretch, Stretch]
Kernel = Callable[[Volume, Tile], np.ndarray]


@dataclass(frozen=True, eq=False)
class Sampled:
    """A volume on another grid; `Planes`.  Where no stretch lies is 0.

    axes: per axis, stretches that do not overlap in the target.
    kernel: from source and tile to the values of the tile's target voxels.
    """

    source: Volume
    shape: Shape
    dtype: np.dtype[Any]
    axes: Axes
    kernel: Kernel
    order = "C"

    @property
    def depth(self) -> int:
        """Planes that come from about one layer of the source's chunks."""
        steps = [stretch.step for stretch in self.axes[0]]
        return max(1, round(self.source.depth / max([1.0, *steps])))

    def planes(self, start: int, stop: int) -> np.ndarray:
        out = np.zeros((stop - start, *self.shape[1:]), self.dtype)
        with np.errstate(
            over="ignore", invalid="ignore"
        ):  # participants may send what is not finite
            for z, y, x in self._tiles(start, stop):
                planes, rows = slice(z.at - start, z.stop - start), slice(y.at, y.stop)
                out[planes, rows, x.at : x.stop] = self.kernel(self.source, (z, y, x))
        return out

    def _tiles(self, start: int, stop: int) -> Iterator[Tile]:
        """Tiles of the planes asked for, each so small that it reads about SLAB_VOXELS voxels."""
        for z in self.axes[0]:
            first, last = max(start, z.at), min(stop, z.stop)
            for y in self.axes[1]:
                for x in self.axes[2]:
                    row = x.extent(len(x.x))
                    height = y.fitting(SLAB_VOXELS / (row * z.extent(1)))
                    depth = z.fitting(SLAB_VOXELS / (row * y.extent(height)))
                    for top in range(first, last, depth):
                        for left in range(y.at, y.stop, height):
                            rows = y.cut(left, left + height)
                            yield z.cut(top, min(top + depth, last)), rows, x


def nearest(source: Volume, tile: Tile) -> np.ndarray:
    """The values of the nearest voxels, in the source's dtype."""
    indices = [stretch.index() for stretch in tile]
    box = _read(source, [(int(index[0]), int(index[-1]) + 1) for index in indices])
    for axis, index in enumerate(indices):
        box = _lines(box, index - index[0], axis)
    return box


def nearest_rounded(source: Volume, tile: Tile) -> np.ndarray:
    """The same through 64-bit floats, in which ids above 2^53 run together."""
    return nearest(source, tile).astype(np.float64).astype(source.dtype)


@dataclass(frozen=True)
class MaskShares:
    """True where a mask covers at least half of a target voxel, or reaches one half there.

    The mask is what lies above `above` (fractions) or 0 (whole numbers and bool).  Along an axis on
    which the source is finer, the target voxel's extent is covered to a share, beyond the border
    nothing; on which it is coarser, the mask is interpolated linearly between voxel centres, and
    goes on beyond the outermost ones.  The share of a voxel is the product form of both over the
    three axes; exactly one half is foreground.
    """

    above: float

    def __call__(self, source: Volume, tile: Tile) -> np.ndarray:
        taps = [_taps(stretch) for stretch in tile]
        lows = [int(index.min()) for index, _ in taps]
        spans = [
            (stretch.low + low, stretch.low + int(index.max()) + 1)
            for stretch, low, (index, _) in zip(tile, lows, taps, strict=True)
        ]
        share = _read(source, spans) > (self.above if source.dtype.kind == "f" else 0)
        if share.any():
            for axis in sorted(range(3), key=lambda axis: -tile[axis].step):
                index, weight = taps[axis]
                share = _weighed(share, index - lows[axis], weight, axis)
        else:
            share = np.zeros([len(stretch.x) for stretch in tile], bool)
        return share >= 0.5 - NOISE


@dataclass(frozen=True)
class RawLinear:
    """True where the values, blurred if the source is finer and interpolated, exceed one half.

    Zeros lie around each stretch.  rounds: the interpolated values are rounded to 32 bits.
    For one source alone, of which it remembers what it learnt.
    """

    rounds: bool = False
    _known: dict[tuple[Shape, bool], bool] = field(default_factory=dict)

    def __call__(self, source: Volume, tile: Tile) -> np.ndarray:
        whole = source.dtype.kind in "iu"
        dtype = np.dtype(float) if whole else np.result_type(source.dtype, np.float32)
        box, firsts = _blurred(source, tile, dtype)
        if not box.any():  # most slabs of a sparse label are empty
            return np.zeros([len(stretch.x) for stretch in tile], bool)
        values = _interpolated(box, tile, firsts).astype(dtype, copy=False)
        # The result is kept within the source's range, which tells only where the source is
        # foreground or background throughout; then borders do not fade, and rounding adds nothing.
        if not self._holds(source, tile, above=False):
            return ~np.isnan(values)
        found = self._above(values)
        if not whole and found.any() and not self._holds(source, tile, above=True):
            return np.zeros_like(found)
        return found

    def _above(self, values: np.ndarray) -> np.ndarray:
        return (values.astype(np.float32) if self.rounds else values) > 0.5

    def _holds(self, source: Volume, tile: Tile, *, above: bool) -> bool:
        """Whether any value that the stretches may read is above one half, or is not."""
        key = (tile[0].low, tile[1].low, tile[2].low), above
        if key not in self._known:
            self._known[key] = any(
                np.any((self._above(slab) == above) & ~np.isnan(slab))
                for slab in _slabs(source, tile)
            )
        return self._known[key]


@dataclass(frozen=True)
class BlurredIds:
    """The nearest voxel after a blur, in the source's dtype, kept within the source's range.

    For one source alone, whose range it remembers.
    """

    _ranges: dict[Shape, tuple[Any, Any]] = field(default_factory=dict)

    def __call__(self, source: Volume, tile: Tile) -> np.ndarray:
        box, firsts = _blurred(source, tile, np.result_type(source.dtype, np.float32))
        for axis, (stretch, first) in enumerate(zip(tile, firsts, strict=True)):
            box = _lines(box, stretch.index() - stretch.low - first, axis)
        kept: np.ndarray = box.clip(*self._range(source, tile))
        return kept.astype(source.dtype)

    def _range(self, source: Volume, tile: Tile) -> tuple[Any, Any]:
        key = tile[0].low, tile[1].low, tile[2].low
        if key not in self._ranges:
            extremes = [
                (np.fmin.reduce(slab, axis=None), np.fmax.reduce(slab, axis=None))
                for slab in _slabs(source, tile)
            ]
            lows, highs = zip(*extremes, strict=True)
            self._ranges[key] = np.fmin.reduce(lows), np.fmax.reduce(highs)
        return self._ranges[key]


def _read(source: Volume, spans: list[tuple[int, int]]) -> np.ndarray:
    (a, b), (c, d), (e, f) = spans
    return source.read((a, c, e), (b, d, f))


def _slabs(source: Volume, tile: Tile) -> Iterator[np.ndarray]:
    """All that a tile's stretches may read, slab by slab."""
    z, y, x = tile
    depth = max(1, SLAB_VOXELS // ((y.high - y.low) * (x.high - x.low)))
    for first in range(z.low, z.high, depth):
        last = min(first + depth, z.high)
        yield source.read((first, y.low, x.low), (last, y.high, x.high))


def _lines(array: np.ndarray, index: np.ndarray, axis: int) -> np.ndarray:
    """The planes of an axis at ascending places; a view where they follow each other evenly."""
    steps = np.diff(index)
    step = int(steps[0]) if len(steps) else 1
    if step < 1 or (steps != step).any():
        return array.take(index, axis=axis)
    where = [slice(None)] * 3
    where[axis] = slice(int(index[0]), int(index[-1]) + 1, step)
    return array[tuple(where)]


def _along(weight: np.ndarray, axis: int) -> np.ndarray:
    """A vector as an array (Z, Y, X) along one axis."""
    shape = [1, 1, 1]
    shape[axis] = len(weight)
    return weight.reshape(shape)


def _taps(stretch: Stretch) -> tuple[np.ndarray, np.ndarray]:
    """Source voxels (from `low`) that make up each target voxel and their weights: (K, n) each."""
    index: np.ndarray
    n = stretch.high - stretch.low
    if stretch.step > 1:
        left = stretch.x - stretch.step / 2
        index = np.floor(left + 0.5) + np.arange(np.ceil(stretch.step) + 1)[:, None]
        ends = np.minimum(index + 0.5, left + stretch.step), np.maximum(index - 0.5, left)
        weight = (ends[0] - ends[1]).clip(0) / stretch.step
        weight[(index < 0) | (index >= n)] = 0
    else:
        index = np.floor(stretch.x) + np.arange(2)[:, None]
        weight = 1 - np.abs(stretch.x - index)
    used = weight.max(axis=1) > 1e-9
    return index[used].clip(0, n - 1).astype(np.int64), weight[used].astype(np.float32)


def _weighed(array: np.ndarray, index: np.ndarray, weight: np.ndarray, axis: int) -> np.ndarray:
    """Sum over the taps of an axis, in float32.  index, weight: (K, n)."""
    total: np.ndarray = _lines(array, index[0], axis) * _along(weight[0], axis)
    for i, w in zip(index[1:], weight[1:], strict=True):
        total += _lines(array, i, axis) * _along(w, axis)
    return total


def _blurred(source: Volume, tile: Tile, dtype: np.dtype[Any]) -> tuple[np.ndarray, list[int]]:
    """The voxels that linear interpolation in a tile needs, blurred, with a layer of zeros around.

    Returns them and, per axis, the place of the array's first layer, counted from `low`.
    The standard deviation is half of what the step exceeds one voxel by.
    """
    sigmas = [max(0.0, (stretch.step - 1) / 2) for stretch in tile]
    spans = []
    for stretch, sigma in zip(tile, sigmas, strict=True):
        reach = int(TRUNCATE * sigma + 0.5)
        first, last = (int(np.floor(x)) for x in (stretch.x[0], stretch.x[-1]))
        low, high = max(0, first - reach), min(stretch.high - stretch.low, last + reach + 2)
        spans.append((stretch.low + low, stretch.low + high))
    box = np.zeros([high - low + 2 for low, high in spans], dtype)
    box[1:-1, 1:-1, 1:-1] = _read(source, spans)
    if any(sigmas) and box.any():
        gaussian_filter(box, sigmas, output=box, mode="constant", truncate=TRUNCATE)
        for axis in range(3):  # the blur spilled into the layer around
            faces = box.swapaxes(0, axis)
            faces[0] = faces[-1] = 0
    return box, [low - stretch.low - 1 for (low, _), stretch in zip(spans, tile, strict=True)]


def _interpolated(box: np.ndarray, tile: Tile, firsts: list[int]) -> np.ndarray:
    """Linear interpolation in float64; the order of products and sums is scikit-image's."""
    below = [np.floor(stretch.x) for stretch in tile]
    places = [b.astype(np.int64) - first for b, first in zip(below, firsts, strict=True)]
    lower = [1 - (stretch.x - b) for stretch, b in zip(tile, below, strict=True)]
    weights = [(w, 1 - w) for w in lower]
    total = np.zeros([len(stretch.x) for stretch in tile])
    for z in (0, 1):
        planes = _lines(box, places[0] + z, 0) * _along(weights[0][z], 0)
        for y in (0, 1):
            rows = _lines(planes, places[1] + y, 1) * _along(weights[1][y], 1)
            for x in (0, 1):
                total += _lines(rows, places[2] + x, 2) * _along(weights[2][x], 2)
    return total
