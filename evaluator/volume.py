"""Arrays on disk with the grid they lie on: opened, read in boxes, created.

Every array is decoded by tensorstore from metadata of our own making (`evaluator.metadata`): the
size of each decoded chunk is known before, and no codec can run code.
"""

from __future__ import annotations

import typing
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tensorstore
import zarr

from evaluator.errors import Unreadable
from evaluator.geometry import Shape, VoxelGrid
from evaluator.metadata import ArrayMeta, Unfit
from evaluator.multiscale import describe, describe_levels

SLAB_VOXELS = 1 << 25  # read at once
LARGEST_CACHE = 1 << 28  # bytes


class Planes(typing.Protocol):
    """Something with voxels (Z, Y, X) that is read in slabs of planes, in ascending order.

    order: "C", or "F" where X is the slow axis in memory, which one protocol asks for.
    It may have a `depth`: how many planes are decoded together, so that none is decoded twice.
    """

    @property
    def shape(self) -> Shape: ...

    @property
    def dtype(self) -> np.dtype[Any]: ...

    @property
    def order(self) -> str: ...

    def planes(self, start: int, stop: int) -> np.ndarray:
        """Planes `start` up to, but without, `stop`: (stop - start, Y, X), C-contiguous, native.

        Raises Unreadable if they cannot be decoded.
        """


@dataclass(frozen=True)
class ArrayPlanes:
    """An array in memory as `Planes`."""

    array: np.ndarray
    depth: int = 1

    @property
    def shape(self) -> Shape:
        z, y, x = self.array.shape
        return (z, y, x)

    @property
    def dtype(self) -> np.dtype[Any]:
        return self.array.dtype.newbyteorder("=")

    @property
    def order(self) -> str:
        return "C" if self.array.flags.c_contiguous else "F"

    def planes(self, start: int, stop: int) -> np.ndarray:
        return np.ascontiguousarray(self.array[start:stop], dtype=self.dtype)


class Volume:
    """One Zarr array (Z, Y, X), read on demand; `Planes`.

    grid: where its voxels lie; None if its metadata does not say.
    meta: what its metadata says, voxel size and offset each by itself.
    order: of its chunks' memory, "C" or "F".
    cache: bytes of decoded chunks that it remembers.
    """

    def __init__(
        self, meta: ArrayMeta, store: Any, *, grid: VoxelGrid | None, cache: int = 0
    ) -> None:
        spec = {
            "driver": meta.driver,
            "metadata": dict(meta.spec),
            "context": {"cache_pool": {"total_bytes_limit": cache}},
            "recheck_cached_data": "open",
        }
        self._files = store if isinstance(store, dict) else None
        try:
            if isinstance(store, dict):  # else an open one, whose content is in memory
                store = tensorstore.KvStore.open(store).result()
            self._array = tensorstore.open(
                spec, kvstore=store, open=True, assume_metadata=True
            ).result()
        except (ValueError, OSError) as error:
            raise Unfit(
                "bad_metadata", "the array cannot be opened: its metadata contradicts itself.",
                "Write it with `evaluator pack`, or see the format.",
            ) from error  # fmt: skip
        self.shape = meta.shape
        self.dtype = meta.dtype.newbyteorder("=")
        self.order = str(meta.spec.get("order", "C"))
        chunk = self._array.chunk_layout.read_chunk.shape or self.shape
        self.depth = chunk[0] or 1
        self.grid = grid
        self.meta, self._store = meta, store

    def planes(self, start: int, stop: int) -> np.ndarray:
        return self.read((start, 0, 0), (stop, *self.shape[1:]))

    def read(self, start: Shape = (0, 0, 0), stop: Shape | None = None) -> np.ndarray:
        """The box from `start` up to, but without, `stop`; the whole array by default.

        C-contiguous, native byte order.  Chunks that were never written hold the fill value.
        Raises Unreadable if a chunk is damaged.
        """
        box = tuple(map(slice, start, stop or self.shape))
        try:
            return np.ascontiguousarray(self._array[box].read().result())
        except (ValueError, OSError) as error:
            raise Unfit(
                "damaged",
                f"a chunk is damaged: voxels {start} to {stop or self.shape} cannot be decoded.",
                "Write the array again, or use `evaluator pack`.",
            ) from error

    def slabs(self, planes: int) -> Iterator[np.ndarray]:
        """The array in slabs of so many planes along Z; the last one may be thinner."""
        depth, height, width = self.shape
        for z in range(0, depth, planes):
            yield self.read((z, 0, 0), (min(z + planes, depth), height, width))

    def is_same(self, other: Volume) -> bool:
        """True if both surely are one array of one file or folder."""
        alike = self._files == other._files and self.meta.spec == other.meta.spec
        return alike and self._files is not None

    def caching(self) -> Volume:
        """The same array, which keeps about two layers of chunks decoded, at most 256 MiB.

        For readers whose slabs overlap or end within chunks.
        """
        _, height, width = self.shape
        layers = 2 * self.depth * height * width * self.dtype.itemsize
        return Volume(self.meta, self._store, grid=self.grid, cache=min(layers, LARGEST_CACHE))


