"""A prediction on the grid of its target.

Where its voxels lie follows from its metadata, what becomes of them from the label's kind; both by
the protocol's rules.  `crista-1` takes each voxel to where its offset says: object ids from the
nearest voxel, a mask where it covers half of the target's voxel.  `cellmap-2026.1` first rescales
the array by the quotient of the voxel sizes, corner on corner, then moves it by whole voxels.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from evaluator.cellmap import instance_labels
from evaluator.errors import Unreadable
from evaluator.geometry import Shape, VoxelGrid
from evaluator.manifest import Kind, Target
from evaluator.protocol import Protocol
from evaluator.resampling import (
    Axes,
    BlurredIds,
    Kernel,
    MaskShares,
    RawLinear,
    Sampled,
    Stretch,
    nearest,
    nearest_rounded,
)
from evaluator.volume import Planes, Volume

BLOCKS_ABOVE = 131_072_000  # voxels of a source: 500 MiB in 32-bit floats


@dataclass(frozen=True, slots=True)
class Aligned:
    """A prediction on its target's grid.

    planes: of the target's shape; bool where a semantic prediction was resampled.
    quirks: rules of the protocol that are not the sound ones and had an effect here.
    resampled: False if every voxel is one that was sent.
    """

    planes: Planes
    quirks: frozenset[str]
    resampled: bool


@dataclass(frozen=True, slots=True)
class _Placing:
    """Where a volume's voxels come to lie.  quirks: of the rules that decided about this."""

    axes: Axes
    resampled: bool
    quirks: frozenset[str] = frozenset()


def align(volume: Volume, target: Target, protocol: Protocol) -> Aligned:
    """The prediction on the target's grid, read only when its planes are.

    Beyond the volume is background.  A volume that has the target's voxel size keeps its values
    and dtype and is moved by whole voxels; if it need not be moved it is handed on as it is.
    Otherwise a semantic prediction becomes bool.  Raises Unreadable: another shape, and the
    metadata says neither voxel size nor offset; or far finer than the target along an axis.
    """
    place = _rescaled if protocol.snaps_offsets else _placed
    placing = place(volume, target.grid, protocol)
    if not placing.resampled and _is_whole(volume.shape, target.grid.shape, placing.axes):
        return Aligned(volume, placing.quirks, resampled=False)
    kernel: Kernel = nearest
    dtype, quirks = volume.dtype, placing.quirks
    if placing.resampled:
        _check_fineness(placing.axes, protocol)
        kernel, quirks = _kernel(volume, target, protocol, placing)
        if isinstance(kernel, MaskShares | RawLinear):
            dtype = np.dtype(bool)
    planes = Sampled(volume.caching(), target.grid.shape, dtype, placing.axes, kernel)
    return Aligned(planes, quirks, placing.resampled)


def _is_whole(source: Shape, target: Shape, axes: Axes) -> bool:
    """True if every voxel of a target is the same one of a source that is not resampled."""
    return source == target and all(
        len(stretches) == 1 and len(stretches[0].x) == n and stretches[0].index()[0] == 0
        for stretches, n in zip(axes, target, strict=True)
    )


def _check_fineness(axes: Axes, protocol: Protocol) -> None:
    """A volume may be coarse along one axis and so fine along another that a plane is endless."""
    finest = max((stretch.step for stretches in axes for stretch in stretches), default=1.0)
    if finest > protocol.most_finer:
        raise Unreadable(
            f"it has {finest:.0f} voxels along one axis to each of the target's; expected "
            f"{protocol.most_finer} at most."
        )


def _kernel(
    volume: Volume, target: Target, protocol: Protocol, placing: _Placing
) -> tuple[Kernel, frozenset[str]]:
    """What makes the values of a resampled volume, and all quirks that show in them."""
    quirks = set(placing.quirks)
    instance = target.label.kind == Kind.INSTANCE
    if protocol.builtin_kinds and instance != (target.label.name in instance_labels()):
        quirks.add("builtin_kinds")
        instance = not instance
    if not instance:
        if not protocol.interpolates_raw:
            return MaskShares(protocol.foreground_above), frozenset(quirks)
        rounds = "resample_block" in quirks
        return RawLinear(rounds), frozenset(quirks | {"interpolates_raw"})
    finer = any(stretch.step > 1 for stretches in placing.axes for stretch in stretches)
    if protocol.blurs_ids and volume.dtype.kind == "f" and finer:
        return BlurredIds(), frozenset(quirks | {"blurs_ids"})
    return nearest_rounded if protocol.blurs_ids else nearest, frozenset(quirks)


def _placed(volume: Volume, target: VoxelGrid, protocol: Protocol) -> _Placing:
    """Each voxel where the offset says."""
    source = volume.meta.grid_beside(target)
    if source is None:
        return _unplaced(volume, target, protocol)
    axes = tuple(_placed_axis(source, target, axis) for axis in range(3))
    return _Placing((axes[0], axes[1], axes[2]), not source.has_voxels_of(target))


def _placed_axis(source: VoxelGrid, target: VoxelGrid, axis: int) -> list[Stretch]:
    """The target voxels whose centres lie in the source."""
    ours, theirs = source.voxel_size[axis], target.voxel_size[axis]
    start = (target.offset[axis] - source.offset[axis]) / ours
    count = np.arange(target.shape[axis])
    if math.isclose(ours, theirs, rel_tol=1e-5):
        step, x = 1.0, math.floor(round(start, 6) + 0.5) + count.astype(float)
    else:  # offsets such as 23837.13 nm are not exact in binary: a millionth of a voxel is noise
        step, x = theirs / ours, np.round(start + count * (theirs / ours), 6)
    inside = np.flatnonzero((x >= -0.5) & (x < source.shape[axis] - 0.5))
    if not len(inside):
        return []
    first, last = int(inside[0]), int(inside[-1])
    return [Stretch(first, 0, source.shape[axis], x[first : last + 1], step)]


