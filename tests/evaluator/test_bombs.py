"""Files that would cost gigabytes, made for real; the process that opens them is watched."""

import bz2
import json
import math
import struct
import subprocess
import sys
import zipfile
import zlib
from itertools import product
from pathlib import Path

import numcodecs
import numpy as np
import pytest

from evaluator.metadata import LARGEST_CHUNK

SHAPE = (64, 64, 64)
V2 = {
    "zarr_format": 2, "shape": SHAPE, "chunks": SHAPE, "dtype": "|u1", "filters": None,
    "compressor": None, "fill_value": 0, "order": "C",
}  # fmt: skip
MEMORY = 96 << 20  # that reading may take beyond what the interpreter has
LITTLE = {"name": "bytes", "configuration": {"endian": "little"}}
CHILD = """
import json, sys, time
from pathlib import Path
from evaluator import Manifest, Unreadable, check_submission, get_protocol, open_submission
from tests.evaluator.shapes import target

wanted = target(shape=tuple(json.loads(sys.argv[1])))
manifest, depth = Manifest((wanted,)), wanted.grid.shape[0]

def codes(path):
    report = check_submission(path, manifest)
    found = [problem.code for problem in report.problems]
    if report.accepted:
        try:
            volume = open_submission(path, manifest).open(wanted, get_protocol("crista-1"))
            for z in range(0, depth, 64):
                volume.planes(z, min(z + 64, depth))
            found.append("read")
        except Unreadable as error:
            found.append(getattr(error, "code", "no code"))
    return found

def peak():
    return int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0]) << 10

before, begin = peak(), time.perf_counter()
found = [codes(Path(name)) for name in sys.argv[2:]]
print(json.dumps([found, peak() - before, time.perf_counter() - begin]))
"""


