import json

import pytest

from baselines.predicting.output import create_stored
from baselines.predicting.subjects import hidden_crops
from baselines.predicting.sureness import tally_of
from benchmarks.cells import CUBE
from evaluator.geometry import VoxelGrid
from tests.baselines.predicting.test_prediction import CROP, go, run_in, stored

THRESHOLDS = {"thresholds": {"cell": 0.45, "mem": 0.5}}


def about(folder):
    return json.loads((folder / CROP / "metadata.json").read_text())


def predicted(runs, phantom, out, **settings):
    """What metadata.json says, and what was said meanwhile."""
    said = go(runs, hidden_crops(phantom), out, **settings)
    return about(out), said


def run_that_doubts(folder, doubts, *, seed=0):
    """A run whose validation images had such doubt."""
    return run_in(folder, seed=seed, results={**THRESHOLDS, "doubts": doubts})


@pytest.fixture(scope="module")
def plain(phantom, tmp_path_factory):
    """A prediction by one run that knows nothing of what is usual."""
    folder = tmp_path_factory.mktemp("plain")
    content, said = predicted([run_in(folder / "run")], phantom, folder / "out")
    return content, said, folder / "out"


def test_one_run_tells_its_doubt_of_each_label_and_of_the_image(plain):
    content, said, out = plain
    spreads, voxels = [], []
    for label in ("cell", "mem"):
        mask = stored(out, label) if label == "mem" else stored(out, label)[0]
        p = mask[mask > 127] / 255
        spreads.append((4 * p * (1 - p)).sum())
        voxels.append(len(p))
        if voxels[-1]:
            mean = spreads[-1] / voxels[-1]
            assert content["labels"][label]["doubt"] == pytest.approx(mean, abs=1e-5)
    assert content["doubt"] == pytest.approx(sum(spreads) / sum(voxels), abs=1e-5)
    assert f"{CROP}: doubt {content['doubt']:.3f}" in said


def test_one_vote_has_no_uncertainty_and_without_validation_nothing_is_unusual(plain):
    content, said, _ = plain
    assert content["uncertainty"] is None
    assert content["labels"]["mem"]["uncertainty"] is None
    assert content["usual_doubt"] is None
    assert content["out_of_distribution"] is None
    assert not any("unlike what the model" in line for line in said)


def test_an_image_of_more_doubt_than_is_usual_is_told_with_value_and_limit(
    plain, phantom, tmp_path
):
    doubt = plain[0]["doubt"]
    usual = [0.5 * doubt, 0.51 * doubt, 0.49 * doubt, 0.5 * doubt]
    content, said = predicted([run_that_doubts(tmp_path / "run", usual)], phantom, tmp_path)
    assert content["out_of_distribution"] is True
    assert content["usual_doubt"] < doubt
    (warning,) = [line for line in said if "is unlike what the model has learnt from" in line]
    assert warning.startswith(f"warning: {CROP} ")
    assert f"its doubt is {doubt:.3f}" in warning
    assert f"like the 4 images of validation stay below {content['usual_doubt']:.3f}" in warning
    assert warning.removeprefix("warning: ") in content["warnings"]
    (line,) = [line for line in said if line.startswith(f"{CROP}: doubt")]
    assert line.endswith(f"(usual is up to {content['usual_doubt']:.3f})")


def test_an_image_of_usual_doubt_is_not_told_of(plain, phantom, tmp_path):
    doubt = plain[0]["doubt"]
    usual = [doubt, 1.1 * doubt, 0.9 * doubt, doubt]
    content, said = predicted([run_that_doubts(tmp_path / "run", usual)], phantom, tmp_path)
    assert content["out_of_distribution"] is False
    assert content["warnings"] == plain[0]["warnings"]
    assert not any("unlike what the model" in line for line in said)


def test_an_ensemble_tells_uncertainty_and_the_doubt_that_its_members_have_by_themselves(
    phantom, tmp_path
):
    runs = [run_that_doubts(tmp_path / str(n), [0.1, 0.2, 0.3], seed=n) for n in range(2)]
    content, said = predicted(runs, phantom, tmp_path / "out", uncertainty=True)
    mean, apart = stored(tmp_path / "out"), stored(tmp_path / "out", kind="uncertainty")
    there, p = mean > 127, mean[mean > 127] / 255
    found = content["labels"]["mem"]
    assert found["uncertainty"] == pytest.approx(((apart[there] / 255) ** 2).mean(), abs=1e-5)
    assert found["doubt"] == pytest.approx(
        (4 * p * (1 - p)).mean() - found["uncertainty"], abs=2e-5
    )
    assert content["out_of_distribution"] is True  # weights as they are drawn know nothing
    assert any(line.startswith(f"{CROP}: uncertainty ") and "doubt" in line for line in said)


@pytest.mark.parametrize("settings", [{}, {"uncertainty": True, "orthoplanes": True}])
def test_what_the_arrays_do_not_tell_is_not_made_up(phantom, tmp_path, settings):
    runs = [run_that_doubts(tmp_path / str(n), [0.1, 0.2, 0.3], seed=n) for n in range(2)]
    content, _ = predicted(runs, phantom, tmp_path / "out", **settings)
    assert content["doubt"] is None
    assert content["out_of_distribution"] is None
    assert (content["uncertainty"] is None) == (not settings)


def test_a_mirrored_run_tells_uncertainty_too(phantom, tmp_path):
    run = run_in(tmp_path / "run")
    content, _ = predicted([run], phantom, tmp_path / "out", mirror="plane", uncertainty=True)
    assert 0 < content["uncertainty"] < 1
    assert 0 < content["doubt"] <= 1


def test_of_uncertainty_that_earlier_settings_left_behind_nothing_is_told(phantom, tmp_path):
    run = run_in(tmp_path / "run")
    predicted([run], phantom, tmp_path, mirror="plane", uncertainty=True)
    content, _ = predicted([run], phantom, tmp_path)
    again, _ = predicted([run], phantom, tmp_path / "fresh")
    assert content["uncertainty"] is None
    assert content["doubt"] == again["doubt"]


def test_where_nothing_is_predicted_nothing_is_doubted(phantom, tmp_path):
    grid = VoxelGrid((4, 8, 8), CUBE)
    path = tmp_path / CROP / "probabilities"
    create_stored(path / "mem", grid, channels=1, chunks=(4, 8, 8), about={})
    found = tally_of(tmp_path / CROP, "mem", uncertain=False)
    assert (found.voxels, found.mean_doubt) == (0, None)


def test_only_the_mask_of_a_label_learnt_by_several_channels_counts(tmp_path):
    grid = VoxelGrid((70, 8, 8), CUBE)  # more than one block is read at once
    path = tmp_path / "probabilities" / "cell"
    array = create_stored(path, grid, channels=3, chunks=(16, 8, 8), about={})
    array[0, 60:] = 255
    array[1:] = 200
    assert tally_of(tmp_path, "cell", uncertain=False).voxels == 10 * 8 * 8
