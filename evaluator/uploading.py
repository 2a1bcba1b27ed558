"""Send a large file to a server so that neither side's crash loses what has arrived.

The server knows what it has: an upload is begun with the file's size and SHA-256, and whoever
begins the same again is told where it stands.  So nothing about an upload is kept here, and another
machine may go on with it.  Only the digest of an unchanged file is remembered, since computing it
takes seconds per gigabyte.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Protocol

import httpx

from evaluator.answers import sentence, sound, wait
from evaluator.digest import file_digest
from evaluator.errors import ServerError, ServerRefusal

BLOCK = 2**20
TRIES = 40  # without a byte of progress: about three minutes
FIRST_PAUSE_S = 0.1
LONGEST_PAUSE_S = 5.0  # a server that is back is not kept waiting
CALLS = 10  # tries of what is no part
PART_TIMEOUT_S = 600.0
HANDS = 4  # parts on their way at once, if they go into the storage itself
REMEMBERED = 100  # digests of files
PART = "application/offset+octet-stream"
AGAIN = frozenset({409, 423, 429, 460})  # another offset, busy, too fast, changed on the way

Sent = Callable[[int], None]


class Caller(Protocol):
    """Speaks to a server's API as somebody."""

    @property
    def http(self) -> httpx.Client:
        """For what needs more than `call`."""
        ...

    def call(self, method: str, path: str, *, tries: int = 1, **arguments: Any) -> httpx.Response:
        """The answer to a request.  Raises ServerError, or ServerRefusal if the server says no."""
        ...


def upload(client: Caller, path: Path, *, about: dict[str, str], sent: Sent) -> str:
    """Send a file, or the rest of it; the id of the upload, which may be submitted then.

    about: challenge, phase, and perhaps team.  sent: told how many bytes the server has.
    Raises ServerRefusal if the server says no, ServerError if it stays away; then, or after
    Ctrl-C, the same call goes on where this one stopped, for seven days.
    """
    size = path.stat().st_size
    body = {**about, "filename": path.name, "size": size, "sha256": remembered_digest(path)}
    begun = client.call("POST", "uploads/", json=body, tries=CALLS).json()
    url = f"uploads/{begun['id']}/"
    sent(begun["offset"])
    if begun["status"] == "open":
        if begun["direct"]:
            _put_parts(client, path, url, size=size, sent=sent)
        else:
            _send(client.http, path, url, begun, sent=sent)
        client.call("POST", f"{url}finish/", tries=CALLS)
    sent(size)
    return str(begun["id"])


def remembered_digest(path: Path) -> str:
    """SHA-256 of a file in hex; from memory if its place, size and times are as they were."""
    state = path.stat()
    key = f"{path.resolve()} {state.st_size} {state.st_mtime_ns} {state.st_ino}"
    known = _remembered()
    if key not in known:
        known[key] = file_digest(path)
        _remember(known)
    return known[key]


def _memory() -> Path:
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "crista" / "digests.json"


def _remembered() -> dict[str, str]:
    try:
        known = json.loads(_memory().read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return known if isinstance(known, dict) else {}


def _remember(known: dict[str, str]) -> None:
    """Write the newest digests; a folder that cannot be written costs only time."""
    path = _memory()
    newest = dict(list(known.items())[-REMEMBERED:])
    fresh = path.with_name(f"{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        fresh.write_text(json.dumps(newest), "utf-8")
        fresh.replace(path)
    except OSError:
        fresh.unlink(missing_ok=True)


def _send(
    http: httpx.Client, path: Path, url: str, begun: dict[str, Any], *, sent: Sent
) -> None:  # fmt: skip
    """All that the server lacks, part by part through the server."""
    offset, size, failures = int(begun["offset"]), int(begun["size"]), 0
    while offset < size:
        before = offset
        length = min(int(begun["part_size"]), size - offset)
        try:
            if failures:
                offset = before = _offset(http, url)
                length = min(length, size - offset)
            offset = _send_part(http, path, url, at=offset, length=length, sent=sent)
        except (httpx.TransportError, _NotNow) as error:
            failures = _pause(failures, error)
        else:
            failures = 0 if offset > before else failures
        sent(offset)


class _NotNow(Exception):
    """The server cannot take this now; it may a little later.  seconds: when it says, or 0."""

    def __init__(self, sentence: str, *, seconds: float = 0.0) -> None:
        super().__init__(sentence)
        self.seconds = seconds


def _pause(failures: int, error: Exception) -> int:
    """Wait, longer each time; one failure more.  ServerError: it was the last."""
    if failures + 1 >= TRIES:
        raise ServerError(
            f"The upload made no progress in {TRIES} tries ({error}). What arrived is kept: run "
            "the same command again to go on."
        ) from error
    asked = getattr(error, "seconds", 0.0)
    time.sleep(asked or min(FIRST_PAUSE_S * 2.0**failures, LONGEST_PAUSE_S))
    return failures + 1


def _offset(http: httpx.Client, url: str) -> int:
    """How many bytes the server has."""
    return int(_now(http.head(url)).headers["Upload-Offset"])


def _send_part(
    http: httpx.Client, path: Path, url: str, *, at: int, length: int, sent: Sent
) -> int:  # fmt: skip
    """The new offset after bytes [at, at + length) of the file."""
    headers = {"Upload-Offset": str(at), "Content-Type": PART, "Content-Length": str(length)}
    body = _told(_slice(path, at=at, length=length), at=at, sent=sent)
    answer = _now(http.patch(url, content=body, headers=headers, timeout=PART_TIMEOUT_S))
    return int(answer.headers["Upload-Offset"])


def _now(response: httpx.Response) -> httpx.Response:
    """The same.  _NotNow: trying again may help.  Raises ServerRefusal if it cannot."""
    if response.status_code in AGAIN or response.is_server_error:
        asked = wait(response) if "Retry-After" in response.headers else 0.0
        raise _NotNow(sentence(response), seconds=asked)
    return sound(response)


def _slice(path: Path, *, at: int, length: int) -> Iterator[bytes]:
    """Bytes [at, at + length) of a file in blocks; fewer if it has become shorter."""
    with path.open("rb", buffering=0) as file:
        file.seek(at)
        while length and (block := file.read(min(BLOCK, length))):
            length -= len(block)
            yield block


def _told(blocks: Iterator[bytes], *, at: int, sent: Sent) -> Iterator[bytes]:
    for block in blocks:
        yield block
        at += len(block)
        sent(at)


def _put_parts(client: Caller, path: Path, url: str, *, size: int, sent: Sent) -> None:
    """All parts that the storage lacks, several at once, straight into it."""
    failures = 0
    with httpx.Client(timeout=PART_TIMEOUT_S) as http, ThreadPoolExecutor(HANDS) as hands:
        while parts := client.call("GET", f"{url}parts/", tries=CALLS).json():
            sent(parts[0]["offset"])
            tries = hands.map(lambda part: _put(http, path, part), parts)
            errors = [error for error in tries if error is not None]
            failures = 0 if len(errors) < len(parts) else _pause(failures, errors[0])
    sent(size)


def _put(http: httpx.Client, path: Path, part: dict[str, Any]) -> Exception | None:
    """Put one part; what went wrong, if something did."""
    length = {"Content-Length": str(part["length"])}
    body = _slice(path, at=part["offset"], length=part["length"])
    try:
        _now(http.put(part["url"], content=body, headers=length))
    except (httpx.TransportError, _NotNow, ServerRefusal) as error:
        return error  # an address that has become too old is refused: the next round has new ones
    return None
