"""What the metadata of a Zarr v3 array says, read as strictly as `evaluator.metadata` reads v2."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from evaluator.metadata import (
    DTYPES,
    SETTINGS,
    ArrayMeta,
    Sharding,
    bad_metadata,
    check_settings,
    parse_fill,
    parse_lengths,
    parse_shape,
    shown,
    table,
    wrong_codec,
    wrong_dtype,
)

CODECS = {
    "bytes": {"endian"},
    "transpose": {"order"},
    "gzip": {"level"},
    "zstd": {"level", "checksum"},
    "blosc": {"cname", "clevel", "shuffle", "typesize", "blocksize"},
    "crc32c": set[str](),
    "sharding_indexed": {"chunk_shape", "codecs", "index_codecs", "index_location"},
}
BLOSC = {"cname": "lz4", "clevel": 1, "shuffle": "noshuffle", "typesize": 1}
COMPRESSORS = {"gzip", "zstd", "blosc"}
Codecs = list[dict[str, Any]]


def parse_v3(node: Mapping[str, Any], *, attributes: Mapping[str, Any]) -> ArrayMeta:
    """The array that a `zarr.json` of node type array describes, of any size.  Raises Unfit."""
    if node.get("zarr_format") != 3:
        raise bad_metadata(
            f"zarr_format is {shown(node.get('zarr_format'))}; expected 3 in zarr.json."
        )
    if transformers := node.get("storage_transformers"):
        raise wrong_codec(f"it uses the storage transformers {shown(transformers)}.")
    name = node.get("data_type")
    if not isinstance(name, str) or name not in DTYPES:
        raise wrong_dtype(name)
    grid, keys = table(node, "chunk_grid"), table(node, "chunk_key_encoding")
    usual = "." if keys.get("name") == "v2" else "/"
    separator = table(keys, "configuration").get("separator", usual)
    if grid.get("name") != "regular" or keys.get("name") not in ("default", "v2"):
        raise bad_metadata("its chunk grid or chunk key encoding is not one Zarr v3 defines.")
    if separator not in (".", "/"):
        raise bad_metadata(f"its chunk key separator is {shown(separator)}.")
    shape = parse_shape(node.get("shape"), "shape")
    chunks = parse_shape(table(grid, "configuration").get("chunk_shape"), "chunk_shape")
    codecs, shards = parse_codecs(node.get("codecs"))
    spec = {
        "zarr_format": 3,
        "node_type": "array",
        "shape": shape,
        "data_type": name,
        "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": chunks}},
        "chunk_key_encoding": {"name": keys["name"], "configuration": {"separator": separator}},
        "fill_value": parse_fill(node.get("fill_value"), DTYPES[name]),
        "codecs": codecs,
    }
    dtype = DTYPES[name]
    return ArrayMeta("", "zarr3", spec, shape, dtype, chunks, *parse_lengths(attributes), shards)


def parse_codecs(value: Any) -> tuple[Codecs, Sharding | None]:
    """Our own description of a chain of codecs, and how it divides files.  Raises Unfit.

    A chain is `sharding_indexed` alone; or at most a transposition, `bytes`, at most one
    compression and one checksum, since what is compressed twice has no bound between the two.
    """
    chain = [_codec(codec) for codec in _listed(value)]
    names = [codec["name"] for codec in chain]
    start = names[1:] if names[0] == "transpose" else names
    if names == ["sharding_indexed"]:
        return chain, _sharding(chain[-1]["configuration"])
    compressors = [name for name in start[1:] if name in COMPRESSORS]
    if start[:1] != ["bytes"] or len(compressors) > 1 or start[1:] not in (
        compressors, [*compressors, "crc32c"]
    ):  # fmt: skip
        raise wrong_codec(f"its codecs are {shown(names)}, in this order.")
    return chain, None


def _listed(value: Any) -> list[Any]:
    if not isinstance(value, list) or not 1 <= len(value) <= 8:
        raise wrong_codec(f"its codecs are {shown(value)}.")
    return value


def _codec(value: Any) -> dict[str, Any]:
    name = value.get("name") if isinstance(value, dict) else value
    if not isinstance(name, str) or name not in CODECS:
        raise wrong_codec(f"it uses the codec {shown(name)}.")
    given = table(value, "configuration") if isinstance(value, dict) else {}
    check_settings(given, CODECS[name])
    return {"name": name, "configuration": _configuration(name, given)}


def _configuration(name: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """Of what matters to decoding, what was given; of the rest, what we put there."""
    if name == "bytes":
        endian = given.get("endian", "little")
        if endian not in ("little", "big"):
            raise wrong_codec(f"its byte order is {shown(endian)}.")
        return {"endian": endian}
    if name == "transpose":
        order = given.get("order")
        if not isinstance(order, list) or sorted(map(repr, order)) != ["0", "1", "2"]:
            raise wrong_codec(f"its axes are transposed to {shown(order)}.")
        return {"order": order}
    if name == "sharding_indexed":
        return dict(given)
    return BLOSC if name == "blosc" else SETTINGS.get(name, {})


def _sharding(settings: dict[str, Any]) -> Sharding:
    """How shards are divided.  Puts our own settings in place of those given.  Raises Unfit."""
    chunks = parse_shape(settings.get("chunk_shape"), "chunk_shape")
    codecs, inner = parse_codecs(settings.get("codecs"))
    if inner:
        raise wrong_codec("its shards hold shards.")
    index = [_codec(codec) for codec in _listed(settings.get("index_codecs"))]
    names = [codec["name"] for codec in index]
    if names not in (["bytes"], ["bytes", "crc32c"]) or index[0]["configuration"] != {
        "endian": "little"
    }:
        raise wrong_codec(f"the index of its shards is written with {shown(names)}.")
    location = settings.get("index_location", "end")
    if location not in ("start", "end"):
        raise bad_metadata(f"the index of its shards is at the {shown(location)}.")
    settings.clear()
    settings |= {
        "chunk_shape": chunks, "codecs": codecs, "index_codecs": index, "index_location": location
    }  # fmt: skip
    blosc = any(codec["name"] == "blosc" for codec in codecs)
    return Sharding(chunks, location == "start", "crc32c" in names, blosc)
