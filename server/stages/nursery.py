"""The process that all stages are forked from: clean, with one thread, everything imported.

It inherits no environment, no descriptor and no memory of the worker that started it, so neither
do its children.  Each connection to its socket is one stage: it forks at once, and the child reads
the question.  When the connection closes the child is killed; when the worker ends, all are.
"""

from __future__ import annotations

import gc
import json
import os
import select
import shutil
import signal
import socket
import struct
import sys
import traceback
from contextlib import suppress
from types import FrameType
from typing import Any

from server.stages.confinement import confine, end_with_parent
from server.stages.limits import Limits
from server.stages.work import do

HEADER = struct.Struct("<Q")
MOST_FILES = 8
EXIT_BROKEN, EXIT_MEMORY = 1, 3
LONGEST_TRACE = 8000
LOOK_MS = 500  # how often it looks whether the worker is still there
HUNG_UP = getattr(select, "POLLRDHUP", 0) | select.POLLHUP


def main() -> None:
    """Serve until the process that started this one ends.

    Arguments: the descriptor of a listening socket, that process, the folder to remove at the end.
    """
    listener, owner, folder = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
    for asked in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        # Who stops a whole group of processes means the worker: it decides what becomes of stages.
        signal.signal(asked, signal.SIG_IGN)
    gc.freeze()  # what is imported stays; pages are shared with all forks
    try:
        Nursery(socket.socket(fileno=listener), owner).serve()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


class Nursery:
    """Forks children, and tells whoever asked how each of them ended."""

    def __init__(self, listener: socket.socket, owner: int) -> None:
        self._listener, self._owner = listener, owner
        self._askers: dict[int, socket.socket] = {}  # by process
        self._children: dict[int, int] = {}  # processes by descriptor
        self._poll = select.poll()
        self._poll.register(listener, select.POLLIN)
        self._wake, wakes = os.pipe()
        os.set_blocking(wakes, False)
        os.set_blocking(self._wake, False)
        self._poll.register(self._wake, select.POLLIN)
        signal.signal(signal.SIGCHLD, _woken)
        signal.set_wakeup_fd(wakes, warn_on_full_buffer=False)

    def serve(self) -> None:
        """Until the owner ends.  Children end with this process."""
        while os.getppid() == self._owner:
            for file, _ in self._poll.poll(LOOK_MS):
                if file == self._listener.fileno():
                    self._fork()
                elif file == self._wake:
                    self._reap()
                elif child := self._children.get(file):  # else it has ended, a moment ago
                    _kill(child)
                    self._poll.unregister(file)  # its end is told when it is there

    def _fork(self) -> None:
        asker, _ = self._listener.accept()
        child = os.fork()
        if child == 0:
            _live(asker)
        self._askers[child], self._children[asker.fileno()] = asker, child
        self._poll.register(asker, HUNG_UP)

    def _reap(self) -> None:
        """Of each child that has ended: end what it left behind, and tell its asker."""
        _drain(self._wake)
        while self._children:
            found = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
            if found is None:
                return
            _kill(found.si_pid)  # its number is nobody else's before it is waited for
            _, status, used = os.wait4(found.si_pid, 0)
            self._tell(found.si_pid, {"status": status, "resident": used.ru_maxrss * 1024})

    def _tell(self, child: int, ended: dict[str, int]) -> None:
        asker = self._askers.pop(child)
        if self._children.pop(asker.fileno(), None):
            with suppress(KeyError):  # it hung up before
                self._poll.unregister(asker)
        with suppress(OSError):  # it is gone
            # Not as a setting of the socket: the child that reads from it shares that.
            asker.send(json.dumps(ended).encode() + b"\n", socket.MSG_DONTWAIT)
        asker.close()


def _woken(number: int, frame: FrameType | None) -> None:
    """A child has ended; the wake-up descriptor says so."""


def _drain(file: int) -> None:
    with suppress(BlockingIOError):
        while os.read(file, 4096):
            pass


def _kill(child: int) -> None:
    """Kill a child and whatever it started."""
    for kill in (os.kill, os.killpg):
        with suppress(ProcessLookupError, PermissionError):
            kill(child, signal.SIGKILL)


def _live(asker: socket.socket) -> None:
    """The life of a child.  It never returns."""
    code, results, answer = EXIT_BROKEN, -1, b""
    try:
        _begin(asker)
        question, files = _receive(3)
        results = files.pop(0)
        limits = Limits(*question["limits"])
        confine(question["role"], limits, writes=question["writes"])
        answer = json.dumps(do(question["role"], question["asked"], files)).encode()
        code = 0
    except MemoryError:
        code = EXIT_MEMORY
    except RuntimeError as error:
        if "start new thread" in str(error):
            code = EXIT_MEMORY
        raise
    finally:
        if code == EXIT_BROKEN and results >= 0:
            answer = json.dumps({"trace": traceback.format_exc()[-LONGEST_TRACE:]}).encode()
        try:
            _give(results, answer)
        finally:
            os._exit(code)


def _begin(asker: socket.socket) -> None:
    """Become a process of its own, with nothing open but the asker, as descriptor 3."""
    os.setsid()
    end_with_parent()
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    os.dup2(asker.fileno(), 3)
    os.closerange(4, os.sysconf("SC_OPEN_MAX"))
    nothing = os.open(os.devnull, os.O_RDWR)
    for standard in (0, 1, 2):
        os.dup2(nothing, standard)
    os.close(nothing)


def _receive(file: int) -> tuple[dict[str, Any], list[int]]:
    """The question, and the descriptors that came with it; the connection is closed then.

    What a stranger's bytes may do to this process they cannot do to the connection.
    """
    with socket.socket(fileno=file) as asker:
        header, files, _, _ = socket.recv_fds(asker, HEADER.size, MOST_FILES)
        left, parts = HEADER.unpack(header)[0], []
        while left:
            part = asker.recv(min(left, 1 << 20))
            if not part:
                raise EOFError("the question ended early")
            parts.append(part)
            left -= len(part)
    return json.loads(b"".join(parts)), list(files)


def _give(results: int, answer: bytes) -> None:
    view = memoryview(answer)
    while view and results >= 0:
        view = view[os.write(results, view) :]
