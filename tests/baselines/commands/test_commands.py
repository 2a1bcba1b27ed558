"""The commands one after the other on a tiny phantom, and what stands in their way."""

import json
import shutil

import numpy as np
import pytest

from baselines.layout import DataFolder, Purpose
from baselines.predicting.tiling import plan_tiling
from baselines.runs.checkpoint import Run
from evaluator.geometry import VoxelGrid
from evaluator.manifest import load_manifest
from evaluator.submission import check_submission
from evaluator.volume import create_volume, open_volume
from tests.baselines.commands.conftest import called

CROP = "phantom-hidden-1"
TINY = (
    "--device", "cpu", "--set", "training.iterations=2", "--set", "training.batch=1",
    "--set", "training.patch=[1,32,32]", "--set", "model.width=8", "--set", "model.levels=2",
    "--set", "prediction.block=[3,32,48]", "--set", "prediction.memory_gb=0",
)  # fmt: skip


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """data, run, pred and entry.zip, made by the commands.  Tests only read them."""
    folder = tmp_path_factory.mktemp("place")
    data, run, pred = folder / "data", folder / "run", folder / "pred"
    size = ("--shape", "12,64,64", "--voxel-size", "8,8,8", "--cell-size", 300, "--seed", 2)
    assert called("phantom", data, *size, "--crops", "train:1,hidden:1") == 0
    assert called("train", "unet2d", "--data", data, "--out", run, *TINY) == 0
    assert called("predict", run, "--data", data, "--out", pred, "--device", "cpu") == 0
    packed = ("--manifest", data / "challenge", "--out", folder / "entry.zip")
    assert called("pack", pred, *packed) == 0
    return folder


def test_the_entry_holds_every_target_and_is_accepted(place):
    report = check_submission(place / "entry.zip", load_manifest(place / "data/challenge"))
    assert report.accepted
    assert set(report.targets.values()) == {"ok"}
    assert len(report.targets) == 9  # labels of the phantom, in one hidden crop


def test_the_run_says_all_that_it_was_made_with(place):
    config = json.loads((place / "run/config.json").read_text())
    assert config["training"]["iterations"] == 2
    assert config["model"]["width"] == 8
    assert config["data"]["voxel_size"] == [8.0, 8.0, 8.0]
    assert len(config["data"]["labels"]) == 9
    assert config["training"]["clip"] == 1.0  # a default, written out
    names = {path.name for path in (place / "run").iterdir()}
    assert names >= {"config.json", "best_model.safetensors", "results.json", "curves_loss.png"}


def test_every_block_is_noted_once_and_no_voxel_lies_in_two(place):
    config = Run(place / "run").config()
    tiling = plan_tiling((12, 64, 64), config.prediction, (1, 1, 1))
    lines = (place / "pred" / CROP / "progress.jsonl").read_text().splitlines()
    done = [json.loads(line)["done"] for line in lines[1:]]
    assert sorted(map(tuple, done)) == sorted(block.start for block in tiling.blocks())
    assert len(done) == 16  # 4 along Z, 2 along Y, 2 along X
    written = np.zeros((12, 64, 64), int)
    for block in tiling.blocks():
        written[block.slices] += 1
    assert (written == 1).all()


def test_training_again_goes_on_from_nothing_new(place, tmp_path):
    shutil.copytree(place / "run", tmp_path / "run")
    before = (tmp_path / "run/best_model.safetensors").read_bytes()
    again = ("train", "unet2d", "--data", place / "data", "--out", tmp_path / "run", *TINY)
    assert called(*again) == 0
    assert (tmp_path / "run/best_model.safetensors").read_bytes() == before


def test_predicting_again_reads_no_block_and_gives_the_same(place, tmp_path, command):
    shutil.copytree(place / "pred", tmp_path / "pred")
    arguments = ("--data", place / "data", "--out", tmp_path / "pred", "--device", "cpu")
    status, said = command("predict", place / "run", *arguments)
    assert status == 0
    assert "block" not in said
    for name in ("cell", "mem"):
        one, two = (open_volume(f / "pred" / CROP / name).read() for f in (place, tmp_path))
        np.testing.assert_array_equal(one, two)


def test_other_settings_in_a_run_that_exists_are_refused(place, refused):
    changed = (*TINY, "--set", "training.lr=0.1")
    said = refused("train", "unet2d", "--data", place / "data", "--out", place / "run", *changed)
    assert "holds a run with other settings (training.lr)" in said


