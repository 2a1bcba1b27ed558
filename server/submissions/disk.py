"""Uploads as files of this machine: appended to by one request at a time, never half-written."""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any, BinaryIO, ClassVar

from django.conf import settings

from server.errors import Refused
from server.submissions.models import Upload

SYNC_FILE_RANGE_WRITE = 2
STRETCH = 16 * 2**20  # bytes that the disk begins with while more arrive


def _begin_writing() -> Any:
    """The kernel's call that begins to write a range of a file; None where there is none."""
    call = getattr(ctypes.CDLL(None), "sync_file_range", None)
    if call is not None:
        call.argtypes = (ctypes.c_int, ctypes.c_int64, ctypes.c_int64, ctypes.c_uint)
    return call


BEGIN_WRITING = _begin_writing()


class Disk:
    """One file per upload.  Its own size is the offset, so no crash can make the two differ."""

    direct: ClassVar[bool] = False

    def prepare(self, upload: Upload) -> dict[str, Any]:
        """Nothing: the file is made with its first byte."""
        return {}

    def offset(self, upload: Upload) -> int:
        """The file's size; 0 before there is one."""
        return upload.offset

    @contextmanager
    def held(self, upload: Upload, *, whole: bool) -> Iterator[FileEnd]:
        """The file, locked until the process ends or lets go."""
        upload.path.parent.mkdir(parents=True, exist_ok=True)
        with upload.path.open("ab", buffering=0) as file:
            locked(file)
            yield FileEnd(file.fileno(), upload.path)

    def seal(self, upload: Upload) -> None:
        """Onto the disk itself, with its name."""
        for path in (upload.path, upload.path.parent):
            number = os.open(path, os.O_RDONLY)
            try:
                os.fsync(number)
            finally:
                os.close(number)

    def opened(self, upload: Upload) -> AbstractContextManager[BinaryIO]:
        """The file."""
        return upload.path.open("rb", buffering=0)

    @contextmanager
    def local(self, upload: Upload) -> Iterator[Path]:
        """The file itself."""
        yield upload.path

    def remove(self, upload: Upload) -> None:
        """Unlink it; who reads it still can."""
        upload.path.unlink(missing_ok=True)

    def remove_others(self, known: Callable[[], set[str]]) -> int:
        """Files named after no known upload, such as a discarded one's last part."""
        files = list(Path(settings.UPLOAD_DIR).glob("*.zip"))
        owners = known()
        orphans = [path for path in files if path.stem not in owners]
        for path in orphans:
            path.unlink(missing_ok=True)
        return len(orphans)


class FileEnd:
    """The end of a file that is open for appending."""

    def __init__(self, number: int, path: Path) -> None:
        self._file, self.path = number, path
        self.offset = self._begun = os.fstat(number).st_size

    def append(self, block: bytes) -> None:
        """Write it all.  What a full disk still took is kept."""
        view = memoryview(block)
        with no_room_here():
            while view:
                done = os.write(self._file, view)
                self.offset += done
                view = view[done:]
        if self.offset - self._begun >= STRETCH:
            self._begin_writing()

    def cut(self, offset: int) -> None:
        """Shorten the file."""
        os.ftruncate(self._file, offset)
        self.offset = self._begun = offset

    def keep(self) -> None:
        """Have the disk begin with what was added, and do not wait for it.

        If the machine loses power before it is written, the file is shorter afterwards, its size
        is still the offset, and the sender goes on from there.  `seal` waits.
        """
        self._begin_writing()

    def _begin_writing(self) -> None:
        if BEGIN_WRITING is not None:
            BEGIN_WRITING(self._file, self._begun, self.offset - self._begun, SYNC_FILE_RANGE_WRITE)
        self._begun = self.offset


def locked(file: Any) -> None:
    """Lock an open file until it is closed.  Refused (423): somebody else has it."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise Refused(
            "busy",
            "Another request writes to this upload. Wait a few seconds, ask with HEAD, and go on.",
            status=423,
        ) from error


@contextmanager
def no_room_here() -> Iterator[None]:
    """A full disk becomes an answer."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise disk_full() from error
        raise


def disk_full() -> Refused:
    """No room, in words for the sender."""
    return Refused(
        "disk_full",
        "The server has no room for this file now. What arrived is kept; try again later, and tell "
        "the organisers if it lasts.",
        status=507,
    )
