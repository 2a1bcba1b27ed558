"""A prediction on the grid of its target.

Where its voxels lie follows from its metadata, what becomes of them from the label's kind; both by
the protocol's rules.  `crista-1` takes each voxel to where its offset says: object ids from the
nearest voxel, a mask where it covers half of the target's voxel.  `cellmap-2026.1` first rescales
the array by the quotient of the voxel sizes, corner on corner, then moves it by whole voxels.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

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
    metadata says neither voxel size nor offset.
    """
    place = _rescaled if protocol.snaps_offsets else _placed
    placing = place(volume, target.grid, protocol)
    if not placing.resampled and _is_whole(volume.shape, target.grid.shape, placing.axes):
        return Aligned(volume, placing.quirks, resampled=False)
    kernel: Kernel = nearest
    dtype, quirks = volume.dtype, placing.quirks
    if placing.resampled:
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


def _unplaced(volume: Volume, target: VoxelGrid, protocol: Protocol) -> _Placing:
    """A volume that says nothing about its place: the target's, if it has the target's shape."""
    quirks: frozenset[str] = frozenset()
    if volume.shape != target.shape:
        if not protocol.centres_unplaced:
            raise Unreadable(
                f"its shape is {volume.shape}; expected {target.shape}, or voxel_size and "
                "translation in nm."
            )
        quirks = frozenset({"centres_unplaced"})
    z, y, x = map(_centred_axis, volume.shape, target.shape)
    return _Placing((z, y, x), resampled=False, quirks=quirks)


def _centred_axis(source: int, target: int) -> list[Stretch]:
    """What is left over is cut off or filled up on both sides; the odd voxel at the end."""
    length = min(source, target)
    low = (source - length) // 2
    return [Stretch((target - length) // 2, low, low + length, np.arange(float(length)))]


def _rescaled(volume: Volume, target: VoxelGrid, protocol: Protocol) -> _Placing:
    """The volume rescaled as a whole, or block by block, then moved by whole voxels."""
    size, quirks = volume.meta.voxel_size, set[str]()
    large = math.prod(volume.shape) > BLOCKS_ABOVE
    if size is not None:
        resampled = not np.allclose(size, target.voxel_size)
        factors = np.divide(size, target.voxel_size)
    else:
        cover = all(n >= m for n, m in zip(volume.shape, target.shape, strict=True))
        resampled = large and cover and volume.shape != target.shape
        factors = np.divide(target.shape, volume.shape)
    if resampled:
        side = protocol.resample_block if large else 0
        quirks |= {"resample_block"} if side else set()
        axes = [
            _rescaled_axis(n, float(f), side) for n, f in zip(volume.shape, factors, strict=True)
        ]
    elif size is not None:
        axes = [[Stretch(0, 0, n, np.arange(float(n)))] for n in volume.shape]
    else:
        unplaced = _unplaced(volume, target, protocol)
        axes, quirks = list(unplaced.axes), quirks | unplaced.quirks
    if size is None and resampled:
        quirks.add("centres_unplaced")
    start = _snapped_start(volume, target)
    if start != _sound_start(volume, target):
        quirks.add("snaps_offsets")
    z, y, x = (
        [part for s in stretches if len((part := s.moved(by).cut(0, n)).x)]
        for stretches, by, n in zip(axes, start, target.shape, strict=True)
    )
    return _Placing((z, y, x), resampled, frozenset(quirks))


def _rescaled_axis(length: int, factor: float, side: int) -> list[Stretch]:
    """An axis of so many voxels rescaled, in blocks that know nothing of each other.

    side: voxels of a block; 0: the whole is one.  A block's place is rounded down and its length to
    the nearest, so blocks may overlap, where the later one counts, or leave planes between them.
    """
    total, side = max(1, round(length * factor)), side or length
    stretches = []
    for low in range(0, length, side):
        high = min(low + side, length)
        count, at = max(1, round((high - low) * factor)), int(low * factor)
        step = (high - low) / count
        x = step * (np.arange(count) + 0.5) - 0.5
        behind = total if high == length else int(high * factor)
        stretches.append(Stretch(at, low, high, x, step).cut(0, min(total, behind)))
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
