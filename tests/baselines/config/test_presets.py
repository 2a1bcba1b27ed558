"""The presets and the configurations that come along."""

import dataclasses
from pathlib import Path

import pytest
import torch

from baselines.config import Config, ConfigError, advice, bundled, load_config, to_json
from baselines.config.reading import presets
from baselines.models import build_model
from evaluator import parse_labels
from evaluator.cellmap import labels_toml

READY = ["Semantic2D", "Semantic3D", "Instance2D", "Instance3D", "2.5D", "cellmap"]


def load(tmp_path, *lines, sets=()):
    path = tmp_path / "run.toml"
    path.write_text("\n".join(lines))
    return load_config(path, sets)


def test_the_presets_are_those_that_are_announced():
    assert presets() == ["balanced", "fast", "high_quality", "workspace"]


def test_what_comes_along_is_found_by_its_name():
    assert set(bundled()) == {*READY, *presets(), "unet2d", "unet3d"}


@pytest.mark.parametrize("name", [*READY, "unet2d", "unet3d"])
def test_a_ready_file_is_named_as_its_run(name):
    assert load_config(Path(name)).name == name


@pytest.mark.parametrize("name", sorted(bundled()))
def test_whatever_comes_along_is_usual_and_is_stored_whole(tmp_path, name):
    config = load_config(Path(name))
    assert advice(config) == []
    stored = tmp_path / "config.json"
    stored.write_text(to_json(config))
    assert load_config(stored) == config


@pytest.mark.parametrize(
    ("name", "dims", "context"),
    [("Semantic2D", 2, 0), ("Instance2D", 2, 0), ("2.5D", 2, 1), ("Semantic3D", 3, 0),
     ("Instance3D", 3, 0), ("cellmap", 3, 0)],
)  # fmt: skip
def test_ready_files_see_planes_or_volumes_as_their_names_say(name, dims, context):
    model = load_config(Path(name)).model
    assert (model.dims, model.context) == (dims, context)


@pytest.mark.parametrize("name", ["Instance2D", "Instance3D"])
def test_ready_files_for_objects_learn_to_part_touching_ones(name):
    assert load_config(Path(name)).objects.representation in ("bcd", "affinity")


def test_the_file_of_all_classes_names_the_48_tested_ones(real_data):
    tested = (real_data / "cellmap" / "tested_classes.csv").read_text().split()
    labels = load_config(Path("cellmap")).data.labels
    assert len(labels) == 48
    assert set(labels) == set(tested)
    assert set(labels) <= set(parse_labels(labels_toml()))


def test_a_preset_fills_in_what_the_file_does_not_say(tmp_path):
    config = load(tmp_path, 'preset = "fast"', "[training]", "lr = 5e-4")
    assert config.training.lr == 5e-4
    assert config.training.iterations == 5000
    assert config.model.stem == 2
    assert config.training.clip == Config().training.clip


def test_a_preset_can_be_chosen_on_the_command_line(tmp_path):
    config = load(tmp_path, 'preset = "fast"', sets=["preset=high_quality"])
    assert config.model.deep_supervision
    assert config.training.iterations == 150_000


def test_presets_grow_from_fast_to_high_quality(tmp_path):
    fast, balanced, best = (load_config(Path(n)) for n in ("fast", "balanced", "high_quality"))
    steps = [c.training.iterations for c in (fast, balanced, best)]
    assert steps == sorted(set(steps))
    assert fast.model.most < balanced.model.most < best.model.most
    assert not balanced.model.deep_supervision
    assert best.model.deep_supervision


def test_an_unknown_preset_is_answered_with_the_nearest(tmp_path):
    with pytest.raises(ConfigError, match=r"balanced, fast, .*did you mean balanced\?"):
        load(tmp_path, 'preset = "balancd"')


def test_a_stored_config_does_not_change_when_its_preset_does(tmp_path):
    config = load_config(Path("fast"), ["training.iterations=7", "objects.shrink={cell=1}"])
    stored = tmp_path / "config.json"
    stored.write_text(to_json(dataclasses.replace(config, preset="high_quality")))
    assert load_config(stored).training == config.training
    assert load_config(stored).objects.shrink == {"cell": 1}


