"""A job that is asked to stop gives back what it holds; it is never stopped between two writes.

The process of a job listens for the stop signal.  Inside `interruptible` the signal raises
Interrupted; outside it is remembered until the next `interruptible`, or the end of the job.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

PR_SET_PDEATHSIG = 1


class Interrupted(BaseException):
    """The job was asked to stop.  No Exception, so that nothing takes it for a failed attempt."""


@dataclass(slots=True)
class _Process:
    """parent: the worker this process belongs to; 0 while it does not listen."""

    parent: int = 0
    asked: bool = False
    inside: bool = False


_process = _Process()


def listen(parent: int) -> None:
    """Hear the stop signal from now on, and the death of the worker `parent` as one."""
    _process.parent, _process.asked, _process.inside = parent, False, False
    signal.signal(signal.SIGTERM, _hear)
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
    if parent_is_gone():
        _process.asked = True  # it died before the kernel knew that we want to hear of it


def parent_is_gone() -> bool:
    """True if the worker that began this job was killed."""
    return _process.parent != 0 and os.getppid() != _process.parent


def orphaned(*, within: float = 0.5) -> bool:
    """The same, for a job that was just told to stop.  within: seconds to make sure.

    A worker of several threads dies thread by thread: the signal may come before the last one ends.
    """
    deadline = time.monotonic() + within
    while not (gone := parent_is_gone()) and time.monotonic() < deadline:
        time.sleep(0.01)
    return gone


def ask() -> None:
    """Interrupt this process's job, from any thread; nothing happens in one that cannot listen."""
    if _process.parent:
        os.kill(os.getpid(), signal.SIGTERM)


@contextmanager
def interruptible() -> Iterator[None]:
    """Raises Interrupted in the block, or at its beginning, once the stop signal has come."""
    _process.inside = True
    try:
        if _process.asked:
            raise Interrupted
        yield
    finally:
        _process.inside = False


def _hear(*_: object) -> None:
    _process.asked = True
    if _process.inside:
        _process.inside = False  # what cleans up is not interrupted again
        raise Interrupted
