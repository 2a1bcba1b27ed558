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
LARGEST_CHUNK = 1 << 28  # bytes
SMALLEST_MEAN_CHUNK = 512  # voxels; smaller ones cost seconds per million and serve nobody
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
V3_CODECS = {
    "bytes": {"endian"},
    "transpose": {"order"},
    "gzip": {"level"},
    "zstd": {"level", "checksum"},
    "blosc": {"cname", "clevel", "shuffle", "typesize", "blocksize"},
    "crc32c": set[str](),
    "sharding_indexed": {"chunk_shape", "codecs", "index_codecs", "index_location"},
}


class Unfit(Explained, Unreadable):
    """An array that cannot be scored, for a reason its metadata already shows."""


@dataclass(frozen=True, slots=True)
class ArrayMeta:
    """One Zarr array: what it holds and where its voxels lie.

    folder: of the array below the node that was asked for ("" or the level of a group).
    driver, spec: what the decoding library needs; `spec` is our own metadata, not the file's.
    voxel_size, offset: nm along (Z, Y, X), None where the metadata does not say.
    """

    folder: str
    driver: str
    spec: Mapping[str, Any]
    shape: Shape
    dtype: np.dtype[Any]
    chunks: Shape
    voxel_size: Nanometres | None = None
    offset: Nanometres | None = None

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
        raise bad_metadata(f"a metadata file is larger than {LARGEST_TEXT} bytes.")
    try:
        value = json.loads(
            text.decode("utf-8"), object_pairs_hook=_unique_keys, parse_constant=_no_constant
        )
    except (ValueError, RecursionError) as error:
        raise bad_metadata(
            f"its metadata is not JSON ({str(error)[:100] or 'nested too deep'})."
        ) from error
    if not isinstance(value, dict):
        raise bad_metadata("its metadata is not a JSON object.")
    return value


def parse_v2(node: Mapping[str, Any], *, attributes: Mapping[str, Any]) -> ArrayMeta:
    """The array that a `.zarray` and the attributes beside it describe.  Raises Unfit."""
    if node.get("zarr_format") != 2:
        raise bad_metadata(
            f"zarr_format is {shown(node.get('zarr_format'))}; expected 2 in .zarray."
        )
    shape, chunks = _shape(node.get("shape"), "shape"), _shape(node.get("chunks"), "chunks")
    dtype = _v2_dtype(node.get("dtype"))
    if filters := node.get("filters"):
        raise _wrong_codec(f"it uses the filters {shown(filters)}; filters are not accepted.")
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
        "fill_value": _fill_value(node.get("fill_value"), dtype),
        "order": order,
        "filters": None,
        "dimension_separator": separator,
    }
    return _bounded(ArrayMeta("", "zarr", spec, shape, dtype, chunks, *_lengths(attributes)))


def parse_v3(node: Mapping[str, Any], *, attributes: Mapping[str, Any]) -> ArrayMeta:
    """The array that a `zarr.json` of node type array describes.  Raises Unfit."""
    if node.get("zarr_format") != 3:
        raise bad_metadata(
            f"zarr_format is {shown(node.get('zarr_format'))}; expected 3 in zarr.json."
        )
    if transformers := node.get("storage_transformers"):
        raise _wrong_codec(f"it uses the storage transformers {shown(transformers)}.")
    name = node.get("data_type")
    if not isinstance(name, str) or name not in DTYPES:
        raise _wrong_dtype(name)
    grid, keys = table(node, "chunk_grid"), table(node, "chunk_key_encoding")
    separator = table(keys, "configuration").get("separator", "/")
    if grid.get("name") != "regular" or keys.get("name") not in ("default", "v2"):
        raise bad_metadata("its chunk grid or chunk key encoding is not one Zarr v3 defines.")
    if separator not in (".", "/"):
        raise bad_metadata(f"its chunk key separator is {shown(separator)}.")
    shape = _shape(node.get("shape"), "shape")
    chunks = _shape(table(grid, "configuration").get("chunk_shape"), "chunk_shape")
    spec = {
        "zarr_format": 3,
        "node_type": "array",
        "shape": shape,
        "data_type": name,
        "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": chunks}},
        "chunk_key_encoding": {"name": keys["name"], "configuration": {"separator": separator}},
        "fill_value": _fill_value(node.get("fill_value"), DTYPES[name]),
        "codecs": _v3_codecs(node.get("codecs")),
    }
    lengths = _lengths(attributes)
    return _bounded(ArrayMeta("", "zarr3", spec, shape, DTYPES[name], chunks, *lengths))


def _lengths(attributes: Mapping[str, Any]) -> tuple[Nanometres | None, Nanometres | None]:
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
    """Three finite numbers.  Raises Unfit, calling the value by `name`."""
    numbers = isinstance(value, list) and len(value) == 3 and all(
        isinstance(n, int | float) and not isinstance(n, bool) and abs(n) <= 1e12 for n in value
    )  # fmt: skip
    if not numbers:
        raise bad_metadata(
            f"its {name} must be three numbers in nm along (Z, Y, X); got {shown(value)}."
        )
    z, y, x = map(float, value)
    return (z, y, x)


