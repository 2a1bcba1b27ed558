"""Predictions packed into a submission: the bytes that `evaluator.submission` reads and checks.

The same arrays give the same bytes, whatever they came from, in whatever order, and with any
number of threads.  Memory holds one slab of a prediction (its planes, as deep as a chunk).
"""

from __future__ import annotations

import math
import os
import tempfile
import zipfile
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
from numcodecs import Zstd

from evaluator.digest import canonical_json
from evaluator.errors import SubmissionError, meant
from evaluator.geometry import Shape
from evaluator.manifest import Kind, Manifest, Target
from evaluator.volume import ArrayPlanes, Planes

CHUNK = 64  # voxels along each axis, where the array is as long
READ_BYTES = 1 << 28  # read at once, before it is narrowed to the smallest dtype
HALF = np.dtype("<f2")  # of probabilities

Key = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class _Piece:
    """A compressed chunk in the spool.  dtype: what it was narrowed to when it was written."""

    start: int
    length: int
    dtype: np.dtype[Any]


class SubmissionWriter:
    """Writes a submission: the same arrays give the same bytes, in whatever order they come.

    Use as a context manager.  The file appears under its name when all is written; after an error
    or an interruption nothing of it remains.  threads: that compress; by default one per processor.
    """

    def __init__(self, path: Path, manifest: Manifest, *, threads: int | None = None) -> None:
        self._path = path
        self._manifest = manifest
        self._threads = threads or min(os.cpu_count() or 1, 8)
        self._spool: IO[bytes]
        self._pool: ThreadPoolExecutor
        self._places: dict[str, tuple[int, int]] = {}

    def __enter__(self) -> SubmissionWriter:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._spool = tempfile.TemporaryFile(dir=self._path.parent)
        self._pool = ThreadPoolExecutor(self._threads)
        return self

    def __exit__(self, error: type[BaseException] | None, *_: object) -> None:
        with self._spool, self._pool:
            if error is None:
                self._finish()

    def write(self, target: Target | str, prediction: np.ndarray | Planes) -> None:
        """Add the prediction of a target: ids, a mask, or (semantic) probabilities in 0 … 1.

        target: of the manifest, or its path such as "crop557/mito".
        prediction: shape `target.grid.shape`.  Whole numbers are stored in the smallest unsigned
        dtype that holds them all; if any is a fraction, all as float16, in which what lies above
        0 or above one half stays above it.
        Raises SubmissionError: not in the manifest, written before, wrong shape, negative, not
        finite, fractions as ids.  Raises Unreadable if planes cannot be decoded.
        """
        target = self._target(target)
        if prediction.shape != target.grid.shape:
            raise _unfit(target, f"its shape is {prediction.shape}; expected {target.grid.shape}")
        planes = ArrayPlanes(prediction) if isinstance(prediction, np.ndarray) else prediction
        chunks, widest = chunk_shape(target.grid.shape), np.dtype(np.uint8)
        pieces: dict[Key, _Piece] = {}
        for z, slab in enumerate(_slabs(planes, target, depth=chunks[0])):
            pieces |= self._encode(((z, *key), block) for key, block in _blocks(slab, chunks))
            widest = max(widest, slab.dtype, key=_rank)
        self._widen(pieces, widest, chunks)
        self._describe(target, widest, chunks)
        for key, piece in pieces.items():
            self._places[f"{target.path}/{'/'.join(map(str, key))}"] = (piece.start, piece.length)

    def _target(self, wanted: Target | str) -> Target:
        path = wanted if isinstance(wanted, str) else wanted.path
        known = self._manifest.by_path.get(path)
        if known is None or wanted not in (path, known):
            hint = "" if known else meant(path, self._manifest.by_path)
            raise SubmissionError(f"{path} is not a target of this manifest{hint}.")
        if f"{path}/.zarray" in self._places:
            raise SubmissionError(f"{path} is written twice.")
        return known

    def _encode(self, blocks: Iterable[tuple[Key, np.ndarray]]) -> dict[Key, _Piece]:
        """The chunks of one slab, compressed side by side and spooled in their order."""
        pending = [
            (key, block.dtype, self._pool.submit(_compressed, block)) for key, block in blocks
        ]
        return {key: self._spooled(done.result(), dtype) for key, dtype, done in pending}

    def _spooled(self, content: bytes, dtype: np.dtype[Any]) -> _Piece:
        piece = _Piece(self._spool.seek(0, os.SEEK_END), len(content), dtype)
        self._spool.write(content)
        return piece

    def _widen(self, pieces: dict[Key, _Piece], dtype: np.dtype[Any], chunks: Shape) -> None:
        """Write again what was narrower than what came later: an array is read once only."""
        for key, piece in pieces.items():
            if piece.dtype != dtype:
                self._spool.seek(piece.start)
                content = Zstd().decode(self._spool.read(piece.length))
                block = np.frombuffer(content, piece.dtype).reshape(chunks)
                pieces[key] = self._spooled(_compressed(_as(dtype, block)), dtype)

    def _describe(self, target: Target, dtype: np.dtype[Any], chunks: Shape) -> None:
        grid = target.grid
        self._add(f"{target.path}/.zarray", canonical_json({
            "zarr_format": 2, "shape": grid.shape, "chunks": chunks, "dtype": dtype.str,
            "compressor": {"id": "zstd", "level": 3}, "fill_value": 0, "order": "C",
            "filters": None, "dimension_separator": "/",
        }).encode())  # fmt: skip
        self._add(f"{target.path}/.zattrs", canonical_json({
            "voxel_size": grid.voxel_size, "translation": grid.offset
        }).encode())  # fmt: skip

    def _add(self, name: str, content: bytes) -> None:
        piece = self._spooled(content, HALF)
        self._places[name] = (piece.start, piece.length)

    def _finish(self) -> None:
        if not self._places:
            raise SubmissionError(
                f"{self._path.name} would be empty: write at least one of the "
                f"{len(self._manifest.targets)} targets, such as {self._manifest.targets[0].path}."
            )
        for folder in {"", *(f"{name.split('/')[0]}/" for name in self._places)}:
            self._add(f"{folder}.zgroup", canonical_json({"zarr_format": 2}).encode())
        part = self._path.with_name(f".{self._path.name}.part")
        try:
            with zipfile.ZipFile(part, "w") as archive:
                for name, (start, length) in sorted(self._places.items()):
                    entry = zipfile.ZipInfo(name, date_time=(1980, 1, 1, 0, 0, 0))
                    entry.create_system, entry.external_attr = 3, 0o644 << 16
                    self._spool.seek(start)
                    archive.writestr(entry, self._spool.read(length))
            part.replace(self._path)
        finally:
            part.unlink(missing_ok=True)


