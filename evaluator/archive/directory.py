"""The directory of a zip, read strictly before anything in the zip is believed.

Readers of zips differ: some go by the directory at the end, some by the headers before each file,
some search.  A zip is accepted only if all of them would see the same files, which lie one after
the other without a gap.  What it claims about its size is bounded before any of it is looked at,
so that memory and time are linear in a small number.
"""

from __future__ import annotations

import os
import stat
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from evaluator.archive.names import odd_name
from evaluator.archive.places import content_starts
from evaluator.archive.records import (
    CENTRAL,
    DEFLATED,
    DESCRIBED_AFTER,
    ENCRYPTED,
    END,
    END_64,
    ENTRY,
    IN_ZIP64,
    LOCATOR,
    REZIP,
    SHORT_IN_ZIP64,
    STORED,
    ArchiveError,
    bad_entry,
    extra_field,
)

MOST_ENTRIES = 600_000
LARGEST_DIRECTORY = 96 << 20  # bytes
LARGEST_SUM = 1 << 40  # bytes that all entries together may unfold to
LARGEST_RATIO = 1100  # deflate cannot do better than 1032 : 1
KNOWN_FLAGS = ENCRYPTED | DESCRIBED_AFTER | 0x2 | 0x4 | 0x800
LENGTHS = struct.Struct("<3H")


@dataclass(frozen=True, slots=True, eq=False)
class Directory:
    """The files of a zip.

    names: sorted; folders have no entry.
    table: one row of `ENTRY` per name: `start` is where the content begins in the zip, `packed` its
    length there, `size` and `crc` what it unfolds to.
    """

    names: tuple[str, ...]
    table: np.ndarray


@dataclass(frozen=True, slots=True)
class _End:
    """What the end of a zip says: where its directory lies and how many entries that has."""

    entries: int
    start: int
    length: int


def read_directory(path: Path, *, most_entries: int, most_bytes: int) -> Directory:
    """The checked directory of a zip.  Raises ArchiveError; OSError if it cannot be read.

    most_entries, most_bytes: how many entries and declared bytes, after inflation, are accepted;
    never more than the limits above.
    """
    with path.open("rb") as file:
        end = _end(file.fileno(), path.name)
        _check_count(end, min(most_entries, MOST_ENTRIES))
        raw = os.pread(file.fileno(), end.length, end.start)
        heads, names, extras = _entries(raw, end.entries)
        if odd := odd_name(names):
            raise ArchiveError("bad_archive", odd)
        table = _wide(heads, names, extras)
        _check_fields(heads, table, names)
        _check_sizes(table, names, min(most_bytes, LARGEST_SUM))
        table["start"] = content_starts(file.fileno(), heads, table, names, end=end.start)
    return _sorted([name.decode() for name in names], table)


def _sorted(names: list[str], table: np.ndarray) -> Directory:
    files = [(name, row) for row, name in enumerate(names) if not name.endswith("/")]
    files.sort()
    order = np.fromiter((row for _, row in files), np.int64, len(files))
    return Directory(tuple(name for name, _ in files), table[order])


def _end(file: int, shown: str) -> _End:
    """What the end record says.  Raises ArchiveError if there is none, or more than one."""
    size = os.fstat(file).st_size
    before = max(0, size - END.size - SHORT_IN_ZIP64)
    tail = os.pread(file, size - before, before)
    found = [at for at in _places(tail, b"PK\x05\x06") if _reaches(tail, at)]
    if not found:
        raise _no_zip(shown, size, begins_well=os.pread(file, 4, 0) == b"PK\x03\x04")
    if len(found) > 1 or b"PK\x05\x06" in tail[found[0] + 4 :]:
        raise ArchiveError("bad_archive", "The zip has two ends: its comment holds another one.")
    _, disk, first_disk, here, entries, length, start, _ = END.unpack_from(tail, found[0])
    at, end = before + found[0], _End(entries, start, length)
    locator = os.pread(file, LOCATOR.size, at - LOCATOR.size) if at >= LOCATOR.size else b""
    if locator.startswith(b"PK\x06\x07"):
        at, end = _end_64(file, locator, at=at - LOCATOR.size, short=end)
    elif here != entries:
        disk = 1
    if disk not in (0, SHORT_IN_ZIP64) or first_disk not in (0, SHORT_IN_ZIP64):
        raise ArchiveError("bad_archive", "The zip is one part of several.", "Send it in one file.")
    if end.start + end.length != at:
        raise ArchiveError(
            "bad_archive",
            "There are bytes before the zip's first entry, or around its directory, that belong "
            "to nothing; or its end names another place.",
        )
    return end


def _places(text: bytes, wanted: bytes) -> Iterator[int]:
    at = text.find(wanted)
    while at >= 0:
        yield at
        at = text.find(wanted, at + 1)


def _reaches(tail: bytes, at: int) -> bool:
    """True if an end record at a place, with its comment, ends where the file does."""
    if len(tail) - at < END.size:
        return False
    return at + END.size + int.from_bytes(tail[at + 20 : at + 22], "little") == len(tail)


def _end_64(file: int, locator: bytes, *, at: int, short: _End) -> tuple[int, _End]:
    """Where the ZIP64 end record begins, and what it says; the short record must agree with it."""
    _, disk, place, disks = LOCATOR.unpack(locator)
    raw = os.pread(file, END_64.size, place) if place < at else b""
    if len(raw) == END_64.size:
        signature, length, _, _, here, first, own, entries, size, start = END_64.unpack(raw)
        long = _End(entries, start, size)
        pairs = (
            (short.entries, entries, SHORT_IN_ZIP64),
            (short.start, start, IN_ZIP64),
            (short.length, size, IN_ZIP64),
        )
        if (
            signature == b"PK\x06\x06"
            and length == at - place - 12
            and (disk, here, first) == (0, 0, 0)
            and disks <= 1
            and own == entries
            and all(a in (b, escape) for a, b, escape in pairs)
        ):
            return place, long
    raise ArchiveError("bad_archive", "The zip's ZIP64 records contradict each other.")


