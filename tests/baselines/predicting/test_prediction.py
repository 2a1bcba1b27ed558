import dataclasses
import json

import numpy as np
import pytest
import tifffile
import torch
import zarr

from baselines.config import ConfigError
from baselines.layout import DataError, DataFolder
from baselines.objects.decoding import Thresholds
from baselines.predicting import engine, prediction
from baselines.predicting.blockwise import stream
from baselines.predicting.prediction import predict
from baselines.predicting.subjects import Subject, hidden_crops, images_at
from baselines.predicting.team import team_of
from baselines.runs.checkpoint import Run, fingerprint_of, network_of
from evaluator.geometry import VoxelGrid
from evaluator.tiff import open_stack
from evaluator.volume import create_volume, open_volume
from tests.baselines.conftest import PLAN, tiny, tiny_volume

CPU = torch.device("cpu")
CROP = "phantom-hidden-1"
KINDS = {"cell": "instance", "mem": "semantic"}


def quiet(_):
    pass


def run_in(folder, settings=None, *, seed=0, voxel_size=(8.0, 8.0, 8.0), results=None):
    """A run with weights as they are drawn: prediction does not ask how good they are."""
    config = settings or tiny(precision="fp32")
    data = dataclasses.replace(config.data, voxel_size=voxel_size)
    config = dataclasses.replace(
        config, data=data, trained=dataclasses.replace(config.trained, kinds=KINDS)
    )
    torch.manual_seed(seed)
    model = network_of(config)
    run = Run(folder)
    folder.mkdir(parents=True, exist_ok=True)
    run.begin(config)
    run.save_best(model.state_dict(), fingerprint_of(config, model))
    run.save_results(results or {"thresholds": {"cell": 0.45, "mem": 0.5}})
    return run


def noisy(folder, grid):
    """A volume of noise, called a."""
    grey = np.random.default_rng(0).integers(60, 180, grid.shape).astype(np.uint8)
    create_volume(folder / "raw", grid, np.uint8, multiscale=True)[:] = grey
    return Subject("a", folder / "raw")


def with_prediction(config, **prediction):
    return dataclasses.replace(
        config, prediction=dataclasses.replace(config.prediction, **prediction)
    )