def chunk_shape(shape: Shape) -> Shape:
    """The chunks of an array: 64 along each axis; longer where another axis is shorter than that.

    So a plane is not cut to dust: a chunk holds about 64³ voxels if the array does.
    """
    chunks = [min(CHUNK, n) for n in shape]
    while math.prod(chunks) * 2 <= CHUNK**3 and tuple(chunks) != shape:
        axis = min((a for a in (2, 1, 0) if chunks[a] < shape[a]), key=lambda a: chunks[a])
        chunks[axis] = min(2 * chunks[axis], shape[axis])
    z, y, x = chunks
    return (z, y, x)


def _slabs(planes: Planes, target: Target, *, depth: int) -> Iterator[np.ndarray]:
    """The prediction in slabs as deep as a chunk, each in the smallest dtype that holds it."""
    last, *plane = planes.shape
    step = max(1, READ_BYTES // (math.prod(plane) * planes.dtype.itemsize))
    for top in range(0, last, depth):
        bottom = min(top + depth, last)
        parts = [
            _smallest(planes.planes(z, min(z + step, bottom)), target)
            for z in range(top, bottom, step)
        ]
        widest = max((part.dtype for part in parts), key=_rank)
        parts = [_as(widest, part) for part in parts]
        yield parts[0] if len(parts) == 1 else np.concatenate(parts)


def _blocks(slab: np.ndarray, chunks: Shape) -> Iterator[tuple[Key, np.ndarray]]:
    """The chunks of a slab that hold anything, by (Y, X) index, filled up with 0 at the border."""
    _, height, width = chunks
    for y, x in np.ndindex(-(-slab.shape[1] // height), -(-slab.shape[2] // width)):
        block = slab[:, y * height : (y + 1) * height, x * width : (x + 1) * width]
        if block.any():
            whole = np.zeros(chunks, slab.dtype)
            whole[tuple(map(slice, block.shape))] = block
            yield (y, x), whole


def _compressed(block: np.ndarray) -> bytes:
    # The checksum lies in the compressed bytes: every reader of zstd looks at it by itself.
    return bytes(Zstd(level=3, checksum=True).encode(block))


def _smallest(slab: np.ndarray, target: Target) -> np.ndarray:
    """Whole numbers in the smallest unsigned dtype; fractions (semantic only) as float16."""
    if slab.dtype.kind not in "biuf":
        raise _unfit(target, f"its data type is {slab.dtype}; expected whole numbers from 0 up")
    if slab.dtype.kind == "f" and not np.isfinite(slab).all():
        raise _unfit(target, "it holds values that are not finite; expected numbers from 0 up")
    if slab.dtype.kind in "if" and (least := slab.min()) < 0:
        raise _unfit(target, f"it holds {least}; expected numbers from 0 up")
    if slab.dtype.kind == "f" and not np.array_equal(slab, np.rint(slab)):
        if target.label.kind == Kind.INSTANCE:
            raise _unfit(target, "object ids must be whole numbers; it holds fractions")
        return _as(HALF, slab)
    largest = slab.max()
    if slab.dtype.kind == "f" and float(largest) >= 2.0**64:
        raise _unfit(target, f"it holds {largest}; expected whole numbers below 2^64")
    dtype = np.min_scalar_type(int(largest)).newbyteorder("<")
    return slab.view(np.uint8) if slab.dtype.kind == "b" else slab.astype(dtype, copy=False)


def _unfit(target: Target, what: str) -> SubmissionError:
    return SubmissionError(f"{target.path}: {what}.")


def _rank(dtype: np.dtype[Any]) -> tuple[bool, int]:
    """Which of two dtypes holds the values of both, as `_as` stores them: the one that is more."""
    return dtype == HALF, dtype.itemsize


def _as(dtype: np.dtype[Any], values: np.ndarray) -> np.ndarray:
    """Values from 0 up in another dtype.  Scoring asks what lies above 0 and above one half, so no
    rounding may carry a value across: what would fall on the line goes to the next number above.
    """
    if dtype != HALF or values.dtype == HALF:
        return values.astype(dtype, copy=False)
    half: np.ndarray = np.minimum(values, np.finfo(HALF).max).astype(HALF)
    for line in (0.0, 0.5):
        half[(values > line) & (half <= line)] = np.nextafter(HALF.type(line), HALF.type(1))
    return half
