"""The records of a zip: how their bytes are laid out, and the error for those that lie.

The names of the fields follow section 4.3 of the ZIP specification (APPNOTE.TXT 6.3).
"""

from __future__ import annotations

import struct

import numpy as np

from evaluator.errors import Explained, SubmissionError

STORED, DEFLATED = 0, 8
ENCRYPTED = 0x1 | 0x40 | 0x2000
DESCRIBED_AFTER = 0x8  # sizes stand behind the content
IN_ZIP64, SHORT_IN_ZIP64 = 0xFFFFFFFF, 0xFFFF
REZIP = "Zip the folder again, or use `evaluator pack`."

CENTRAL = np.dtype([
    ("signature", "<u4"), ("made", "<u2"), ("needed", "<u2"), ("flags", "<u2"), ("method", "<u2"),
    ("time", "<u4"), ("crc", "<u4"), ("packed", "<u4"), ("size", "<u4"), ("name", "<u2"),
    ("extra", "<u2"), ("comment", "<u2"), ("disk", "<u2"), ("internal", "<u2"),
    ("external", "<u4"), ("start", "<u4"),
])  # fmt: skip
LOCAL = np.dtype([
    ("signature", "<u4"), ("needed", "<u2"), ("flags", "<u2"), ("method", "<u2"), ("time", "<u4"),
    ("crc", "<u4"), ("packed", "<u4"), ("size", "<u4"), ("name", "<u2"), ("extra", "<u2"),
])  # fmt: skip
ENTRY = np.dtype([
    ("start", "<u8"), ("packed", "<u8"), ("size", "<u8"), ("crc", "<u4"), ("deflated", "?"),
])  # fmt: skip
END = struct.Struct("<4s4H2IH")
END_64 = struct.Struct("<4sQ2H2I4Q")
LOCATOR = struct.Struct("<4sIQI")


class ArchiveError(Explained, SubmissionError):
    """The archive as a whole is refused."""

    def __init__(
        self, code: str, message: str, remedy: str = REZIP, expected: str = "", got: str = ""
    ) -> None:
        super().__init__(code, message, remedy, expected, got)


def extra_field(extra: bytes, wanted: int) -> bytes | None:
    """The content of one kind of extra field, None if it is not there."""
    at = 0
    while at + 4 <= len(extra):
        kind, length = struct.unpack_from("<2H", extra, at)
        if kind == wanted:
            return extra[at + 4 : at + 4 + length]
        at += 4 + length
    return None


def bad_entry(name: bytes, what: str, remedy: str = REZIP) -> ArchiveError:
    shown = ascii(name.decode("utf-8", "replace"))[:120]
    return ArchiveError("bad_archive", f"The entry {shown} {what}.", remedy)