@pytest.mark.parametrize("content", [b"", b"\x08" * 7, b"\xff" * 4000])
def test_a_damaged_model_is_refused(place, tmp_path, refused, content):
    shutil.copytree(place / "run", tmp_path / "run")
    (tmp_path / "run/best_model.safetensors").write_bytes(content)
    arguments = ("--data", place / "data", "--out", tmp_path / "pred", "--device", "cpu")
    said = refused("predict", tmp_path / "run", *arguments)
    assert "Model file invalid: " in said
    assert "best_model.safetensors: it is damaged" in said
    assert not (tmp_path / "pred").exists()


def test_half_a_model_is_refused(place, tmp_path, refused):
    shutil.copytree(place / "run", tmp_path / "run")
    weights = tmp_path / "run/best_model.safetensors"
    weights.write_bytes(weights.read_bytes()[: weights.stat().st_size // 2])
    said = refused("predict", tmp_path / "run", "--data", place / "data", "--out", tmp_path / "o")
    assert "Model file invalid: " in said


def test_a_model_does_not_guess_about_other_voxel_sizes(place, tmp_path, refused):
    (tmp_path / "labels.toml").write_bytes((place / "data/labels.toml").read_bytes())
    grid = VoxelGrid((4, 32, 32), (30.0, 8.0, 8.0))
    create_volume(tmp_path / "hidden/a/raw", grid, np.uint8, multiscale=True)
    said = refused("predict", place / "run", "--data", tmp_path, "--out", tmp_path / "pred")
    assert "voxels of (30.0, 8.0, 8.0) nm" in said
    assert "(8.0, 8.0, 8.0) nm (Z, Y, X) that the model sees" in said
    assert not (tmp_path / "pred").exists()


def test_a_model_accepts_voxels_that_differ_by_less_than_a_twentieth(place, tmp_path):
    (tmp_path / "labels.toml").write_bytes((place / "data/labels.toml").read_bytes())
    grid = VoxelGrid((2, 32, 32), (8.3, 7.7, 8.0))
    raw = create_volume(tmp_path / "hidden/a/raw", grid, np.uint8, multiscale=True)
    raw[:] = np.random.default_rng(0).integers(1, 255, grid.shape, np.uint8)
    arguments = ("--data", tmp_path, "--out", tmp_path / "pred", "--device", "cpu")
    assert called("predict", place / "run", *arguments) == 0
    assert open_volume(tmp_path / "pred/a/mem").grid == grid


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("training.stepz=3", "unknown key training.stepz (did you mean training.seed?)"),
        ("trainer.iterations=3", "unknown key trainer"),
        ("training.iterations=many", "training.iterations must be: whole number; not 'many'"),
        ("training.iterations=0", "training.iterations is 0; the least that can be is 1"),
        ("training.compile=1", "training.compile must be: text"),
        ("training.precision=fp8", "training.precision is one of auto, fp32, bf16, not fp8"),
        ("training.patch=[3,32,32]", "one plane when model.dims is 2"),
        ("training.patch=[1,32,33]", "Y and X must be multiples of"),
        ("prediction.overlap=[0,200,200]", "prediction.overlap is at most half"),
        ("model.width=12", "model.width 12 must be a multiple of 8; the nearest is 16"),
        ("model.name=transformer", "transformer"),
        ("data.labels=['golgi']", "no annotated voxels for class(es): golgi"),
        ("data.voxel_size=[8,8]", "data.voxel_size has three values (Z, Y, X) above 0 nm"),
        ("data.voxel_size=[4,4,4]", "4.0, 4.0, 4.0"),
        ("steps", "needs the form key=value"),
    ],
)
def test_settings_that_cannot_be_used_are_refused_before_training(
    place, tmp_path, refused, override, words
):
    out = tmp_path / "run"
    said = refused("train", "unet2d", "--data", place / "data", "--out", out, "--set", override)
    assert words in said
    assert not out.exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("phantom", "o", "--shape", "0.5,16,16"), "--shape needs whole numbers"),
        (("phantom", "o", "--shape", "nan,16,16"), "--shape needs numbers above 0"),
        (("phantom", "o", "--shape", "inf,16,16"), "--shape needs numbers above 0"),
        (("phantom", "o", "--voxel-size", "4,4"), "--voxel-size needs three numbers"),
        (("phantom", "o", "--crops", "train:0,hidden:0"), "--crops needs at least one crop"),
        (("import-stack", "--out", "o", "--from", "none.toml"), "none.toml is missing"),
        (("import-stack", "--out", "o", "--raw", "r.tif"), "--raw and --voxel-size"),
        (("import-stack", "--out", "o", "--raw", "r.tif", "--voxel-size", "4,4"), "three numbers"),
        (("import-stack", "--out", "o", "--raw", "r.tif", "--voxel-size", "0,4,4"), "above 0"),
        (("train", "none.toml", "--data", "d", "--out", "o"), "none.toml is no file"),
        (("train", "unet3d", "--data", "d", "--out", "o"), "d is no folder"),
        (("predict", "r", "--data", "d", "--out", "o"), "r holds no run"),
        (("threshold", "--data", "d", "--out", "o"), "d has no hidden crops"),
        (("pack", "p", "--manifest", "d", "--out", "o"), "d"),
    ],
)
def test_in_an_empty_folder_every_command_says_what_it_lacks(
    tmp_path, monkeypatch, refused, arguments, words
):
    monkeypatch.chdir(tmp_path)
    assert words in refused(*arguments)
    assert list(tmp_path.iterdir()) == []


