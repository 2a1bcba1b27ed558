"""Predictions packed into a submission: the bytes that `evaluator.submission` reads and checks.

The same arrays give the same bytes, whatever they came from and in whatever order.
"""

from __future__ import annotations

import tempfile
import zipfile
from pathlib import Path
from typing import IO

import numpy as np
from numcodecs import Zstd

from evaluator.digest import canonical_json
from evaluator.errors import SubmissionError, Unreadable
from evaluator.manifest import Kind, Manifest, Target
from evaluator.report import Report
from evaluator.submission import check_submission, open_submission

CHUNK = 64


class SubmissionWriter:
    """Writes a submission: the same arrays give the same bytes, in whatever order they come.

    Use as a context manager.  The file appears under its name when all is written; after an error
    nothing of it remains.
    """

    def __init__(self, path: Path, manifest: Manifest) -> None:
        self._path = path
        self._manifest = manifest
        self._spool: IO[bytes]
        self._places: dict[str, tuple[int, int]] = {}

    def __enter__(self) -> SubmissionWriter:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._spool = tempfile.TemporaryFile(dir=self._path.parent)
        return self

    def __exit__(self, error: type[BaseException] | None, *_: object) -> None:
        with self._spool:
            if error is None:
                self._finish()

    def write(self, target: Target, array: np.ndarray) -> None:
        """Add the prediction of a target: ids, a mask, or (semantic) probabilities in 0 … 1.

        array: shape `target.grid.shape`; whole numbers are stored in the smallest unsigned dtype.
        Raises SubmissionError: not in the manifest, written before, wrong shape, negative.
        """
        if self._manifest.by_path.get(target.path) != target:
            raise SubmissionError(f"{target.path} is not a target of this manifest.")
        if f"{target.path}/.zarray" in self._places:
            raise SubmissionError(f"{target.path} is written twice.")
        if array.shape != target.grid.shape:
            raise SubmissionError(
                f"{target.path}: its shape is {array.shape}; expected {target.grid.shape}."
            )
        array = _smallest(array, target)
        chunks = tuple(min(CHUNK, n) for n in array.shape)
        self._add(f"{target.path}/.zarray", _zarray(array, chunks))
        self._add(f"{target.path}/.zattrs", canonical_json({
            "voxel_size": target.grid.voxel_size, "translation": target.grid.offset
        }).encode())  # fmt: skip
        codec = Zstd(level=3, checksum=True)  # every reader of zstd looks at it by itself
        for index in np.ndindex(*(-(-n // CHUNK) for n in array.shape)):
            block = array[tuple(slice(i * CHUNK, (i + 1) * CHUNK) for i in index)]
            if block.any():
                whole = np.zeros(chunks, array.dtype)
                whole[tuple(map(slice, block.shape))] = block
                self._add(f"{target.path}/{'/'.join(map(str, index))}", codec.encode(whole))

    def _add(self, name: str, content: bytes) -> None:
        self._places[name] = (self._spool.tell(), len(content))
        self._spool.write(content)

    def _finish(self) -> None:
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


def pack_folder(folder: Path, manifest: Manifest, out: Path) -> Report:
    """Write the arrays of a folder, laid out like a submission, as one; the report of the folder.

    Arrays on another grid are sampled onto their target's.  Raises SubmissionError, Unreadable.
    """
    report, submission = check_submission(folder, manifest), open_submission(folder, manifest)
    with SubmissionWriter(out, manifest) as writer:
        for target in manifest.targets:
            try:
                array = submission.read(target)
            except Unreadable as error:
                raise Unreadable(f"{target.path}: {error}") from error
            if array is not None:
                writer.write(target, array)
    return report


def _smallest(array: np.ndarray, target: Target) -> np.ndarray:
    """Whole numbers in the smallest unsigned dtype; fractions (semantic only) as float32."""
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        raise SubmissionError(f"{target.path}: it holds values that are not finite.")
    if array.dtype.kind == "f" and not np.array_equal(array, np.rint(array)):
        if target.label.kind == Kind.INSTANCE:
            raise SubmissionError(f"{target.path}: object ids must be whole numbers.")
        return array.astype(np.float32)
    if array.dtype.kind not in "biuf" or array.min() < 0:
        raise SubmissionError(f"{target.path}: expected whole numbers from 0 up.")
    return array.astype(np.min_scalar_type(int(array.max())))


def _zarray(array: np.ndarray, chunks: tuple[int, ...]) -> bytes:
    return canonical_json({
        "zarr_format": 2, "shape": array.shape, "chunks": chunks, "dtype": array.dtype.str,
        "compressor": {"id": "zstd", "level": 3}, "fill_value": 0, "order": "C", "filters": None,
        "dimension_separator": "/",
    }).encode()  # fmt: skip
