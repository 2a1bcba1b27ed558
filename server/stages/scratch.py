"""Folders for what is needed while one target is scored, gone with whoever made them."""

from __future__ import annotations

import fcntl
import shutil
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

LOCK = "lock"
YOUNG_SECONDS = 60.0  # a folder may be between being made and being locked


@contextmanager
def scratch(base: Path) -> Iterator[Path]:
    """A new folder below another one, which is made if need be; removed at the end of the block.

    What killed processes left there is removed, too.
    """
    base.mkdir(mode=0o700, parents=True, exist_ok=True)
    remove_leftovers(base)
    folder = base / uuid.uuid4().hex
    folder.mkdir(mode=0o700)
    try:
        with (folder / LOCK).open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def remove_leftovers(base: Path, *, older: float = YOUNG_SECONDS) -> int:
    """Remove folders of `scratch` whose makers are dead; how many there were.

    older: seconds since they were changed, at least.
    """
    removed = 0
    for folder in base.iterdir():
        if _is_left(folder, older):
            shutil.rmtree(folder, ignore_errors=True)
            removed += 1
    return removed


def _is_left(folder: Path, older: float) -> bool:
    """True if nobody holds the folder's lock, which ends with the process that took it."""
    try:
        if time.time() - folder.stat().st_mtime < older:
            return False
        with (folder / LOCK).open("r") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return True
    except (FileNotFoundError, NotADirectoryError):
        return folder.is_dir()  # without a lock, and not of today's making
    except BlockingIOError:
        return False
