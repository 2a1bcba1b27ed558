import dataclasses
import json

import numpy as np
import pytest
import torch

from baselines.checkpoint import Run
from baselines.config import ConfigError, TrainingConfig
from baselines.crops import make_crop
from baselines.data import Batch, Patches
from baselines.layout import DataFolder
from baselines.models import build_model
from baselines.readers import InMemory
from baselines.training import choose_device, follow, learning_rate, train, train_step, use_bf16
from evaluator.geometry import VoxelGrid
from tests.baselines.conftest import tiny, tiny_volume

CPU = torch.device("cpu")


def quiet(_):
    pass


def weights(folder):
    return Run(folder).model().state_dict()


def step(model, batch, *, optimizer=None, rate=1e-2):
    optimizer = optimizer or torch.optim.AdamW(model.parameters())
    return train_step(model, batch, optimizer, rate=rate, clip=1.0, device=CPU, bf16=False)


def batch(*, weight=1.0, seed=0):
    random = np.random.default_rng(seed)
    raw = random.standard_normal((2, 1, 1, 16, 16), np.float32)
    target = (random.random((2, 2, 1, 16, 16)) > 0.5).astype(np.float32)
    return Batch(raw, target, np.full(target.shape, weight, np.float32))


def model():
    torch.manual_seed(0)
    return build_model(tiny().model, labels=2, voxel_size=(8.0, 8.0, 8.0))


def test_one_step_changes_the_weights():
    net = model()
    before = {k: v.clone() for k, v in net.state_dict().items()}
    step(net, batch())
    assert any((v != before[k]).any() for k, v in net.state_dict().items())


def test_a_batch_nobody_annotated_leaves_the_weights_unchanged():
    net = model()
    optimizer = torch.optim.AdamW(net.parameters(), weight_decay=0.1)
    step(net, batch(), optimizer=optimizer)  # so that there is momentum to be tempted by
    before = {k: v.clone() for k, v in net.state_dict().items()}
    assert step(net, batch(weight=0.0), optimizer=optimizer) == 0.0
    assert all((v == before[k]).all() for k, v in net.state_dict().items())


def test_what_is_not_annotated_does_not_steer_a_step():
    results = []
    for value in (0.0, 1.0):
        net, part = model(), batch()
        target, weight = part.target.copy(), part.weight.copy()
        target[:, 1], weight[:, 1] = value, 0.0
        step(net, Batch(part.raw, target, weight))
        results.append(net.state_dict())
    assert all(torch.equal(v, results[1][k]) for k, v in results[0].items())


def bright_squares(seed):
    random = np.random.default_rng(seed)
    label = np.zeros((4, 48, 48), np.uint8)
    for z in range(4):
        for y, x in random.integers(4, 36, (3, 2)):
            label[z, y : y + 8, x : x + 8] = 1
    raw = np.clip(90 + 40 * label + random.normal(0, 20, label.shape), 1, 255).astype(np.uint8)
    grid = VoxelGrid(raw.shape, (8.0, 8.0, 8.0))
    return make_crop("a", grid, InMemory(raw), {"a": InMemory(label)}, validation=0.0)


def test_it_learns_bright_squares_in_forty_steps():
    settings = tiny(batch=4)
    net = build_model(settings.model, labels=1, voxel_size=(8.0, 8.0, 8.0))
    optimizer = torch.optim.AdamW(net.parameters())
    patches = Patches([bright_squares(0)], ["a"], settings)
    losses = [step(net, patches.batch(n), optimizer=optimizer) for n in range(40)]
    assert np.mean(losses[-5:]) < 0.5 * np.mean(losses[:5])


def test_a_run_leaves_everything_needed_to_use_it(phantom, tmp_path):
    results = train(tiny(), phantom, Run(tmp_path / "run"), device=CPU, progress=quiet)
    names = {path.name for path in (tmp_path / "run").iterdir()}
    assert names == {
        "config.json", "best_model.safetensors", "results.json", "last.pt", "progress.jsonl",
        "curves.png",
    }  # fmt: skip
    stored = json.loads((tmp_path / "run/results.json").read_text())
    assert stored == results
    assert set(stored["thresholds"]) == set(stored["dice"]) == {"cell", "mem"}
    assert set(stored["quality"]) == {"cell"}
    assert stored["steps"] == 6
    assert set(stored["light"]) == {"phantom-train-1", "phantom-train-2"}
    config = Run(tmp_path / "run").config()
    assert config.data.voxel_size == (8.0, 8.0, 8.0)


