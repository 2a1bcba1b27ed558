import pickle

import pytest
import torch

from baselines.config import ConfigError
from baselines.runs.weights import load_state, load_weights, save_state, save_weights

BOTH = pytest.mark.parametrize("name", ["best_model.pth", "best_model.safetensors"])


class Trap:
    def __reduce__(self):
        return print, ("code ran",)


def weights(value=1.5):
    return {"a.weight": torch.full((2, 3), value), "a.count": torch.tensor(7)}


@BOTH
def test_weights_come_back_with_their_fingerprint(tmp_path, name):
    save_weights(weights(), tmp_path / name, "c0ffee")
    found, fingerprint = load_weights(tmp_path / name)
    assert fingerprint == "c0ffee"
    assert found.keys() == weights().keys()
    assert all(torch.equal(found[key], value) for key, value in weights().items())
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_files_of_others_have_no_fingerprint(tmp_path):
    torch.save(weights(), tmp_path / "model.pth")
    assert load_weights(tmp_path / "model.pth")[1] == ""


@BOTH
@pytest.mark.parametrize(
    "content",
    [b"", b"not a tensor in sight", b"\xff" * 8 + b"{}", (3 * 10**9).to_bytes(8, "little") + b"{}"],
)  # the last two promise a header of more bytes than there are
def test_a_file_that_holds_no_weights_is_refused(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ConfigError, match=r"^Model file invalid: .*not a file of.*train again"):
        load_weights(tmp_path / name)


@BOTH
@pytest.mark.parametrize("left", [0.1, 0.5, 0.99])
def test_a_file_that_was_cut_off_is_refused(tmp_path, name, left):
    path = tmp_path / name
    save_weights({"a.weight": torch.zeros(5000)}, path, "c0ffee")
    path.write_bytes(path.read_bytes()[: int(left * path.stat().st_size)])
    with pytest.raises(ConfigError, match=r"^Model file invalid: .*damaged"):
        load_weights(path)


def test_a_state_that_was_cut_off_is_refused(tmp_path):
    path = tmp_path / "last.pt"
    save_state({"a": torch.zeros(5000)}, path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(ConfigError, match="is not the state of a run"):
        load_state(path)


def test_a_file_with_code_in_it_is_refused_and_not_run(tmp_path, capsys):
    (tmp_path / "model.pth").write_bytes(pickle.dumps(Trap(), protocol=2))
    with pytest.raises(ConfigError, match="Model file invalid"):
        load_weights(tmp_path / "model.pth")
    torch.save({"a": Trap()}, tmp_path / "model.pth")
    with pytest.raises(ConfigError, match="Model file invalid"):
        load_weights(tmp_path / "model.pth")
    assert "code ran" not in capsys.readouterr().out


@pytest.mark.parametrize("content", [[torch.zeros(1)], {"a": 3}, torch.zeros(2)])
def test_a_file_with_anything_but_named_tensors_is_refused(tmp_path, content):
    torch.save(content, tmp_path / "model.pth")
    with pytest.raises(ConfigError, match="Model file invalid"):
        load_weights(tmp_path / "model.pth")


@BOTH
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_not_finite_are_refused(tmp_path, name, value):
    save_weights(weights(value), tmp_path / name, "")
    with pytest.raises(ConfigError, match="not finite"):
        load_weights(tmp_path / name)


@BOTH
def test_a_file_beyond_two_gigabytes_is_neither_read_nor_written(tmp_path, name, monkeypatch):
    with (tmp_path / name).open("wb") as file:
        file.truncate(3 * 10**9)  # sparse: takes no room
    with pytest.raises(ConfigError, match="more than 2 GB"):
        load_weights(tmp_path / name)
    monkeypatch.setattr("baselines.runs.weights.MOST_BYTES", 16)
    with pytest.raises(ConfigError, match=r"smaller model\.width"):
        save_weights(weights(), tmp_path / f"new-{name}", "")
    assert not (tmp_path / f"new-{name}").exists()


def test_a_state_with_code_in_it_is_not_run(tmp_path, capsys):
    (tmp_path / "last.pt").write_bytes(pickle.dumps(Trap(), protocol=2))
    with pytest.raises(ConfigError, match="is not the state of a run"):
        load_state(tmp_path / "last.pt")
    assert "code ran" not in capsys.readouterr().out


def test_a_state_holds_tensors_and_plain_values(tmp_path):
    state = {"a": [torch.ones(2), 3.5], "b": {"c": "text", "d": None, "e": True}}
    save_state(state, tmp_path / "last.pt")
    found = load_state(tmp_path / "last.pt")
    assert found["b"] == state["b"]
    assert torch.equal(found["a"][0], torch.ones(2))
