"""Zips made byte by byte, so that each record can say whatever a test wants it to say."""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass, replace
from typing import Any

END_64 = struct.Struct("<4sQ2H2I4Q")
LOCATOR = struct.Struct("<4sIQI")


@dataclass(frozen=True)
class File:
    """An entry.  What is None follows from the content; `own_*` stand in its own header only.

    before, after: bytes around it that belong to nothing, or describe it.
    """

    name: bytes = b"crop1/mito/.zarray"
    content: bytes = b"{}"
    deflated: bool = False
    flags: int = 0
    method: int | None = None
    crc: int | None = None
    size: int | None = None
    packed: int | None = None
    start: int | None = None
    external: int = 0o100644 << 16
    disk: int = 0
    extra: bytes = b""
    own_name: bytes | None = None
    own_flags: int | None = None
    own_method: int | None = None
    own_sizes: tuple[int, int, int] | None = None  # crc, packed, size
    own_extra: bytes = b""
    before: bytes = b""
    after: bytes = b""

    @property
    def data(self) -> bytes:
        if not self.deflated:
            return self.content
        pack = zlib.compressobj(9, zlib.DEFLATED, -15)
        return pack.compress(self.content) + pack.flush()

    @property
    def told(self) -> tuple[int, int, int]:
        """Checksum, packed and unfolded size as the directory has them."""
        crc = zlib.crc32(self.content) if self.crc is None else self.crc
        packed = len(self.data) if self.packed is None else self.packed
        return crc, packed, len(self.content) if self.size is None else self.size

    @property
    def compression(self) -> int:
        return (8 if self.deflated else 0) if self.method is None else self.method

    def local(self) -> bytes:
        """Its own header."""
        name = self.name if self.own_name is None else self.own_name
        flags = self.flags if self.own_flags is None else self.own_flags
        method = self.compression if self.own_method is None else self.own_method
        crc, packed, size = self.own_sizes or self.told
        return (
            struct.pack("<4s5H3I2H", b"PK\x03\x04", 20, flags, method, 0, 33, crc, packed, size,
                        len(name), len(self.own_extra)) + name + self.own_extra
        )  # fmt: skip

    def central(self, start: int) -> bytes:
        """Its row of the directory."""
        crc, packed, size = self.told
        start = start if self.start is None else self.start
        return (
            struct.pack("<4s6H3I5H2I", b"PK\x01\x02", 0x314, 20, self.flags, self.compression,
                        0, 33, crc, packed, size, len(self.name), len(self.extra), 0, self.disk, 0,
                        self.external, start) + self.name + self.extra
        )  # fmt: skip


def zip_of(
    *files: File,
    prefix: bytes = b"",
    between: bytes = b"",
    comment: bytes = b"",
    suffix: bytes = b"",
    zip64: dict[str, int] | None = None,
    **end: int,
) -> bytes:
    """The bytes of a zip.

    between: bytes before the directory.  zip64: fields of a ZIP64 end record that are to differ
    from the truth; None: there is no such record.  end: fields of the end record that are.
    """
    body, directory = prefix, b""
    for file in files:
        body += file.before
        directory += file.central(len(body))
        body += file.local() + file.data + file.after
    body += between
    fields: dict[str, Any] = {
        "disk": 0, "first": 0, "here": len(files), "entries": len(files),
        "length": len(directory), "start": len(body),
    }  # fmt: skip
    long = _end_64(fields, zip64, at=len(body) + len(directory)) if zip64 is not None else b""
    last = struct.pack("<4s4H2IH", b"PK\x05\x06", *(fields | end).values(), len(comment))
    return body + directory + long + last + comment + suffix


def _end_64(fields: dict[str, int], changes: dict[str, int], *, at: int) -> bytes:
    long = {"record": 44} | fields | {"place": at, "locator_disk": 0, "disks": 1} | changes
    record = END_64.pack(
        b"PK\x06\x06", long["record"], 45, 45, long["disk"], long["first"], long["here"],
        long["entries"], long["length"], long["start"],
    )  # fmt: skip
    return record + LOCATOR.pack(b"PK\x06\x07", long["locator_disk"], long["place"], long["disks"])


def described(file: File, *, signed: bool = True, wide: bool = False) -> File:
    """The same entry as writers of streams put it: its sizes stand behind the content."""
    crc, packed, size = file.told
    behind = struct.pack("<I2Q" if wide else "<3I", crc, packed, size)
    return replace(
        file, flags=8, own_sizes=(0, 0, 0), after=(b"PK\x07\x08" if signed else b"") + behind
    )
