"""`manage.py up`: queue server, site, workers and reconciler, under one supervisor."""

from __future__ import annotations

import os
import signal
import socket
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError, CommandParser

from server import arguments
from server.queue import QUEUES, QUICK, SCORE
from server.supervisor import (
    Program,
    Supervisor,
    SupervisorError,
    free_port,
    only_one,
    queue_program,
)

READY_SECONDS = 180.0
BACKLOG = 2048  # connections that wait for the site
WATCH_S = 0.1  # how long a program may be dead before anybody looks


class Command(BaseCommand):
    help = "Start the site and its workers; Ctrl-C stops everything."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--host", default="127.0.0.1", help="address to listen on")
        parser.add_argument(
            "--port", type=arguments.port, help="default: the first free one from 8000"
        )
        parser.add_argument(
            "--workers",
            type=arguments.workers,
            default=os.cpu_count() or 1,
            help="how many score; one more does what takes seconds",
        )
        parser.add_argument(
            "--reconcile-every", type=arguments.seconds, default=60, metavar="SECONDS"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            with installation(self.say, **listening(options)) as (supervisor, address):
                self.work(supervisor, address, **options)
        except KeyboardInterrupt:
            self.say("Everything is stopped.")

    def work(self, supervisor: Supervisor, address: str, **options: Any) -> None:
        """What happens while everything runs."""
        self.say(f"Crista is at {address} (Ctrl-C stops it)")
        keep_up(supervisor)

    def say(self, sentence: str) -> None:
        self.stdout.write(sentence)
        self.stdout.flush()


def listening(options: dict[str, Any]) -> dict[str, Any]:
    return {name: options[name] for name in ("host", "port", "workers", "reconcile_every")}


@contextmanager
def installation(
    say: Any, *, host: str, port: int | None, workers: int, reconcile_every: float = 60
) -> Iterator[tuple[Supervisor, str]]:
    """Everything started and answering; on the way out everything is stopped.

    Yields the supervisor and the site's address.  CommandError: what stands in the way.
    """
    signal.signal(signal.SIGTERM, _interrupt)
    state = Path(settings.STATE_DIR)
    try:
        with only_one(state):
            port = free_port(host, port)
            call_command("migrate", verbosity=0, interactive=False)
            supervisor = Supervisor(state, say)
            try:
                address = f"http://{'localhost' if host == '127.0.0.1' else host}:{port}"
                os.environ.setdefault("CRISTA_URL", address)
                with socket.create_server((host, port), backlog=BACKLOG) as door:
                    start(
                        supervisor, state, door=door.fileno(), workers=workers,
                        reconcile_every=reconcile_every,
                    )  # fmt: skip
                    wait_until_ready(supervisor, f"http://{host}:{port}/readyz")
                    yield supervisor, address
            finally:
                # A second Ctrl-C must not leave half of the programs behind.
                for number in (signal.SIGINT, signal.SIGTERM):
                    signal.signal(number, signal.SIG_IGN)
                supervisor.stop()
    except SupervisorError as error:
        raise CommandError(str(error)) from error


def start(
    supervisor: Supervisor, state: Path, *, door: int, workers: int, reconcile_every: float
) -> None:
    """Start the queue server (unless REDIS_URL names one), the site, workers and reconciler.

    door: the descriptor the site listens on.  It is ours: while a site that died starts again,
    people wait in line instead of finding nobody, and no heir of the old one keeps the port.
    """
    url = os.environ.get("REDIS_URL")
    if not url:
        queue, url = queue_program(state)
        supervisor.start(queue)
    environment = {"REDIS_URL": url, "OPENBLAS_NUM_THREADS": "1"}
    manage = (sys.executable, str(settings.BASE_DIR / "manage.py"))
    gunicorn = (
        *(sys.executable, "-m", "gunicorn", "server.wsgi", "--bind", f"fd://{door}"),
        *("--worker-class", "gthread", "--workers", "2", "--threads", "8", "--timeout", "120"),
        *("--chdir", str(settings.BASE_DIR), "--access-logfile", "-", "--no-control-socket"),
        "--preload",  # loaded once, then forked: half the work while people wait for a new start
    )
    supervisor.start(Program("site", gunicorn, environment, files=(door,)))
    for name, queues in duties(workers).items():
        supervisor.start(Program(name, (*manage, "worker", "--queues", *queues), environment))
    again = ("reconcile", "--every", f"{reconcile_every:g}")
    supervisor.start(Program("reconciler", (*manage, *again), environment))


def duties(workers: int) -> dict[str, tuple[str, ...]]:
    """Which queues each worker of this machine takes.

    One never scores, so that no check waits for a score; one alone takes what needs much memory.
    """
    found: dict[str, tuple[str, ...]] = {"worker-quick": QUICK}
    for number in range(1, workers + 1):
        found[f"worker-{number}"] = QUEUES if number == 1 else (*QUICK, SCORE)
    return found


def wait_until_ready(supervisor: Supervisor, url: str) -> None:
    """Return when the site answers that database and queue are there."""
    deadline = time.monotonic() + READY_SECONDS
    while time.monotonic() < deadline:
        try:
            with urllib.request.urlopen(url, timeout=2):
                return
        except (urllib.error.URLError, OSError):
            supervisor.watch()
            time.sleep(0.2)
    raise SupervisorError(
        f"The site did not answer within {READY_SECONDS:.0f} s. The logs in {supervisor.logs} "
        "say why."
    )


def keep_up(supervisor: Supervisor) -> None:
    """Watch until Ctrl-C."""
    while True:
        supervisor.watch()
        time.sleep(WATCH_S)


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt
