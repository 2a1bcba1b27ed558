"""The queue's scheduler as a process: workers reconcile because it asks them to."""

import os
import signal
import subprocess
import sys
import time
from datetime import timedelta

import pytest
from django.core.management import CommandError, call_command
from django.utils.timezone import now

from server import queue
from server.submissions.models import Submission
from tests.server.making import entered
from tests.server.submissions.test_evaluation import database_url
from tests.server.test_accidents import ROOT


def test_a_lost_check_is_found_by_the_scheduler(
    phase, people, queue_up, queue_server, work, packed
):
    entered(phase, people.ada, packed.read_bytes())
    queue_up.flushall()
    Submission.objects.update(changed=now() - timedelta(minutes=5))
    environment = os.environ | {
        "DJANGO_SETTINGS_MODULE": "server.settings", "REDIS_URL": queue_server,
        "DATABASE_URL": database_url(),
    }  # fmt: skip
    command = [sys.executable, "-m", "django", "cron", "--every", "1"]
    with subprocess.Popen(command, cwd=ROOT, env=environment) as process:
        deadline = time.monotonic() + 60
        while not queue.length(queue.CHECK):
            assert time.monotonic() < deadline
            time.sleep(0.05)
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0
    work()
    assert Submission.objects.get().status == "scored"


def test_without_a_queue_server_it_says_so(monkeypatch):
    monkeypatch.setenv("REDIS_URL", "redis://127.0.0.1:9/0")
    with pytest.raises(CommandError, match="queue server is away"):
        call_command("cron")
