"""SHA-256 digests that do not depend on how content is stored, and the one way we write JSON."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np


def canonical_json(value: Any) -> str:
    """JSON with one spelling per value: sorted keys, no spaces, shortest exact floats, no NaN.

    The same text on every machine and from every Python 3.11 or later; ASCII, ends with a newline.
    Raises ValueError for NaN and infinities.
    """
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False) + "\n"


def json_digest(value: Any) -> str:
    """SHA-256 in hex of the canonical JSON of a value."""
    return hashlib.sha256(canonical_json(value).encode("ascii")).hexdigest()


def file_digest(path: Path) -> str:
    """SHA-256 in hex of a file's bytes, read in constant memory."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


class ArrayDigest:
    """SHA-256 of an array's shape and values, fed in slabs along the first axis.

    Chunking, compression, memory order, byte order do not change it; the dtype's kind and width do.
    """

    def __init__(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
        self._little = dtype.newbyteorder("<")
        self._sha = hashlib.sha256(f"{shape}{self._little.str}".encode("ascii"))

    def update(self, slab: np.ndarray) -> None:
        """Add the next planes, shape (z, Y, X)."""
        self._sha.update(np.ascontiguousarray(slab, dtype=self._little).data)

    def hexdigest(self) -> str:
        """The digest of all that was fed so far, in hex."""
        return self._sha.hexdigest()


def array_digest(array: np.ndarray) -> str:
    """The `ArrayDigest` of a whole array in memory."""
    digest = ArrayDigest(array.shape, array.dtype)
    digest.update(array)
    return digest.hexdigest()
