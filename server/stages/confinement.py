"""What the process of a stage may do: applied in it before it opens any file.

Called right after the fork, while the process has one thread: what is added here later (a name
space without network, Landlock, a filter of system calls) then holds for every thread it starts.
"""

from __future__ import annotations

import ctypes
import math
import os
import resource
import signal
import sys

from server.stages.limits import Limits

LARGEST_VOXEL = 8  # bytes
OPEN_FILES = 256
PR_SET_PDEATHSIG = 1
LIBC = ctypes.CDLL(None) if sys.platform == "linux" else None


def end_with_parent() -> None:
    """This process is killed when its parent ends; at once, if that has happened already."""
    parent = os.getppid()
    if LIBC is not None:
        LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)


def confine(role: str, limits: Limits, *, writes: int) -> None:
    """Bound this process.  role: "check", "ingest" or "score".

    writes: bytes that it may write to one file at most.
    """
    cpu = math.ceil(limits.cpu)
    _limit(resource.RLIMIT_CORE, 0)
    _limit(resource.RLIMIT_NOFILE, OPEN_FILES)
    _limit(resource.RLIMIT_FSIZE, writes)
    _limit(resource.RLIMIT_CPU, cpu, cpu + 2)
    _limit(resource.RLIMIT_AS, limits.memory)


def _limit(kind: int, soft: int, hard: int | None = None) -> None:
    """Set a limit; never above what holds already."""
    most = resource.getrlimit(kind)[1]
    wanted = [soft, soft if hard is None else hard]
    if most != resource.RLIM_INFINITY:
        wanted = [min(value, most) for value in wanted]
    resource.setrlimit(kind, (wanted[0], wanted[1]))
