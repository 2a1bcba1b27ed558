import dataclasses
import json

import pytest
import torch

from baselines.config import ConfigError
from baselines.runs.checkpoint import (
    Run,
    fingerprint_of,
    heads_in,
    members,
    network_of,
    save_ensemble,
)
from baselines.runs.journal import Noted
from tests.baselines.conftest import tiny


def settings(voxel_size=(8.0, 8.0, 8.0), kinds=None, **training):
    config = tiny(**training)
    config = dataclasses.replace(
        config,
        data=dataclasses.replace(config.data, voxel_size=voxel_size),
        trained=dataclasses.replace(config.trained, kinds=kinds or {}),
    )
    mark = fingerprint_of(config, network_of(config))
    return dataclasses.replace(
        config, trained=dataclasses.replace(config.trained, fingerprint=mark)
    )


def begun(folder, **options):
    folder.mkdir(parents=True, exist_ok=True)
    run = Run(folder)
    run.begin(settings(**options))
    return run


def trained(folder, **options):
    run = begun(folder, **options)
    config = run.config()
    run.save_best(network_of(config).state_dict(), config.trained.fingerprint)
    return run


def test_a_new_folder_has_no_state_no_results_and_no_events(tmp_path):
    run = Run(tmp_path)
    assert run.load_last() is None
    assert run.results() == {}
    assert run.events() == []


def test_state_comes_back_as_it_was(tmp_path):
    Run(tmp_path).save_last({"iteration": 3, "model": {"w": torch.arange(4.0)}})
    state = Run(tmp_path).load_last()
    assert state["iteration"] == 3
    assert torch.equal(state["model"]["w"], torch.arange(4.0))
    assert [p.name for p in tmp_path.iterdir()] == ["last.pt"]


def test_a_folder_that_is_no_run_says_so(tmp_path):
    with pytest.raises(ConfigError, match=r"holds no run: config\.json is missing"):
        Run(tmp_path).config()


def test_an_untrained_run_says_so(tmp_path):
    with pytest.raises(ConfigError, match="train it first"):
        begun(tmp_path).model()


def test_settings_say_which_channels_the_network_has(tmp_path):
    run = begun(tmp_path, kinds={"cell": "instance", "mem": "semantic"})
    assert run.heads() == heads_in(run.config())
    assert run.heads().names == ("cell", "cell/contour", "cell/distance", "mem")


def test_both_formats_hold_the_same_weights(tmp_path):
    run = trained(tmp_path)
    one = run.model().state_dict()
    other = Run.of(tmp_path / "best_model.pth", tmp_path / "config.json").model().state_dict()
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_weights_and_settings_work_without_their_folder(tmp_path):
    trained(tmp_path / "run")
    for name in ("best_model.safetensors", "config.json"):
        (tmp_path / "run" / name).rename(tmp_path / name)
    run = Run.of(tmp_path / "best_model.safetensors", tmp_path / "config.json")
    assert run.model().state_dict().keys() == network_of(run.config()).state_dict().keys()
    assert run.results() == {}


def test_weights_of_another_network_are_refused(tmp_path):
    run = begun(tmp_path)
    run.save_best({"w": torch.zeros(3)}, "")
    with pytest.raises(
        ConfigError, match=r"^Model file invalid: .*same training session"
    ):  # fmt: skip
        run.model()


@pytest.mark.parametrize("name", ["best_model.pth", "best_model.safetensors"])
def test_weights_that_fit_but_mean_something_else_are_refused(tmp_path, name):
    """The same shapes, learnt at another voxel size."""
    trained(tmp_path / "one")
    trained(tmp_path / "two", voxel_size=(16.0, 16.0, 16.0))
    mixed = Run.of(tmp_path / "one" / name, tmp_path / "two/config.json")
    with pytest.raises(ConfigError, match="Model file invalid"):
        mixed.model()


