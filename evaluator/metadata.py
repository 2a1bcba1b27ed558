"""What the metadata of a Zarr array says, read strictly from its text.

Metadata may come from strangers, so the text is never handed on.  We parse it ourselves, take the
keys we know, refuse everything else by name, and build our own metadata from what we took; the
library that decodes chunks sees only that.  A pickle filter therefore never reaches a decoder.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from evaluator.errors import Explained, Unreadable
from evaluator.geometry import Nanometres, Shape, VoxelGrid

LARGEST_TEXT = 1 << 20
DEEPEST_TEXT = 64
LARGEST_ARRAY = 1 << 36  # voxels
LARGEST_PLANE = 1 << 30  # bytes; the least that is ever read of an array
LARGEST_CHUNK = 1 << 28  # bytes
LARGEST_SHARD = 1 << 32  # bytes before compression
MOST_CHUNKS = 2_000_000
SMALLEST_MEAN_CHUNK = 512  # voxels; smaller ones cost seconds per million and serve nobody
MOST_LENGTHS = 5  # OME-NGFF knows five axes, of which the last three are Z, Y, X
DTYPES = {
    np.dtype(kind).name: np.dtype(kind)
    for kind in ("?", "u1", "u2", "u4", "u8", "i1", "i2", "i4", "i8", "f2", "f4", "f8")
}
V2_CODECS = {
    "blosc": {"cname", "clevel", "shuffle", "blocksize"},
    "zlib": {"level"},
    "gzip": {"level"},
    "zstd": {"level"},
    "bz2": {"level"},
}
# Decoders find these settings in the data; ours stand in for those of the file, whatever they were.
SETTINGS: dict[str, dict[str, Any]] = {
    "zlib": {"level": 1},
    "gzip": {"level": 1},
    "zstd": {"level": 1},
    "bz2": {"level": 1},
    "blosc": {"cname": "lz4", "clevel": 1, "shuffle": 0},
}


class Unfit(Explained, Unreadable):
    """An array that cannot be scored, for a reason its metadata already shows."""


@dataclass(frozen=True, slots=True)
class Sharding:
    """A file that holds many chunks, and an index of them.

    chunks: voxels of a chunk.  index_first: the index stands before the chunks, not behind them.
    checked: a checksum of 4 bytes follows the index.  blosc: the chunks are compressed with it.
    """

    chunks: Shape
    index_first: bool
    checked: bool
    blosc: bool


@dataclass(frozen=True, slots=True)
class ArrayMeta:
    """One Zarr array: what it holds and where its voxels lie.

    folder: of the array below the node that was asked for ("" or the level of a group).
    driver, spec: what the decoding library needs; `spec` is our own metadata, not the file's.
    voxel_size, offset: nm along (Z, Y, X), None where the metadata does not say.
    shards: how a file of `chunks` voxels is divided, None if it is one chunk.
    """

    folder: str
    driver: str
    spec: Mapping[str, Any]
    shape: Shape
    dtype: np.dtype[Any]
    chunks: Shape
    voxel_size: Nanometres | None = None
    offset: Nanometres | None = None
    shards: Sharding | None = None

    @property
    def grid(self) -> VoxelGrid | None:
        """Its grid, offset 0 if not given; None if the metadata gives neither size nor offset."""
        if self.voxel_size is None and self.offset is None:
            return None
        return VoxelGrid(self.shape, self.voxel_size or (1.0,) * 3, self.offset or (0.0,) * 3)

    def grid_beside(self, target: VoxelGrid) -> VoxelGrid | None:
        """Its grid, with what the metadata leaves out taken from the target it is meant for.

        Without an offset both grids begin at the same corner.  None: the metadata says nothing.
        """
        if self.voxel_size is None and self.offset is None:
            return None
        size = self.voxel_size or target.voxel_size
        corner = zip(target.offset, target.voxel_size, size, strict=True)
        z, y, x = (start - theirs / 2 + ours / 2 for start, theirs, ours in corner)
        return VoxelGrid(self.shape, size, self.offset or (z, y, x))


def parse_json(text: bytes) -> dict[str, Any]:
    """A JSON object, read strictly: UTF-8, no key twice, no NaN.  Raises Unfit."""
    if len(text) > LARGEST_TEXT:
        raise too_large(f"a metadata file is larger than {LARGEST_TEXT} bytes.")
    try:
        value = json.loads(
            text.decode("utf-8"), object_pairs_hook=_unique_keys,
            parse_constant=_no_constant, parse_int=_short_int,
        )  # fmt: skip
        _check_depth(value)
    except (ValueError, RecursionError) as error:
        reason = "nested too deep" if isinstance(error, RecursionError) else str(error)[:100]
        raise bad_metadata(f"its metadata is not JSON ({ascii(reason)[1:-1]}).") from error
    if not isinstance(value, dict):
        raise bad_metadata("its metadata is not a JSON object.")
    return value


def parse_v2(node: Mapping[str, Any], *, attributes: Mapping[str, Any]) -> ArrayMeta:
    """The array of a `.zarray` and the attributes beside it, of any size.  Raises Unfit."""
    if node.get("zarr_format") != 2:
        raise bad_metadata(
            f"zarr_format is {shown(node.get('zarr_format'))}; expected 2 in .zarray."
        )
    shape, chunks = (
        parse_shape(node.get("shape"), "shape"),
        parse_shape(node.get("chunks"), "chunks"),
    )
    dtype = _v2_dtype(node.get("dtype"))
    if filters := node.get("filters"):
        raise wrong_codec(f"it uses the filters {shown(filters)}; filters are not accepted.")
    separator, order = node.get("dimension_separator", "."), node.get("order", "C")
    if separator not in (".", "/") or order not in ("C", "F"):
        raise bad_metadata(
            f"its dimension separator is {shown(separator)}, its order {shown(order)}."
        )
    spec = {
        "zarr_format": 2,
        "shape": shape,
        "chunks": chunks,
        "dtype": dtype.str,
        "compressor": _v2_compressor(node.get("compressor")),
        "fill_value": parse_fill(node.get("fill_value"), dtype),
        "order": order,
        "filters": None,
        "dimension_separator": separator,
    }
    return ArrayMeta("", "zarr", spec, shape, dtype, chunks, *parse_lengths(attributes))


def parse_lengths(attributes: Mapping[str, Any]) -> tuple[Nanometres | None, Nanometres | None]:
    """Voxel size and offset in nm from an array's own attributes."""
    size = _first(attributes, ("voxel_size", "resolution", "scale"))
    offset = _first(attributes, ("translation", "offset"))
    return (
        None if size is None else positive_triple(size, "voxel_size"),
        None if offset is None else triple(offset, "translation"),
    )


