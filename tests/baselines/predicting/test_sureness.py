import json

import pytest

from baselines.predicting.doubt import Tally, Usual
from baselines.predicting.output import create_stored
from baselines.predicting.subjects import hidden_crops
from baselines.predicting.sureness import Sureness, tally_of
from baselines.predicting.team import team_of
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
    limit = f"{content['usual_doubt']:.3f}"
    assert f"like the 4 images of validation stay below {limit}. Look" in warning
    assert content["doubtful_labels"] == []  # nobody knows
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


def images_like(content, masks, *, of):
    """Validation images with labels as in one that was predicted, and with other doubts."""
    voxels = {name: int((mask > 127).sum()) for name, mask in masks.items() if (mask > 127).any()}
    shares = {name: count / sum(voxels.values()) for name, count in voxels.items()}
    doubts = {name: of * content["labels"][name]["doubt"] for name in voxels}
    return [
        {name: {"share": shares[name], "doubt": doubts[name] + more} for name in voxels}
        for more in (-0.01, 0.0, 0.01, 0.005, -0.005)
    ]


@pytest.fixture
def like_plain(plain):
    """Runs that validated on images like the plain prediction, with so many times its doubt."""
    content, _, out = plain
    masks = {"cell": stored(out, "cell")[0], "mem": stored(out, "mem")}

    def results(of):
        images = images_like(content, masks, of=of)
        doubts = [sum(p["share"] * p["doubt"] for p in image.values()) for image in images]
        return {**THRESHOLDS, "doubts": doubts, "label_doubts": images}

    return results


def test_an_image_is_compared_with_as_much_of_each_label(plain, like_plain, phantom, tmp_path):
    run = run_in(tmp_path / "run", results=like_plain(0.5))
    content, said = predicted([run], phantom, tmp_path)
    first = content["doubtful_labels"][0]
    found = content["labels"][first]
    assert content["out_of_distribution"] is True
    assert content["usual_doubt"] < content["doubt"]
    assert found["validation_doubt"] == pytest.approx(found["doubt"] / 2, abs=1e-4)
    (warning,) = [line for line in said if "is unlike what the model has learnt from" in line]
    limit = f"{content['usual_doubt']:.3f}"
    assert f"of validation, with as much of each label, stay below {limit}. It is" in warning
    assert f"in {first} ({found['doubt']:.3f}, usually {found['validation_doubt']:.3f})" in warning


def test_an_image_with_labels_as_usual_is_not_told_of(like_plain, phantom, tmp_path):
    run = run_in(tmp_path / "run", results=like_plain(1.0))
    content, said = predicted([run], phantom, tmp_path)
    assert content["out_of_distribution"] is False
    assert content["doubtful_labels"] == []
    assert not any("unlike what the model" in line for line in said)


def test_of_an_ensemble_with_an_older_run_labels_are_unknown(like_plain, tmp_path):
    results = like_plain(1.0)
    new = run_in(tmp_path / "new", results=results)
    old = run_in(tmp_path / "old", seed=1, results={"doubts": results["doubts"]})
    assert set(team_of([new]).usual().labels) == {"cell", "mem"}
    assert team_of([new, old]).usual() == team_of([old, old]).usual()
    assert team_of([new, old]).usual().labels == {}


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


USUAL = Usual(overall=0.25, excess=0.05, images=12, labels={"a": 0.2, "b": 0.4})


def sure(usual=USUAL, **labels):
    return Sureness("image", labels, uncertain=False, doubted=True, usual=usual)


def test_a_label_that_is_not_in_an_image_says_nothing_about_it():
    found = sure(a=Tally(100, 21.0), b=Tally())
    assert found.limit == pytest.approx(0.25)
    assert found.unlike is False
    assert found.told("b") == {"uncertainty": None, "doubt": None, "validation_doubt": 0.4}


def test_a_few_doubtful_voxels_of_a_label_make_no_image_unlike():
    assert sure(a=Tally(1000, 200.0), b=Tally(5, 5.0)).unlike is False
    assert sure(a=Tally(1000, 200.0), b=Tally(500, 500.0)).unlike is True


def test_of_an_image_without_foreground_nobody_knows_whether_it_is_unlike():
    found = sure(a=Tally(), b=Tally())
    assert (found.unlike, found.limit, found.doubtful, found.warning) == (None, None, [], "")


def test_the_labels_that_make_an_image_unlike_are_named_the_first_the_most():
    found = sure(a=Tally(100, 50.0), b=Tally(100, 80.0))
    assert found.doubtful == ["b", "a"]
    assert (
        "It is doubted most beyond the usual in b (0.800, usually 0.400), a (0.500" in found.warning
    )
    assert sure(a=Tally(100, 22.0), b=Tally(100, 80.0)).doubtful == ["b"]
    assert "a (" not in sure(a=Tally(100, 22.0), b=Tally(100, 80.0)).warning
