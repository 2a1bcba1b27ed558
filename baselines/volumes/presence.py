"""Where a Zarr array has data: chunks that nobody fetched have no file, and read as fill value."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from baselines.box import Box, box_around, common_box
from evaluator.geometry import Shape
from evaluator.metadata import ArrayMeta

Chunk = tuple[int, ...]


class Everywhere:
    """Of an image that is there as a whole."""

    def around(self, core: Box, region: Box) -> Box | None:
        """All of the region."""
        return region

    def absent(self, box: Box) -> list[Box]:
        """Nothing."""
        return []


@dataclass(frozen=True)
class Stored(Everywhere):
    """Of the array in a folder, what has a file, and what is known although it has none.

    A shard that has a file is there with all its chunks: whoever copied it copied the whole file.
    fetched: boxes that were fetched whole; in them a chunk without a file is one that the store has
    not either, and holds the fill value.
    black: everywhere a chunk without a file holds the fill value, as of an array that was written
    here, by a library that keeps no empty chunks.
    """

    meta: ArrayMeta
    folder: Path
    fetched: Sequence[Box] = ()
    black: bool = True

    def around(self, core: Box, region: Box) -> Box | None:
        """Of a region, the box around what is there of a core; beyond the core it has no gaps.

        Within the core it may have some: see `absent`.  None: no chunk of the core is there.
        """
        chunks = Box(*_range(region, self.meta.chunks))
        inner = common_box(Box(*_range(core, self.meta.chunks)), chunks)
        if inner is None:
            return None

        def is_there(chunk: Chunk) -> bool:
            return self._is_there(chunk, region)

        there = filter(is_there, _chunks(inner))
        found = [Box((z, y, x), (z + 1, y + 1, x + 1)) for z, y, x in there]
        if not found:
            return None
        grown = _grown(box_around(found), chunks, is_there)
        last = tuple(n - 1 for n in grown.stop)
        ends = (_voxels(chunk, self.meta) for chunk in (grown.start, last))
        return common_box(box_around(ends), region)

    def absent(self, box: Box) -> list[Box]:
        """The parts of a box, one for each of its chunks, that are not there: nobody knows them."""
        if self.black:
            return []
        chunks = _chunks(Box(*_range(box, self.meta.chunks)))
        parts = (self._part(chunk, box) for chunk in chunks if not self._is_there(chunk, box))
        return [part for part in parts if part is not None]

    def _is_there(self, chunk: Chunk, region: Box) -> bool:
        """Whether what lies of a chunk in a region is known."""
        if (self.folder / chunk_name(self.meta, chunk)).is_file():
            return True
        part = self._part(chunk, region)
        return part is not None and any(common_box(part, box) == part for box in self.fetched)

    def _part(self, chunk: Chunk, region: Box) -> Box | None:
        return common_box(_voxels(chunk, self.meta), region)


def chunk_name(meta: ArrayMeta, chunk: Chunk) -> str:
    """The file of a chunk (or shard) below its array's folder."""
    if meta.driver == "zarr":
        return str(meta.spec["dimension_separator"]).join(map(str, chunk))
    keys = meta.spec["chunk_key_encoding"]
    names = [] if keys["name"] == "v2" else ["c"]
    return str(keys["configuration"]["separator"]).join([*names, *map(str, chunk)])


def _grown(box: Box, most: Box, is_there: Callable[[Chunk], bool]) -> Box:
    """A box of chunks, layer by layer, as long as all chunks of a layer are there."""
    growing = True
    while growing:
        growing = False
        for axis, side in itertools.product(range(3), (-1, 1)):
            layer = _layer(box, axis, side)
            if common_box(layer, most) == layer and all(map(is_there, _chunks(layer))):
                box, growing = box_around((box, layer)), True
    return box


def _layer(box: Box, axis: int, side: int) -> Box:
    start, stop = list(box.start), list(box.stop)
    start[axis] = box.start[axis] - 1 if side < 0 else box.stop[axis]
    stop[axis] = start[axis] + 1
    return Box((start[0], start[1], start[2]), (stop[0], stop[1], stop[2]))


def _range(box: Box, chunks: Shape) -> tuple[Shape, Shape]:
    z, y, x = (a // c for a, c in zip(box.start, chunks, strict=True))
    end_z, end_y, end_x = (-(-b // c) for b, c in zip(box.stop, chunks, strict=True))
    return (z, y, x), (end_z, end_y, end_x)


def _chunks(box: Box) -> itertools.product[tuple[int, ...]]:
    return itertools.product(*map(range, box.start, box.stop))


def _voxels(chunk: Chunk, meta: ArrayMeta) -> Box:
    z, y, x = (k * c for k, c in zip(chunk, meta.chunks, strict=True))
    ends = ((k + 1) * c for k, c in zip(chunk, meta.chunks, strict=True))
    end_z, end_y, end_x = (min(b, n) for b, n in zip(ends, meta.shape, strict=True))
    return Box((z, y, x), (end_z, end_y, end_x))
