"""`manage.py up` as its operator meets it: starting, dying programs, a second start, the end."""

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import httpx
import psutil
import pytest
from redis import Redis

from server.management.commands.up import Command
from tests.installation import ROOT, answers, free_port, running, wait_for

pytestmark = pytest.mark.timeout(600)


def programs(pid: int) -> dict[int, str]:
    """The children of a process with their command lines."""
    found = {}
    for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
        line = Path(f"/proc/{child}/cmdline").read_bytes().replace(b"\0", b" ").decode()
        found[int(child)] = line
    return found


def up(home: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """A start that is expected to be refused."""
    return subprocess.run(
        [sys.executable, str(ROOT / "manage.py"), "up", *arguments],
        env={**os.environ, "CRISTA_HOME": str(home), **environment},
        capture_output=True, text=True, check=False, timeout=300,
    )  # fmt: skip


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    with running(tmp_path_factory.mktemp("up")) as site:
        yield site


def test_site_queue_workers_and_reconciler_run_and_nothing_else(site):
    lines = sorted(programs(site.process.pid).values())
    kinds = ("valkey", "gunicorn", " worker ", " reconcile ")
    counts = {kind: sum(kind in line for line in lines) for kind in kinds}
    workers = 1 + (os.cpu_count() or 1)  # one of them for what takes seconds
    assert counts == {"valkey": 1, "gunicorn": 1, " worker ": workers, " reconcile ": 1}
    assert len(lines) == workers + 3


def test_no_password_stands_on_a_command_line(site):
    password = (site.home / "run" / "queue.url").read_text().split(":")[2].split("@")[0]
    assert not any(password in line for line in programs(site.process.pid).values())


def test_the_site_says_that_database_and_queue_are_there(site):
    answer = httpx.get(f"{site.address}/readyz").json()
    assert answer["database"] is True
    assert answer["queue"] is True


def test_a_second_start_on_the_same_state_is_refused_and_harms_nothing(site):
    done = up(site.home)
    assert done.returncode == 1
    assert "already runs" in done.stderr
    assert "CRISTA_HOME" in done.stderr
    assert "Traceback" not in done.stderr
    assert answers(f"{site.address}/readyz")


def test_a_worker_that_is_killed_comes_back(site):
    before = programs(site.process.pid)
    victim = next(pid for pid, line in before.items() if " worker" in line)
    os.kill(victim, signal.SIGKILL)

    def back():
        now = programs(site.process.pid)
        return victim not in now and len(now) == len(before)

    wait_for(back, seconds=60, log=site.home / "up.log")
    assert "stopped with status -9; it starts again" in (site.home / "up.log").read_text()


def test_who_asks_a_site_that_was_just_killed_waits_and_is_answered(site):
    found = programs(site.process.pid).items()
    master = psutil.Process(next(pid for pid, line in found if "gunicorn" in line))
    for process in (master, *master.children()):
        process.kill()
    assert httpx.get(f"{site.address}/readyz", timeout=120).status_code == 200
    assert master.pid not in programs(site.process.pid)


def test_a_terminated_site_stops_everything_it_started(tmp_path):
    with running(tmp_path) as site:
        pids = list(programs(site.process.pid))
        site.process.send_signal(signal.SIGTERM)
        assert site.process.wait(90) == 0
    assert not any(Path(f"/proc/{pid}").exists() for pid in pids)
    assert not answers(f"{site.address}/readyz")


def test_ctrl_c_while_it_starts_stops_what_was_started(tmp_path):
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, str(ROOT / "manage.py"), "up", "--port", str(free_port())],
            env={**os.environ, "CRISTA_HOME": str(tmp_path)}, stdout=log, stderr=log,
        )  # fmt: skip
    site = tmp_path / "logs" / "site.log"
    wait_for(site.exists, seconds=120, log=tmp_path / "log")  # begun, and not yet answering
    pids = list(programs(process.pid))
    process.send_signal(signal.SIGINT)
    assert process.wait(90) == 0
    assert not any(Path(f"/proc/{pid}").exists() for pid in pids)
    assert "Traceback" not in (tmp_path / "log").read_text()


def test_a_named_queue_server_is_used_and_none_is_started(tmp_path, queue_server):
    port = free_port()
    process = subprocess.Popen(
        [sys.executable, str(ROOT / "manage.py"), "up", "--port", str(port), "--workers", "1"],
        env={**os.environ, "CRISTA_HOME": str(tmp_path), "REDIS_URL": queue_server},
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        log = tmp_path / "db.sqlite3"
        wait_for(lambda: answers(f"http://localhost:{port}/readyz"), seconds=200, log=log)
        assert not any("valkey" in line for line in programs(process.pid).values())
        with Redis.from_url(queue_server) as server:
            deadline = time.monotonic() + 60
            while not server.smembers("rq:workers"):
                assert time.monotonic() < deadline
                time.sleep(0.2)
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(90)


def test_a_taken_port_is_refused_before_anything_is_started(tmp_path):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        done = up(tmp_path, "--port", str(taken.getsockname()[1]))
    assert done.returncode == 1
    assert "is taken by another program" in done.stderr
    assert not (tmp_path / "run" / "queue.url").exists()


def test_the_help_names_what_can_be_chosen(capsys):
    Command().print_help("manage.py", "up")
    printed = capsys.readouterr().out
    assert all(option in printed for option in ("--host", "--port", "--workers"))
