"""Copies of stored files on this machine: fetched once, shared, thrown away oldest first."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO


@dataclass(frozen=True, slots=True)
class Fetched:
    """A folder of copies.  most: bytes it may hold, unless more are in use at once."""

    folder: Path
    most: int

    @contextmanager
    def file(self, name: str, *, size: int, fetch: Callable[[BinaryIO], None]) -> Iterator[Path]:
        """A copy of `size` bytes, which stays while the block runs; of several askers one fetches.

        Raises FileNotFoundError if what was fetched has another size.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        path = self.folder / name
        with self._locked(path) as file:
            if os.fstat(file.fileno()).st_size != size:
                self._make_room(size, beside=path)
                file.truncate(0)
                fetch(file)
                file.flush()
                if os.fstat(file.fileno()).st_size != size:
                    path.unlink()
                    raise FileNotFoundError(name)
            os.utime(path)
            fcntl.flock(file, fcntl.LOCK_SH)
            yield path

    @contextmanager
    def _locked(self, path: Path) -> Iterator[BinaryIO]:
        """The file, held alone; again if it was thrown away while we waited for it."""
        while True:
            with path.open("ab") as file:
                fcntl.flock(file, fcntl.LOCK_EX)
                if _is_at(path, file):
                    yield file
                    return

    def _make_room(self, size: int, *, beside: Path) -> None:
        """Throw away copies nobody uses, the least recently used first."""
        ages = sorted(_ages(path for path in self.folder.iterdir() if path != beside))
        over = sum(length for _, length, _ in ages) + size - self.most
        for _, length, path in ages:
            if over <= 0:
                return
            over -= length if _thrown_away(path) else 0


def _ages(paths: Iterable[Path]) -> Iterator[tuple[float, int, Path]]:
    """When each file was used last, and its bytes; nothing of those that others threw away."""
    for path in paths:
        with suppress(FileNotFoundError):
            found = path.stat()
            yield found.st_mtime, found.st_size, path


def _thrown_away(path: Path) -> bool:
    """True if nobody used the file, which is gone now."""
    with path.open("ab") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        if not _is_at(path, file):  # thrown away by another; what lies there now is in use
            return False
        path.unlink()
        return True


def _is_at(path: Path, file: BinaryIO) -> bool:
    """True if the open file is the one that lies there; who holds its lock keeps it there."""
    try:
        return os.path.samestat(path.stat(), os.fstat(file.fileno()))
    except FileNotFoundError:
        return False
