"""Scoring that is stopped, killed, and taken up again: real processes in an empty folder."""

import contextlib
import io
import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console
from rich.progress import Progress

import evaluator
from evaluator import (
    Crop,
    Manifest,
    Status,
    Sums,
    Target,
    TargetScore,
    VoxelGrid,
    canonical_json,
    create_volume,
    format_manifest,
    get_protocol,
    load_manifest,
    score_submission,
)
from evaluator.local import Bar, processors, timings
from evaluator.runner import Scorer
from tests.synthetic import LABELS, write_challenge

JOURNAL = ".r.json.partial.jsonl"
START = (
    "import signal, sys; signal.signal(signal.SIGINT, signal.default_int_handler); "
    "from evaluator.cli import main; main()"
)


@pytest.fixture(scope="module")
def challenge(tmp_path_factory) -> Path:
    """Six small targets and one that takes a while; the truth is its own submission."""
    folder = tmp_path_factory.mktemp("challenge")
    manifest = write_challenge(folder, size=32)
    grid = VoxelGrid((96, 320, 320), (8.0, 4.0, 4.0), (0.0, 0.0, 0.0))
    large = Target(Crop("9", "made-up"), LABELS[1], grid)
    ids = np.arange(1, 1 + 6 * 10 * 10, dtype=np.uint16).reshape(6, 10, 10)
    blocks = np.kron(ids, np.ones((16, 32, 32), np.uint16))
    create_volume(folder / "truth.zarr" / large.path, grid, blocks.dtype)[:] = blocks
    (folder / "manifest.csv").write_text(format_manifest([*manifest.targets, large]))
    return folder


@pytest.fixture(scope="module")
def expected(challenge) -> str:
    truth = challenge / "truth.zarr"
    manifest, protocol = load_manifest(challenge), get_protocol("crista-1")
    return score_submission(truth, truth=truth, manifest=manifest, protocol=protocol).to_json()


def command(challenge: Path, *more: object) -> list[str]:
    truth = challenge / "truth.zarr"
    arguments = ("score", truth, "--truth", truth, "--manifest", challenge, "--json", "r.json")
    return [sys.executable, "-c", START, *map(str, (*arguments, *more))]


def environment() -> dict[str, str]:
    return os.environ | {"PYTHONPATH": str(Path(evaluator.__file__).parents[1])}


def start(challenge: Path, folder: Path, *more: object) -> subprocess.Popen[str]:
    """A run that has finished two targets or more, in a session of its own."""
    process = subprocess.Popen(
        command(challenge, *more), cwd=folder, env=environment(), text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True,
    )  # fmt: skip
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and process.poll() is None:
        with contextlib.suppress(OSError):
            if (folder / JOURNAL).read_text().count("\n") >= 3:
                return process
        time.sleep(0.002)
    pytest.fail(f"no target was finished in time: {process.communicate()}")


def finish(challenge: Path, folder: Path, *more: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command(challenge, *more), cwd=folder, env=environment(),
        capture_output=True, text=True, check=True,
    )  # fmt: skip


def wait_for_the_end_of_all(group: int) -> None:
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        try:
            os.killpg(group, 0)
        except ProcessLookupError:
            return
        time.sleep(0.01)
    pytest.fail("processes live on")


@pytest.mark.parametrize("jobs", [1, 2])
def test_a_killed_run_is_taken_up_and_gives_the_same_bytes(challenge, expected, tmp_path, jobs):
    killed = start(challenge, tmp_path, "--jobs", jobs)
    killed.kill()
    killed.communicate()
    wait_for_the_end_of_all(killed.pid)
    assert not (tmp_path / "r.json").exists()
    with (tmp_path / JOURNAL).open("a") as journal:
        journal.write('{"crop": "crop9", "lab')
    again = finish(challenge, tmp_path, "--jobs", jobs)
    assert (tmp_path / "r.json").read_text() == expected
    assert " of 7 targets that an interrupted run had scored" in again.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["r.json"]


@pytest.mark.parametrize("jobs", [1, 2])
def test_ctrl_c_is_a_sentence_and_keeps_what_is_finished(challenge, expected, tmp_path, jobs):
    stopped = start(challenge, tmp_path, "--jobs", jobs)
    os.killpg(stopped.pid, signal.SIGINT)
    out, err = stopped.communicate()
    assert (stopped.returncode, out) == (130, "")
    assert err.startswith("Stopped; ")
    assert err.endswith("scored. The same command goes on from there.\n")
    assert err.count("\n") == 1
    wait_for_the_end_of_all(stopped.pid)
    kept = (tmp_path / JOURNAL).read_text().count("\n") - 1
    again = finish(challenge, tmp_path, "--timings", "t.json")
    assert f"Took over {kept} of 7 targets" in again.stderr
    assert (tmp_path / "r.json").read_text() == expected
    assert len(json.loads((tmp_path / "t.json").read_text())) == 7 - kept


