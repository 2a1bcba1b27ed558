"""Boxes of voxels, and how to cut a volume into them."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from evaluator.geometry import Shape


@dataclass(frozen=True, slots=True)
class Box:
    """Voxels from start up to stop, (Z, Y, X)."""

    start: Shape
    stop: Shape

    @property
    def shape(self) -> Shape:
        """Voxels along (Z, Y, X)."""
        z, y, x = (b - a for a, b in zip(self.start, self.stop, strict=True))
        return (z, y, x)

    @property
    def voxels(self) -> int:
        """How many voxels there are."""
        return math.prod(self.shape)

    @property
    def slices(self) -> tuple[slice, ...]:
        """As an index."""
        return tuple(map(slice, self.start, self.stop))

    def grown(self, by: Shape) -> Box:
        """The box with a margin, which may reach outside its volume."""
        z, y, x = (a - h for a, h in zip(self.start, by, strict=True))
        end_z, end_y, end_x = (b + h for b, h in zip(self.stop, by, strict=True))
        return Box((z, y, x), (end_z, end_y, end_x))

    def moved(self, by: tuple[int, ...]) -> Box:
        """The box so many voxels further."""
        z, y, x = (a + n for a, n in zip(self.start, by, strict=True))
        end_z, end_y, end_x = (b + n for b, n in zip(self.stop, by, strict=True))
        return Box((z, y, x), (end_z, end_y, end_x))

    def within(self, outer: Box) -> tuple[slice, ...]:
        """As an index into an array that holds the outer box, cut off where it reaches beyond."""
        return tuple(
            slice(max(a - o, 0), max(min(b, e) - o, 0))
            for a, b, o, e in zip(self.start, self.stop, outer.start, outer.stop, strict=True)
        )


def blocks_of(shape: Shape, block: Shape) -> Iterator[Box]:
    """Boxes of at most `block` voxels that cover a volume, each voxel once."""
    starts = (range(0, n, size) for n, size in zip(shape, block, strict=True))
    for z, y, x in itertools.product(*starts):
        ends = zip((z, y, x), block, shape, strict=True)
        end_z, end_y, end_x = (min(a + size, n) for a, size, n in ends)
        yield Box((z, y, x), (end_z, end_y, end_x))


def common_box(one: Box, other: Box) -> Box | None:
    """The voxels of both boxes; None if there are none."""
    z, y, x = (max(a, b) for a, b in zip(one.start, other.start, strict=True))
    end_z, end_y, end_x = (min(a, b) for a, b in zip(one.stop, other.stop, strict=True))
    found = Box((z, y, x), (end_z, end_y, end_x))
    return found if min(found.shape) > 0 else None


def box_around(boxes: Iterable[Box]) -> Box:
    """The smallest box that holds all of some boxes, of which there is at least one."""
    boxes = list(boxes)
    z, y, x = (min(box.start[k] for box in boxes) for k in range(3))
    end_z, end_y, end_x = (max(box.stop[k] for box in boxes) for k in range(3))
    return Box((z, y, x), (end_z, end_y, end_x))
