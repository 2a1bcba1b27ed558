"""Where a Zarr array has data: chunks that nobody fetched have no file, and read as fill value."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from pathlib import Path

from baselines.box import Box, box_around, common_box
from evaluator.geometry import Shape
from evaluator.metadata import ArrayMeta

Chunk = tuple[int, ...]


def data_around(
    meta: ArrayMeta, folder: Path, fetched: Sequence[Box], core: Box, region: Box
) -> Box | None:
    """Of a region of the array in a folder, the box around a core in which every chunk is there.

    Between chunks that are there, the core may have gaps: those hold the fill value, which is how
    writers store what is black.  fetched: boxes that are known although a chunk has no file.
    None: no chunk of the core is there.
    """
    chunks = Box(*_range(region, meta.chunks))
    inner = common_box(Box(*_range(core, meta.chunks)), chunks)
    if inner is None:
        return None

    def is_there(chunk: Chunk) -> bool:
        return (folder / chunk_name(meta, chunk)).is_file() or any(
            common_box(_voxels(chunk, meta), box) == _voxels(chunk, meta) for box in fetched
        )

    found = [
        Box((z, y, x), (z + 1, y + 1, x + 1)) for z, y, x in _chunks(inner) if is_there((z, y, x))
    ]
    if not found:
        return None
    z, y, x = meta.chunks
    grown = _grown(box_around(found), chunks, is_there)
    corner, end = grown.start, grown.stop
    return common_box(
        Box((corner[0] * z, corner[1] * y, corner[2] * x), (end[0] * z, end[1] * y, end[2] * x)),
        region,
    )


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
