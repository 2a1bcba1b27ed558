"""train, explain, export, import and runs, as they are called."""

import json
import re
import shutil
import zipfile
from datetime import datetime

import numpy as np
import pytest
import tifffile
from PIL import Image
from typer.testing import CliRunner

from baselines.cli import app
from baselines.config import build, load_config
from baselines.config.schema import Config
from baselines.runs.inventory import archive_id, run_id

SMALL = (
    "--set", "training.iterations=2", "--set", "model.width=8", "--set", "model.levels=2",
    "--set", "training.patch=[1,32,32]", "--set", "prediction.tile=[1,32,32]",
    "--set", "prediction.overlap=[0,8,8]", "--device", "cpu",
)  # fmt: skip


def call(*arguments):
    return CliRunner().invoke(app, [str(a) for a in arguments])


def imwrite_png(path, image):
    Image.fromarray(image).save(path)


@pytest.fixture(scope="module")
def training(tmp_path_factory, phantom):
    """A run of two iterations, and what the command said.  Tests only read them."""
    folder = tmp_path_factory.mktemp("runs") / "a"
    result = call("train", "unet2d", "--data", phantom.root, "--out", folder, *SMALL)
    assert result.exit_code == 0, result.output
    return folder, result.output


@pytest.fixture(scope="module")
def trained(training):
    return training[0]


def test_a_summary_can_be_reviewed_before_training(phantom, tmp_path):
    out = tmp_path / "run"
    result = call("train", "unet2d", "--data", phantom.root, "--out", out, "--dry-run", *SMALL)
    assert result.exit_code == 0, result.output
    said = " ".join(result.output.split())
    for fact in ("voxel size 8 x 8 x 8 nm", "patch 1 x 32 x 32 voxels, 8 x 256 x 256 nm",
                 "iterations 2", "crops 2", "network unet 2D, plain blocks, 2 levels, 8 to 16",
                 "cell instance"):  # fmt: skip
        assert fact in said
    assert not out.exists()


