"""One training at a time in a folder: a lock that its holder's death opens."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import socket
from collections.abc import Generator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from baselines.config import ConfigError


@dataclass(frozen=True, slots=True)
class Holder:
    """Who trains here.  started: ISO 8601, UTC."""

    pid: int
    host: str
    started: str


@contextlib.contextmanager
def locked(path: Path) -> Generator[None, None, None]:
    """Hold the lock.  Raises ConfigError, naming the holder, if somebody else has it."""
    with path.open("a+", encoding="utf-8") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = _read(path)
            by = f" (pid {holder.pid} on {holder.host}, since {holder.started})" if holder else ""
            raise ConfigError(
                f"a training run is already active here{by}: {path.parent}. Wait for it, end it "
                "with a file named STOP in its folder, or choose another folder."
            ) from None
        file.truncate(0)
        now = datetime.now(UTC).isoformat(timespec="seconds")
        file.write(json.dumps(asdict(Holder(os.getpid(), socket.gethostname(), now))))
        file.flush()
        try:
            yield
        finally:
            file.truncate(0)


def holder_of(path: Path) -> Holder | None:
    """Who holds the lock now; None if nobody does."""
    try:
        with path.open("r", encoding="utf-8") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            return None
    except FileNotFoundError:
        return None
    except BlockingIOError:
        return _read(path)


def _read(path: Path) -> Holder | None:
    try:
        return Holder(**json.loads(path.read_text("utf-8")))
    except (ValueError, TypeError):
        return None  # taken this very moment: the holder has not signed yet