def opened(*paths: Path, shape: tuple[int, ...] = SHAPE, memory: int = MEMORY) -> list[list[str]]:
    """The codes that each submission of one target ends with; "read" if its voxels came back."""
    done = subprocess.run(
        [sys.executable, "-c", CHILD, json.dumps(shape), *map(str, paths)],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    codes, used, seconds = json.loads(done.stdout)
    assert used < memory, f"{used >> 20} MiB for {codes}"
    assert seconds < 20
    return codes


def v2(path: Path, chunk: bytes, compressor: dict | None, **changes: object) -> Path:
    meta = V2 | {"compressor": compressor} | changes
    return zipped(path, {".zarray": json.dumps(meta).encode(), "0.0.0": chunk})


def v3(path: Path, chunk: bytes, codecs: list[dict], **changes: object) -> Path:
    grid = {"name": "regular", "configuration": {"chunk_shape": SHAPE}}
    meta = {
        "zarr_format": 3, "node_type": "array", "shape": SHAPE, "data_type": "uint8",
        "chunk_grid": grid, "chunk_key_encoding": {"name": "default"}, "fill_value": 0,
        "codecs": codecs,
    }  # fmt: skip
    return zipped(path, {"zarr.json": json.dumps(meta | changes).encode(), "c/0/0/0": chunk})


def zipped(path: Path, files: dict[str, bytes], method: int = zipfile.ZIP_STORED) -> Path:
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, content in files.items():
            archive.writestr(f"crop1/mito/{name}", content)
    return path


def streamed(pack: object) -> bytes:
    zeros = bytes(64 << 20)
    return b"".join(pack.compress(zeros) for _ in range(4)) + pack.flush()


@pytest.fixture(scope="module")
def bombs() -> dict[str, bytes]:
    """256 MiB of zeros in the smallest space, by codec."""
    zeros = np.zeros(256 << 20, np.uint8)
    frame = bytes(numcodecs.Zstd(3).encode(zeros))
    return {
        "zlib": streamed(zlib.compressobj(9)),
        "gzip": streamed(zlib.compressobj(9, zlib.DEFLATED, 31)),
        "bz2": streamed(bz2.BZ2Compressor(9)),
        "zstd": frame * 2,
        "zstd in zstd": bytes(numcodecs.Zstd(19).encode(frame)),
        "blosc": bytes(numcodecs.Blosc("zstd").encode(zeros)),
    }


def test_a_chunk_of_v2_unfolds_to_its_declared_size_at_most(tmp_path, bombs):
    codecs = ("zlib", "gzip", "bz2", "zstd", "blosc")
    whole = [v2(tmp_path / f"{c}.zip", bombs[c], {"id": c}) for c in codecs]
    cut = [v2(tmp_path / f"{c}-cut.zip", bombs[c][: 64**3], {"id": c}) for c in codecs]
    assert [codes[-1] for codes in opened(*cut)] == ["damaged"] * 5
    assert {codes[-1] for codes in opened(*whole)} <= {"damaged", "too_large"}


def test_a_chunk_of_v3_unfolds_to_its_declared_size_at_most(tmp_path, bombs):
    paths = [
        v3(tmp_path / f"{codec}.zip", bombs[codec][: 64**3], [LITTLE, {"name": codec}])
        for codec in ("gzip", "zstd", "blosc")
    ]
    assert [codes[-1] for codes in opened(*paths)] == ["damaged"] * 3


def test_what_is_compressed_twice_is_refused_from_its_metadata(tmp_path, bombs):
    twice = [LITTLE, {"name": "zstd"}, {"name": "zstd"}]
    one, two = (
        v3(tmp_path / f"{count}.zip", bombs["zstd in zstd"], twice[: 1 + count]) for count in (1, 2)
    )
    assert opened(one, two) == [["damaged"], ["wrong_codec", "wrong_codec"]]


def sharded(*, codec: str, inner: int = 16, first: bool = False) -> list[dict]:
    return [{
        "name": "sharding_indexed",
        "configuration": {
            "chunk_shape": [inner] * 3, "codecs": [LITTLE, {"name": codec}],
            "index_codecs": [LITTLE], "index_location": "start" if first else "end",
        },
    }]  # fmt: skip


def test_a_chunk_in_a_shard_unfolds_to_its_declared_size_at_most(tmp_path, bombs):
    paths = []
    for codec in ("gzip", "zstd", "blosc"):
        packed = bombs[codec][:8000]
        content = packed + struct.pack("<2Q", 0, len(packed)) * 64
        paths.append(v3(tmp_path / f"{codec}.zip", content, sharded(codec=codec)))
    assert opened(*paths) == [["damaged"]] * 3


def test_an_index_that_leads_beyond_its_shard_is_refused(tmp_path):
    pairs = [(0, 1 << 62), (1 << 62, 8), (2**64 - 2, 4), (0, 2**64 - 1), (900, 300), (1200, 0)]
    paths = []
    for number, (pair, first) in enumerate(product(pairs, (False, True))):
        parts = [struct.pack("<2Q", *pair) * 64, bytes(100)]
        content = b"".join(parts if first else parts[::-1])
        codecs = sharded(codec="zstd", first=first)
        paths.append(v3(tmp_path / f"{number}.zip", content, codecs))
    assert opened(*paths) == [["damaged"]] * len(paths)


def test_a_shard_whose_chunks_are_all_the_same_whole_is_refused(tmp_path):
    """Each of 4096 chunks claims the 4 MB of the shard: reading them would copy 16 GB."""
    shape = (256, 256, 256)
    grid = {"name": "regular", "configuration": {"chunk_shape": shape}}
    content = bytes(4 << 20) + struct.pack("<2Q", 0, 4 << 20) * 4096
    path = v3(tmp_path / "s.zip", content, sharded(codec="zstd"), shape=shape, chunk_grid=grid)
    assert opened(path, shape=shape) == [["damaged"]]


def test_headers_of_chunks_that_lie_are_found(tmp_path):
    headers = [
        struct.pack("<4B3I", 2, 1, 0x21, 1, 1 << 31, 1 << 18, 100),  # blosc: unfolds to 2 GiB
        struct.pack("<4B3I", 2, 1, 0x21, 1, 0xFFFFFFFF, 1 << 18, 100),
        struct.pack("<4B3I", 2, 1, 0x21, 1, 64**3, 0xFFFFFFFF, 100),  # size of its blocks
        struct.pack("<4B3I", 2, 1, 0x21, 255, 64**3, 1, 0xFFFFFFFF),  # size of the whole
        struct.pack("<4B3I", 2, 1, 0x02, 1, 64**3, 64**3, 64**3),  # says it is not compressed
        b"",
        b"\x02",
    ]
    chunks = [(header + body, "blosc") for header in headers for body in (b"", bytes(100))]
    for size in (2**62, 2**40, 64**3 + 1, 1):  # what a zstd frame says it unfolds to
        frame = b"\x28\xb5\x2f\xfd\xe0" + struct.pack("<Q", size) + b"\x01\x00\x00"
        chunks.append((frame, "zstd"))
    paths = [
        v2(tmp_path / f"{number}.zip", chunk, {"id": codec})
        for number, (chunk, codec) in enumerate(chunks)
    ]
    assert opened(*paths) == [["damaged"]] * len(paths)


def test_entries_that_are_too_large_for_what_they_are_are_not_read(tmp_path):
    good = json.dumps(V2).encode()
    blanks = {".zarray": b" " * (128 << 20), "0.0.0": b""}
    unfolds = {".zarray": good, "0.0.0": bytes(128 << 20)}
    paths = [
        zipped(tmp_path / f"{number}.zip", files, zipfile.ZIP_DEFLATED)
        for number, files in enumerate((blanks, unfolds))
    ]
    assert opened(*paths, memory=16 << 20) == [["too_large", "too_large"], ["too_large"]]


def test_a_long_file_in_a_folder_is_not_read(tmp_path):
    array = tmp_path / "f" / "crop1" / "mito"
    array.mkdir(parents=True)
    (array / ".zarray").write_text(json.dumps(V2 | {"compressor": {"id": "zlib"}}))
    with (array / "0.0.0").open("wb") as file:
        file.truncate(4 << 30)
    assert opened(tmp_path / "f", memory=16 << 20) == [["too_large"]]
    with (array / ".zattrs").open("wb") as file:
        file.truncate(4 << 30)
    assert opened(tmp_path / "f", memory=16 << 20) == [["too_large", "too_large"]]


HUGE = {
    "64 GiB of nothing": {"shape": [4096, 4096, 4096], "chunks": [256, 256, 256]},
    "a chunk of 64 GiB": {"chunks": [4096, 4096, 4096]},
    "a plane of 2 GiB": {"shape": [64, 1 << 16, 1 << 15], "chunks": [64, 64, 64]},
    "2 ** 60 voxels": {"shape": [1 << 20] * 3, "chunks": [1 << 10] * 3},
    "chunks of a voxel": {"chunks": [1, 1, 1]},
    "a string of 2 GB": {"dtype": "<U500000000"},
    "bytes of 2 GB": {"dtype": "|V2000000000"},
    "objects": {"dtype": "|O"},
}


def test_what_is_huge_is_refused_from_its_metadata(tmp_path):
    paths = [
        v2(tmp_path / f"{number}.zip", b"", None, **changes)
        for number, changes in enumerate(HUGE.values())
    ]
    for codes in opened(*paths, memory=32 << 20):
        assert codes[0] == codes[1]
        assert codes[0] in ("too_large", "wrong_shape", "wrong_dtype")


def test_the_largest_chunks_that_are_accepted_are_read_in_bounded_memory(tmp_path):
    """Two chunks of 256 MiB of bytes that unfold from little: both, a slab and some."""
    shape, chunks = (128, 1024, 4096), (64, 1024, 4096)
    chunk = bytes(numcodecs.Zstd(1).encode(np.zeros(chunks, np.uint8)))
    assert math.prod(chunks) == LARGEST_CHUNK
    meta = V2 | {"shape": shape, "chunks": chunks, "compressor": {"id": "zstd"}}
    files = {".zarray": json.dumps(meta).encode(), "0.0.0": chunk, "1.0.0": chunk}
    assert opened(zipped(tmp_path / "s.zip", files), shape=shape, memory=1 << 30) == [["read"]]