def test_a_journal_of_other_rules_is_not_taken_over(challenge, tmp_path):
    killed = start(challenge, tmp_path)
    killed.kill()
    killed.communicate()
    other = finish(challenge, tmp_path, "--labels", "mito", "--crops", "1,2")
    assert "is of another run" in other.stderr
    assert "Took over" not in other.stderr
    assert len(json.loads((tmp_path / "r.json").read_text())["targets"]) == 2


def test_without_a_file_for_the_result_nothing_is_kept(challenge, tmp_path):
    done = subprocess.run(
        [*command(challenge)[:-1], "-", "--crops", "1"], cwd=tmp_path, env=environment(),
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert json.loads(done.stdout)["targets"]
    assert list(tmp_path.iterdir()) == []


def test_a_rejected_submission_leaves_no_journal(challenge, tmp_path):
    arguments = command(challenge)
    arguments[4] = str(challenge / "manifest.csv")
    done = subprocess.run(
        arguments, cwd=tmp_path, env=environment(), capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert "is not a zip file" in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_the_slowest_target_is_named():
    assert timings({"a/b": 1.0, "c/d": 2.5}) == (
        "2 targets in 3.5 s of work; slowest c/d, 2.5 s."
    )  # fmt: skip
    assert timings({}) == "Every target was taken over from an interrupted run."


def test_there_is_a_processor():
    assert processors() >= 1


def test_a_run_of_which_every_target_is_kept_scores_nothing_again(challenge, expected, tmp_path):
    killed = start(challenge, tmp_path)
    killed.kill()
    killed.communicate()
    truth, manifest = challenge / "truth.zarr", load_manifest(challenge)
    rules = get_protocol("crista-1")
    scorer = Scorer.open(truth, manifest, truth, rules)
    with (tmp_path / JOURNAL).open("a") as journal:
        for target in manifest.targets:
            journal.write(canonical_json(scorer.score(target).to_json()))
    again = finish(challenge, tmp_path)
    assert "Took over 7 of 7 targets" in again.stderr
    assert "Every target was taken over" in again.stderr
    assert (tmp_path / "r.json").read_text() == expected


def test_what_is_done_is_not_scored_again(challenge, expected):
    truth, manifest = challenge / "truth.zarr", load_manifest(challenge)
    rules, told = get_protocol("crista-1"), []
    scorer = Scorer.open(truth, manifest, truth, rules)
    done = [scorer.score(target) for target in manifest.targets[:5]]
    result = score_submission(
        truth, truth=truth, manifest=manifest, protocol=rules, done=done,
        progress=lambda score, seconds: told.append(score.path),
    )  # fmt: skip
    assert sorted(told) == [target.path for target in manifest.targets[5:]]
    assert result.to_json() == expected


def bar_over(voxels: list[int], *, done: int) -> tuple[Bar, Progress, list[TargetScore]]:
    """A bar over targets of so many voxels, the first ones of which are done."""
    targets = tuple(
        Target(Crop(str(number), "d"), LABELS[1], VoxelGrid((1, 1, n), (1.0,) * 3, (0.0,) * 3))
        for number, n in enumerate(voxels)
    )
    scores = [TargetScore(t.crop.folder, "mito", Status.SCORED, t.grid.voxels, Sums(), "")
              for t in targets]  # fmt: skip
    console = Console(file=io.StringIO(), width=80, force_terminal=False)
    progress = Progress(console=console, disable=True)
    return Bar(progress, Manifest(targets), tuple(scores[:done])), progress, scores


def test_the_bar_fills_by_voxels_and_what_was_taken_over_is_filled():
    bar, progress, scores = bar_over([10, 10, 80], done=1)
    (task,) = progress.tasks
    assert (task.percentage, task.description) == (10.0, "2 targets left")
    bar.advance(scores[1])
    assert (task.percentage, task.description) == (20.0, "1 target left")
    bar.advance(scores[2])
    assert task.finished


def test_a_terminal_sees_the_bar_and_nothing_of_it_remains(challenge, tmp_path):
    """`script` gives the command a terminal of its own."""
    if not (script := shutil.which("script")):
        pytest.skip("no command `script` (on Debian: apt install bsdutils)")
    line = shlex.join([*command(challenge), "--verbose"])
    done = subprocess.run(
        [script, "-qec", line, "/dev/null"], cwd=tmp_path, env=environment() | {"TERM": "xterm"},
        capture_output=True, text=True, check=True, stdin=subprocess.DEVNULL,
    )  # fmt: skip
    assert "targets left" in done.stdout
    assert "ETA" in done.stdout
    assert "crop1/mito: scored, " in done.stdout
