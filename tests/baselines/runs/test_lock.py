import os
import signal
import subprocess
import sys

import pytest

from baselines.config import ConfigError
from baselines.runs.lock import holder_of, locked


def test_a_second_training_in_a_folder_is_refused_with_the_first_ones_pid(tmp_path):
    path = tmp_path / "lock"
    with locked(path):
        with pytest.raises(
            ConfigError, match=rf"already active here \(pid {os.getpid()} on .*, since 20"
        ), locked(path):  # fmt: skip
            pass
        holder = holder_of(path)
        assert holder.pid == os.getpid()
    assert holder_of(path) is None
    with locked(path):
        pass


def test_nobody_holds_a_lock_that_is_not_there(tmp_path):
    assert holder_of(tmp_path / "lock") is None


def test_two_folders_are_independent(tmp_path):
    with locked(tmp_path / "one"), locked(tmp_path / "two"):
        assert holder_of(tmp_path / "one")


def test_the_lock_of_a_killed_process_is_open(tmp_path):
    path = tmp_path / "lock"
    code = (
        "import pathlib, sys, time\nfrom baselines.runs.lock import locked\n"
        "with locked(pathlib.Path(sys.argv[1])):\n    print('held', flush=True)\n"
        "    time.sleep(60)\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, str(path)], stdout=subprocess.PIPE, text=True
    ) as child:
        assert child.stdout.readline() == "held\n"
        assert holder_of(path).pid == child.pid
        with pytest.raises(ConfigError, match=f"pid {child.pid}"), locked(path):
            pass
        child.send_signal(signal.SIGKILL)
    assert holder_of(path) is None
    with locked(path):
        assert holder_of(path).pid == os.getpid()