def test_a_run_is_named_by_its_moment_and_its_name_if_no_folder_is_given(
    phantom, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    result = call("train", "unet2d", "--data", phantom.root, *SMALL)
    assert result.exit_code == 0, result.output
    (folder,) = (tmp_path / "runs").iterdir()
    assert re.fullmatch(r"\d{8}-\d{6}_unet2d", folder.name)
    assert (folder / "best_model.safetensors").is_file()


def test_folds_make_an_ensemble_of_as_many_networks_as_there_are_groups(phantom, tmp_path):
    result = call(
        "train", "unet2d", "--data", phantom.root, "--out", tmp_path, "--folds", "all", *SMALL
    )
    assert result.exit_code == 0, result.output
    named = json.loads((tmp_path / "ensemble.json").read_text())["members"]
    assert named == ["fold-0", "fold-1"]  # two crops
    for name in named:
        assert (tmp_path / name / "best_model.pth").is_file()
    splits = [load_config(tmp_path / name / "config.json").split for name in named]
    assert [(split.kind, split.fold) for split in splits] == [("kfold", 0), ("kfold", 1)]


def test_some_folds_may_be_trained_elsewhere(phantom, tmp_path):
    result = call(
        "train", "unet2d", "--data", phantom.root, "--out", tmp_path, "--folds", "1", *SMALL
    )
    assert result.exit_code == 0, result.output
    assert sorted(path.name for path in tmp_path.iterdir()) == ["ensemble.json", "fold-1"]


def test_the_status_of_a_run_is_told_at_any_time(trained, tmp_path, refused):
    said = call("status", trained).output
    assert said.startswith("done\n")
    assert "iteration 2/2" in said
    assert "holds no run" in refused("status", tmp_path)


def test_what_was_reached_is_told_at_the_end(training):
    folder, said = training
    stored = json.loads((folder / "results.json").read_text())
    assert set(stored["dice"]) >= {"cell", "mem"}
    for label, dice in stored["dice"].items():
        assert f"{label}: validation Dice {dice:.4f}" in said


def test_a_run_begins_with_another_one(trained, phantom, tmp_path, command):
    labels = ("--set", 'data.labels=["mito","mem"]')
    arguments = ("train", "unet2d", "--data", phantom.root, "--start", trained, *labels, *SMALL)
    shown = call(*arguments, "--dry-run")
    line = "taken over are the channels of mito, mem; new: none"
    assert line in " ".join(shown.output.split())
    status, said = command(*arguments, "--out", tmp_path / "run")
    assert status == 0, said
    assert f"begins with {trained / 'best_model.safetensors'}: {line}\n" in said
    stored = load_config(tmp_path / "run/config.json")
    assert stored.training.start == str(trained)
    assert stored.trained.start == str((trained / "best_model.safetensors").resolve())
    # The settings of a run serve for the next one, which begins with that.
    again = ("train", tmp_path / "run/config.json", "--data", phantom.root, "--device", "cpu")
    status, said = command(*again, "--start", tmp_path / "run", "--out", tmp_path / "next")
    assert status == 0, said
    assert f"begins with {tmp_path / 'run/best_model.safetensors'}" in said


def test_a_start_that_does_not_fit_is_refused_with_what_to_set(trained, phantom, tmp_path, refused):
    train = ("train", "unet2d", "--data", phantom.root, "--out", tmp_path / "run", *SMALL)
    said = refused(*train, "--start", trained, "--set", "model.width=16")
    assert (
        "model.width is 16 here and 8 there. Take what it has, with --set 'model.width=8'" in said
    )
    assert "nowhere is missing. Give the folder of a run" in refused(*train, "--start", "nowhere")
    shutil.copytree(trained, tmp_path / "spoilt")
    file = tmp_path / "spoilt/best_model.pth"
    file.write_bytes(file.read_bytes()[:1000])
    assert "Model file invalid" in refused(*train, "--start", file)
    assert not (tmp_path / "run").exists()


def test_images_and_masks_of_ones_own_are_trained_on(tmp_path):
    """Two folders of TIFF files, as people have them: no data folder, no manifest."""
    rng = np.random.default_rng(0)
    for name in ("0001", "0002"):
        mask = np.zeros((64, 64), np.uint8)
        mask[8:40, 8:24] = 255
        raw = (mask // 2 + rng.integers(0, 60, mask.shape)).astype(np.uint8)
        for folder, file, image in (("images", f"{name}.tif", raw), ("masks", f"{name}.png", mask)):
            (tmp_path / "data" / folder).mkdir(parents=True, exist_ok=True)
            write = tifffile.imwrite if file.endswith("tif") else imwrite_png
            write(tmp_path / "data" / folder / file, image)
    result = call(
        "train", "unet2d", "--data", tmp_path / "data", "--out", tmp_path / "run",
        "--set", "data.voxel_size=[10,10,10]", "--set", "split.kind=random",
        "--set", "split.fraction=0.5", *SMALL,
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    assert len(load_config(tmp_path / "run" / "config.json").data.labels) == 1


def test_training_refuses_what_inspect_refuses(tmp_path, command):
    for folder in ("images", "masks"):
        (tmp_path / "data" / folder).mkdir(parents=True)
    tifffile.imwrite(tmp_path / "data" / "images" / "a.tif", np.zeros((64, 64), np.uint8))
    imwrite_png(tmp_path / "data" / "masks" / "a.png", np.eye(64, dtype=np.uint8))
    sets = ("--set", "data.voxel_size=[10,10,10]", *SMALL)
    out = tmp_path / "run"
    status, said = command("train", "unet2d", "--data", tmp_path / "data", "--out", out, *sets)
    assert status == 2
    assert "all pixels are zero (no data): a.tif" in said
    assert not out.exists()


def test_a_plan_is_a_file_to_train_with(phantom, tmp_path, refused):
    planned = tmp_path / "run.json"
    result = call(
        "plan", "Semantic2D", "--data", phantom.root, "--memory-gb", 2, "--out", planned,
        "--device", "cpu", "--set", "model.width=8", "--set", "model.levels=3",
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    config = load_config(planned)
    assert config.data.voxel_size == (8.0, 8.0, 8.0)
    assert config.training.patch[0] == 1
    assert max(config.training.patch) <= 64  # no larger than the crops
    assert f"patch {list(config.training.patch)}" in result.output
    again = refused("plan", "Semantic2D", "--data", "x", "--out", planned)
    assert "must be a new .json file" in again


def test_names_tell_what_and_when(tmp_path):
    moment = datetime(2026, 3, 4, 5, 6, 7)
    assert run_id(build(Config, {"name": "mito"}, where=""), moment) == "20260304-050607_mito"
    assert archive_id([tmp_path / "a", tmp_path / "b"], moment) == "2026-03-04_a_b.zip"


def test_unusual_settings_are_remarked_upon_before_training(training):
    said = training[1]
    note = said.index("note: training.patch is 32; usual are 64 to 256")
    assert note < said.index("iterations on cpu")


@pytest.mark.parametrize(
    ("option", "text", "patch"),
    [("--patch", "1,64,96", "1 x 64 x 96"), ("--window", "1,64,96", "1 x 96 x 64"),
     ("--window", "1,65,96", "1 x 96 x 80")],
)  # fmt: skip
def test_a_window_gives_x_before_y_and_is_rounded_up(phantom, option, text, patch):
    result = call(
        "train", "unet2d", "--data", phantom.root, option, text, "--dry-run",
        "--set", "model.stem=1", "--set", "model.levels=5",
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    assert f"patch {patch} voxels" in " ".join(result.output.split())


def test_a_window_of_three_planes_trains_volumes(phantom, tmp_path):
    out = tmp_path / "run"
    result = call(
        "train", "unet3d", "--data", phantom.root, "--out", out, "--window", "3,29,29",
        "--set", "training.iterations=1", "--set", "model.width=8", "--set", "training.batch=1",
        "--set", "model.levels=2", "--set", "prediction.tile=[8,32,32]",
        "--set", "prediction.overlap=[2,8,8]", "--device", "cpu",
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    assert "window 3,29,29 becomes [3, 32, 32]" in result.output
    assert load_config(out / "config.json").training.patch == (3, 32, 32)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--patch", "1,64,64", "--window", "1,64,64"), "--patch and --window say the same"),
        (("--window", "3,129"), "--window needs three numbers"),
        (("--patch", "1,64.5,64"), "--patch needs whole numbers"),
        (("--set", "training.save_every=7"), "does not divide the 1200 iterations; the nearest"),
        (("--set", "preset=fats"), "did you mean fast?"),
    ],
)
def test_a_mistake_is_refused_before_any_data_is_read(refused, arguments, words):
    said = refused("train", "unet2d", "--data", "nowhere", *arguments)
    assert words in said


def test_a_setting_is_explained():
    said = call("explain", "training.lr").output
    assert said.startswith("training.lr = 0.001\n")
    assert "training.batch" in call("explain", "training").output
    assert call("explain", "--page").output.startswith("# Settings\n")


def test_a_setting_that_there_is_not_is_answered_with_the_nearest(refused):
    assert "Did you mean training.lr?" in refused("explain", "lr")


def test_a_run_goes_into_a_zip_and_comes_back(trained, tmp_path):
    out = tmp_path / "out.zip"
    assert call("export", trained, "--out", out).exit_code == 0
    verified = call("import", out, "--verify")
    assert verified.exit_code == 0
    back = call("import", out, "--out", tmp_path / "back")
    assert back.exit_code == 0
    kept = {p.name for p in (tmp_path / "back" / "runs" / "a").iterdir()}
    assert {"config.json", "best_model.safetensors", "best_model.pth", "results.json",
            "curves_loss.png", "curves_dice.png"} <= kept  # fmt: skip
    assert "last.pt" not in kept
    count = sum(p.is_file() for p in (tmp_path / "back").rglob("*"))
    assert f"{count} files as listed" in back.output
    assert f"{count} files as listed" in verified.output


def test_predictions_and_data_come_along_if_asked_for(trained, tmp_path):
    for name in ("pred", "data"):
        (tmp_path / name / "a").mkdir(parents=True)
        (tmp_path / name / "a" / "x").write_text(name)
    out = tmp_path / "out.zip"
    more = ("--predictions", tmp_path / "pred", "--with-data", tmp_path / "data")
    assert call("export", trained, *more, "--out", out).exit_code == 0
    with zipfile.ZipFile(out) as archive:
        assert archive.read("predictions/pred/a/x") == b"pred"
        assert archive.read("data/data/a/x") == b"data"
    assert call("export", trained, "--out", tmp_path / "bare.zip").exit_code == 0
    with zipfile.ZipFile(tmp_path / "bare.zip") as archive:
        assert {name.split("/")[0] for name in archive.namelist()} == {"MANIFEST.json", "runs"}


def test_an_archive_of_runs_is_named_by_its_day(trained, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert call("export", trained).exit_code == 0
    (archive,) = tmp_path.iterdir()
    assert re.fullmatch(r"\d{4}-\d\d-\d\d_a\.zip", archive.name)


def test_a_folder_with_content_is_kept_unless_it_is_to_be_replaced(trained, tmp_path, refused):
    out, target = tmp_path / "out.zip", tmp_path / "target"
    call("export", trained, "--out", out)
    target.mkdir()
    (target / "old").write_text("precious")
    assert "is not empty" in refused("import", out, "--out", target)
    assert (target / "old").is_file()
    assert call("import", out, "--out", target, "--replace").exit_code == 0
    assert not (target / "old").exists()


def test_an_archive_too_large_is_refused(trained, tmp_path, refused):
    call("export", trained, "--out", tmp_path / "out.zip")
    words = refused("import", tmp_path / "out.zip", "--max-gb", "0.0000001")
    assert "--max-gb" in words


def test_runs_are_listed_with_their_progress(trained):
    said = call("runs", "list", trained.parent).output
    assert "unet2d" in said
    assert "2/2" in said
    assert "done" in said


def test_a_folder_without_runs_is_called_so(tmp_path):
    assert f"no runs in or below {tmp_path}" in call("runs", "list", tmp_path).output


def test_pruning_says_first_and_deletes_on_request(trained, tmp_path):
    run = tmp_path / "runs" / "a"
    shutil.copytree(trained, run)
    (run / "cache").mkdir()
    (run / "cache" / "x").write_text("x")
    said = call("runs", "prune", tmp_path / "runs").output
    assert "could go" in said
    assert (run / "last.pt").is_file()
    assert "freed" in call("runs", "prune", tmp_path / "runs", "--yes").output
    left = {p.name for p in run.iterdir()}
    assert not {"last.pt", "cache"} & left
    assert {"best_model.safetensors", "config.json", "results.json"} <= left
