"""A supervisor whose programs die, come back, and do not want to leave; health while parts fail."""

import os
import signal
import sys
import time
from types import SimpleNamespace

import pytest
from django.db import connections

from server import supervisor as supervising
from server.supervisor import Program, Running, Supervisor, SupervisorError, free_port, only_one

BROKEN = Program("broken", (sys.executable, "-c", "raise SystemExit(3)"))


@pytest.fixture
def told():
    return []


@pytest.fixture
def supervisor(tmp_path, told):
    supervisor = Supervisor(tmp_path, told.append)
    yield supervisor
    supervisor.stop()


def dead(status: int = 3) -> SimpleNamespace:
    """A process that ended."""
    return SimpleNamespace(poll=lambda: status, returncode=status, wait=lambda *_: status)


def died(supervisor, *, lived_s: float, pause: float) -> Running:
    """A program that died after so long, and had been waited for so long before."""
    item = Running(BROKEN, dead(), time.monotonic() - lived_s, pause)
    supervisor.running.append(item)
    supervisor.watch()
    return item


@pytest.mark.parametrize(
    ("before", "after"), [(0.5, 1), (1, 2), (8, 16), (15, 30), (16, 30), (30, 30)]
)
def test_who_dies_young_waits_twice_as_long_and_never_longer_than_half_a_minute(
    supervisor, before, after
):
    assert died(supervisor, lived_s=1, pause=before).pause == after


@pytest.mark.parametrize("before", [0.5, 8, 30])
def test_who_had_lived_for_a_while_starts_again_at_once(supervisor, before):
    assert died(supervisor, lived_s=16, pause=before).pause < 1


def test_a_death_is_told_once_however_often_one_looks(supervisor, told):
    died(supervisor, lived_s=1, pause=30)
    for _ in range(5):
        supervisor.watch()
    assert len(told) == 1
    assert "status 3; it starts again in 30" in told[0]
    assert told[0].endswith("logs/broken.log")


def test_before_its_time_nothing_is_started(supervisor):
    item = died(supervisor, lived_s=1, pause=0.5)
    before = item.process
    item.restart_at = time.monotonic() + 60
    supervisor.watch()
    assert item.process is before


def test_one_that_keeps_dying_keeps_no_other_from_being_looked_after(supervisor, told):
    died(supervisor, lived_s=1, pause=30)
    supervisor.start(BROKEN)
    supervisor.running[1].process.wait()
    supervisor.watch()
    assert len(told) == 2
    assert supervisor.running[0].restart_at > supervisor.running[1].restart_at


def test_who_does_not_want_to_leave_is_killed(supervisor, monkeypatch):
    monkeypatch.setattr(supervising, "STOP_SECONDS", 0.2)
    code = (
        "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "print(1, flush=True); time.sleep(99)"
    )
    supervisor.start(Program("deaf", (sys.executable, "-c", code)))
    process, log = supervisor.running[0].process, supervisor.logs / "deaf.log"
    deadline = time.monotonic() + 20
    while not log.read_text():
        assert time.monotonic() < deadline
        time.sleep(0.02)
    supervisor.stop()
    assert process.returncode == -signal.SIGKILL
    assert supervisor.running == []


def test_a_program_that_is_not_there_is_a_mistake_and_is_not_watched(supervisor):
    with pytest.raises(FileNotFoundError):
        supervisor.start(Program("none", ("/no/such/program",)))
    assert supervisor.running == []
    assert signal.SIGTERM not in signal.pthread_sigmask(signal.SIG_BLOCK, [])


def test_a_program_gets_its_own_variables_and_ours(supervisor, monkeypatch):
    monkeypatch.setenv("OURS", "a")
    code = "import os; print(os.environ['OURS'], os.environ['ITS'], 'ITS' in os.environ)"
    supervisor.start(Program("p", (sys.executable, "-c", code), {"ITS": "b"}))
    supervisor.running[0].process.wait()
    assert (supervisor.logs / "p.log").read_text() == "a b True\n"
    assert "ITS" not in os.environ


def test_a_folder_whose_supervisor_was_killed_is_free(tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "supervisor.lock").write_text("999999")
    with only_one(tmp_path):
        assert (tmp_path / "run" / "supervisor.lock").read_text() == str(os.getpid())


def test_a_host_that_is_not_of_this_machine_has_no_free_port():
    with pytest.raises(SupervisorError, match=r"on 192\.0\.2\.1 is taken by another program"):
        free_port("192.0.2.1", 8000)


@pytest.fixture
def no_database(transactional_db):
    """The file of the database cannot be opened."""
    values = connections["default"].settings_dict
    before = values["NAME"]
    connections["default"].close()
    values["NAME"] = "/no/such/folder/db.sqlite3"
    yield
    connections["default"].close()
    values["NAME"] = before


def test_without_its_database_a_site_is_alive_and_not_ready(client, no_database):
    assert client.get("/healthz").status_code == 200
    answer = client.get("/readyz")
    assert (answer.status_code, answer.json()["database"]) == (503, False)
    assert "/no/such" not in answer.content.decode()


@pytest.mark.django_db
@pytest.mark.parametrize("url", ["redis://127.0.0.1:1/0", "http://queue", "redis://h:x/0"])
def test_without_its_queue_a_site_is_ready_and_says_what_is_away(client, monkeypatch, url):
    monkeypatch.setenv("REDIS_URL", url)
    answer = client.get("/readyz")
    assert (answer.status_code, answer.json()["queue"]) == (200, False)


@pytest.mark.django_db
@pytest.mark.parametrize("path", ["/healthz", "/readyz"])
@pytest.mark.parametrize("method", ["post", "put", "patch", "delete"])
def test_health_is_only_asked_for(client, path, method):
    assert getattr(client, method)(path).status_code == 405
