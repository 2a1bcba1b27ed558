"""Asking for a stage: from any process and any thread, also from forks of the one that began.

`start` begins the nursery of this process; its forks ask the same one.  Without it the first
question does.
"""

from __future__ import annotations

import atexit
import errno
import json
import os
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import astuple, dataclass, field
from pathlib import Path
from typing import Any

from server.stages.errors import LOST, StageDied, StageRefused
from server.stages.limits import Limits
from server.stages.nursery import EXIT_MEMORY, HEADER, LONGEST_TRACE

ROOT = Path(__file__).resolve().parents[2]
RUN = "import sys; sys.path.insert(0, {root!r}); from server.stages.nursery import main; main()"
ENVIRONMENT = {
    "PATH": os.defpath,
    "LANG": "C.UTF-8",
    "OPENBLAS_NUM_THREADS": "1",
    "OMP_NUM_THREADS": "1",
    "MALLOC_ARENA_MAX": "2",  # each arena of each thread would take 64 MiB of address space
}
MOST_RESULT = 8 << 20  # bytes
DYING_SECONDS = 10.0
FOLDER = "crista-stages-"
YOUNG_SECONDS = 60.0  # a folder may be between being made and being listened in
LONGEST_PLACE = 70  # characters; the path of a socket has 107 at most
BLAMES = ("participant", "organiser", "system")


@dataclass(frozen=True, slots=True)
class _Nursery:
    """A nursery that was started: its process, its folder, and who started it."""

    process: subprocess.Popen[bytes]
    folder: Path
    owner: int

    def connect(self) -> socket.socket:
        """Raises OSError if it is gone."""
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            connection.connect(str(self.folder / "ask"))
        except OSError:
            connection.close()
            raise
        return connection


@dataclass(slots=True)
class _Here:
    """What this process knows: the nursery it asks, its own or that of whom it was forked from."""

    nursery: _Nursery | None = None
    lock: threading.Lock = field(default_factory=threading.Lock)

    def forked(self) -> None:
        """In a fork: another thread may have held the lock."""
        self.lock = threading.Lock()


_here = _Here()
os.register_at_fork(after_in_child=_here.forked)


def start() -> None:
    """Start the nursery of this process, so that all its forks share it.  Twice changes nothing."""
    with _here.lock:
        if _here.nursery is None:
            _here.nursery = _launch()


def stop() -> None:
    """End the nursery that this process started, and with it every stage that still runs."""
    nursery = _here.nursery
    if nursery is not None and nursery.owner == os.getpid():
        _clear_away(nursery)
        _here.nursery = None


atexit.register(stop)


def _clear_away(nursery: _Nursery) -> None:
    if nursery.owner == os.getpid():
        nursery.process.kill()
        nursery.process.wait()
    shutil.rmtree(nursery.folder, ignore_errors=True)


def _launch() -> _Nursery:
    place = tempfile.gettempdir()
    short = place if len(place) <= LONGEST_PLACE else "/tmp"
    _remove_leftovers(Path(short))
    folder = Path(tempfile.mkdtemp(prefix=FOLDER, dir=short))  # nobody else may enter it
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        listener.bind(str(folder / "ask"))
        listener.listen(128)  # whoever asks before it is ready waits
        file, owner = listener.fileno(), os.getpid()
        process = subprocess.Popen(
            [sys.executable, "-I", "-c", RUN.format(root=str(ROOT)), str(file), str(owner),
             str(folder)],
            env=ENVIRONMENT, cwd=folder, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
            pass_fds=[file], start_new_session=True,
        )  # fmt: skip
    return _Nursery(process, folder, owner)


def _remove_leftovers(place: Path) -> None:
    """Remove the folders of nurseries that were killed together with their workers."""
    for folder in place.glob(f"{FOLDER}*"):
        with suppress(OSError):
            young = time.time() - folder.stat().st_mtime < YOUNG_SECONDS
            if young or folder.stat().st_uid != os.getuid():
                continue
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
                if probe.connect_ex(str(folder / "ask")) in (errno.ECONNREFUSED, errno.ENOENT):
                    shutil.rmtree(folder, ignore_errors=True)


def _connect() -> socket.socket:
    """A connection to the nursery; to a new one if the old is gone."""
    start()
    nursery = _here.nursery
    assert nursery is not None
    try:
        return nursery.connect()
    except OSError:
        with _here.lock:
            if _here.nursery is nursery:
                _here.nursery = None
    _clear_away(nursery)
    start()
    assert _here.nursery is not None
    return _here.nursery.connect()


