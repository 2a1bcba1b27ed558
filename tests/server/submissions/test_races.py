"""No limit is passed and no row goes astray, however many come at once, on either database."""

import json
import os
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.postgres import postgres

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture(scope="module", params=["sqlite", "postgres"])
def raced(request, queue_server, tmp_path_factory) -> dict:
    """What came of the races, which ran in a process of their own on a new database."""
    home = tmp_path_factory.mktemp("races")
    env = os.environ | {"CRISTA_HOME": str(home), "REDIS_URL": f"{queue_server[:-1]}5"}
    env.pop("DATABASE_URL", None)
    with ExitStack() as stack:
        if request.param == "postgres":
            env["DATABASE_URL"] = stack.enter_context(postgres())
        command = [sys.executable, "-m", "tests.server.submissions.races"]
        done = subprocess.run(
            command, cwd=ROOT, env=env, capture_output=True, text=True, check=False, timeout=250
        )
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1])


def test_of_sixty_at_once_as_many_get_in_as_are_allowed(raced):
    found = raced["submits"]
    assert found["first"] == {"ok": 7, "over_quota": 53}
    assert found["second"] == {"ok": 5, "over_quota": 48}
    assert (found["submissions"], found["left"]) == (12, 0)


def test_many_that_seal_the_audit_at_once_make_one_chain(raced):
    found = raced["submits"]
    assert found["sealing"] == {"ok": 8}
    assert (found["fault"], found["unsealed"]) == ("", 0)
    assert found["events"] >= 12


def test_of_two_teams_that_go_into_each_other_one_does_and_nothing_is_left_behind(raced):
    found = raced["merges"]
    assert (found["both"], found["astray"]) == (0, 0)
