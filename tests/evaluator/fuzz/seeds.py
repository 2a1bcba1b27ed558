"""Small submissions of every kind that is accepted, as files by name: what mutations begin with."""

from __future__ import annotations

import json
import struct
from typing import Any

import google_crc32c
import numcodecs
import numpy as np

from evaluator import Manifest
from tests.evaluator.shapes import target

SHAPE = (6, 7, 8)
MITO = target("instance", crop="1", label="mito", shape=SHAPE)
ER = target("semantic", crop="2", label="er", shape=SHAPE, voxel_size=(2.0, 1.0, 1.0))
MANIFEST = Manifest((MITO, ER))
IDS = np.random.default_rng(0).integers(0, 9, SHAPE)
PLACE = {"voxel_size": [1.0, 1.0, 1.0], "translation": [0.0, 0.0, 0.0]}
V2 = {
    "zarr_format": 2, "shape": SHAPE, "chunks": SHAPE, "dtype": "<u2", "compressor": None,
    "fill_value": 0, "order": "C", "filters": None, "dimension_separator": ".",
}  # fmt: skip
LITTLE = {"name": "bytes", "configuration": {"endian": "little"}}
V3 = {
    "zarr_format": 3, "node_type": "array", "shape": SHAPE, "data_type": "uint16",
    "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": SHAPE}},
    "chunk_key_encoding": {"name": "default", "configuration": {"separator": "/"}},
    "fill_value": 0, "codecs": [LITTLE], "attributes": PLACE,
}  # fmt: skip
ENCODERS = {
    "zlib": numcodecs.Zlib(1), "gzip": numcodecs.GZip(1), "zstd": numcodecs.Zstd(1),
    "bz2": numcodecs.BZ2(1), "blosc": numcodecs.Blosc("lz4", 5, 1),
}  # fmt: skip
Files = dict[str, bytes]


def text(value: Any) -> bytes:
    return json.dumps(value).encode()


def v2(codec: str | None = None, **changes: Any) -> Files:
    meta = V2 | changes | {"compressor": codec and {"id": codec}}
    values = IDS.astype(meta["dtype"]).tobytes(meta["order"])
    packed = bytes(ENCODERS[codec].encode(values)) if codec else values
    return {".zarray": text(meta), ".zattrs": text(PLACE), "0.0.0": packed}


def v3(codec: str | None = None, **changes: Any) -> Files:
    meta = V3 | {"codecs": [LITTLE, {"name": codec}] if codec else [LITTLE]} | changes
    values = IDS.astype("<u2").tobytes()
    packed = bytes(ENCODERS[codec].encode(values)) if codec else values
    return {"zarr.json": text(meta), "c/0/0/0": packed}


def sharded(codec: str, place: str = "end") -> Files:
    """One shard of two chunks, the second one never written."""
    index = [LITTLE, {"name": "crc32c"}] if place == "end" else [LITTLE]
    shards = {"chunk_shape": [3, 7, 8], "codecs": [LITTLE, {"name": codec}],
              "index_codecs": index, "index_location": place}  # fmt: skip
    packed = bytes(ENCODERS[codec].encode(IDS[:3].astype("<u2").tobytes()))
    start = 32 if place == "start" else 0
    table = struct.pack("<4Q", start, len(packed), 2**64 - 1, 2**64 - 1)
    if place == "end":
        table += struct.pack("<I", google_crc32c.value(table))
    content = table + packed if place == "start" else packed + table
    meta = V3 | {"codecs": [{"name": "sharding_indexed", "configuration": shards}]}
    return {"zarr.json": text(meta), "c/0/0/0": content}


def ome(version: str) -> Files:
    steps = [{"type": "scale", "scale": [1, 1, 1]},
             {"type": "translation", "translation": [0, 0, 0]}]  # fmt: skip
    axes = [{"name": axis, "type": "space", "unit": "nanometer"} for axis in "zyx"]
    image = {"axes": axes, "datasets": [{"path": "s0", "coordinateTransformations": steps}]}
    if version == "0.4":
        outer = {".zgroup": text({"zarr_format": 2}), ".zattrs": text({"multiscales": [image]})}
        inner = v2("zstd")
    else:
        attributes = {"ome": {"version": "0.5", "multiscales": [image]}}
        outer = {"zarr.json": text(
            {"zarr_format": 3, "node_type": "group", "attributes": attributes}
        )}  # fmt: skip
        inner = v3("zstd")
    return outer | {f"s0/{name}": content for name, content in inner.items()}


def plain_group() -> Files:
    files = {".zgroup": text({"zarr_format": 2})}
    for level, size in enumerate((0.5, 1.0)):
        inner = v2("zlib") | {".zattrs": text({"voxel_size": [size] * 3})}
        files |= {f"s{level}/{name}": content for name, content in inner.items()}
    return files


ARRAYS: dict[str, Files] = {
    "raw": v2(), "F": v2("zlib", order="F"), "big-endian": v2("zstd", dtype=">i4"),
    "float": v2("gzip", dtype="<f4"), "half": v2("bz2", dtype="<f2"), "bool": v2(dtype="|b1"),
    "blosc": v2("blosc"), "v3": v3(), "v3 zstd": v3("zstd"), "v3 gzip": v3("gzip"),
    "v3 blosc": v3("blosc"), "shards": sharded("zstd"), "shards, blosc": sharded("blosc", "start"),
    "ome 0.4": ome("0.4"), "ome 0.5": ome("0.5"), "levels": plain_group(),
}  # fmt: skip


def submission(array: str, folders: str = "", prefix: str = "crop") -> Files:
    """A submission of two targets that both hold an array."""
    return {
        f"{folders}{prefix}{crop}/{label}/{name}": content
        for crop, label in (("1", "mito"), ("2", "er"))
        for name, content in ARRAYS[array].items()
    }
