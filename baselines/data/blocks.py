"""Blocks of one volume, for a volume that has to train and to validate alone.

A volume is cut across its longest axis.  Beside a block that validates, a gap neither trains nor
validates.  It is as wide as a patch sees beyond the voxel in its middle: even where a piece that
trains is shorter than a patch, no patch then holds a voxel, annotated or not, that validates.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass

from baselines.box import Box, common_box
from baselines.config import Config
from evaluator.geometry import Nanometres, Shape


@dataclass(frozen=True, slots=True)
class Sight:
    """What a network sees at once, in voxels (Z, Y, X): its patch, and how far from its middle."""

    patch: Shape = (1, 1, 1)
    reach: Shape = (0, 0, 0)


@dataclass(frozen=True, slots=True)
class Block:
    """A box of a volume, and how many voxels (Z, Y, X) beside it are neither of it nor of others'
    training."""

    box: Box
    gap: Shape = (0, 0, 0)


def sight_of(config: Config) -> Sight:
    """What the network of some settings sees: its patch, and half of it with its context.

    Of single planes it sees no neighbours, but these are nearly alike: one of them counts.
    """
    z, y, x = config.training.patch
    return Sight((z, y, x), (max(1, z // 2 + config.model.context), y // 2, x // 2))


def blocks_along(
    box: Box, voxel_size: Nanometres, *, most: int, sight: Sight, apart: float = 0.0
) -> tuple[Block, ...]:
    """At most so many blocks that make up a box, in their order; none where not even two fit.

    They lie along the longest axis, in nm, that holds two of them (of axes alike, the first of Z,
    Y, X), and are of one length, to a voxel: at least a patch, and more than a gap, so that
    something is left to train on.  apart: nm that a gap has at least.
    """
    for axis in _longest_first(box, voxel_size):
        gap = _gap(axis, voxel_size, sight, apart)
        count = min(most, box.shape[axis] // max(sight.patch[axis], gap[axis] + 1))
        if count >= 2:
            ends = [n * box.shape[axis] // count for n in range(count + 1)]
            return tuple(Block(_slab(box, axis, *pair), gap) for pair in itertools.pairwise(ends))
    return ()


def last_block(
    box: Box, voxel_size: Nanometres, *, fraction: float, sight: Sight, apart: float = 0.0
) -> Block | None:
    """The end of a box along its longest axis; None if no axis holds it, a gap and a patch more.

    fraction: of the box, but at least a patch of it.
    """
    for axis in _longest_first(box, voxel_size):
        gap, length = _gap(axis, voxel_size, sight, apart), box.shape[axis]
        kept = max(round(length * fraction), sight.patch[axis])
        if length - kept - gap[axis] >= sight.patch[axis]:
            return Block(_slab(box, axis, length - kept, length), gap)
    return None


def last_planes(
    box: Box, voxel_size: Nanometres, *, fraction: float, apart: float = 0.0
) -> Block | None:
    """The last planes of a box; None if that is not one, or nothing is left beside them."""
    planes = box.shape[0]
    gap = math.ceil(round(apart / voxel_size[0], 6))
    kept = min(round(planes * fraction), planes - 1 - gap)
    return Block(_slab(box, 0, planes - kept, planes), (gap, 0, 0)) if kept > 0 else None


def without(box: Box, block: Block) -> Iterator[Box]:
    """A box without a block and its gap, as up to six disjoint boxes."""
    hole = common_box(block.box.grown(block.gap), box)
    if hole is None:
        yield box
        return
    low, high = list(box.start), list(box.stop)
    for k in range(3):
        for start, stop in ((low[k], hole.start[k]), (hole.stop[k], high[k])):
            if start < stop:
                corner, end = low.copy(), high.copy()
                corner[k], end[k] = start, stop
                yield Box((corner[0], corner[1], corner[2]), (end[0], end[1], end[2]))
        low[k], high[k] = hole.start[k], hole.stop[k]


def _longest_first(box: Box, voxel_size: Nanometres) -> list[int]:
    lengths = [round(n * size, 6) for n, size in zip(box.shape, voxel_size, strict=True)]
    return sorted(range(3), key=lambda axis: -lengths[axis])


def _gap(axis: int, voxel_size: Nanometres, sight: Sight, apart: float) -> Shape:
    """Voxels between what validates and what trains, along one axis."""
    wide = max(sight.reach[axis], math.ceil(round(apart / voxel_size[axis], 6)))
    z, y, x = (wide if k == axis else 0 for k in range(3))
    return (z, y, x)


def _slab(box: Box, axis: int, low: int, high: int) -> Box:
    """The part of a box between two places along an axis, counted from its corner."""
    start, stop = list(box.start), list(box.stop)
    start[axis], stop[axis] = box.start[axis] + low, box.start[axis] + high
    return Box((start[0], start[1], start[2]), (stop[0], stop[1], stop[2]))
