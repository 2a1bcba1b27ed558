"""Impossible values and pairs, each answered with the nearest that may be."""

import re
from pathlib import Path

import pytest

from baselines.config import ConfigError, advice, check_saves, load_config
from baselines.config.rules import divisors, nearest


def load(tmp_path, *lines):
    path = tmp_path / "run.toml"
    path.write_text("\n".join(lines))
    return load_config(path)


@pytest.mark.parametrize(
    ("section", "line", "words"),
    [
        ("model", "width = 13", "model.width 13 must be a multiple of 8; the nearest is 16"),
        ("model", "dims = 3\ncontext = 1", "model.context is for planes (2.5D)"),
        ("model", "depths = [1, 1, 1, 1]", "model.depths is for model.block residual"),
        ("model", "block = 'residual'\ndepths = [1]", "model.depths has 1 entries for 4 levels"),
        ("model", "levels = 2\ndeep_supervision = true", "deep_supervision needs 3 levels, not 2"),
        ("model", "levels = 9", "model.levels is 9; the most that can be is 8"),
        ("model", "block = 'residul'", "did you mean residual?"),
        ("model", "name = 'unnet'", "model.name is unet or monai:NAME, not unnet"),
        ("model", "most = 8", "model.most 8 is below model.width; the nearest is 24"),
        ("training", "patch = [1, 100, 100]", "multiples of 8; the nearest is [1, 96, 96]"),
        ("training", "patch = [3, 96, 96]", "the nearest is [1, 96, 96]"),
        ("training", "patch = [1, 16, 64]", "leaves 2 voxels for the coarsest of 4 levels, and the "
         "least that can be is 4; the nearest model.levels is 3"),
        ("training", "batch = 8\naccumulate = 3", "the nearest that does is 2"),
        ("training", "save_every = 300", "does not divide the 2000 iterations; the nearest that "
         "does is 250"),
        ("training", "lr = nan", "training.lr is nan; it must be a number"),
        ("training", "lr = 2.0", "training.lr is 2; the most that can be is 1"),
        ("training", "schedule = 'plateau'", "training.validate_every is 0; the nearest that is "
         "usual is 100"),
        ("training", "schedule = 'plateau'\nvalidate_every = 50\nplateau = 10", "training.plateau "
         "10 is not below training.patience 10: training would end before the rate falls; the "
         "nearest is 9"),
        ("training", "optimizer = 'lion'", "training.optimizer is one of adamw, radam, sgd, not "
         "lion"),
        ("sampling", "foreground = 0.8\nnegatives = 0.4", "together above 1; the nearest negatives "
         "is 0.2"),
        ("split", "kind = 'file'", "split.file names none"),
        ("split", "file = 'a.toml'", "split.kind is planes; the nearest is file"),
        ("split", "kind = 'kfold'\nfold = 5", "not below split.folds 5; the nearest is 4"),
        ("prediction", "overlap = [0, 200, 64]", "the nearest is [0, 128, 64]"),
        ("prediction", "mirror = 'all'", "needs model.dims 3; the nearest is plane"),
        ("data", "planes = [5, 5]", "must be first and last + 1, as in [0, 50]"),
        ("data", "labels = ['a', 'a']", "names a label twice"),
        ("data", "exclusive = ['mito']", "data.exclusive 'mito' must be two labels or more"),
        ("data", "exclusive = ['a,b', 'a,a']", "data.exclusive 'a,a' must be two labels or more"),
        ("data", "classes = { mito = 'two' }", "data.classes.mito is 'two'; it must be values and"),
        ("data", "truth = '{crop}'", "data.truth needs {label}"),
        ("data", "raw = '{data}.zarr'", "data.raw has {data}; known are {dataset}"),
        ("data", "raw = '{data'", "data.raw is no path template"),
        ("augment", "scale = [1.2, 0.9]", "augment.scale is least and most enlargement"),
    ],
)  # fmt: skip
def test_an_impossible_value_is_refused_with_the_nearest_that_may_be(
    tmp_path, section, line, words
):
    with pytest.raises(ConfigError, match=re.escape(words)):
        load(tmp_path, f"[{section}]", line)


@pytest.mark.parametrize("name", ["mito 3d", "../x", ".hidden", "", "a" * 101])
def test_a_name_that_is_not_safe_in_a_path_is_refused_with_one_that_is(tmp_path, name):
    with pytest.raises(ConfigError, match="for example") as refused:
        load(tmp_path, f"name = '{name}'")
    example = str(refused.value).rpartition(" ")[2].rstrip(".")
    assert load(tmp_path, f"name = '{example}'").name == example


def test_orthoplanes_are_for_planes_alone(tmp_path):
    assert load(tmp_path, "[prediction]", "orthoplanes = true").prediction.orthoplanes
    with pytest.raises(ConfigError, match="orthoplanes is for planes"):
        load_config(Path("unet3d"), ["prediction.orthoplanes=true"])


@pytest.mark.parametrize("save_every", [0, 1, 100, 10_000])
def test_save_intervals_that_divide_the_schedule_are_taken(save_every):
    check_saves(10_000, save_every)


@pytest.mark.parametrize(
    ("iterations", "save_every", "near"), [(10_000, 3000, 2500), (7, 3, 1), (10, 11, 10)]
)
def test_other_save_intervals_are_answered_with_the_nearest_divisor(iterations, save_every, near):
    with pytest.raises(ConfigError, match=rf"the nearest that does is {near}\."):
        check_saves(iterations, save_every)


def test_divisors_of_a_number_are_all_of_them():
    assert divisors(1) == (1,)
    assert divisors(12) == (1, 2, 3, 4, 6, 12)
    assert divisors(16) == (1, 2, 4, 8, 16)
    assert divisors(997) == (1, 997)


def test_of_two_equally_near_values_the_smaller_is_named():
    assert nearest(3, (4, 2)) == 2


def test_usual_settings_need_no_advice(tmp_path):
    assert advice(load(tmp_path, "")) == []


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("batch = 16", "training.batch is 16; usual are 4 to 8"),
        ("lr = 0.01", "training.lr is 0.01; usual are 1e-05 to 0.002"),
        ("lr = 1e-6", "training.lr is 1e-06"),
        ("patch = [1, 512, 256]", "training.patch is 512; usual are 64 to 256"),
        ("patch = [1, 64, 32]", "training.patch is 32"),
        ("epochs = 5", "training.epochs is 5; usual are 10 to 500"),
        ("save_every = 50", "makes 40 checkpoints; 10 to 20 are enough"),
    ],
)
def test_unusual_settings_work_but_are_remarked_upon(tmp_path, line, words):
    said = advice(load(tmp_path, "[training]", line))
    assert len(said) == 1
    assert words in said[0]


def test_small_batches_are_usual_for_volumes():
    assert advice(load_config(Path("Semantic3D"), ["training.batch=1"])) == []


def test_augmentation_switched_off_is_remarked_upon_but_orientation_alone_is_not(tmp_path):
    assert "orientation alone" in advice(load(tmp_path, "[augment]", "enabled = false"))[0]
    assert advice(load(tmp_path, "[augment]", "orientation = false")) == []


def test_batch_norm_of_few_patches_is_remarked_upon(tmp_path):
    text = ("[model]", "norm = 'batch'", "[training]", "batch = 4", "accumulate = 4")
    assert "parts of 4 patches" in advice(load(tmp_path, *text))[0]


def test_more_threads_than_processors_are_remarked_upon(tmp_path):
    config = load(tmp_path, "[training]", "workers = 3")
    assert "there are 2 processors" in advice(config, processors=2)[0]
    assert advice(config, processors=3) == advice(config) == []
