"""Broken connections and killed workers, with real sockets and real processes."""

import os
import signal
import socket
import subprocess
import sys
import time
from datetime import timedelta
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from django.utils.timezone import now

from server.accounts.models import AuditEvent, Token
from server.submissions.models import Item, Submission, Upload
from server.submissions.upkeep import reconcile
from tests.server.making import api, entered, send
from tests.server.submissions.test_evaluation import database_url

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def ada(people, phase):
    return api(people.ada)


def begin(client, size: int) -> str:
    wish = {"challenge": "made-up", "phase": "test", "filename": "x.zip", "size": size}
    return client.post("/api/uploads/", wish, format="json").data["id"]


def send_part_of_a_part(address: str, key: str, token: str, *, promised: int, sent: bytes) -> None:
    """A request that announces more bytes than it sends, and then hangs up."""
    where = urlsplit(address)
    head = (
        f"PATCH /api/uploads/{key}/ HTTP/1.1\r\nHost: {where.netloc}\r\n"
        f"Authorization: Bearer {token}\r\nUpload-Offset: 0\r\nContent-Length: {promised}\r\n"
        "Content-Type: application/offset+octet-stream\r\n\r\n"
    )
    with socket.create_connection((where.hostname, where.port)) as line:
        line.sendall(head.encode() + sent)
        line.shutdown(socket.SHUT_WR)
        line.recv(1000)


def test_a_connection_that_breaks_keeps_what_arrived(ada, people, live_server):
    data = bytes(range(256)) * 4000
    key = begin(ada, len(data))
    token = Token.issue(people.ada, name="t", now=now())[1]
    send_part_of_a_part(
        live_server.url, key, token, promised=len(data), sent=data[: len(data) // 2]
    )
    offset = int(ada.head(f"/api/uploads/{key}/")["Upload-Offset"])
    assert offset == len(data) // 2
    assert send(ada, f"/api/uploads/{key}/", data[offset:], offset=offset).status_code == 204
    assert ada.post(f"/api/uploads/{key}/finish/").status_code == 200
    assert Upload.objects.get().path.read_bytes() == data


def start_worker(queue_server: str) -> subprocess.Popen:
    environment = os.environ | {
        "DJANGO_SETTINGS_MODULE": "server.settings", "REDIS_URL": queue_server,
        "DATABASE_URL": database_url(),
    }  # fmt: skip
    worker = [sys.executable, "-m", "django", "worker"]
    return subprocess.Popen(worker, cwd=ROOT, env=environment, start_new_session=True)


def kill_with_children(process: subprocess.Popen) -> None:
    """As the kernel does when memory runs out, to the worker and to the child that scores."""
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    for pid in (process.pid, *map(int, children)):
        os.kill(pid, signal.SIGKILL)
    process.wait(10)


def test_a_worker_killed_in_the_middle_costs_nothing_but_time(
    phase, people, queue_up, queue_server, work, packed
):
    submission = entered(phase, people.ada, packed.read_bytes())
    process = start_worker(queue_server)
    deadline = time.monotonic() + 60
    while not Item.objects.exclude(status="queued").exists():
        assert time.monotonic() < deadline, "the worker did not begin"
        time.sleep(0.005)
    kill_with_children(process)
    queue_up.flushall()  # and the queue is lost with it
    reconcile(at=now() + timedelta(minutes=5))
    Item.objects.update(due=None)
    work()
    submission.refresh_from_db()
    assert submission.status == "scored"
    assert max(Item.objects.values_list("attempts", flat=True)) <= 2
    assert AuditEvent.objects.filter(kind="evaluation", after="scored").count() == 1
    assert Submission.objects.count() == 1