def test_a_volume_network_trains_too(phantom, tmp_path):
    results = train(tiny_volume(), phantom, Run(tmp_path / "run"), device=CPU, progress=quiet)
    assert results["steps"] == 3


def test_an_interrupted_run_ends_with_the_same_weights(phantom, tmp_path, monkeypatch):
    settings = tiny(iterations=5, precision="fp32")
    train(settings, phantom, Run(tmp_path / "whole"), device=CPU, progress=quiet)

    original = Patches.batch

    def interrupted(self, number):
        if number == 3:
            raise KeyboardInterrupt
        return original(self, number)

    monkeypatch.setattr(Patches, "batch", interrupted)
    with pytest.raises(KeyboardInterrupt):
        train(settings, phantom, Run(tmp_path / "parts"), device=CPU, progress=quiet)
    monkeypatch.undo()
    assert not (tmp_path / "parts/results.json").exists()
    said = []
    train(settings, phantom, Run(tmp_path / "parts"), device=CPU, progress=said.append)
    assert any("going on from step" in line for line in said)
    one, two = weights(tmp_path / "whole"), weights(tmp_path / "parts")
    assert all(torch.equal(one[k], two[k]) for k in one)


def test_a_finished_run_is_not_trained_again(phantom, tmp_path):
    run = Run(tmp_path / "run")
    train(tiny(), phantom, run, device=CPU, progress=quiet)
    before = run.weights.read_bytes()
    train(tiny(), phantom, run, device=CPU, progress=quiet)
    assert run.weights.read_bytes() == before
    assert run.lines()[-1]["step"] == 6


def test_a_folder_with_another_run_is_refused(phantom, tmp_path):
    train(tiny(), phantom, Run(tmp_path), device=CPU, progress=quiet)
    with pytest.raises(ConfigError, match=r"other settings \(training\)"):
        train(tiny(lr=0.5), phantom, Run(tmp_path), device=CPU, progress=quiet)


def test_without_validation_planes_the_last_weights_are_kept(phantom, tmp_path):
    settings = tiny()
    split = dataclasses.replace(settings.split, fraction=0.0)
    settings = dataclasses.replace(settings, split=split)
    results = train(settings, phantom, Run(tmp_path), device=CPU, progress=quiet)
    assert "dice" not in results
    assert Run(tmp_path).weights.is_file()


def test_the_clock_ends_a_schedule_early(phantom, tmp_path):
    settings = tiny(iterations=10_000, seconds=0.2)
    results = train(settings, phantom, Run(tmp_path), device=CPU, progress=quiet)
    assert 0 < results["steps"] < 200


def test_a_patch_that_does_not_suit_the_network_is_refused_before_training(phantom, tmp_path):
    settings = tiny_volume()
    training = dataclasses.replace(settings.training, patch=(5, 32, 32))
    with pytest.raises(ConfigError, match="must be a multiple"):
        train(
            dataclasses.replace(settings, training=training), phantom, Run(tmp_path / "run"),
            device=CPU, progress=quiet,
        )  # fmt: skip
    assert not (tmp_path / "run").exists()


def test_the_rate_climbs_then_falls_to_a_hundredth():
    settings = TrainingConfig(lr=1.0, warmup=0.1)
    rates = [learning_rate(settings, done) for done in np.linspace(0, 1, 101)]
    assert 0 < rates[0] < 0.2
    assert max(rates) == pytest.approx(1.0, abs=0.02)
    assert int(np.argmax(rates)) in (10, 11)
    assert rates[-1] == pytest.approx(0.01)


def test_the_average_follows_quickly_at_first_and_slowly_later():
    average = {"w": torch.zeros(1)}
    follow(average, {"w": torch.ones(1)}, decay=0.99, step=0)
    assert average["w"].item() == pytest.approx(0.9)  # 1 - 1/10
    average = {"w": torch.zeros(1)}
    follow(average, {"w": torch.ones(1)}, decay=0.99, step=10_000)
    assert average["w"].item() == pytest.approx(0.01)


