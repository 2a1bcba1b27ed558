"""`baselines predict` as it is typed."""

import json
import re

import numpy as np
import pytest
import tifffile

from baselines.runs.checkpoint import save_ensemble
from tests.baselines.predicting.test_prediction import run_in


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A run, a model file with its settings, and a stack.  Tests only read them."""
    folder = tmp_path_factory.mktemp("place")
    run = run_in(folder / "run")
    (folder / "model.pth").write_bytes((run.folder / "best_model.pth").read_bytes())
    grey = np.random.default_rng(0).integers(60, 180, (6, 40, 40)).astype(np.uint8)
    (folder / "stacks").mkdir()
    tifffile.imwrite(folder / "stacks/mine.tif", grey, photometric="minisblack")
    return folder


def test_a_stack_is_predicted_with_a_model_file_and_progress_is_told(place, tmp_path, command):
    status, said = command(
        "predict", "--model", place / "model.pth", "--config", place / "run/config.json",
        "--image", place / "stacks/mine.tif", "--out", tmp_path, "--device", "cpu",
        "--set", "prediction.output=both", "--set", "prediction.memory_gb=0",
    )  # fmt: skip
    assert status == 0, said
    assert re.search(
        r"mine: block 1 of 2, 5 of 6 planes, \S+ million voxels/s, \d+ s left\n"
        r"mine: block 2 of 2, 6 of 6 planes, \S+ million voxels/s, 0 s left\n",
        said,
    )
    assert f"done: {tmp_path} holds 1 prediction\n" in said
    assert tifffile.imread(tmp_path / "mine/segmentation.tif").shape == (6, 40, 40)
    assert json.loads((tmp_path / "mine/metadata.json").read_text())["shape"] == [6, 40, 40]


def test_an_ensemble_is_a_folder_of_runs_and_tells_its_doubt(place, tmp_path, command):
    for seed in (1, 2):
        run_in(tmp_path / "all" / f"fold-{seed}", seed=seed)
    save_ensemble(tmp_path / "all", ["fold-1", "fold-2"])
    status, said = command(
        "predict", tmp_path / "all", "--images", place / "stacks", "--out", tmp_path / "pred",
        "--device", "cpu", "--set", "prediction.uncertainty=true",
    )  # fmt: skip
    assert status == 0, said
    assert (tmp_path / "pred/mine/uncertainty/mem/.zarray").is_file()
    about = json.loads((tmp_path / "pred/mine/metadata.json").read_text())
    assert [name.rsplit("/", 1)[1] for name in about["model"]] == ["fold-1", "fold-2"]


def test_a_run_and_a_model_file_exclude_each_other(place, tmp_path, command):
    where = ("--images", place / "stacks", "--out", tmp_path / "o")
    both = (place / "run", "--model", place / "model.pth", "--config", place / "run/config.json")
    for given in (both, (), ("--model", place / "model.pth")):
        status, said = command("predict", *given, *where)
        assert status == 2
        assert "give the folder of a run, or --model together with --config" in said


def test_what_to_predict_is_said_once(place, tmp_path, command):
    stacks = ("--images", place / "stacks")
    one = ("--image", place / "stacks/mine.tif")
    for given in ((), (*stacks, *one)):
        status, said = command("predict", place / "run", *given, "--out", tmp_path / "o")
        assert status == 2
        assert "give one of --data, --image and --images" in said


def test_settings_of_the_training_cannot_be_changed_any_more(place, tmp_path, command):
    status, said = command(
        "predict", place / "run", "--images", place / "stacks", "--out", tmp_path / "o",
        "--set", "model.width=16",
    )  # fmt: skip
    assert status == 2
    assert "--set model.width=16: a trained network keeps its settings" in said
    assert not (tmp_path / "o").exists()
