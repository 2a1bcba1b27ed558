"""Predicting what a model was trained on is told, with the planes."""

import dataclasses

import numpy as np
import pytest
import tifffile

from baselines.config import Config, build
from baselines.predicting.learnt import notices
from baselines.predicting.prediction import predict
from baselines.predicting.subjects import images_at
from baselines.predicting.team import team_of
from baselines.runs.checkpoint import Run
from baselines.training.train import train
from evaluator.geometry import VoxelGrid
from tests.baselines.conftest import tiny
from tests.baselines.predicting.test_prediction import CPU, quiet, run_in


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A stack of which planes 2 to 9 are annotated and used, and a run of them."""
    folder = tmp_path_factory.mktemp("place")
    grey = np.random.default_rng(0).integers(60, 180, (16, 48, 48)).astype(np.uint8)
    mask = np.zeros_like(grey)
    mask[:, 8:30, 8:30] = 1
    for name, stack in (("images/a.tif", grey), ("masks/a.tif", mask), ("b.tif", grey)):
        (folder / name).parent.mkdir(exist_ok=True)
        tifffile.imwrite(folder / name, stack, photometric="minisblack")
    data = {"planes": [2, 10], "labels": ["class1"]}
    config = dataclasses.replace(
        tiny(iterations=1), data=build(Config, {"data": data}, where="").data
    )
    train(config, folder, Run(folder / "run"), device=CPU, progress=quiet)
    return folder


def test_a_prediction_of_planes_that_were_trained_on_is_told_of(place, tmp_path):
    said = []
    run = Run(place / "run")
    for name in ("images/a.tif", "b.tif"):  # the same grey values, but another file
        predict(
            team_of([run]), images_at([place / name]), tmp_path, device="cpu", progress=said.append
        )
    (told,) = [line for line in said if "trained on planes" in line]
    # Of the planes 2 to 9, the last two are kept to validate on.
    assert told.startswith("warning: a: the model was trained on planes 2 to 7 of it (crop a)")


def noted(folder, split, *, seed=0):
    return run_in(folder, seed=seed, results={"thresholds": {}, "split": split})


def test_of_a_crop_in_the_same_raw_only_what_overlaps_is_told(tmp_path):
    raw = tmp_path / "fibsem-uint8"
    trained = {
        "raw": str(raw), "voxel_size_nm": [4.0] * 3, "offset_nm": [102.0] * 3,
        "training": [[[0, 0, 0], [10, 10, 10]]], "validation": [[[10, 0, 0], [20, 10, 10]]],
    }  # fmt: skip
    run = noted(tmp_path / "run", {"crop1": trained})  # 100 to 140 nm
    inside = VoxelGrid((10, 10, 10), (8.0,) * 3, (84.0,) * 3)  # 80 to 160 nm
    (told,) = notices("crop9", raw, inside, [run, noted(tmp_path / "two", {"crop1": trained})])
    assert "crop9: the model was trained on planes 2 to 7 of it (crop crop1)" in told
    beside = dataclasses.replace(inside, offset=(84.0, 84.0, 144.0))  # X from 140 nm
    assert notices("crop9", raw, beside, [run]) == []
    below = dataclasses.replace(inside, offset=(144.0, 84.0, 84.0))  # it validated there
    assert notices("crop9", raw, below, [run]) == []
    assert notices("crop9", tmp_path / "other", inside, [run]) == []


def test_runs_that_did_not_note_where_they_learnt_say_nothing(tmp_path):
    old = {"a": {"training": [[[0, 0, 0], [1, 1, 1]]], "validation": []}}
    grid = VoxelGrid((4, 4, 4), (8.0,) * 3)
    runs = [noted(tmp_path / "old", old), run_in(tmp_path / "none")]
    assert notices("a", tmp_path / "a.tif", grid, runs) == []