def _unplaced(
    volume: Volume, target: VoxelGrid, protocol: Protocol, *, by: Shape = (0, 0, 0)
) -> _Placing:
    """A volume that does not say how large its voxels are: the target's, if the shape fits.

    by: target voxels that it is moved by in the end.
    """
    quirks: frozenset[str] = frozenset()
    if volume.shape != target.shape:
        if not protocol.centres_unplaced:
            raise Unreadable(
                f"its shape is {volume.shape}; expected {target.shape}, or voxel_size and "
                "translation in nm."
            )
        quirks = frozenset({"centres_unplaced"})
    z, y, x = map(_centred_axis, volume.shape, target.shape, by)
    return _Placing((z, y, x), resampled=False, quirks=quirks)


def _centred_axis(source: int, target: int, by: int) -> list[Stretch]:
    """What is left over is cut off or filled up on both sides; the odd voxel at the end."""
    length = min(source, target)
    low, at = (source - length) // 2, (target - length) // 2
    return _evenly(low, low + length, at=at + by, count=length, stop=target)


def _evenly(low: int, high: int, *, at: int, count: int, stop: int) -> list[Stretch]:
    """Target voxels from `at` on, `count` in all, that share source voxels evenly.

    Those from 0 up to `stop`.
    """
    first, last = max(at, 0), min(at + count, stop)
    if first >= last:
        return []
    step = (high - low) / count
    return [Stretch(first, low, high, step * (np.arange(first - at, last - at) + 0.5) - 0.5, step)]


def _rescaled(volume: Volume, target: VoxelGrid, protocol: Protocol) -> _Placing:
    """The volume rescaled as a whole, or block by block, then moved by whole voxels."""
    start, factors = _snapped_start(volume, target), _factors(volume, target)
    large = math.prod(volume.shape) > BLOCKS_ABOVE
    quirks = {"snaps_offsets"} if start != _sound_start(volume, target) else set[str]()
    if factors is None and not (large and _covers(volume.shape, target.shape)):
        unplaced = _unplaced(volume, target, protocol, by=start)
        return replace(unplaced, quirks=unplaced.quirks | quirks)
    if factors is None:
        factors = np.divide(target.shape, volume.shape).tolist()
        quirks.add("centres_unplaced")
    resampled = factors != [1.0, 1.0, 1.0]
    side = 0
    if resampled and large and protocol.resample_block:
        side = protocol.resample_block
        quirks.add("resample_block")
    z, y, x = (
        _blocks(n, factor if resampled else 1.0, side, by=by, upto=m)
        for n, factor, by, m in zip(volume.shape, factors, start, target.shape, strict=True)
    )
    return _Placing((z, y, x), resampled, frozenset(quirks))


def _factors(volume: Volume, target: VoxelGrid) -> list[float] | None:
    """Target voxels per voxel of the volume; None: it does not say how large these are."""
    size = volume.meta.voxel_size
    if size is None:
        return None
    if np.allclose(size, target.voxel_size):
        return [1.0, 1.0, 1.0]
    factors: list[float] = np.divide(size, target.voxel_size).tolist()
    return factors


def _covers(source: Shape, target: Shape) -> bool:
    """True if a volume is larger than a target on an axis and smaller on none."""
    return source != target and all(n >= m for n, m in zip(source, target, strict=True))


def _blocks(length: int, factor: float, side: int, *, by: int, upto: int) -> list[Stretch]:
    """An axis of so many voxels rescaled, in blocks that know nothing of each other.

    side: voxels of a block; 0: the whole is one.  A block's place is rounded down and its length to
    the nearest, so blocks may overlap, where the later one counts, or leave planes between them.
    by: target voxels that all is moved by then; upto: how many there are.
    """
    total, side = max(1, round(length * factor)), side or length
    stretches = []
    for low in range(0, length, side):
        high = min(low + side, length)
        count, at = max(1, round((high - low) * factor)), int(low * factor)
        behind = total if high == length else min(total, int(high * factor))
        stretches += _evenly(low, high, at=at + by, count=count, stop=min(behind + by, upto))
    return stretches


def _snapped_start(volume: Volume, target: VoxelGrid) -> Shape:
    """The target voxel on which the volume begins, which lies on a grid through the origin."""
    if volume.meta.offset is None:
        return (0, 0, 0)
    size = np.array(target.voxel_size)
    away = np.floor_divide(volume.meta.offset, size) * size - target.offset
    z, y, x = np.trunc(np.floor_divide(np.abs(away), size) * np.sign(away)).astype(int).tolist()
    return (z, y, x)


def _sound_start(volume: Volume, target: VoxelGrid) -> Shape:
    """The target voxel whose lower face is nearest to that of the volume."""
    if volume.meta.offset is None:
        return (0, 0, 0)
    size = np.array(target.voxel_size)
    half = (size - (volume.meta.voxel_size or size)) / 2
    voxels = (np.array(volume.meta.offset) - target.offset + half) / size
    z, y, x = np.floor(np.round(voxels, 6) + 0.5).astype(int).tolist()
    return (z, y, x)
