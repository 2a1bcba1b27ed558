import threading

import pytest
import torch

from baselines.config import ConfigError
from baselines.runs.checkpoint import Run
from baselines.runs.diagnosis import RATE
from baselines.runs.journal import Noted, Trained, Validated
from baselines.runs.lock import locked
from baselines.runs.status import Stage, describe, follow, status_of
from baselines.training.train import train
from tests.baselines.conftest import tiny

CPU = torch.device("cpu")


def begun(folder, *events):
    run = Run(folder)
    run.begin(tiny())
    for event in events:
        run.log(event)
    return run


def trained(n, loss=0.5):
    return Trained(n, 100, 1, 2, (loss,) * 20, 1e-3, seconds=90.0, left=30.0, speed=9.0)


BEGUN, DONE = Noted(0, "begun", "100 iterations"), Noted(100, "done", "done")


def test_each_stage_is_told_from_the_files_alone(tmp_path):
    assert status_of(begun(tmp_path / "a")).stage is Stage.NEW
    assert status_of(begun(tmp_path / "b", BEGUN, trained(20))).stage is Stage.BROKEN
    assert status_of(begun(tmp_path / "c", BEGUN, DONE)).stage is Stage.DONE
    stopped = begun(tmp_path / "d", BEGUN, Noted(7, "stopped", "stopped by SIGTERM"))
    assert status_of(stopped).stage is Stage.STOPPED
    with locked(stopped.lock):
        assert status_of(stopped).stage is Stage.RUNNING


def test_a_run_that_goes_on_after_a_stop_and_dies_is_broken(tmp_path):
    stopped, resumed = Noted(7, "stopped", "stopped"), Noted(7, "resumed", "going on")
    assert status_of(begun(tmp_path, BEGUN, stopped, resumed)).stage is Stage.BROKEN


def test_a_folder_that_is_no_run_says_so(tmp_path):
    with pytest.raises(ConfigError, match="holds no run"):
        status_of(Run(tmp_path))


def test_people_read_stage_pid_progress_dice_and_hints(tmp_path):
    check = Validated(40, 0.4, {"cell": 0.8, "mem": 0.6}, 0.7, True)
    run = begun(tmp_path, BEGUN, trained(20), trained(40), check)
    with locked(run.lock):
        text = describe(status_of(run))
    assert "running (pid " in text
    assert "iteration 40/100  epoch 1/2" in text
    assert "30 s left" in text
    assert "1:30 so far" in text
    assert "cell: 0.8000" in text
    assert RATE in text  # the loss has not moved


def test_a_follower_hears_everything_until_the_training_ends(phantom, tmp_path):
    run, said = Run(tmp_path), []
    begin = threading.Event()

    def watch():
        begin.wait()
        follow(run, said.append, every=0.02)

    watcher = threading.Thread(target=watch)
    watcher.start()
    train(
        tiny(iterations=45), phantom, run, device=CPU, progress=lambda _: None,
        sinks=[lambda _: begin.set()],
    )  # fmt: skip
    watcher.join()
    assert said[0].startswith("45 iterations on cpu")
    assert said[-1].startswith("done")
    assert len(said) == len(run.events())
