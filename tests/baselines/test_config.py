import json

import pytest

from baselines.config import Config, ConfigError, load_config, to_json


def write(tmp_path, text):
    path = tmp_path / "run.toml"
    path.write_text(text)
    return path


def test_an_empty_file_gives_the_defaults(tmp_path):
    assert load_config(write(tmp_path, "")) == Config()


def test_values_land_where_they_belong(tmp_path):
    config = load_config(write(tmp_path, "[training]\nlr = 1\npatch = [1, 64, 64]"))
    assert config.training.lr == 1.0
    assert config.training.patch == (1, 64, 64)


def test_an_unknown_key_is_named_with_the_known_ones(tmp_path):
    with pytest.raises(ConfigError, match=r"unknown key training\.step; known here are: steps,"):
        load_config(write(tmp_path, "[training]\nstep = 3"))


def test_an_unknown_table_is_named(tmp_path):
    with pytest.raises(ConfigError, match="unknown key trainer"):
        load_config(write(tmp_path, "[trainer]\nsteps = 3"))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[training]\nsteps = 'many'", "training.steps must be int, not 'many'"),
        ("[training]\nsteps = 1.5", "training.steps must be int"),
        ("[training]\ncompile = 1", "training.compile must be bool"),
        ("training = 3", "training must be a table"),
        ("[data]\nlabels = 'mito'", "data.labels must be"),
        ("[prediction]\nthresholds = {mito = 'high'}", "prediction.thresholds.mito must be float"),
        ("[model]\ndims = 4", "model.dims must be 2 or 3"),
        ("[model]\nwidth = 12", "multiple of 8"),
        ("[training]\npatch = [1, 100, 100]", "training.patch: Y and X must be multiples of 8"),
        ("[training]\npatch = [3, 96, 96]", "one plane when model.dims is 2"),
        ("[prediction]\noverlap = [0, 200, 0]", "at most half"),
        ("[data]\nvalidation = 1.0", "data.validation"),
        ("task = 'denoising'", "task must be segmentation"),
        ("steps = [", "cannot be read"),
    ],
)
def test_a_wrong_value_is_an_error_that_names_the_key(tmp_path, text, words):
    with pytest.raises(ConfigError, match=words.replace("[", r"\[")):
        load_config(write(tmp_path, text))


def test_overrides_win_and_keep_their_types(tmp_path):
    path = write(tmp_path, "[training]\nsteps = 5")
    sets = ["training.steps=9", "data.labels=['mito']", "training.precision=fp32", "model.stem=2"]
    config = load_config(path, sets)
    assert config.training.steps == 9
    assert config.data.labels == ("mito",)
    assert config.training.precision == "fp32"
    assert config.model.stem == 2


@pytest.mark.parametrize("text", ["training.steps", "training.stepz=3", "name.steps=3"])
def test_a_bad_override_is_an_error(tmp_path, text):
    with pytest.raises(ConfigError):
        load_config(write(tmp_path, "name = 'x'"), [text])


def test_the_stored_form_is_read_back_to_the_same_settings(tmp_path):
    config = load_config(write(tmp_path, "[prediction]\nsmallest = {mito = 4}"))
    path = tmp_path / "config.json"
    path.write_text(to_json(config))
    assert load_config(path) == config
    assert json.loads(path.read_text())["training"]["steps"] == config.training.steps


@pytest.mark.parametrize("name", ["unet2d", "unet3d"])
def test_bundled_settings_are_found_by_name(name, tmp_path):
    assert load_config(tmp_path.__class__(name)).name == name


def test_an_unknown_name_lists_the_bundled_ones(tmp_path):
    with pytest.raises(ConfigError, match="unet2d, unet3d"):
        load_config(tmp_path / "nothing.toml")