def _first(attributes: Mapping[str, Any], names: tuple[str, ...]) -> Any:
    return next((attributes[name] for name in names if attributes.get(name) is not None), None)


def triple(value: Any, name: str) -> Nanometres:
    """Three finite numbers, the last ones of a longer list, whose axes end with Z, Y, X.

    Raises Unfit, calling the value by `name`.
    """
    numbers = isinstance(value, list) and 3 <= len(value) <= MOST_LENGTHS and all(
        isinstance(n, int | float) and not isinstance(n, bool) and abs(n) <= 1e12 for n in value
    )  # fmt: skip
    if not numbers:
        raise bad_metadata(
            f"its {name} must be three numbers in nm along (Z, Y, X); got {shown(value)}."
        )
    z, y, x = map(float, value[-3:])
    return (z, y, x)


def positive_triple(value: Any, name: str) -> Nanometres:
    """Three numbers above 0.  Raises Unfit, calling the value by `name`."""
    lengths = triple(value, name)
    if not all(1e-6 <= length <= 1e9 for length in lengths):
        raise bad_metadata(f"its {name} must be above 0 nm; got {shown(value)}.")
    return lengths


def parse_shape(value: Any, name: str) -> Shape:
    whole = isinstance(value, list) and all(
        isinstance(n, int) and not isinstance(n, bool) and 1 <= n < 1 << 31 for n in value
    )
    if not whole or len(value) != 3:
        raise Unfit(
            "wrong_shape",
            f"its {name} is {shown(value)}; expected three axes (Z, Y, X) of at least 1 voxel.",
            "Write one 3D array per label.",
            expected="three axes (Z, Y, X)",
            got=f"{name} {shown(value)}",
        )
    z, y, x = value
    return (z, y, x)