def test_the_workspace_preset_has_the_forms_defaults():
    config = load_config(Path("workspace"))
    assert config.training.patch == (1, 64, 64)
    assert config.sampling.patches_per_image == 50
    assert config.training.batch == 8
    assert config.augment.enabled
    assert config.model.width == 64
    assert config.model.levels == 4
    assert config.training.lr == 1e-3
    assert config.training.epochs == 100
    assert config.training.patience == 10


@pytest.mark.parametrize(
    ("key", "offered", "refused", "near"),
    [
        ("training.batch", (1, 2, 4, 8, 16, 32), 12, 8),
        ("model.width", (32, 48, 64, 96, 128), 40, 32),
        ("model.levels", (2, 3, 4), 1, 2),
        ("training.lr", (1e-5, 2e-3), 3e-3, 0.002),
        ("training.epochs", (10, 500), 501, 500),
        ("sampling.patches_per_image", (1, 100), 101, 100),
        ("training.batch", (), 64, 32),
        ("model.width", (), 16, 32),
        ("training.lr", (), 5e-6, 1e-05),
        ("training.epochs", (), 9, 10),
    ],
)
def test_the_workspace_preset_takes_what_the_form_offers_and_nothing_else(
    key, offered, refused, near
):
    for value in offered:
        load_config(Path("workspace"), [f"{key}={value}"])
    with pytest.raises(ConfigError, match=rf"{key} is .* workspace .* the nearest is {near}\."):
        load_config(Path("workspace"), [f"{key}={refused}"])


@pytest.mark.parametrize("size", [32, 48, 64, 96, 128, 256])
def test_the_workspace_preset_takes_every_patch_size_of_the_form(size):
    sets = [f"training.patch=[1,{size},{size}]", "model.levels=3"]
    assert load_config(Path("workspace"), sets).training.patch == (1, size, size)


def test_the_workspace_preset_refuses_other_patch_sizes():
    with pytest.raises(ConfigError, match=r"training\.patch is 80; .* the nearest is 64\."):
        load_config(Path("workspace"), ["training.patch=[1,80,80]"])


def test_the_workspace_preset_has_six_levels_at_most():
    with pytest.raises(ConfigError, match=r"model\.levels is 7; .* the nearest is 6\."):
        load_config(Path("workspace"), ["model.levels=7", "training.patch=[1,256,256]"])


@pytest.mark.parametrize("levels", [5, 6])
def test_more_levels_need_a_larger_patch(levels):
    size = 4 * 2 ** (levels - 1)
    sets = [f"model.levels={levels}", "training.patch=[1,256,256]"]
    assert load_config(Path("workspace"), sets).model.levels == levels
    with pytest.raises(ConfigError, match="for the coarsest"):
        load_config(
            Path("balanced"), [f"model.levels={levels}", f"training.patch=[1,{size},{size // 2}]"]
        )


def network(config, voxel_size, channels=2):
    """The network of some settings, without memory for its weights."""
    with torch.device("meta"):
        return build_model(
            config.model, channels=channels, voxel_size=voxel_size, patch=config.training.patch
        )


@pytest.mark.parametrize("name", sorted(bundled()))
@pytest.mark.parametrize("voxel_size", [(8.0, 4.0, 4.0), (50.0, 4.6, 4.6), (10.0, 10.0, 10.0)])
def test_whatever_comes_along_suits_every_usual_voxel_size(name, voxel_size):
    config = load_config(Path(name))
    model = network(config, voxel_size)
    model.check_patch(config.training.patch)
    assert not any(
        size % step for size, step in zip(config.prediction.tile, model.multiple, strict=True)
    )


@pytest.mark.parametrize("name", ["unet2d", "unet3d"])
def test_first_looks_are_small_networks_with_short_schedules(name):
    config = load_config(Path(name))
    weights = network(config, (8.0, 4.0, 4.0), channels=9).parameters()
    assert sum(weight.numel() for weight in weights) < 2_000_000
    assert 0 < config.training.seconds <= 150


def test_all_classes_fit_into_one_network_of_a_hundred_million_weights_at_most():
    config = load_config(Path("cellmap"))
    weights = network(config, (8.0, 8.0, 8.0), channels=48 + 2 * 12).parameters()
    assert sum(weight.numel() for weight in weights) < 100e6


def test_a_window_of_three_planes_is_not_pooled_along_z():
    config = load_config(Path("Semantic3D"), ["training.patch=[3,144,144]", "model.levels=4"])
    model = network(config, (10.0, 10.0, 10.0))
    model.check_patch((3, 144, 144))
    assert model.multiple[0] == 1