def ask(
    role: str, asked: dict[str, Any], limits: Limits, *, files: Sequence[int] = (), writes: int = 0
) -> Any:
    """The value that a stage gives, of JSON values that the caller still has to check.

    files: descriptors that it gets.  writes: bytes that it may write to each.
    Raises StageDied and StageRefused.
    """
    question = {"role": role, "asked": asked, "limits": astuple(limits), "writes": writes}
    results, theirs = os.pipe()
    try:
        with _connect() as connection:
            try:
                _send(connection, json.dumps(question).encode(), [theirs, *files], limits)
            finally:
                os.close(theirs)
            return _answer(role, *_Waiting(connection, results, limits).wait(role), limits)
    finally:
        os.close(results)


def _send(connection: socket.socket, text: bytes, files: Sequence[int], limits: Limits) -> None:
    connection.settimeout(limits.seconds)
    with suppress(OSError):  # it died while we spoke: how is told where the answer is awaited
        socket.send_fds(connection, [HEADER.pack(len(text))], files)
        connection.sendall(text)


class _Waiting:
    """Waits until a child has ended, collects what it said, and kills it when time is up."""

    def __init__(self, connection: socket.socket, results: int, limits: Limits) -> None:
        self._connection, self._results = connection, results
        self._deadline = time.monotonic() + limits.seconds
        self._poll = select.poll()
        self._poll.register(connection, select.POLLIN)
        self._poll.register(results, select.POLLIN)
        os.set_blocking(results, False)
        self._said, self._hears = bytearray(), True
        self._killed = ""

    def wait(self, role: str) -> tuple[bytes, dict[str, int], str]:
        """What it said, how it ended, and why we killed it ("": we did not)."""
        while True:
            left = self._deadline - time.monotonic()
            if left <= 0:
                self._kill(role, "time")
                continue
            for file, _ in self._poll.poll(left * 1000):
                if file == self._connection.fileno():
                    report = self._heard()
                    self._collect(role)
                    return bytes(self._said), _report(role, report), self._killed
                self._collect(role)

    def _heard(self) -> bytes:
        with suppress(OSError):  # what nobody read was thrown away: the nursery has ended
            return self._connection.recv(4096)
        return b""

    def _collect(self, role: str) -> None:
        """Read what is there.  A process that says too much is killed."""
        with suppress(BlockingIOError):
            while self._hears:
                part = os.read(self._results, 1 << 20)
                self._said += part
                if len(self._said) > MOST_RESULT:
                    self._kill(role, "result")
                if not part or self._killed:
                    self._poll.unregister(self._results)
                    self._hears = False

    def _kill(self, role: str, reason: str) -> None:
        if self._killed:  # the nursery itself does not answer
            raise StageDied(role, LOST)
        self._killed = reason
        self._deadline = time.monotonic() + DYING_SECONDS
        with suppress(OSError):
            self._connection.shutdown(socket.SHUT_WR)


def _report(role: str, text: bytes) -> dict[str, int]:
    if not text.endswith(b"\n"):
        raise StageDied(role, LOST)
    return dict(json.loads(text))


def _answer(role: str, said: bytes, ended: dict[str, int], killed: str, limits: Limits) -> Any:
    """The value in what a child said.  Raises what its end means."""
    if killed:
        raise StageDied(role, killed)
    told = _parsed(said)
    if reason := _reason(ended, limits):
        raise StageDied(role, reason, str(told.get("trace", ""))[:LONGEST_TRACE])
    if told.get("blame") in BLAMES and isinstance(told.get("refused"), str):
        raise StageRefused(role, told["blame"], told["refused"])
    if set(told) != {"value"}:
        raise StageDied(role, "result")
    return told["value"]


def _parsed(said: bytes) -> dict[str, Any]:
    try:
        told = json.loads(said)
    except (ValueError, RecursionError):
        return {}
    return told if isinstance(told, dict) else {}


def _reason(ended: dict[str, int], limits: Limits) -> str:
    """Why a child ended; "": it came to its end."""
    status = ended["status"]
    if os.WIFEXITED(status):
        code = os.WEXITSTATUS(status)
        return "memory" if code == EXIT_MEMORY else f"exit {code}" if code else ""
    number = os.WTERMSIG(status)
    if number == signal.SIGXCPU:
        return "cpu"
    # C++ aborts where Python raises; what a killer of processes took was near its limit.
    full = number == signal.SIGKILL and ended["resident"] > 0.8 * limits.memory
    return "memory" if number == signal.SIGABRT or full else f"signal {number}"
