"""Boxes of voxels, and how to cut a volume into them."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
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
    def slices(self) -> tuple[slice, ...]:
        """As an index."""
        return tuple(map(slice, self.start, self.stop))

    def grown(self, by: Shape) -> Box:
        """The box with a margin, which may reach outside its volume."""
        z, y, x = (a - h for a, h in zip(self.start, by, strict=True))
        end_z, end_y, end_x = (b + h for b, h in zip(self.stop, by, strict=True))
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