def _no_zip(shown: str, size: int, *, begins_well: bool) -> ArchiveError:
    if begins_well:
        return ArchiveError(
            "not_a_zip",
            f"{shown} begins like a zip but its end is missing or damaged, after {size} bytes.",
            "Make sure the file is complete, then send it again.",
            got=f"the beginning of a zip, {size} bytes",
        )
    return ArchiveError(
        "not_a_zip",
        f"{shown} is not a zip file; expected a zip of Zarr arrays.",
        "Pack the predictions with `evaluator pack`.",
        got="another kind of file",
    )


def _check_count(end: _End, most: int) -> None:
    remedy = "Use chunks of 64 voxels and leave out empty ones."
    if end.entries > most:
        said = f"The zip has {end.entries} entries; at most {most} are accepted here."
        raise ArchiveError("too_large", said, remedy, f"at most {most}", f"{end.entries} entries")
    if end.length > LARGEST_DIRECTORY:
        said = f"The zip's directory takes {end.length} bytes, more than {LARGEST_DIRECTORY}."
        raise ArchiveError("too_large", said, remedy)
    if end.length < CENTRAL.itemsize * end.entries:
        raise _other_number(end.entries)


def _other_number(entries: int) -> ArchiveError:
    return ArchiveError(
        "bad_archive", f"The zip's directory does not hold the {entries} entries it speaks of."
    )


def _entries(raw: bytes, count: int) -> tuple[np.ndarray, list[bytes], list[bytes]]:
    """The fixed part, the name and the extra field of each entry of a directory."""
    fixed, names, extras, at = bytearray(), [], [], 0
    try:
        for _ in range(count):
            name, extra, comment = LENGTHS.unpack_from(raw, at + 28)
            begin = at + CENTRAL.itemsize
            fixed += raw[at:begin]
            names.append(raw[begin : begin + name])
            extras.append(raw[begin + name : begin + name + extra])
            at = begin + name + extra + comment
    except struct.error:
        raise _other_number(count) from None
    heads = np.frombuffer(fixed, CENTRAL) if at == len(raw) else None
    if heads is None or (heads["signature"] != 0x02014B50).any():
        raise _other_number(count)
    return heads, names, extras


def _wide(heads: np.ndarray, names: Sequence[bytes], extras: Sequence[bytes]) -> np.ndarray:
    """Places and sizes in 64 bits, from the ZIP64 extra field where the short ones refer to it."""
    table = np.zeros(len(heads), ENTRY)
    for field in ("start", "packed", "size", "crc"):
        table[field] = heads[field]
    table["deflated"] = heads["method"] == DEFLATED
    fields = ("size", "packed", "start")  # their order in the extra field
    long = np.logical_or.reduce([heads[field] == IN_ZIP64 for field in fields])
    for row in np.flatnonzero(long).tolist():
        wanted = [field for field in fields if heads[field][row] == IN_ZIP64]
        content = extra_field(extras[row], 0x0001)
        if content is None or len(content) < 8 * len(wanted):
            raise bad_entry(names[row], "has no ZIP64 field though its sizes refer to one")
        for position, field in enumerate(wanted):
            table[field][row] = int.from_bytes(content[8 * position :][:8], "little")
    for row, extra in enumerate(extras):
        if b"up" in extra and extra_field(extra, 0x7075) is not None:
            raise bad_entry(names[row], "has a second name")
    return table


def _check_fields(heads: np.ndarray, table: np.ndarray, names: Sequence[bytes]) -> None:
    """Raise ArchiveError for an entry that an honest packer does not write."""
    flags, method = heads["flags"], heads["method"]
    kind = (heads["external"] >> 16) & 0o170000
    folder = np.fromiter((name.endswith(b"/") for name in names), bool, len(names))
    plain = np.isin(kind, (0, stat.S_IFREG, stat.S_IFDIR))
    stored_odd = (method == STORED) & (table["packed"] != table["size"])
    for wrong, what, remedy in (
        (flags & ENCRYPTED, "is encrypted", "Zip it without a password."),
        (~np.isin(method, (STORED, DEFLATED)), "uses a rare compression method",
         "Zip with Store or Deflate."),
        (flags & ~np.uint16(KNOWN_FLAGS), "is of a kind that few readers know", REZIP),
        (~plain, "is a link or a device, not a file", REZIP),
        (folder & (table["size"] > 0), "is a folder with content", REZIP),
        (heads["disk"] != 0, "lies in another part of the zip", "Send it in one file."),
        (stored_odd, "is stored with two sizes", REZIP),
    ):  # fmt: skip
        if wrong.any():
            raise bad_entry(names[int(np.flatnonzero(wrong)[0])], what, remedy)


def _check_sizes(table: np.ndarray, names: Sequence[bytes], most: int) -> None:
    largest = int(table["size"].max(initial=0))
    declared = largest if largest > most else int(table["size"].sum())
    if declared > most:
        raise ArchiveError(
            "too_large",
            f"The zip unfolds to {declared} bytes; at most {most} are accepted here.",
            "Send only the arrays that are asked for.",
            expected=f"at most {most} bytes",
            got=f"{declared} bytes",
        )
    wrong = table["size"] > LARGEST_RATIO * table["packed"].astype(np.float64) + 4096
    if wrong.any():
        row = int(np.flatnonzero(wrong)[0])
        packed, size = int(table["packed"][row]), int(table["size"][row])
        raise bad_entry(names[row], f"claims to unfold {packed} bytes to {size}")
