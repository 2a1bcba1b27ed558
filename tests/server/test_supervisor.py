"""Real processes, started, killed and stopped; a real queue server."""

import os
import signal
import socket
import subprocess
import sys
import threading
import time

import pytest
import redis

from server.supervisor import (
    Program,
    Supervisor,
    SupervisorError,
    free_port,
    only_one,
    queue_binary,
    queue_program,
)

SLEEPER = (sys.executable, "-c", "import time; time.sleep(600)")


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def eventually(condition, seconds: float = 10.0) -> bool:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if condition():
            return True
        time.sleep(0.05)
    return False


@pytest.fixture
def told():
    return []


@pytest.fixture
def supervisor(tmp_path, told):
    supervisor = Supervisor(tmp_path, told.append)
    yield supervisor
    supervisor.stop()


def test_a_program_that_dies_is_told_of_and_started_again(supervisor, told):
    supervisor.start(Program("sleeper", SLEEPER))
    first = supervisor.running[0].process.pid
    os.kill(first, signal.SIGKILL)
    supervisor.running[0].process.wait()

    def came_back():
        supervisor.watch()
        return supervisor.running[0].process.pid != first

    assert eventually(came_back)
    assert alive(supervisor.running[0].process.pid)
    assert len(told) == 1
    assert "sleeper stopped with status -9" in told[0]


def test_a_program_that_keeps_dying_is_started_less_and_less_often(supervisor, told):
    supervisor.start(Program("broken", (sys.executable, "-c", "raise SystemExit(3)")))
    supervisor.running[0].process.wait()
    supervisor.watch()
    first = supervisor.running[0].pause
    supervisor.running[0].restart_at = 0.0
    supervisor.watch()
    supervisor.running[0].process.wait()
    supervisor.watch()
    assert supervisor.running[0].pause == 2 * first
    assert all("status 3" in sentence for sentence in told)


def test_a_program_that_lives_is_left_alone(supervisor, told):
    supervisor.start(Program("sleeper", SLEEPER))
    pid = supervisor.running[0].process.pid
    supervisor.watch()
    assert supervisor.running[0].process.pid == pid
    assert told == []


def test_stop_leaves_no_process_behind(supervisor):
    for name in ("one", "two"):
        supervisor.start(Program(name, SLEEPER))
    pids = [item.process.pid for item in supervisor.running]
    supervisor.stop()
    assert not any(alive(pid) for pid in pids)


class Interrupted(Supervisor):
    """Gets a Ctrl-C between the start of a program and its place in the list."""

    def launch(self, program):
        process = super().launch(program)
        # To this thread: those that run the tests may have others, which would hear it.
        signal.pthread_kill(threading.get_ident(), signal.SIGINT)
        return process


def test_ctrl_c_while_a_program_starts_waits_until_it_is_in_the_list(tmp_path):
    supervisor = Interrupted(tmp_path, print)
    with pytest.raises(KeyboardInterrupt):
        supervisor.start(Program("sleeper", SLEEPER))
    pid = supervisor.running[0].process.pid
    supervisor.stop()
    assert not alive(pid)


def test_a_program_hears_every_signal(supervisor):
    code = "import signal; print(signal.pthread_sigmask(signal.SIG_BLOCK, []))"
    supervisor.start(Program("listener", (sys.executable, "-c", code)))
    supervisor.running[0].process.wait()
    assert (supervisor.logs / "listener.log").read_text() == "set()\n"


def test_what_a_program_prints_is_in_its_log(supervisor):
    supervisor.start(Program("speaker", (sys.executable, "-c", "print('hello')")))
    supervisor.running[0].process.wait()
    assert (supervisor.logs / "speaker.log").read_text() == "hello\n"


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a child of its parent's end")
def test_a_supervisor_that_is_killed_takes_its_programs_with_it(tmp_path):
    code = (
        "import sys, time\n"
        "from pathlib import Path\n"
        "from server.supervisor import Program, Supervisor\n"
        "s = Supervisor(Path(sys.argv[1]), print)\n"
        "s.start(Program('sleeper', (sys.executable, '-c', 'import time; time.sleep(600)')))\n"
        "print(s.running[0].process.pid, flush=True)\n"
        "time.sleep(600)\n"
    )
    parent = subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE, text=True
    )
    with parent:
        child = int(parent.stdout.readline())
        assert alive(child)
        parent.kill()
    assert eventually(lambda: not alive(child))


def test_a_state_folder_has_one_supervisor_at_a_time(tmp_path):
    refused = pytest.raises(SupervisorError, match=f"already runs .*process {os.getpid()}")
    with only_one(tmp_path), refused, only_one(tmp_path):
        pass
    with only_one(tmp_path):
        pass


def test_a_taken_port_is_refused_with_the_option_that_helps():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(SupervisorError, match=f"Port {port} .* --port"):
            free_port("127.0.0.1", port)


def test_without_a_wish_the_next_free_port_is_taken():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        found = free_port("127.0.0.1", None, first=port, tries=50)
        assert port < found < port + 50


def test_the_queue_server_answers_only_to_the_password_and_keeps_it_private(tmp_path, supervisor):
    (tmp_path / "run").mkdir()
    program, url = queue_program(tmp_path)
    supervisor.start(program)

    def ready():
        try:
            return redis.Redis.from_url(url).ping()
        except redis.ConnectionError:
            return False

    assert eventually(ready)
    port = int(url.rsplit(":", 1)[1].split("/")[0])
    with pytest.raises(redis.AuthenticationError):
        redis.Redis(port=port).ping()
    for name in ("queue/valkey.conf", "run/queue.url"):
        assert (tmp_path / name).stat().st_mode & 0o077 == 0
    password = url.split(":")[2].split("@")[0]
    assert password not in " ".join(program.argv)


def test_what_the_queue_took_survives_a_kill(tmp_path, supervisor):
    (tmp_path / "run").mkdir()
    program, url = queue_program(tmp_path)
    supervisor.start(program)
    connection = redis.Redis.from_url(
        url, retry=redis.retry.Retry(redis.backoff.ConstantBackoff(0.1), 50)
    )
    connection.set("kept", "1")
    supervisor.running[0].process.kill()
    supervisor.running[0].process.wait()
    supervisor.watch()
    supervisor.running[0].restart_at = 0.0
    supervisor.watch()
    assert connection.get("kept") == b"1"


def test_a_queue_server_on_the_path_serves_where_the_package_has_none(tmp_path, monkeypatch):
    fake = tmp_path / "redis-server"
    fake.write_text("#!/bin/sh\n")
    fake.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr("platform.machine", lambda: "riscv64")
    assert queue_binary() == str(fake)
    fake.unlink()
    with pytest.raises(SupervisorError, match="REDIS_URL"):
        queue_binary()
