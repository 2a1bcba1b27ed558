import dataclasses

import numpy as np
import pytest
import torch

from baselines import prediction
from baselines.blockwise import predict_box
from baselines.checkpoint import Run
from baselines.config import ConfigError
from baselines.layout import DataError, DataFolder
from baselines.pack import pack
from baselines.prediction import predict, thresholds_of
from baselines.training import train
from evaluator.geometry import VoxelGrid
from evaluator.manifest import Kind, load_manifest
from evaluator.volume import create_volume, open_volume
from tests.baselines.conftest import PLAN, tiny

CPU = torch.device("cpu")
CROP = "phantom-hidden-1"


def quiet(_):
    pass


@pytest.fixture(scope="module")
def run(phantom, tmp_path_factory):
    """A run of some steps.  Tests only read it."""
    run = Run(tmp_path_factory.mktemp("run"))
    train(tiny(iterations=25), phantom, run, device=CPU, progress=quiet)
    return run


@pytest.fixture(scope="module")
def predicted(run, phantom, tmp_path_factory):
    out = tmp_path_factory.mktemp("predicted")
    predict(run, phantom, out, device=CPU, progress=quiet)
    return out


def arrays(folder):
    return {
        name: open_volume(folder / CROP / name).read()
        for name in ("cell", "mem", "probabilities/cell", "probabilities/mem")
    }


def test_every_voxel_has_a_probability_and_a_mask_follows_from_it(run, predicted):
    found = arrays(predicted)
    cut = round(thresholds_of(run, run.config())["mem"] * 255)
    assert found["mem"].shape == PLAN.shape
    assert (found["probabilities/mem"] > 0).mean() > 0.99
    np.testing.assert_array_equal(found["mem"], found["probabilities/mem"] > cut)


def test_objects_are_numbered_and_masks_are_not(predicted):
    found = arrays(predicted)
    assert found["cell"].dtype == np.uint32
    assert np.unique(found["cell"]).tolist() == list(range(found["cell"].max() + 1))
    assert set(np.unique(found["mem"])) <= {0, 1}


def test_predictions_lie_on_the_grid_of_the_raw(predicted, phantom):
    raw = open_volume(phantom.root / "hidden" / CROP / "raw")
    assert open_volume(predicted / CROP / "cell").grid == raw.grid


def test_an_interrupted_prediction_goes_on_with_the_missing_blocks(
    run, phantom, predicted, tmp_path, monkeypatch
):
    calls = []

    def stopping(*args, **kwargs):
        calls.append(kwargs["box"])
        if len(calls) == 3:
            raise KeyboardInterrupt
        return predict_box(*args, **kwargs)

    monkeypatch.setattr(prediction, "predict_box", stopping)
    with pytest.raises(KeyboardInterrupt):
        predict(run, phantom, tmp_path, device=CPU, progress=quiet)
    predict(run, phantom, tmp_path, device=CPU, progress=quiet)
    # 12 x 64 x 64 in blocks of 5 x 40 x 40: twelve; the one that was cut short is done again
    assert len(calls) == 12 + 1
    whole, parts = arrays(predicted), arrays(tmp_path)
    for name, expected in whole.items():
        np.testing.assert_array_equal(parts[name], expected)


def test_other_weights_do_not_go_on_with_old_blocks(run, phantom, tmp_path, monkeypatch):
    predict(run, phantom, tmp_path / "out", device=CPU, progress=quiet)
    other = Run(tmp_path / "run")
    train(tiny(iterations=2), phantom, other, device=CPU, progress=quiet)
    calls = []
    monkeypatch.setattr(
        prediction,
        "predict_box",
        lambda *args, **kwargs: calls.append(1) or predict_box(*args, **kwargs),
    )
    predict(other, phantom, tmp_path / "out", device=CPU, progress=quiet)
    assert len(calls) == 12


def test_given_thresholds_win_over_chosen_ones(run):
    config = run.config()
    changed = dataclasses.replace(config.prediction, thresholds={"mem": 0.9})
    thresholds = thresholds_of(run, dataclasses.replace(config, prediction=changed))
    assert thresholds["mem"] == 0.9
    assert thresholds["cell"] == run.results()["thresholds"]["cell"]


def test_the_submission_is_accepted_and_names_what_is_missing(predicted, phantom, tmp_path):
    manifest = load_manifest(phantom.challenge)
    report = pack(predicted, manifest, tmp_path / "out.zip")
    assert report.accepted
    assert report.targets[f"{CROP}/cell"] == "ok"
    assert report.targets[f"{CROP}/mem"] == "ok"
    assert report.targets[f"{CROP}/mito"] == "missing"
    assert manifest.labels["cell"].kind is Kind.INSTANCE


def test_packing_reads_other_grids_at_the_nearest_voxel(phantom, tmp_path):
    manifest = load_manifest(phantom.challenge)
    target = manifest.by_path[f"{CROP}/mem"]
    z, y, x = target.grid.shape
    coarse = VoxelGrid((z, y // 2, x // 2), (8.0, 16.0, 16.0), target.grid.offset)
    create_volume(tmp_path / "pred" / target.path, coarse, np.uint8)[:] = 1
    assert pack(tmp_path / "pred", manifest, tmp_path / "out.zip").targets[target.path] == "ok"


def test_nothing_to_pack_is_an_error_and_leaves_no_file(phantom, tmp_path):
    with pytest.raises(DataError, match=f"expected folders such as {CROP}/cell"):
        pack(tmp_path, load_manifest(phantom.challenge), tmp_path / "out.zip")
    assert not (tmp_path / "out.zip").exists()


def test_a_volume_of_another_voxel_size_is_refused(run, phantom, tmp_path):
    (tmp_path / "labels.toml").write_bytes((phantom.root / "labels.toml").read_bytes())
    grid = VoxelGrid((4, 32, 32), (4.0, 4.0, 4.0))
    create_volume(tmp_path / "hidden/a/raw", grid, np.uint8, multiscale=True)
    with pytest.raises(DataError, match=r"voxels of \(4.0, 4.0, 4.0\) nm.*resample"):
        predict(run, DataFolder(tmp_path), tmp_path / "out", device=CPU, progress=quiet)


def test_nothing_to_predict_is_an_error(run, phantom, tmp_path):
    (tmp_path / "labels.toml").write_bytes((phantom.root / "labels.toml").read_bytes())
    with pytest.raises(DataError, match="no hidden crops"):
        predict(run, DataFolder(tmp_path), tmp_path / "out", device=CPU, progress=quiet)


def test_a_folder_without_a_run_is_an_error(phantom, tmp_path):
    with pytest.raises(ConfigError, match="holds no run"):
        predict(Run(tmp_path), phantom, tmp_path / "out", device=CPU, progress=quiet)
