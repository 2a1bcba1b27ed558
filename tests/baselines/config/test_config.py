import dataclasses
import json
from pathlib import Path

import pytest

from baselines.config import Config, ConfigError, load_config, to_json


def write(tmp_path, text):
    path = tmp_path / "run.toml"
    path.write_text(text)
    return path


def test_an_empty_file_gives_the_defaults(tmp_path):
    assert load_config(write(tmp_path, "")) == Config()


def test_the_defaults_are_those_that_are_announced():
    config = Config()
    training, sampling = config.training, config.sampling
    assert (training.lr, training.accumulate, training.clip) == (1e-3, 1, 1.0)
    assert (training.batch, training.keep, training.patience) == (8, 3, 10)
    assert (sampling.negatives, sampling.balance) == (0.1, 1.0)
    assert (config.loss.kind, config.loss.most_weight) == ("dice_bce", 10.0)
    assert (config.data.max_classes, config.data.coarsest) == (10, 1.5)
    assert config.augment.enabled


def test_values_land_where_they_belong(tmp_path):
    config = load_config(write(tmp_path, "[training]\nlr = 1\npatch = [1, 64, 64]"))
    assert config.training.lr == 1.0
    assert config.training.patch == (1, 64, 64)


def test_an_unknown_key_is_named_with_the_known_ones(tmp_path):
    with pytest.raises(
        ConfigError, match=r"unknown key training\.step .*; known here are: start, iterations,"
    ):
        load_config(write(tmp_path, "[training]\nstep = 3"))


def test_an_unknown_table_is_named(tmp_path):
    with pytest.raises(ConfigError, match="unknown key trainer"):
        load_config(write(tmp_path, "[trainer]\niterations = 3"))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (
            "[training]\niterations = 'many'",
            "training.iterations must be: whole number; not 'many'",
        ),
        ("[training]\niterations = 1.5", "training.iterations must be: whole number"),
        ("[training]\ncompile = 1", "training.compile must be: text"),
        ("training = 3", "training must be a table"),
        ("[data]\nlabels = 'mito'", "data.labels must be"),
        (
            "[prediction]\nthresholds = {mito = 'high'}",
            "prediction.thresholds.mito must be: number",
        ),
        ("[model]\ndims = 4", "model.dims is one of 2, 3, not 4"),
        ("[model]\nwidth = 12", "multiple of 8"),
        ("[training]\npatch = [1, 100, 100]", "training.patch: Y and X must be multiples of 8"),
        ("[training]\npatch = [3, 96, 96]", "one plane when model.dims is 2"),
        ("[prediction]\noverlap = [0, 200, 0]", "at most half"),
        ("[split]\nfraction = 1.0", "split.fraction"),
        ("task = 'denoising'", "task is one of segmentation, not denoising"),
        ("steps = [", "cannot be read"),
    ],
)
def test_a_wrong_value_is_an_error_that_names_the_key(tmp_path, text, words):
    with pytest.raises(ConfigError, match=words.replace("[", r"\[")):
        load_config(write(tmp_path, text))


def test_overrides_win_and_keep_their_types(tmp_path):
    path = write(tmp_path, "[training]\niterations = 5")
    sets = [
        "training.iterations=9",
        "data.labels=['mito']",
        "training.precision=fp32",
        "model.stem=2",
    ]
    config = load_config(path, sets)
    assert config.training.iterations == 9
    assert config.data.labels == ("mito",)
    assert config.training.precision == "fp32"
    assert config.model.stem == 2


@pytest.mark.parametrize("text", ["training.iterations", "training.stepz=3", "name.steps=3"])
def test_a_bad_override_is_an_error(tmp_path, text):
    with pytest.raises(ConfigError):
        load_config(write(tmp_path, "name = 'x'"), [text])


def test_the_stored_form_is_read_back_to_the_same_settings(tmp_path):
    config = load_config(write(tmp_path, "[objects]\nsmallest = {mito = 4}"))
    path = tmp_path / "config.json"
    path.write_text(to_json(config))
    assert load_config(path) == config
    assert json.loads(path.read_text())["training"]["iterations"] == config.training.iterations


def test_an_unknown_name_lists_the_bundled_ones_and_names_the_nearest(tmp_path):
    with pytest.raises(ConfigError, match=r"did you mean Semantic3D\?.*unet2d, unet3d"):
        load_config(Path("Semantic3d"))
    with pytest.raises(ConfigError, match="is no file"):
        load_config(tmp_path / "unet2d.toml")


def test_a_misspelt_key_is_answered_with_the_nearest(tmp_path):
    with pytest.raises(ConfigError, match=r"training\.bach .did you mean training\.batch\?"):
        load_config(write(tmp_path, "[training]\nbach = 3"))


def test_a_stored_config_that_is_no_table_is_refused(tmp_path):
    path = tmp_path / "config.json"
    path.write_text("[1, 2]")
    with pytest.raises(ConfigError, match="must hold a table of settings, not list"):
        load_config(path)


def test_settings_cannot_be_changed_once_made():
    with pytest.raises(dataclasses.FrozenInstanceError):
        Config().training.iterations = 3


def test_a_list_where_a_table_belongs_is_an_error(tmp_path):
    with pytest.raises(ConfigError, match="model must be a table"):
        load_config(write(tmp_path, "model = [1]"))


def test_a_wrong_entry_in_a_list_is_named(tmp_path):
    with pytest.raises(ConfigError, match=r"training\.patch must be: whole number; not 'a'"):
        load_config(write(tmp_path, "[training]\npatch = [1, 'a', 64]"))


@pytest.mark.parametrize(
    "override",
    [
        "model.stem=0", "training.patch=[]", "prediction.batch=0", "training.save_every=-1",
        "training.lr=-1", "training.seed=-1", "training.clip=-1", "prediction.block=[0,0,0]",
        "prediction.tile=[1]", "data.voxel_size=[0,4,4]",
    ],
)  # fmt: skip
def test_a_value_that_cannot_work_is_refused_before_any_data_is_touched(override):
    with pytest.raises(ConfigError, match=override.partition("=")[0]):
        load_config(Path("unet2d"), [override])
