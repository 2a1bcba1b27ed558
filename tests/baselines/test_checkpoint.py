import dataclasses
import pickle

import pytest
import torch

from baselines.checkpoint import Run
from baselines.config import ConfigError
from tests.baselines.conftest import tiny


def trained(folder):
    run = Run(folder)
    config = tiny()
    data = dataclasses.replace(config.data, voxel_size=(8.0, 8.0, 8.0))
    run.begin(dataclasses.replace(config, data=data))
    return run


class Trap:
    def __reduce__(self):
        return print, ("code ran",)


def test_a_state_with_code_in_it_is_not_run(tmp_path, capsys):
    (tmp_path / "last.pt").write_bytes(pickle.dumps(Trap(), protocol=2))
    with pytest.raises(ConfigError, match="is not the state of a run"):
        Run(tmp_path).load_last()
    assert "code ran" not in capsys.readouterr().out


def test_a_new_folder_has_no_state_and_no_results(tmp_path):
    run = Run(tmp_path)
    assert run.load_last() is None
    assert run.results() == {}
    assert run.lines() == []


def test_state_comes_back_as_it_was(tmp_path):
    Run(tmp_path).save_last({"step": 3, "model": {"w": torch.arange(4.0)}})
    state = Run(tmp_path).load_last()
    assert state["step"] == 3
    assert torch.equal(state["model"]["w"], torch.arange(4.0))
    assert [p.name for p in tmp_path.iterdir()] == ["last.pt"]


def test_a_folder_that_is_no_run_says_so(tmp_path):
    with pytest.raises(ConfigError, match=r"holds no run: config\.json is missing"):
        Run(tmp_path).config()


def test_an_untrained_run_says_so(tmp_path):
    with pytest.raises(ConfigError, match="train it first"):
        trained(tmp_path).model()


def test_weights_of_another_network_are_refused(tmp_path):
    run = trained(tmp_path)
    run.save_weights({"w": torch.zeros(3)})
    with pytest.raises(ConfigError, match="does not hold the weights of the network"):
        run.model()


def test_a_damaged_file_of_weights_is_refused(tmp_path):
    run = trained(tmp_path)
    run.weights.write_bytes(b"not a tensor in sight")
    with pytest.raises(ConfigError, match="does not hold the weights"):
        run.model()


def test_of_a_step_reported_twice_the_later_line_counts(tmp_path):
    run = Run(tmp_path)
    for step, loss in ((20, 1.0), (40, 0.9), (20, 0.8)):
        run.log({"step": step, "loss": loss})
    assert [(line["step"], line["loss"]) for line in run.lines()] == [(20, 0.8), (40, 0.9)]


def test_a_damaged_results_file_is_named(tmp_path):
    (tmp_path / "results.json").write_text('{"dice": ')
    with pytest.raises(ConfigError, match=r"results\.json is damaged"):
        Run(tmp_path).results()
