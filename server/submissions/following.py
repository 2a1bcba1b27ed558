"""The digest of a file while it grows, computed by a thread that reads a little behind its end.

Hashing and reading leave the other threads alone, so that bytes are received meanwhile.  Whoever
takes up a file that others have begun catches up from its first byte.
"""

from __future__ import annotations

import hashlib
import os
import threading
from io import FileIO
from pathlib import Path

BLOCK = 2**20
STRETCH = 8 * 2**20  # bytes that a sleeping thread is woken for
DROP = 32 * 2**20
LINGER_S = 5.0  # a thread waits so long for more


class Follower:
    """The SHA-256 of a file's first bytes, as many as were told to stay as they are."""

    def __init__(self, path: Path) -> None:
        self._path, self._sha = path, hashlib.sha256()
        self._done = self._target = 0
        self._running = False
        self._change = threading.Condition()

    def reach(self, offset: int) -> None:
        """The first `offset` bytes are in the file and will not change."""
        with self._change:
            self._target = max(self._target, offset)
            if self._target - self._done >= STRETCH:
                self._wake()

    def digest(self, size: int, *, within_s: float) -> str:
        """The digest in hex of the file's `size` bytes; "" if it is not known in time.

        Then nothing more is read: whoever needs it begins anew.
        """
        with self._change:
            self._target = max(self._target, size)
            self._wake()
            self._change.wait_for(lambda: self._done >= size or not self._running, within_s)
            self._target = min(self._target, self._done)
            return self._sha.hexdigest() if self._done == size else ""

    def _wake(self) -> None:
        if self._running:
            self._change.notify_all()
        elif self._done < self._target:
            self._running = True
            threading.Thread(target=self._run, daemon=True).start()

    def _run(self) -> None:
        try:
            with self._path.open("rb", buffering=0) as file:
                self._follow(file)
        except OSError:  # discarded meanwhile; or the job that verifies it meets the same
            self._stop()

    def _stop(self) -> None:
        with self._change:
            self._running = False
            self._change.notify_all()

    def _follow(self, file: FileIO) -> None:
        """Read until nothing has come for a while, or the file ends before it should."""
        space, kept = memoryview(bytearray(BLOCK)), self._done
        file.seek(self._done)
        while left := self._left():
            count = file.readinto(space[:left])
            if not count:
                return self._stop()
            self._sha.update(space[:count])
            if self._done - kept >= DROP:
                kept = self._done
                forget(file, kept)
            with self._change:
                self._done += count
                self._change.notify_all()

    def _left(self) -> int:
        """Bytes to read next, once there are some; 0 if none come."""
        with self._change:
            self._change.wait_for(lambda: self._target > self._done, LINGER_S)
            left = max(0, min(BLOCK, self._target - self._done))
            self._running = left > 0  # told under the lock: who wants more starts another thread
            return left


def forget(file: FileIO, upto: int) -> None:
    """Have the kernel drop a file's first bytes from memory, if they are on the disk by now.

    A large upload would push everything else out of it, the database above all.
    """
    if hasattr(os, "posix_fadvise"):
        os.posix_fadvise(file.fileno(), 0, upto, os.POSIX_FADV_DONTNEED)
