import os
import subprocess
import sys
import time

from server.stages.asking import ROOT
from server.stages.limits import BASE_MEMORY, limits_for
from server.stages.scratch import LOCK, remove_leftovers, scratch

HOLDER = """
import sys, time
from pathlib import Path
sys.path.insert(0, {root!r})
from server.stages.scratch import scratch
with scratch(Path({base!r})) as folder:
    (folder / "block").write_bytes(b"voxels")
    print(folder.name, flush=True)
    time.sleep(60)
"""


def test_a_folder_is_ours_alone_and_gone_at_the_end(tmp_path):
    with scratch(tmp_path / "new" / "base") as folder:
        assert folder.parent == tmp_path / "new" / "base"
        assert folder.stat().st_mode & 0o077 == 0
        (folder / "block").write_bytes(b"voxels")
    assert list((tmp_path / "new" / "base").iterdir()) == []


def test_it_is_gone_after_an_error_too(tmp_path):
    try:
        with scratch(tmp_path):
            raise KeyError
    except KeyError:
        assert list(tmp_path.iterdir()) == []


def test_what_a_killed_process_left_is_removed_and_what_a_living_one_holds_is_not(tmp_path):
    code = HOLDER.format(root=str(ROOT), base=str(tmp_path))
    command = [sys.executable, "-c", code]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as holder:
        name = holder.stdout.readline().strip()
        assert remove_leftovers(tmp_path, older=0) == 0
        holder.kill()
        holder.wait()
        assert remove_leftovers(tmp_path, older=3600) == 0
        assert (tmp_path / name / "block").exists()
        assert remove_leftovers(tmp_path, older=0) == 1
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_was_never_locked_goes_when_it_is_old(tmp_path):
    (tmp_path / "young").mkdir()
    (tmp_path / "old").mkdir()
    (tmp_path / "old" / LOCK).touch()
    os.utime(tmp_path / "old", (0, time.time() - 3600))
    (tmp_path / "a file of somebody's").touch()
    os.utime(tmp_path / "a file of somebody's", (0, 0))
    with scratch(tmp_path):
        names = {path.name for path in tmp_path.iterdir()}
    assert "old" not in names
    assert {"young", "a file of somebody's"} < names


def test_limits_grow_with_the_target_and_are_never_small():
    small, large = limits_for(1), limits_for(1_000_000_000)
    assert small.memory >= BASE_MEMORY
    assert large.memory > small.memory
    assert large.cpu > small.cpu
    assert small.seconds > small.cpu > 0