def positive_triple(value: Any, name: str) -> Nanometres:
    """Three numbers above 0.  Raises Unfit, calling the value by `name`."""
    lengths = triple(value, name)
    if not all(1e-6 <= length <= 1e9 for length in lengths):
        raise bad_metadata(f"its {name} must be above 0 nm; got {shown(value)}.")
    return lengths


def _shape(value: Any, name: str) -> Shape:
    whole = isinstance(value, list) and all(
        isinstance(n, int) and not isinstance(n, bool) and 1 <= n < 1 << 31 for n in value
    )
    if not whole or len(value) != 3:
        raise Unfit(
            "wrong_shape",
            f"its {name} is {shown(value)}; expected three axes (Z, Y, X) of at least 1 voxel.",
            "Write one 3D array per label.",
        )
    z, y, x = value
    return (z, y, x)


def _bounded(array: ArrayMeta) -> ArrayMeta:
    """The same array, after its chunks were found to be neither huge nor dust."""
    if math.prod(array.chunks) * array.dtype.itemsize > LARGEST_CHUNK:
        raise bad_metadata(
            f"its chunks of {array.chunks} voxels are larger than {LARGEST_CHUNK} bytes."
        )
    count = math.prod(-(-n // c) for n, c in zip(array.shape, array.chunks, strict=True))
    if count > max(1000, math.prod(array.shape) // SMALLEST_MEAN_CHUNK):
        raise bad_metadata(f"it has {count} chunks of {array.chunks} voxels; use (64, 64, 64).")
    return array


def _v2_dtype(value: Any) -> np.dtype[Any]:
    if not isinstance(value, str) or not re.fullmatch(r"[<>|][biuf][1248]", value):
        raise _wrong_dtype(value)
    try:
        dtype = np.dtype(value)
    except TypeError:
        raise _wrong_dtype(value) from None
    if dtype.name not in DTYPES:
        raise _wrong_dtype(value)
    return dtype


def _v2_compressor(value: Any) -> dict[str, Any] | None:
    if value is None:
        return None
    name = value.get("id") if isinstance(value, dict) else value
    if not isinstance(name, str) or name not in V2_CODECS:
        raise _wrong_codec(f"it is compressed with {shown(name)}.")
    return {"id": name} | _settings(value, V2_CODECS[name], ignored={"id", "checksum"})


def _v3_codecs(value: Any) -> list[dict[str, Any]]:
    if not isinstance(value, list) or not 1 <= len(value) <= 8:
        raise _wrong_codec(f"its codecs are {shown(value)}.")
    return [_v3_codec(codec) for codec in value]


def _v3_codec(value: Any) -> dict[str, Any]:
    name = value.get("name") if isinstance(value, dict) else value
    if not isinstance(name, str) or name not in V3_CODECS:
        raise _wrong_codec(f"it uses the codec {shown(name)}.")
    given = table(value, "configuration") if isinstance(value, dict) else {}
    configuration = _settings(given, V3_CODECS[name])
    if name == "sharding_indexed":
        inner = _shape(configuration.get("chunk_shape"), "chunk_shape")
        if math.prod(inner) < SMALLEST_MEAN_CHUNK // 8:
            raise bad_metadata(f"its shards hold chunks of {inner} voxels; use (64, 64, 64).")
        for key in ("codecs", "index_codecs"):
            configuration[key] = _v3_codecs(configuration.get(key))
    return {"name": name, "configuration": configuration}


def _settings(
    given: Mapping[str, Any], known: set[str], *, ignored: frozenset[str] | set[str] = frozenset()
) -> dict[str, Any]:
    if unknown := set(given) - known - ignored:
        raise _wrong_codec(f"a codec has the unknown setting {shown(sorted(unknown)[0])}.")
    return {key: given[key] for key in sorted(known & set(given))}


def _fill_value(value: Any, dtype: np.dtype[Any]) -> Any:
    """The value of chunks that are not stored; null means 0."""
    if value is None:
        return bool(0) if dtype.kind == "b" else 0
    if dtype.kind == "b" and value in (0, 1):
        return bool(value)
    if dtype.kind == "f" and (value == "NaN" or _is_number(value)):
        return value
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


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is not a number")


def shown(value: Any) -> str:
    """A stranger's value, safe and short enough for a sentence."""
    text = ascii(value)
    return text if len(text) <= 80 else text[:77] + "..."


def bad_metadata(message: str) -> Unfit:
    """The error for metadata that is damaged, contradictory or beyond the limits."""
    return Unfit("bad_metadata", message, "Write it with `evaluator pack`, or see the format.")


def _wrong_codec(message: str) -> Unfit:
    allowed = "none, blosc, zstd, gzip, zlib or bz2, without filters"
    return Unfit("wrong_codec", f"{message} Expected: {allowed}.", "Compress it with one of these.")


def _wrong_dtype(value: Any) -> Unfit:
    return Unfit(
        "wrong_dtype",
        f"its data type is {shown(value)}; expected one of {', '.join(DTYPES)}.",
        "Store masks and object ids as unsigned integers.",
    )
