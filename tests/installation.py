"""A whole installation, for tests that use the product as people do: site, commands, API."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx

ROOT = Path(__file__).resolve().parents[1]
BIN = Path(sys.executable).parent
PASSWORD = "a-long-enough-password"


@dataclass(frozen=True)
class Installation:
    """A running site with its queue server and workers.  home: its state folder."""

    home: Path
    address: str
    process: subprocess.Popen
    environment: dict[str, str] = field(default_factory=dict)

    def manage(self, *arguments: str) -> str:
        """Run a management command on it; what it printed."""
        return self.run(sys.executable, str(ROOT / "manage.py"), *arguments)

    def join(self, name: str) -> dict[str, str]:
        """Make an account with a token; the environment that lets the commands act for it."""
        email = f"{name.lower().replace(' ', '-')}@example.org"
        printed = self.manage(
            "make_account", email, "--password", PASSWORD, "--name", name, "--token", "test"
        )
        token = next(word for word in printed.split() if word.startswith("crista_"))
        return {"CRISTA_SERVER": self.address, "CRISTA_TOKEN": token}

    def evaluator(self, *arguments: str, **environment: str) -> str:
        """Run the participant's command; what it printed."""
        return self.run(str(BIN / "evaluator"), *arguments, **environment)

    def baselines(self, *arguments: str) -> str:
        return self.run(str(BIN / "baselines"), *arguments)

    def get(self, path: str, account: dict[str, str]) -> httpx.Response:
        """What the API answers to an account."""
        headers = {"Authorization": f"Bearer {account['CRISTA_TOKEN']}"}
        return httpx.get(f"{self.address}/api/{path}", headers=headers)

    def run(self, *command: str, **environment: str) -> str:
        known = {**os.environ, "CRISTA_HOME": str(self.home), **self.environment}
        done = subprocess.run(
            command, env={**known, **environment}, cwd=self.home, capture_output=True, text=True,
            check=False,
        )  # fmt: skip
        assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
        return done.stdout


@contextmanager
def running(home: Path, *options: str, **environment: str) -> Iterator[Installation]:
    """Start everything on a free port; stop everything at the end, whatever happened.

    options: of `manage.py up`.  environment: for it, and for the commands run on it.
    """
    port = free_port()
    with (home / "up.log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, str(ROOT / "manage.py"), "up", "--port", str(port), *options],
            env={**os.environ, "CRISTA_HOME": str(home), **environment}, stdout=log,
            stderr=subprocess.STDOUT,
        )  # fmt: skip
    address = f"http://localhost:{port}"
    try:
        wait_for(lambda: answers(f"{address}/readyz"), seconds=200, log=home / "up.log")
        yield Installation(home, address, process, environment)
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(60)


def answers(url: str) -> bool:
    try:
        return httpx.get(url, timeout=2).is_success
    except httpx.TransportError:
        return False


def wait_for(condition, *, seconds: float, log: Path) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, log.read_text("utf-8", "replace")
        time.sleep(0.2)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
