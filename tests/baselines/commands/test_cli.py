import numpy as np
import pytest
import tifffile
from typer.testing import CliRunner

from baselines.cli import app
from baselines.layout import DataFolder, Purpose
from evaluator.manifest import load_manifest
from evaluator.submission import check_submission


def call(*arguments):
    return CliRunner().invoke(app, [str(a) for a in arguments])


def test_from_nothing_to_an_accepted_submission(tmp_path):
    data, run, out = tmp_path / "data", tmp_path / "run", tmp_path / "out.zip"
    steps = [
        ("phantom", data, "--shape", "12,64,64", "--voxel-size", "8,8,8", "--cell-size", 300,
         "--seed", 2),
        ("train", "unet2d", "--data", data, "--out", run, "--set", "training.iterations=3",
         "--set", "model.width=8", "--set", "training.patch=[1,32,32]", "--set", "model.levels=2",
         "--device", "cpu"),
        ("predict", run, "--data", data, "--out", tmp_path / "pred", "--device", "cpu"),
        ("pack", tmp_path / "pred", "--manifest", data / "challenge", "--out", out),
    ]  # fmt: skip
    for step in steps:
        result = call(*step)
        assert result.exit_code == 0, (step, result.output)
    report = check_submission(out, load_manifest(data / "challenge"))
    assert report.accepted
    assert set(report.targets.values()) == {"ok"}


def test_counts_of_crops_are_taken_from_the_option(tmp_path):
    arguments = ("--shape", "2,16,16", "--crops", "train:1,hidden:0")
    assert call("phantom", tmp_path, *arguments).exit_code == 0
    assert DataFolder(tmp_path).crops(Purpose.TRAIN) == ["phantom-train-1"]
    assert DataFolder(tmp_path).crops(Purpose.HIDDEN) == []


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("phantom", "x", "--shape", "1,2"), "--shape needs three numbers"),
        (("phantom", "x", "--voxel-size", "0,1,1"), "above 0"),
        (("phantom", "x", "--crops", "two"), "--crops needs the form"),
        (("import-stack", "--out", "x"), "needs --from stack.toml, or --raw"),
        (("train", "unet9d", "--data", "x", "--out", "y"), "unet2d, unet3d"),
        (("train", "unet2d", "--data", "x", "--out", "y"), "is no folder"),
        (("predict", "x", "--data", "y", "--out", "z"), "holds no run"),
        (("threshold", "--data", "x", "--out", "y"), "has no hidden crops"),
        (("pack", "x", "--manifest", "y", "--out", "z"), "is missing"),
    ],
)
def test_a_mistake_is_one_sentence_and_status_two(arguments, words, tmp_path, monkeypatch, refused):
    monkeypatch.chdir(tmp_path)
    assert words in refused(*arguments)


def write_stacks(folder):
    labels = np.zeros((2, 24, 24), np.uint8)
    labels[:, 4:8, 4:8], labels[:, :, 12] = 2, 1
    raw = np.random.default_rng(0).integers(1, 255, labels.shape, np.uint8)
    for name, stack in (("raw.tif", raw), ("labels.tif", labels)):
        tifffile.imwrite(folder / name, stack, photometric="minisblack")


def bring(folder, out, *more):
    return call(
        "import-stack", "--raw", folder / "raw.tif", "--labels", folder / "labels.tif",
        "--classes", "membrane=1:semantic", "--classes", "mito=2:instance",
        "--voxel-size", "50,4.6,4.6", "--out", out, *more,
    )  # fmt: skip


def test_stacks_become_crops_in_several_calls(tmp_path):
    write_stacks(tmp_path)
    out = tmp_path / "data"
    assert bring(tmp_path, out, "--crop", "a", "--planes", "0:1").exit_code == 0
    hidden = bring(tmp_path, out, "--crop", "b", "--split", "hidden", "--planes", "1:2")
    assert hidden.exit_code == 0
    assert DataFolder(out).crops(Purpose.TRAIN) == ["a"]
    assert list(DataFolder(out).manifest(Purpose.HIDDEN).by_path) == ["b/membrane", "b/mito"]


def test_the_reference_entry_is_made_and_packed_without_training(tmp_path):
    write_stacks(tmp_path)
    out, packed = tmp_path / "data", tmp_path / "out.zip"
    bring(tmp_path, out, "--split", "hidden")
    assert call("threshold", "--data", out, "--out", tmp_path / "pred").exit_code == 0
    result = call("pack", tmp_path / "pred", "--manifest", out / "challenge", "--out", packed)
    assert result.exit_code == 0
    assert "accepted" in result.output


@pytest.mark.parametrize("planes", ["1", "a:b", "1-2"])
def test_planes_need_their_form(tmp_path, planes):
    write_stacks(tmp_path)
    result = bring(tmp_path, tmp_path / "data", "--planes", planes)
    assert result.exit_code != 0
    assert "--planes needs the form FIRST:LAST" in str(result.exception)


def test_help_names_every_command():
    said = call("--help").output
    for command in ("phantom", "import-stack", "train", "predict", "threshold", "pack"):
        assert command in said