def go(runs, subjects, out, **prediction):
    config = with_prediction(runs[0].config(), **prediction)
    said = []
    predict(team_of(runs, config), subjects, out, device="cpu", progress=said.append)
    return said


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Tests only read it."""
    return run_in(tmp_path_factory.mktemp("run"))


@pytest.fixture(scope="module")
def predicted(run, phantom, tmp_path_factory):
    out = tmp_path_factory.mktemp("predicted")
    go([run], hidden_crops(phantom), out)
    return out


def stored(folder, name="mem", kind="probabilities"):
    return np.asarray(zarr.open_array(folder / CROP / kind / name, mode="r")[:])


def test_every_voxel_has_a_probability_and_a_mask_follows_from_it(run, predicted):
    found, mask = stored(predicted), open_volume(predicted / CROP / "mem").read()
    assert mask.shape == PLAN.shape
    assert (found > 0).mean() > 0.99
    np.testing.assert_array_equal(mask, found > 128)


def test_probabilities_are_those_of_the_network_at_every_voxel(run, predicted, phantom):
    team = team_of([run])
    subject = hidden_crops(phantom)[0]
    raw = subject.open(team.config)
    settings = team.config.prediction
    model = run.model()
    light = json.loads((predicted / CROP / "metadata.json").read_text())["grey_values"]
    whole = (raw.read((0, 0, 0), raw.shape).astype(np.float32) - light["middle"]) / light["spread"]
    with torch.inference_mode():
        middle = model.eval()(torch.from_numpy(whole[None, None, :, :32, :32]))[0].sigmoid()
    # Far from the next tile, the first one alone decides.
    near = (slice(None), slice(0, 32 - settings.overlap[1]), slice(0, 32 - settings.overlap[2]))
    mem = middle[run.heads().names.index("mem")]
    np.testing.assert_allclose(stored(predicted)[near] / 255, mem[near], atol=0.5 / 255 + 1e-5)


def test_objects_are_numbered_and_masks_are_not(predicted):
    cell, mem = (open_volume(predicted / CROP / name).read() for name in ("cell", "mem"))
    assert cell.dtype == np.uint32
    assert np.unique(cell).tolist() == list(range(cell.max() + 1))
    assert set(np.unique(mem)) <= {0, 1}


def test_predictions_lie_on_the_grid_of_the_raw(predicted, phantom):
    raw = open_volume(phantom.root / "hidden" / CROP / "raw")
    assert open_volume(predicted / CROP / "cell").grid == raw.grid
    assert open_volume(predicted / CROP / "probabilities/mem").grid == raw.grid


def test_metadata_say_what_the_arrays_are_and_who_made_them(predicted, run):
    about = json.loads((predicted / CROP / "metadata.json").read_text())
    assert about["voxel_size_nm"] == [8.0, 8.0, 8.0]
    assert about["model"] == [str(run.folder)]
    assert about["labels"]["mem"]["kind"] == "semantic"
    assert about["labels"]["mem"]["thresholds"]["mask"] == 0.5
    cells = open_volume(predicted / CROP / "cell").read()
    assert about["labels"]["cell"]["objects"] == cells.max()


def counted(monkeypatch, *, stop_after=None):
    """Count the parts that are computed; optionally be interrupted after some."""
    parts, stopped = [], []

    def counting(*args, **kwargs):
        for part in stream(*args, **kwargs):
            if len(parts) == stop_after and not stopped:
                stopped.append(True)
                raise KeyboardInterrupt
            parts.append(part[0].start)
            yield part

    monkeypatch.setattr(engine, "stream", counting)
    return parts


def test_an_interrupted_prediction_goes_on_with_the_missing_blocks(
    run, phantom, predicted, tmp_path, monkeypatch
):
    parts = counted(monkeypatch, stop_after=4)
    with pytest.raises(KeyboardInterrupt):
        go([run], hidden_crops(phantom), tmp_path, memory_gb=0)
    done = len((tmp_path / CROP / "progress.jsonl").read_text().splitlines()) - 1
    assert done == 3  # the fourth was about to be written
    del parts[:]
    go([run], hidden_crops(phantom), tmp_path, memory_gb=0)
    # 12 x 64 x 64 in blocks of 5 x 40 x 40: twelve
    assert len(parts) == 12 - done
    assert len(set(parts)) == 12 - done
    for name in ("cell", "mem"):
        np.testing.assert_array_equal(stored(tmp_path, name), stored(predicted, name))
    del parts[:]
    go([run], hidden_crops(phantom), tmp_path, memory_gb=0)
    assert parts == []


def test_other_weights_or_settings_do_not_go_on_with_old_blocks(
    run, phantom, tmp_path, monkeypatch
):
    subjects = hidden_crops(phantom)
    go([run], subjects, tmp_path / "out", memory_gb=0)
    parts = counted(monkeypatch)
    go([run_in(tmp_path / "run", seed=1)], subjects, tmp_path / "out", memory_gb=0)
    assert len(parts) == 12
    go([run_in(tmp_path / "run", seed=1)], subjects, tmp_path / "out", memory_gb=0, mirror="plane")
    assert len(parts) == 24


def test_thresholds_alone_do_not_ask_for_new_probabilities(run, phantom, tmp_path, monkeypatch):
    go([run], hidden_crops(phantom), tmp_path)
    parts = counted(monkeypatch)
    go([run], hidden_crops(phantom), tmp_path, thresholds={"mem": 0.52})
    assert parts == []
    mask = open_volume(tmp_path / CROP / "mem").read()
    np.testing.assert_array_equal(mask, stored(tmp_path) > round(0.52 * 255))


def test_wide_blocks_and_small_ones_give_the_same(run, phantom, predicted, tmp_path):
    go([run], hidden_crops(phantom), tmp_path, memory_gb=0, block=(4, 8, 8))
    np.testing.assert_allclose(stored(tmp_path).astype(int), stored(predicted), atol=1)


def test_a_network_of_volumes_predicts_the_same_whatever_the_blocks(phantom, tmp_path):
    run = run_in(tmp_path / "run", tiny_volume())
    go([run], hidden_crops(phantom), tmp_path / "a", memory_gb=0, block=(4, 16, 64))
    go([run], hidden_crops(phantom), tmp_path / "b")
    found, whole = stored(tmp_path / "a"), stored(tmp_path / "b")
    np.testing.assert_allclose(found.astype(int), whole, atol=1)
    assert whole.std() > 0


def test_given_thresholds_win_over_those_of_the_members_which_are_averaged(tmp_path):
    found = {"thresholds": {"cell": 0.3, "mem": 0.2}, "objects": {"cell": {"seed_mask": 0.7}}}
    runs = [run_in(tmp_path / "0", results=found), run_in(tmp_path / "1", seed=1)]
    team = team_of(runs, with_prediction(runs[0].config(), thresholds={"mem": 0.9}))
    assert team.thresholds("mem") == Thresholds(mask=0.9)
    assert team.thresholds("cell").mask == pytest.approx((0.3 + 0.45) / 2)
    assert team.thresholds("cell").seed_mask == pytest.approx((0.7 + 0.9) / 2)


def test_an_ensemble_predicts_the_mean_and_where_its_members_disagree(phantom, tmp_path):
    runs = [run_in(tmp_path / str(seed), seed=seed) for seed in range(3)]
    subjects = hidden_crops(phantom)
    for n, one in enumerate(runs):
        go([one], subjects, tmp_path / f"out-{n}")
    go(runs, subjects, tmp_path / "all", uncertainty=True)
    votes = np.stack([stored(tmp_path / f"out-{n}") / 255 for n in range(3)])
    np.testing.assert_allclose(stored(tmp_path / "all") / 255, votes.mean(0), atol=1.1 / 255)
    # Where tiles overlap, deviations are blended, which is not that of what was blended.
    near = (slice(None), slice(0, 24), slice(0, 24))
    doubt = stored(tmp_path / "all", kind="uncertainty") / 255
    np.testing.assert_allclose(doubt[near], 2 * votes.std(0)[near], atol=0.01)
    assert doubt.std() > 0


def test_members_that_predict_other_labels_or_voxels_are_no_ensemble(tmp_path):
    one, other = run_in(tmp_path / "a"), run_in(tmp_path / "b", voxel_size=(4.0, 4.0, 4.0))
    with pytest.raises(ConfigError, match="predict different labels or voxels"):
        team_of([one, other])


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"uncertainty": True}, "several votes: an ensemble, or prediction.mirror"),
        ({"orthoplanes": True}, "model.dims 3"),
    ],
)
def test_what_a_network_cannot_do_is_said_before_it_begins(tmp_path, settings, message):
    run = run_in(tmp_path, tiny_volume())
    with pytest.raises(ConfigError, match=message):
        team_of([run], with_prediction(run.config(), **settings))


def test_orthoplanes_need_cubes_and_affinities_no_mirror(tmp_path):
    flat = run_in(tmp_path / "flat", voxel_size=(40.0, 8.0, 8.0))
    with pytest.raises(ConfigError, match=r"as long along all axes, not \[40.0, 8.0, 8.0\] nm"):
        team_of([flat], with_prediction(flat.config(), orthoplanes=True))
    config = tiny()
    objects = dataclasses.replace(config.objects, representation="affinity")
    joins = run_in(tmp_path / "joins", dataclasses.replace(config, objects=objects))
    with pytest.raises(ConfigError, match="cannot be averaged over affinities"):
        team_of([joins], with_prediction(joins.config(), mirror="plane"))


def test_orthoplanes_are_the_mean_of_what_is_seen_along_three_axes(run, phantom, tmp_path):
    subject = hidden_crops(phantom)[0]
    go([run], [subject], tmp_path / "planes", orthoplanes=True)
    raw = subject.open(run.config()).read((0, 0, 0), PLAN.shape)
    grids = VoxelGrid(PLAN.shape, (8.0, 8.0, 8.0))
    total = np.zeros(PLAN.shape)
    for axes in ((0, 1, 2), (1, 0, 2), (2, 0, 1)):
        name = "".join(map(str, axes))
        view = raw.transpose(axes)
        grid = VoxelGrid(view.shape, grids.voxel_size)
        create_volume(tmp_path / name / "raw", grid, raw.dtype, multiscale=True)[:] = view
        go([run], [Subject(CROP, tmp_path / name / "raw")], tmp_path / name)
        total += stored(tmp_path / name).transpose(np.argsort(axes)) / 255
    found = stored(tmp_path / "planes") / 255
    # The light is measured on some planes, which are others when the volume is turned.
    assert np.abs(found - total / 3).max() < 0.02
    assert np.abs(stored(tmp_path / "012") / 255 - found).max() > 0.02


def test_stacks_hold_what_the_arrays_hold_and_know_their_voxels(run, phantom, tmp_path):
    config = with_prediction(run.config(), output="both")
    predict(
        team_of([run], config), hidden_crops(phantom), tmp_path, device="cpu",
        ids={"cell": 60, "mem": 75}, progress=quiet,
    )  # fmt: skip
    cells = open_volume(tmp_path / CROP / "cell").read()
    stack = open_stack(tmp_path / CROP / "cell.tif")
    np.testing.assert_array_equal(stack.planes(0, PLAN.shape[0]), cells)
    assert stack.voxel_size == pytest.approx((8, 8, 8))
    labels = tifffile.imread(tmp_path / CROP / "segmentation.tif")
    assert labels.shape == PLAN.shape
    assert set(np.unique(labels)) <= {0, 60, 75}
    mem = open_volume(tmp_path / CROP / "mem").read()
    np.testing.assert_array_equal(labels > 0, (cells > 0) | (mem > 0))


def test_a_stack_of_ones_own_is_predicted_and_doubts_are_told(run, phantom, tmp_path):
    raw = hidden_crops(phantom)[0].open(run.config()).read((0, 0, 0), PLAN.shape)
    tifffile.imwrite(tmp_path / "mine.tif", raw, photometric="minisblack")
    said = go([run], images_at([tmp_path / "mine.tif"]), tmp_path / "out", output="tiff")
    assert tifffile.imread(tmp_path / "out/mine/segmentation.tif").shape == raw.shape
    assert not (tmp_path / "out/mine/mem").exists()
    assert any("does not say how large its voxels are" in line for line in said)
    about = json.loads((tmp_path / "out/mine/metadata.json").read_text())
    assert about["warnings"]
    assert about["labels"]["mem"]["id"] == 2


def test_more_objects_than_can_be_scored_in_time_are_told_of(run, phantom, tmp_path):
    config = run.config()
    few = dataclasses.replace(config, objects=dataclasses.replace(config.objects, most=1))
    said = []
    predict(
        team_of([run], with_prediction(few, thresholds={"cell": 0.5})), hidden_crops(phantom),
        tmp_path, device="cpu", progress=said.append,
    )  # fmt: skip
    cells = open_volume(tmp_path / CROP / "cell").read()
    warned = any("more than 1 objects of cell" in line for line in said)
    assert warned == (cells.max() > 1)


def test_a_block_that_cannot_be_written_is_an_error_that_names_the_file(run, tmp_path):
    subject, team = noisy(tmp_path, VoxelGrid((5, 40, 40), (8.0, 8.0, 8.0))), team_of([run])
    out = tmp_path / "out" / "a"
    task, grid, _ = prediction.prepare(team, subject, out)
    prediction.make_arrays(task, grid, team, fresh=True)
    (out / "probabilities" / "mem" / "0").write_text("where a folder of chunks should be")
    with pytest.raises(DataError, match=r"out/a cannot be written: .*mem/0"):
        list(prediction.here(task, list(task.tiling.blocks()), CPU))


def test_a_prediction_that_fills_the_disk_is_told_of(run, phantom, tmp_path, monkeypatch):
    monkeypatch.setattr(prediction, "LARGE_GB", 1e-5)
    said = go([run], hidden_crops(phantom), tmp_path)
    assert any("GB on disk: 4 channels" in line for line in said)


def test_a_volume_far_coarser_than_the_model_sees_is_refused(run, tmp_path):
    grid = VoxelGrid((4, 32, 32), (32.0, 32.0, 32.0))
    create_volume(tmp_path / "raw", grid, np.uint8, multiscale=True)
    with pytest.raises(DataError, match="voxels of"):
        go([run], [Subject("a", tmp_path / "raw")], tmp_path / "out")


def test_nothing_to_predict_is_an_error(tmp_path):
    with pytest.raises(DataError, match="no test crops"):
        hidden_crops(DataFolder(tmp_path))


def test_a_model_file_of_another_training_is_refused_by_name(run, phantom, tmp_path):
    other = run_in(tmp_path / "other", tiny_volume())
    loose = Run.of(other.weights, run.settings)
    with pytest.raises(ConfigError, match="Model file invalid"):
        go([loose], hidden_crops(phantom), tmp_path / "out")


def test_a_model_file_and_its_config_predict_without_their_run(run, phantom, predicted, tmp_path):
    weights, config = tmp_path / "model.pth", tmp_path / "settings.json"
    weights.write_bytes((run.folder / "best_model.pth").read_bytes())
    config.write_bytes((run.folder / "config.json").read_bytes())
    go([Run.of(weights, config)], hidden_crops(phantom), tmp_path / "out")
    np.testing.assert_array_equal(stored(tmp_path / "out"), stored(predicted))


def test_thresholds_that_come_back_make_the_masks_that_they_made_before(run, phantom, tmp_path):
    subjects = hidden_crops(phantom)
    go([run], subjects, tmp_path, thresholds={"mem": 0.52})
    first = open_volume(tmp_path / CROP / "mem").read()
    go([run], subjects, tmp_path, thresholds={"mem": 0.48})
    assert (open_volume(tmp_path / CROP / "mem").read() != first).any()
    go([run], subjects, tmp_path, thresholds={"mem": 0.52})
    np.testing.assert_array_equal(open_volume(tmp_path / CROP / "mem").read(), first)
    said = go([run], subjects, tmp_path, thresholds={"mem": 0.52})
    assert f"{CROP}: nothing left to do" in said


def test_masks_that_a_crash_left_untold_are_made_again(run, phantom, tmp_path):
    subjects = hidden_crops(phantom)
    go([run], subjects, tmp_path, thresholds={"mem": 0.52})
    first = open_volume(tmp_path / CROP / "mem").read()
    (tmp_path / CROP / "metadata.json.new").mkdir()  # what is written under this name cannot be
    with pytest.raises(IsADirectoryError):
        go([run], subjects, tmp_path, thresholds={"mem": 0.48})
    (tmp_path / CROP / "metadata.json.new").rmdir()
    assert not (tmp_path / CROP / "metadata.json").exists()
    go([run], subjects, tmp_path, thresholds={"mem": 0.52})
    np.testing.assert_array_equal(open_volume(tmp_path / CROP / "mem").read(), first)


def test_a_damaged_line_of_progress_costs_its_block_alone(run, phantom, tmp_path, monkeypatch):
    go([run], hidden_crops(phantom), tmp_path, memory_gb=0)
    before, ledger = stored(tmp_path), tmp_path / CROP / "progress.jsonl"
    lines = ledger.read_bytes().split(b"\n")
    ledger.write_bytes(b"\n".join([*lines[:4], b'{"done": [5, \xff', *lines[5:]]))
    parts = counted(monkeypatch)
    go([run], hidden_crops(phantom), tmp_path, memory_gb=0)
    assert len(parts) == 1
    np.testing.assert_array_equal(stored(tmp_path), before)
