"""The command as a process that is killed, asked to stop, and started again."""

import os
import shutil
import signal
import subprocess
import sys
import time

import pytest
import torch

from baselines.config import load_config, to_json
from baselines.runs.checkpoint import Run
from baselines.runs.journal import Noted, Trained
from baselines.training.train import train
from tests.baselines.conftest import tiny

ITERATIONS = 40


def command(phantom, config, out):
    return [
        sys.executable, "-m", "baselines", "train", str(config), "--data", str(phantom.root),
        "--out", str(out), "--device", "cpu",
    ]  # fmt: skip


@pytest.fixture(scope="module")
def config(tmp_path_factory):
    path = tmp_path_factory.mktemp("config") / "config.json"
    path.write_text(to_json(tiny(
        iterations=ITERATIONS, precision="fp32", save_every=5, validate_every=20, batch=4
    )))  # fmt: skip
    return path


def trained(phantom, config, folder):
    """What the command does, in this process: to the end, from where the folder stands."""
    run = Run(folder)
    train(load_config(config), phantom, run, device=torch.device("cpu"), progress=lambda _: None)
    return run


@pytest.fixture(scope="module")
def whole(phantom, config, tmp_path_factory):
    """The same training, never interrupted."""
    return trained(phantom, config, tmp_path_factory.mktemp("whole") / "run")


@pytest.fixture(scope="module")
def stopped(phantom, config, tmp_path_factory):
    """The folder of a training that was asked to stop, what it said, and its exit status."""
    folder = tmp_path_factory.mktemp("stopped") / "run"
    with started(command(phantom, config, folder), folder, iteration=5) as child:
        child.send_signal(signal.SIGTERM)
        said = child.communicate(timeout=60)[1]
    return folder, said, child.returncode


def started(arguments, folder, *, iteration):
    """A process that has just saved at an iteration, or a later one."""
    child = subprocess.Popen(
        arguments, env={**os.environ, "OMP_NUM_THREADS": "1"}, stderr=subprocess.PIPE, text=True
    )
    until = time.monotonic() + 120
    while not (folder / f"checkpoints/{iteration:09}.safetensors").exists():
        assert child.poll() is None, child.stderr.read()
        assert time.monotonic() < until
        time.sleep(0.002)
    return child


def losses(of):
    return [loss for e in of.events() if isinstance(e, Trained) for loss in e.losses]


def assert_same(one, other):
    assert losses(one) == losses(other)
    assert len(losses(one)) == ITERATIONS
    weights = one.model().state_dict(), other.model().state_dict()
    assert all(torch.equal(value, weights[1][name]) for name, value in weights[0].items())


def test_a_killed_training_goes_on_with_the_same_curve_to_the_last_digit(
    phantom, config, whole, stopped, tmp_path
):
    folder = tmp_path / "killed"
    shutil.copytree(stopped[0], folder)  # it was stopped before, and goes on from there
    with started(command(phantom, config, folder), folder, iteration=20) as child:
        child.send_signal(signal.SIGKILL)
        said = child.communicate(timeout=60)[1]
        assert not (folder / "results.json").exists()
    assert "going on from iteration" in said
    assert_same(trained(phantom, config, folder), whole)


def test_a_training_that_is_asked_to_stop_saves_and_says_so(stopped):
    folder, said, status = stopped
    assert status == 130
    assert "stopped by SIGTERM after iteration" in said
    assert "Traceback" not in said
    (noted,) = (e for e in Run(folder).events() if isinstance(e, Noted) and e.event == "stopped")
    assert Run(folder).load_last()["standing"]["iteration"] == noted.iteration < ITERATIONS
