"""A PostgreSQL server of our own for tests: made, started on a free port, thrown away."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg

PLACES = (*sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True),)
OPTIONS = "fsync=off max_connections=200 unix_socket_directories='' listen_addresses=127.0.0.1"


def program(name: str) -> str:
    """Path of one of PostgreSQL's programs; RuntimeError says how to get it."""
    found = shutil.which(name, path=os.pathsep.join([*map(str, PLACES), os.environ["PATH"]]))
    if not found:
        raise RuntimeError(
            f"There is no {name}: install PostgreSQL (Debian: apt install postgresql)."
        )
    return found


@contextmanager
def postgres() -> Iterator[str]:
    """The URL of a database of our own.  PostgreSQL refuses to run as root."""
    user = "nobody" if os.geteuid() == 0 else None
    folder = Path(tempfile.mkdtemp(prefix="postgres-"))
    if user:
        shutil.chown(folder, user)
    port, process = _free_port(), None
    try:
        data = str(folder / "data")
        initdb = [program("initdb"), "-D", data, "-U", "crista", "-A", "trust", "-E", "UTF8"]
        subprocess.run(
            [*initdb, "--no-sync"], user=user, cwd=folder, check=True, capture_output=True
        )
        options = [part for pair in OPTIONS.split() for part in ("-c", pair.replace("'", ""))]
        process = subprocess.Popen(
            [program("postgres"), "-D", data, "-p", str(port), *options],
            user=user, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        url = f"postgres://crista@127.0.0.1:{port}/postgres"
        _wait_for(url)
        yield url
    finally:
        if process:
            process.terminate()
            process.wait(30)
        shutil.rmtree(folder, ignore_errors=True)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _wait_for(url: str) -> None:
    deadline = time.monotonic() + 60
    while True:
        try:
            psycopg.connect(url).close()
        except psycopg.OperationalError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)
        else:
            return
