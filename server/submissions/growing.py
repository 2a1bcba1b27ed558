"""Digests that grow while uploads arrive, so that no file that came in one go is read again.

They live in one process of the site.  Another process, or a new one after a crash, knows nothing of
them: then the job that verifies an upload reads it from the first byte on.
"""

from __future__ import annotations

import hashlib
import threading
import uuid
from collections import OrderedDict

from server.submissions.storage import End

MOST = 256  # uploads whose digests are remembered; the one that was silent longest is forgotten


class Digested:
    """The end of an upload's bytes; what is appended is added to their digest."""

    def __init__(self, end: End, sha: hashlib._Hash | None) -> None:
        self._end, self._sha = end, sha
        self._upto = end.offset

    @property
    def offset(self) -> int:
        """Bytes before it."""
        return self._end.offset

    @property
    def sha(self) -> hashlib._Hash | None:
        """Of all bytes before the end; None if it is not known."""
        return self._sha if self._upto == self._end.offset else None

    def append(self, block: bytes) -> None:
        """Add bytes.  Refused (507): there is no room."""
        self._end.append(block)
        if self._sha is not None:
            self._sha.update(block)
        self._upto += len(block)

    def cut(self, offset: int) -> None:
        """Forget what came after `offset`; the digest cannot, and is not known any more."""
        self._end.cut(offset)
        self._sha = None

    def keep(self) -> None:
        """What was added survives from here on."""
        self._end.keep()


class Growing:
    """The digests this process knows, by upload, each of the bytes up to an offset."""

    def __init__(self) -> None:
        self._known: OrderedDict[uuid.UUID, tuple[int, hashlib._Hash]] = OrderedDict()
        self._lock = threading.Lock()

    def take(self, key: uuid.UUID, end: End) -> Digested:
        """The end of an upload with the digest of the bytes before it, if that is known."""
        with self._lock:
            offset, sha = self._known.pop(key, (0, None))
        if end.offset == 0:
            sha = hashlib.sha256()
        elif offset != end.offset:
            sha = None
        return Digested(end, sha)

    def keep(self, key: uuid.UUID, end: Digested) -> None:
        """Remember the digest for the next part."""
        if end.sha is None:
            return
        with self._lock:
            self._known[key] = (end.offset, end.sha)
            while len(self._known) > MOST:
                self._known.popitem(last=False)

    def finish(self, key: uuid.UUID, size: int) -> str:
        """The digest in hex of an upload's `size` bytes; "" if it is not known of all of them."""
        with self._lock:
            offset, sha = self._known.pop(key, (0, None))
        return sha.hexdigest() if sha is not None and offset == size else ""
