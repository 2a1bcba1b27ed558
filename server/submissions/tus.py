"""The words of the tus protocol, 1.0.0: headers read into values, and values into headers.

https://tus.io/protocols/resumable-upload: core, creation, creation-with-upload, checksum,
expiration, termination.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import zlib
from dataclasses import dataclass
from typing import Any

from django.http import HttpRequest
from django.utils.http import http_date
from rest_framework.request import Request

from server.errors import Refused
from server.submissions.models import Upload

VERSION = "1.0.0"
EXTENSIONS = "creation,creation-with-upload,checksum,expiration,termination"
PART = "application/offset+octet-stream"
CHECKSUM_MISMATCH = 460
DIGITS = 18  # of a number of bytes
NAMES = frozenset({"challenge", "phase", "team", "sha256"})  # of the metadata we look at
OVERRIDDEN = frozenset({"PATCH", "DELETE"})


class Crc32:
    """CRC-32 as the checksums of hashlib are spoken to; four bytes, the most significant first."""

    def __init__(self) -> None:
        self._value = 0

    def update(self, block: bytes, /) -> None:
        """Add bytes."""
        self._value = zlib.crc32(block, self._value)

    def digest(self) -> bytes:
        """Of all bytes so far."""
        return self._value.to_bytes(4, "big")


ALGORITHMS: dict[str, Any] = {
    "sha1": hashlib.sha1, "sha256": hashlib.sha256, "md5": hashlib.md5, "crc32": Crc32,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Sum:
    """The checksum a part was announced with, and that of the bytes that came."""

    announced: bytes
    found: Any

    def update(self, block: bytes, /) -> None:
        """Add bytes that came."""
        self.found.update(block)

    def refuse_wrong(self) -> None:
        """Refused (460): the bytes are not those that were announced."""
        if self.found.digest() != self.announced:
            raise Refused(
                "wrong_checksum",
                "The bytes of this part are not those of its Upload-Checksum: they were changed on "
                "the way. Nothing of the part was kept. Send it again.",
                status=CHECKSUM_MISMATCH,
            )


def refuse_other_version(request: Request) -> None:
    """Refused (412): the sender speaks another version.  Our own clients name none."""
    spoken = request.headers.get("Tus-Resumable", VERSION)
    if spoken != VERSION and request.method != "OPTIONS":
        raise Refused(
            "other_tus_version",
            f"This server speaks version {VERSION} of tus, and the request names {spoken[:20]!r}. "
            "Use a client for that version.",
            status=412,
        )


def is_creation(request: Request) -> bool:
    """True if a POST speaks tus; otherwise it is JSON."""
    return "Tus-Resumable" in request.headers or "Upload-Length" in request.headers


def overridden(request: HttpRequest) -> str | None:
    """The method that is meant by a POST whose sender can send no other."""
    wish = request.headers.get("X-HTTP-Method-Override", "").upper()
    return wish if wish in OVERRIDDEN and request.method == "POST" else None


def number(request: Request, header: str) -> int:
    """A number of bytes from a header.  Refused (400): there is none."""
    text = request.headers.get(header, "")
    if not text.isdecimal() or not text.isascii() or len(text) > DIGITS:
        raise Refused(
            "missing_header", f"Send the header {header} with a number of bytes.", status=400
        )
    return int(text)


def creation(request: Request) -> dict[str, Any]:
    """What a creation asks for, in the words of the JSON request.  Refused (400): unreadable."""
    if "Upload-Defer-Length" in request.headers:
        raise Refused(
            "size_first",
            "The size decides whether a file is accepted: send Upload-Length when you begin.",
            status=400,
        )
    known = metadata(request.headers.get("Upload-Metadata", ""))
    asked: dict[str, Any] = {name: value for name, value in known.items() if name in NAMES}
    filename = known.get("filename") or known.get("name") or "submission.zip"
    return asked | {"filename": filename, "size": number(request, "Upload-Length")}


def metadata(header: str) -> dict[str, str]:
    """`challenge Y2VsbG1hcA==,phase dGVzdA==` as {"challenge": "cellmap", …}.

    Refused (400): it is not that.
    """
    found = {}
    try:
        for pair in filter(None, (pair.strip() for pair in header.split(","))):
            name, _, value = pair.partition(" ")
            found[name] = base64.b64decode(value.strip(), validate=True).decode("utf-8")
    except (binascii.Error, UnicodeDecodeError) as error:
        raise Refused(
            "bad_metadata",
            "Upload-Metadata must be pairs of a name and a value in base64, separated by commas.",
            status=400,
        ) from error
    return found


def metadata_of(upload: Upload) -> str:
    """What an upload was begun with, as the header has it."""
    values = {
        "challenge": upload.phase.challenge.slug,
        "phase": upload.phase.slug,
        "team": upload.team.slug,
        "filename": upload.filename,
        "sha256": upload.sha256,
    }
    coded = ((n, base64.b64encode(v.encode()).decode()) for n, v in values.items() if v)
    return ",".join(f"{name} {value}" for name, value in coded)


def checksum(request: Request) -> Sum | None:
    """The checksum of a part; None without one.  Refused (400): it cannot be read."""
    header = request.headers.get("Upload-Checksum", "")
    if not header:
        return None
    name, _, value = header.partition(" ")
    try:
        return Sum(base64.b64decode(value.strip(), validate=True), ALGORITHMS[name.lower()]())
    except (KeyError, binascii.Error) as error:
        raise Refused(
            "bad_checksum",
            f"Upload-Checksum must be one of {', '.join(ALGORITHMS)}, a space, and the digest in "
            "base64.",
            status=400,
        ) from error


def state(upload: Upload, offset: int) -> dict[str, str]:
    """How far an upload is, and until when it may be taken up."""
    return {
        "Upload-Offset": str(offset),
        "Upload-Length": str(upload.size),
        "Upload-Expires": http_date(upload.expires.timestamp()),
        "Cache-Control": "no-store",
    }


def abilities(largest: int) -> dict[str, str]:
    """What the server can do.  largest: bytes of the largest file that is taken now; 0, nothing."""
    return {
        "Tus-Version": VERSION,
        "Tus-Extension": EXTENSIONS,
        "Tus-Max-Size": str(largest),
        "Tus-Checksum-Algorithm": ",".join(ALGORITHMS),
    }