def test_devices_and_precision():
    assert choose_device("cpu").type == "cpu"
    assert use_bf16("bf16", CPU)
    assert not use_bf16("fp32", CPU)
    with pytest.raises(ConfigError, match="auto, cpu or cuda"):
        choose_device("tpu")
    if not torch.cuda.is_available():
        assert choose_device("auto").type == "cpu"
        with pytest.raises(ConfigError, match="no usable CUDA"):
            choose_device("cuda")


def test_a_data_folder_that_is_none_is_refused(tmp_path):
    with pytest.raises(Exception, match="has no train crops"):
        train(tiny(), DataFolder(tmp_path), Run(tmp_path / "run"), device=CPU, progress=quiet)


def test_labels_annotated_in_different_crops_are_both_learnt():
    settings = tiny(batch=4)
    one, two = bright_squares(0), bright_squares(1)
    dark = InMemory(1 - two.labels["a"].array)
    other = make_crop("b", two.grid, two.raw, {"b": dark}, validation=0.0)
    net = build_model(settings.model, labels=2, voxel_size=(8.0, 8.0, 8.0))
    optimizer = torch.optim.AdamW(net.parameters())
    patches = Patches([one, other], ["a", "b"], settings)
    for n in range(60):
        step(net, patches.batch(n), optimizer=optimizer)
    test = bright_squares(2)
    raw = torch.from_numpy(test.light.normalise(test.raw.array))[None, None]
    with torch.inference_mode():
        a, b = net.eval()(raw)[0].sigmoid()
    inside = torch.from_numpy(test.labels["a"].array > 0)
    assert a[inside].mean() > a[~inside].mean() + 0.3
    assert b[inside].mean() < b[~inside].mean() - 0.3


def test_the_same_seed_gives_the_same_weights_and_another_seed_others(phantom, tmp_path):
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        settings = tiny(iterations=3, seed=seed, precision="fp32")
        train(settings, phantom, Run(tmp_path / name), device=CPU, progress=quiet)
    one, two, other = (weights(tmp_path / name) for name in "abc")
    assert all(torch.equal(one[k], two[k]) for k in one)
    assert any(not torch.equal(one[k], other[k]) for k in one)


def test_the_best_weights_are_kept_not_the_last(phantom, tmp_path, monkeypatch):
    found = []

    def record(self, values):
        found.append({k: v.clone() for k, v in values.items()})
        return original(self, values)

    original = Run.save_weights
    monkeypatch.setattr(Run, "save_weights", record)
    settings = tiny(iterations=6, validate_every=2)
    results = train(settings, phantom, Run(tmp_path / "run"), device=CPU, progress=quiet)
    kept = weights(tmp_path / "run")
    assert all(torch.equal(kept[k], found[-1][k]) for k in kept)
    assert results["step"] in (2, 4, 6)
    assert len(found) <= 3


def test_progress_is_logged_with_loss_rate_and_time(phantom, tmp_path):
    train(tiny(iterations=45), phantom, Run(tmp_path / "run"), device=CPU, progress=quiet)
    lines = Run(tmp_path / "run").lines()
    assert [line["step"] for line in lines] == [20, 40, 45]
    assert all(set(line) == {"step", "loss", "lr", "seconds", "cpu_seconds"} for line in lines)
    assert lines[0]["seconds"] <= lines[-1]["seconds"]
    assert lines[-1]["lr"] < lines[0]["lr"]


def test_bfloat16_trains_too(phantom, tmp_path):
    settings = tiny(iterations=2, precision="bf16")
    results = train(settings, phantom, Run(tmp_path / "run"), device=CPU, progress=quiet)
    assert np.isfinite(list(results["dice"].values())).all()


def test_large_gradients_are_clipped():
    moved = []
    for clip in (1e-6, 1e6):
        net = model()
        before = torch.cat([p.detach().flatten().clone() for p in net.parameters()])
        optimizer = torch.optim.SGD(net.parameters())
        train_step(net, batch(), optimizer, rate=1.0, clip=clip, device=CPU, bf16=False)
        after = torch.cat([p.detach().flatten() for p in net.parameters()])
        moved.append((after - before).norm().item())
    assert moved[0] == pytest.approx(1e-6, rel=0.05)
    assert moved[1] > 100 * moved[0]