def bounded(array: ArrayMeta) -> ArrayMeta:
    """The same array, after it and its chunks were found to be neither huge nor dust."""
    voxels, width = math.prod(array.shape), array.dtype.itemsize
    inner, largest = array.chunks, LARGEST_CHUNK
    if array.shards:
        inner, largest = array.shards.chunks, LARGEST_SHARD
        _check_chunks(array.chunks, inner, most=MOST_CHUNKS // 2)
    if voxels > LARGEST_ARRAY or math.prod(array.shape[1:]) * width > LARGEST_PLANE:
        raise too_large(
            f"its shape {array.shape} is beyond {LARGEST_ARRAY} voxels, "
            f"or {LARGEST_PLANE} bytes in a plane.",
            got=f"shape {array.shape}",
        )
    if math.prod(array.chunks) * width > largest or math.prod(inner) * width > LARGEST_CHUNK:
        said = f"its chunks of {inner} voxels are larger than {LARGEST_CHUNK} bytes."
        raise too_large(said, got=f"chunks of {inner} voxels")
    _check_chunks(array.shape, inner, most=MOST_CHUNKS)
    return array


def _check_chunks(shape: Shape, chunks: Shape, *, most: int) -> None:
    """Raise Unfit if a box falls into more chunks than serve anybody."""
    count = math.prod(-(-n // c) for n, c in zip(shape, chunks, strict=True))
    if count > min(most, max(1000, math.prod(shape) // SMALLEST_MEAN_CHUNK)):
        said = f"it has {count} chunks of {chunks} voxels; use (64, 64, 64)."
        raise too_large(said, got=f"{count} chunks of {chunks} voxels")


def _v2_dtype(value: Any) -> np.dtype[Any]:
    if not isinstance(value, str) or not re.fullmatch(r"[<>|][biuf][1248]", value):
        raise wrong_dtype(value)
    try:
        dtype = np.dtype(value)
    except TypeError:
        raise wrong_dtype(value) from None
    if dtype.name not in DTYPES:
        raise wrong_dtype(value)
    return dtype


def _v2_compressor(value: Any) -> dict[str, Any] | None:
    if value is None:
        return None
    name = value.get("id") if isinstance(value, dict) else value
    if not isinstance(name, str) or name not in V2_CODECS:
        raise wrong_codec(f"it is compressed with {shown(name)}.")
    check_settings(value, V2_CODECS[name] | {"id", "checksum"})
    return {"id": name} | SETTINGS[name]


def check_settings(given: Any, known: set[str]) -> None:
    if isinstance(given, dict) and (unknown := set(given) - known):
        raise wrong_codec(f"a codec has the unknown setting {shown(sorted(unknown)[0])}.")


def parse_fill(value: Any, dtype: np.dtype[Any]) -> Any:
    """The value of chunks that are not stored; null means 0."""
    if value is None:
        return bool(0) if dtype.kind == "b" else 0
    if dtype.kind == "b" and value in (0, 1):
        return bool(value)
    if dtype.kind == "f" and (value == "NaN" or _is_number(value)):
        return value if value == "NaN" else float(value)
    if dtype.kind in "iu" and _is_number(value) and value == int(value):
        limits = np.iinfo(dtype)
        if limits.min <= value <= limits.max:
            return int(value)
    raise bad_metadata(f"its fill_value {shown(value)} is not a {dtype.name}.")


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def table(node: Mapping[str, Any], key: str) -> dict[str, Any]:
    """The JSON object under a key, empty if there is none.  Raises Unfit for another type."""
    value = node.get(key) or {}
    if not isinstance(value, dict):
        raise bad_metadata(f"its {key} must be a JSON object; got {shown(value)}.")
    return value


def _unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    table = dict(pairs)
    if len(table) != len(pairs):
        raise ValueError("a key stands twice")
    return table


def _short_int(digits: str) -> int:
    if len(digits) > 20:
        raise ValueError("a whole number has more than 20 digits")
    return int(digits)


def _check_depth(value: Any) -> None:
    level = [value]
    for _ in range(DEEPEST_TEXT):
        inside = [list(v.values()) if isinstance(v, dict) else v for v in level]
        if not (level := [v for many in inside if isinstance(many, list) for v in many]):
            return
    raise ValueError("nested too deep")


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is not a number")


def shown(value: Any) -> str:
    """A stranger's value, safe and short enough for a sentence."""
    text = ascii(value)
    return text if len(text) <= 80 else text[:77] + "..."


def bad_metadata(message: str) -> Unfit:
    """The error for metadata that is damaged, contradictory or beyond the limits."""
    return Unfit(
        "bad_metadata", message, "Write it with `evaluator pack`, or see the format.",
        got=message.rstrip("."),
    )  # fmt: skip


def too_large(message: str, *, got: str = "") -> Unfit:
    """The error for what is beyond a limit, decided before any of it is decoded."""
    return Unfit(
        "too_large", message, "See the limits of the format, or use `evaluator pack`.",
        got=got or message.rstrip("."),
    )  # fmt: skip


def wrong_codec(message: str) -> Unfit:
    allowed = "none, blosc, zstd, gzip, zlib or bz2, without filters"
    return Unfit(
        "wrong_codec", f"{message} Expected: {allowed}.", "Compress it with one of these.",
        expected=allowed, got=message.rstrip("."),
    )  # fmt: skip


def wrong_dtype(value: Any) -> Unfit:
    return Unfit(
        "wrong_dtype",
        f"its data type is {shown(value)}; expected one of {', '.join(DTYPES)}.",
        "Store masks and object ids as unsigned integers.",
        expected=", ".join(DTYPES),
        got=shown(value),
    )