def test_data_that_is_not_there_is_named_by_predict(place, tmp_path, refused):
    said = refused("predict", place / "run", "--data", tmp_path / "none", "--out", tmp_path / "o")
    assert str(tmp_path / "none") in said


@pytest.mark.parametrize("name", ["phantom", "train", "predict", "threshold"])
def test_a_file_where_a_folder_should_be_is_named_and_left_as_it_is(place, tmp_path, refused, name):
    file = tmp_path / "file"
    file.write_text("mine")
    data = ("--data", place / "data", "--out", file)
    arguments = {
        "phantom": (file, "--shape", "2,16,16"),
        "train": ("unet2d", *data, *TINY),
        "predict": (place / "run", *data, "--device", "cpu"),
        "threshold": data,
    }[name]
    assert str(file) in refused(name, *arguments)
    assert file.read_text() == "mine"


def test_an_entry_is_not_written_over_a_folder(place, tmp_path, refused):
    (tmp_path / "entry").mkdir()
    packed = ("--manifest", place / "data/challenge", "--out", tmp_path / "entry")
    assert "entry" in refused("pack", place / "pred", *packed)


def test_a_target_without_prediction_is_named_when_packing(place, tmp_path, command):
    shutil.copytree(place / "pred", tmp_path / "pred")
    shutil.rmtree(tmp_path / "pred" / CROP / "mito")
    packed = ("--manifest", place / "data/challenge", "--out", tmp_path / "entry.zip")
    status, said = command("pack", tmp_path / "pred", *packed)
    assert status == 0
    assert "unscored: no prediction of mito in any crop" in said
    report = check_submission(tmp_path / "entry.zip", load_manifest(place / "data/challenge"))
    assert report.targets[f"{CROP}/mito"] == "missing"
    assert report.targets[f"{CROP}/mem"] == "ok"


def test_the_hidden_truth_plays_no_part_in_a_prediction(place, tmp_path):
    shutil.copytree(place / "data", tmp_path / "data")
    shutil.rmtree(tmp_path / "data/challenge/truth.zarr")
    arguments = ("--data", tmp_path / "data", "--out", tmp_path / "pred", "--device", "cpu")
    assert called("predict", place / "run", *arguments) == 0
    one, two = (open_volume(f / "pred" / CROP / "cell").read() for f in (place, tmp_path))
    np.testing.assert_array_equal(one, two)


def test_the_reference_entry_does_not_look_at_the_training_crops(place, tmp_path):
    shutil.copytree(place / "data", tmp_path / "data")
    shutil.rmtree(tmp_path / "data/train")
    for data, out in ((place / "data", "one"), (tmp_path / "data", "two")):
        assert called("threshold", "--data", data, "--out", tmp_path / out) == 0
    for target in DataFolder(place / "data").manifest(Purpose.HIDDEN).targets:
        one, two = (open_volume(tmp_path / n / target.path).read() for n in ("one", "two"))
        np.testing.assert_array_equal(one, two)