def open_volume(path: Path) -> Volume:
    """An array of our own or of an organiser: Zarr v2 or v3, plain or an OME-NGFF group.

    Of a group the finest level.  Raises Unreadable, naming the path.
    """
    try:
        meta = describe(lambda name: _text(path / name))
        if meta is None:
            raise Unreadable("there is no Zarr array.")
        folder = (path / meta.folder).resolve()
        return Volume(meta, {"driver": "file", "path": f"{folder}/"}, grid=meta.grid)
    except Unreadable as error:
        raise Unreadable(f"{path}: {error}") from error


def open_levels(path: Path) -> list[Volume]:
    """All levels of an array of one's own, finest first, of any size; see `describe_levels`.

    Raises Unreadable, naming the path, if there is none.
    """
    try:
        found = describe_levels(lambda name: _text(path / name))
        if not found:
            raise Unreadable("there is no Zarr array.")
        return [
            Volume(
                meta, {"driver": "file", "path": f"{(path / meta.folder).resolve()}/"},
                grid=meta.grid,
            )
            for meta in found
        ]  # fmt: skip
    except Unreadable as error:
        raise Unreadable(f"{path}: {error}") from error


def create_volume(
    path: Path,
    grid: VoxelGrid,
    dtype: Any,
    *,
    chunks: Shape = (64, 64, 64),
    multiscale: bool = False,
) -> zarr.Array[Any]:
    """A new Zarr v2 array of zeros on a grid; whatever was at the path is replaced.

    multiscale: write an OME-NGFF 0.4 group with the one level `s0` and return that level's array;
    otherwise a plain array with the attributes `voxel_size` and `translation` in nm.
    """
    size, offset = list(grid.voxel_size), list(grid.offset)
    folder = path
    if multiscale:
        group = zarr.open_group(path, mode="w", zarr_format=2)
        group.attrs["multiscales"] = [_multiscale(path.name, size, offset)]
        folder = path / "s0"
    array = zarr.create_array(
        folder,
        shape=grid.shape,
        dtype=dtype,
        chunks=tuple(map(min, chunks, grid.shape)),
        compressors=[{"id": "zstd", "level": 3}],
        fill_value=0,
        zarr_format=2,
        overwrite=True,
        config={"write_empty_chunks": False},
        chunk_key_encoding={"name": "v2", "separator": "/"},
    )
    array.attrs.update({"voxel_size": size, "translation": offset})
    return array


def _multiscale(name: str, size: list[float], offset: list[float]) -> dict[str, Any]:
    steps = [{"type": "scale", "scale": size}, {"type": "translation", "translation": offset}]
    return {
        "version": "0.4",
        "name": name,
        "axes": [{"name": axis, "type": "space", "unit": "nanometer"} for axis in "zyx"],
        "datasets": [{"path": "s0", "coordinateTransformations": steps}],
    }


def _text(path: Path) -> bytes | None:
    return path.read_bytes() if path.is_file() else None
