"""The files of an array, looked at before the library that decodes them sees any.

That library unfolds a chunk to no more than its declared size, whatever the codec, but for blosc;
it believes a zip's sizes and checksums, and the index of a shard.  So these are checked here.
"""

from __future__ import annotations

import math
import re
import struct
from collections.abc import Iterable
from typing import Any

import numpy as np
import tensorstore

from evaluator.archive import Archive, FolderArchive
from evaluator.metadata import ArrayMeta, Sharding, Unfit, too_large

KEY = re.compile(r"(c[/.])?[0-9]+[/.][0-9]+[/.][0-9]+")
LARGEST_SHARDS = 1 << 30  # bytes of one array's shards in a zip, which are read into memory
BLOSC_HEADER = struct.Struct("<4B3I")
NOTHING = 2**64 - 1  # in the index of a shard: this chunk was never written


def checked_store(archive: Archive, folder: str, meta: ArrayMeta) -> Any:
    """A tensorstore key-value store (a spec, or one that is open) of an array's files.

    Raises Unfit: a file is damaged, longer than what it holds can be, or unfolds to another size.
    """
    files = [name for name in archive.below(folder) if KEY.fullmatch(name[len(folder) + 1 :])]
    chunk = math.prod(meta.chunks) * meta.dtype.itemsize
    limit = _longest(chunk)
    if meta.shards:
        limit += math.prod(meta.chunks) // math.prod(meta.shards.chunks) * 64 + 64
    for name in files:
        if archive.size(name) > limit:
            raise too_large(f"a chunk of {chunk} bytes takes {archive.size(name)} bytes.")
    if meta.shards:
        return _shards(archive, folder, files, meta, meta.shards)
    for name in files:
        _check_chunk(archive, name, unfolded=chunk if _is_blosc(meta) else None)
    return archive.store(folder)


def _longest(chunk: int) -> int:
    """Bytes that a chunk may take: no codec makes one longer than by a few in a hundred."""
    return chunk + chunk // 16 + 4096


def _is_blosc(meta: ArrayMeta) -> bool:
    compressor = meta.spec.get("compressor") or {}
    return compressor.get("id") == "blosc" or any(
        codec["name"] == "blosc" for codec in meta.spec.get("codecs", ())
    )


def _check_chunk(archive: Archive, name: str, *, unfolded: int | None) -> None:
    """Raise Unfit unless a file is whole, and (blosc) unfolds to so many bytes."""
    if unfolded is None and isinstance(archive, FolderArchive):
        return  # without a checksum there is nothing to compare
    first = b""
    for number, block in enumerate(_joined(archive.content(name))):
        first = block[: BLOSC_HEADER.size] if number == 0 else first
    if unfolded is not None:
        _check_blosc(first, unfolded)


def _joined(blocks: Iterable[bytes]) -> Iterable[bytes]:
    """The same bytes; the first block is long enough for a header if there are so many bytes."""
    start = b""
    for block in blocks:
        start += block
        if len(start) >= BLOSC_HEADER.size:
            yield start
            start = b""
    yield start


def _check_blosc(header: bytes, unfolded: int) -> None:
    if len(header) < BLOSC_HEADER.size or BLOSC_HEADER.unpack(header)[4] != unfolded:
        raise _damaged(f"a blosc chunk does not unfold to the {unfolded} bytes it should.")


def _damaged(message: str) -> Unfit:
    return Unfit("damaged", message, "Write the array again, or use `evaluator pack`.")


def _shards(
    archive: Archive, folder: str, files: list[str], meta: ArrayMeta, shards: Sharding
) -> Any:
    """A store of shards whose indices were checked.

    In a zip they are read into memory: the library cannot read parts of a long entry.
    """
    in_zip = not isinstance(archive, FolderArchive)
    if in_zip and sum(map(archive.size, files)) > LARGEST_SHARDS:
        raise too_large(
            f"its shards take over {LARGEST_SHARDS} bytes; in a zip, longer arrays need chunks "
            "without shards."
        )
    memory = tensorstore.KvStore.open({"driver": "memory"}).result()
    for name in files:
        content = b"".join(archive.content(name))
        _check_shard(content, meta, shards)
        if in_zip:
            memory.write(name[len(folder) + 1 :], content).result()
    return memory if in_zip else archive.store(folder)


def _check_shard(content: bytes, meta: ArrayMeta, shards: Sharding) -> None:
    """Raise Unfit unless the chunks of a shard lie inside of it and are not longer than they can
    be, so that reading all of them costs no more than reading the shard a few times.
    """
    pairs = zip(meta.chunks, shards.chunks, strict=True)
    count = math.prod(-(-n // c) for n, c in pairs)
    unfolded = math.prod(shards.chunks) * meta.dtype.itemsize
    length = 16 * count + 4 * shards.checked
    if len(content) < length:
        raise _damaged("a shard is shorter than its index.")
    at = 0 if shards.index_first else len(content) - length
    starts, sizes = np.frombuffer(content, "<u8", 2 * count, at).reshape(-1, 2).T
    there = (starts != NOTHING) | (sizes != NOTHING)
    whole = np.uint64(len(content))
    wrong = (sizes > whole) | (starts > whole - np.minimum(sizes, whole)) | (
        sizes > _longest(unfolded)
    )  # fmt: skip
    if (there & wrong).any():
        raise _damaged("the index of a shard leads beyond it.")
    if shards.blosc:
        for start in starts[there].tolist():
            _check_blosc(content[start : start + BLOSC_HEADER.size], unfolded)