def test_a_folder_with_another_run_is_refused_and_keeps_its_settings(tmp_path):
    run = begun(tmp_path)
    with pytest.raises(ConfigError, match=r"other settings \(training.lr\)"):
        run.begin(settings(lr=0.5))
    assert run.config() == settings()
    run.begin(settings())


def test_what_was_told_after_an_iteration_is_forgotten(tmp_path):
    run = begun(tmp_path)
    for n in (1, 2, 3):
        run.log(Noted(n, "note", f"{n}"))
    run.rewind(2)
    assert [event.iteration for event in run.events()] == [1, 2]


def test_so_many_checkpoints_are_kept(tmp_path):
    run = begun(tmp_path)
    for n in (5, 10, 15):
        run.save_checkpoint({"w": torch.zeros(1)}, "x", iteration=n, keep=2)
    names = sorted(path.name for path in (tmp_path / "checkpoints").iterdir())
    assert names == ["000000010.safetensors", "000000015.safetensors"]


def test_no_checkpoints_are_kept_if_none_are_asked_for(tmp_path):
    run = begun(tmp_path)
    run.save_checkpoint({"w": torch.zeros(1)}, "x", iteration=5, keep=0)
    assert not (tmp_path / "checkpoints").exists()


def test_a_damaged_results_file_is_named(tmp_path):
    (tmp_path / "results.json").write_text('{"dice": ')
    with pytest.raises(ConfigError, match=r"results\.json is damaged"):
        Run(tmp_path).results()


def test_a_run_is_an_ensemble_of_one(tmp_path):
    run = trained(tmp_path)
    assert members(tmp_path) == [run]


def test_an_ensemble_has_its_members_whatever_it_is_called(tmp_path):
    for fold in (0, 1):
        trained(tmp_path / f"old/fold-{fold}")
    save_ensemble(tmp_path / "old", ["fold-0", "fold-1"])
    (tmp_path / "old").rename(tmp_path / "new")
    assert [run.folder.name for run in members(tmp_path / "new")] == ["fold-0", "fold-1"]


def test_a_member_that_was_renamed_is_named_and_works_by_itself(tmp_path):
    for fold in (0, 1):
        trained(tmp_path / f"fold-{fold}")
    save_ensemble(tmp_path, ["fold-0", "fold-1"])
    (tmp_path / "fold-1").rename(tmp_path / "mine")
    with pytest.raises(ConfigError, match="lacks the weights of fold-1"):
        members(tmp_path)
    assert members(tmp_path / "mine")[0].model().state_dict()


def test_an_ensemble_that_is_not_complete_says_which_folds_are_missing(tmp_path):
    trained(tmp_path / "fold-0")
    begun(tmp_path / "fold-1")
    save_ensemble(tmp_path, ["fold-0", "fold-1"])
    with pytest.raises(ConfigError, match="lacks the weights of fold-1"):
        members(tmp_path)


@pytest.mark.parametrize("text", ["", "[]", '{"members": 3}', '{"folds": []}'])
def test_a_damaged_ensemble_is_named(tmp_path, text):
    (tmp_path / "ensemble.json").write_text(text)
    with pytest.raises(ConfigError, match=r"ensemble\.json is damaged"):
        members(tmp_path)


def test_a_folder_that_is_neither_says_so(tmp_path):
    with pytest.raises(ConfigError, match="holds no run"):
        members(tmp_path)


def test_stored_settings_are_plain_json_with_everything_filled_in(tmp_path):
    begun(tmp_path, kinds={"cell": "instance", "mem": "semantic"})
    stored = json.loads((tmp_path / "config.json").read_text())
    assert {name: stored["model"][name] for name in ("name", "dims", "width", "levels")} == {
        "name": "unet", "dims": 2, "width": 8, "levels": 2,
    }  # fmt: skip
    assert stored["data"]["labels"] == ["cell", "mem"]
    assert stored["trained"]["kinds"] == {"cell": "instance", "mem": "semantic"}
    assert stored["data"]["voxel_size"] == [8.0, 8.0, 8.0]
    assert len(stored["trained"]["fingerprint"]) == 64
