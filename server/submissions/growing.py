"""Digests that grow while uploads arrive, so that little or nothing is left to read at the end.

They live in one process of the site.  Of a file of this machine a new process catches up with what
others received.  What lies in a bucket is not read again on the way: there the job that verifies an
upload reads it from the first byte on, unless one process received it all.
"""

from __future__ import annotations

import hashlib
import threading
import uuid
from collections import OrderedDict

from server.submissions.disk import FileEnd
from server.submissions.following import Follower
from server.submissions.storage import End

MOST = 256  # uploads whose digests are remembered; the one that was silent longest is forgotten
CATCH_UP_S = 10.0  # a sender waits so long for its last answer; a job that begins anew needs longer


class Followed:
    """The end of a file whose digest is computed from the file, behind the sender's back."""

    def __init__(self, end: FileEnd, follower: Follower, *, whole: bool) -> None:
        self._end, self._follower, self._whole = end, follower, whole

    @property
    def offset(self) -> int:
        """Bytes before it."""
        return self._end.offset

    def append(self, block: bytes) -> None:
        """Add bytes.  Refused (507): there is no room."""
        self._end.append(block)
        if not self._whole:
            self._follower.reach(self._end.offset)

    def cut(self, offset: int) -> None:
        """Forget what came after `offset`; nobody has read it."""
        self._end.cut(offset)

    def keep(self) -> None:
        """What was added survives from here on."""
        self._end.keep()
        self._follower.reach(self._end.offset)


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
    """The digests this process knows, by upload."""

    def __init__(self) -> None:
        self._known: OrderedDict[uuid.UUID, Follower | tuple[int, hashlib._Hash]] = OrderedDict()
        self._lock = threading.Lock()

    def take(self, key: uuid.UUID, end: End, *, whole: bool) -> Digested | Followed:
        """The end of an upload with the digest of the bytes before it.

        whole: what is appended may be cut off again before `keep`.
        """
        with self._lock:
            known = self._known.pop(key, None)
        if isinstance(end, FileEnd):
            follower = known if isinstance(known, Follower) else Follower(end.path)
            self._remember(key, follower)
            follower.reach(end.offset)
            return Followed(end, follower, whole=whole)
        offset, sha = known if isinstance(known, tuple) else (0, None)
        if end.offset == 0:
            sha = hashlib.sha256()
        elif offset != end.offset:
            sha = None
        return Digested(end, sha)

    def keep(self, key: uuid.UUID, end: Digested | Followed) -> None:
        """Remember the digest for the next part."""
        if isinstance(end, Digested) and end.sha is not None:
            self._remember(key, (end.offset, end.sha))

    def finish(self, key: uuid.UUID, size: int) -> str:
        """The digest in hex of an upload's `size` bytes; "" if it is not known of all of them."""
        with self._lock:
            known = self._known.pop(key, None)
        if isinstance(known, Follower):
            return known.digest(size, within_s=CATCH_UP_S)
        offset, sha = known or (0, None)
        return sha.hexdigest() if sha is not None and offset == size else ""

    def _remember(self, key: uuid.UUID, known: Follower | tuple[int, hashlib._Hash]) -> None:
        with self._lock:
            self._known[key] = known
            while len(self._known) > MOST:
                self._known.popitem(last=False)
