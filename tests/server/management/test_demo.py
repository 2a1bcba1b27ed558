"""`manage.py demo` as a newcomer runs it: once, again, with Ctrl-C, and on stacks of their own."""

import os
import signal
import socket
import sqlite3
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tifffile

from server.supervisor import only_one
from tests.installation import BIN, ROOT, answers, free_port, wait_for

METHODS = ("Threshold", "U-Net 2D", "U-Net 3D")
SHORT = ("--set", "training.iterations=4")
STACK = """\
voxel_size = [20, 5, 5]
slug = "my-stacks"
title = "My stacks"

[classes.dark]
kind = "semantic"
values = [1]
[classes.blob]
kind = "instance"
values = [2]

[[crop]]
name = "a"
split = "train"
raw = "raw.tif"
labels = "labels.tif"
planes = [0, 12]

[[crop]]
name = "b"
split = "hidden"
raw = "raw.tif"
labels = "labels.tif"
planes = [12, 24]
"""
pytestmark = pytest.mark.timeout(900)


def command(*arguments: str) -> list[str]:
    return [sys.executable, str(ROOT / "manage.py"), "demo", *SHORT, *arguments]


def environment(home: Path) -> dict[str, str]:
    return {**os.environ, "CRISTA_HOME": str(home)}


def demo(home: Path, *arguments: str) -> str:
    """Run it to the end; what it printed."""
    given = command("--once", "--port", str(free_port()), *arguments)
    done = subprocess.run(given, env=environment(home), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def shown(tmp_path_factory):
    """A state folder in which the demo ran once, and what it printed."""
    home = tmp_path_factory.mktemp("demo")
    return home, demo(home)


def test_the_board_has_three_entries(shown):
    _, printed = shown
    assert all(method in printed for method in METHODS)
    assert "The board is at http://localhost:" in printed


def test_nothing_is_left_running(shown):
    home, _ = shown
    with only_one(home):
        pass


def test_the_evaluator_prints_the_bytes_that_the_server_stored_for_the_demo(shown):
    home, _ = shown
    rows = sqlite3.connect(home / "db.sqlite3").execute(
        "SELECT s.method, e.result FROM submissions_evaluation e "
        "JOIN submissions_submission s ON s.id = e.submission_id"
    )
    stored = dict(rows.fetchall())
    assert set(stored) == set(METHODS)
    folder = home / "demo" / "phantom"
    bundle = folder / "data" / "challenge"
    for method, name in zip(METHODS, ("threshold", "unet2d", "unet3d"), strict=True):
        given = ("score", str(folder / f"{name}.zip"), "--truth", str(bundle / "truth.zarr"),
                 "--manifest", str(bundle / "manifest.csv"), "--json", "-")  # fmt: skip
        printed = subprocess.run([BIN / "evaluator", *given], capture_output=True, check=True)
        assert printed.stdout == stored[method].encode()


def test_a_second_run_repeats_nothing_and_stops_on_ctrl_c(shown):
    home, _ = shown
    port = free_port()
    log = home / "second.log"
    with log.open("w") as out:
        process = subprocess.Popen(
            command("--port", str(port)), env=environment(home), stdout=out, stderr=out
        )
    try:
        wait_for(lambda: "The board is at" in log.read_text(), seconds=200, log=log)
        assert answers(f"http://localhost:{port}/challenges/phantom/")
    finally:
        process.send_signal(signal.SIGINT)
    assert process.wait(60) == 0
    printed = log.read_text()
    assert not any(f"{verb} " in printed for verb in ("train", "predict", "pack", "submit"))
    assert not answers(f"http://localhost:{port}/")


def test_ones_own_stacks_become_a_challenge_with_a_board(tmp_path):
    rng = np.random.default_rng(0)
    labels = np.zeros((24, 64, 64), np.uint8)
    labels[:, 10:20] = 1
    labels[4:9, 30:45, 30:45] = labels[14:20, 40:55, 10:25] = 2
    raw = np.choose(labels, [180, 60, 110]) + rng.normal(0, 15, labels.shape)
    stacks = tmp_path / "stacks"
    stacks.mkdir()
    tifffile.imwrite(stacks / "raw.tif", raw.clip(0, 255).astype(np.uint8))
    tifffile.imwrite(stacks / "labels.tif", labels)
    (stacks / "stack.toml").write_text(STACK)
    printed = demo(tmp_path / "home", "--data", str(stacks))
    assert all(method in printed for method in METHODS)
    assert "/challenges/my-stacks/" in printed


def test_a_folder_without_a_description_is_a_sentence(tmp_path):
    given = command("--once", "--data", str(tmp_path))
    done = subprocess.run(
        given, env=environment(tmp_path / "home"), capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert "has no stack.toml" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_taken_port_is_a_sentence(tmp_path):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        given = command("--once", "--port", str(taken.getsockname()[1]))
        done = subprocess.run(
            given, env=environment(tmp_path), capture_output=True, text=True, check=False
        )
    assert done.returncode == 1
    assert "--port" in done.stderr
    assert "Traceback" not in done.stderr
