"""Where the content of each entry of a zip lies: behind its own header, which must say the same."""

from __future__ import annotations

import os
import struct
from array import array
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from evaluator.archive.records import (
    CENTRAL,
    DESCRIBED_AFTER,
    ENCRYPTED,
    IN_ZIP64,
    LOCAL,
    ArchiveError,
    bad_entry,
    extra_field,
)


def content_starts(
    file: int, heads: np.ndarray, table: np.ndarray, names: Sequence[bytes], *, end: int
) -> np.ndarray:
    """The place of each entry's content, in the order of the directory.

    file: descriptor of the zip.  heads, table: rows of `CENTRAL` and `ENTRY`, `start` still that of
    the header.  end: where the directory begins.
    Raises ArchiveError unless the entries lie one behind the other, from 0 to `end`, each under a
    header that agrees with the directory, with nothing between them.
    """
    if (table["start"] > end).any() or (table["packed"] > end).any():
        raise ArchiveError("bad_archive", "An entry reaches into the zip's directory.")
    order = np.argsort(table["start"], kind="stable")
    places = array("Q", [*table["start"][order].tolist(), end])
    if places[0] != 0:
        raise ArchiveError("bad_archive", "There are bytes before the zip's first entry.")
    contents = np.zeros(len(names), np.uint64)
    central, packed = heads.tobytes(), array("Q", table["packed"].tobytes())
    found = array("Q")  # 8 bytes each, not 40
    for row, (start, stop) in zip(order.tolist(), pairwise(places), strict=True):
        name, at = names[row], row * CENTRAL.itemsize
        header = os.pread(file, LOCAL.itemsize + len(name), start)
        # Both headers hold flags, method, time, checksum and sizes in the same order.
        same = header[6:28] == central[at + 8 : at + 30] and header[30:] == name
        if not same or header[:4] != b"PK\x03\x04":
            _check_header(file, start, header, heads[row], table[row], name)
        content = start + len(header) + int.from_bytes(header[28:30], "little")
        if gap := stop - content - packed[row]:
            _check_gap(file, stop, gap, heads[row], table[row], name)
        found.append(content)
    contents[order] = np.frombuffer(found, np.uint64)
    return contents


def _check_header(file: int, start: int, header: bytes, head: Any, entry: Any, name: bytes) -> None:
    """Raise ArchiveError if an entry's own header does not mean what the directory says."""
    wrong = bad_entry(name, "has a header of its own that contradicts the zip's directory")
    if len(header) != LOCAL.itemsize + len(name) or header[30:] != name:
        raise wrong
    own = np.frombuffer(header, LOCAL, 1)[0]
    telling = ENCRYPTED | DESCRIBED_AFTER
    if (
        own["signature"] != 0x04034B50
        or own["method"] != head["method"]
        or own["flags"] & telling != head["flags"] & telling
        or own["name"] != len(name)
    ):
        raise wrong
    said = {field: int(own[field]) for field in ("crc", "size", "packed")}
    if IN_ZIP64 in (said["size"], said["packed"]):
        extra = os.pread(file, int(own["extra"]), start + len(header))
        content = extra_field(extra, 0x0001) or b""
        if len(content) >= 16:
            said["size"], said["packed"] = struct.unpack_from("<2Q", content)
    later = own["flags"] & DESCRIBED_AFTER
    if any(value != entry[field] and not (later and value == 0) for field, value in said.items()):
        raise wrong


def _check_gap(file: int, stop: int, gap: int, head: Any, entry: Any, name: bytes) -> None:
    """Raise ArchiveError unless what stands behind a content describes it (APPNOTE 4.3.9)."""
    if gap < 0:
        raise bad_entry(name, "overlaps another one")
    crc, packed, size = (int(entry[field]) for field in ("crc", "packed", "size"))
    forms = [struct.pack("<I2Q", crc, packed, size)]
    if max(packed, size) < IN_ZIP64:
        forms.append(struct.pack("<3I", crc, packed, size))
    forms += [b"PK\x07\x08" + form for form in forms]
    described = head["flags"] & DESCRIBED_AFTER and gap <= 24
    if not described or os.pread(file, gap, stop - gap) not in forms:
        raise bad_entry(name, f"is followed by {gap} bytes that belong to nothing")
