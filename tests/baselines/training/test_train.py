"""Whole trainings on a small phantom: what they leave, what stops them, how they go on."""

import dataclasses
import json
import shutil

import numpy as np
import pytest
import tifffile
import torch

from baselines.config import Config, ConfigError, build
from baselines.layout import DataError, DataFolder
from baselines.runs.checkpoint import Run
from baselines.runs.journal import Noted, Trained, Validated, sentence_of
from baselines.runs.lock import locked
from baselines.training.sampling import Patches
from baselines.training.train import train
from tests.baselines.conftest import tiny, tiny_volume

CPU = torch.device("cpu")


def quiet(_):
    pass


def trained(settings, data, folder, **options):
    return train(settings, data, Run(folder), device=CPU, progress=quiet, **options)


def weights(folder):
    return Run(folder).model().state_dict()


def losses(folder):
    return [loss for e in Run(folder).events() if isinstance(e, Trained) for loss in e.losses]


def same(one, other):
    return all(torch.equal(one[name], other[name]) for name in one)


def notes(folder):
    return [event.event for event in Run(folder).events() if isinstance(event, Noted)]


def with_split(settings, **changes):
    return dataclasses.replace(settings, split=dataclasses.replace(settings.split, **changes))


def test_a_run_leaves_everything_needed_to_use_it(phantom, tmp_path):
    results = trained(tiny(), phantom, tmp_path / "run")
    names = {path.name for path in (tmp_path / "run").iterdir()}
    assert names == {
        "config.json", "best_model.safetensors", "best_model.pth", "results.json", "last.pt",
        "progress.jsonl", "curves_loss.png", "curves_dice.png", "checkpoints", "lock",
    }  # fmt: skip
    stored = json.loads((tmp_path / "run/results.json").read_text())
    assert stored == json.loads(json.dumps(results))
    assert set(stored["thresholds"]) == set(stored["dice"]) == {"cell", "mem"}
    assert stored["iterations"] == 6
    assert set(stored["light"]) == {"phantom-train-1", "phantom-train-2"}
    config = Run(tmp_path / "run").config()
    assert config.data.voxel_size == (8.0, 8.0, 8.0)
    assert config.trained.kinds == {"cell": "instance", "mem": "semantic"}


@pytest.mark.parametrize("representation", ["bcd", "affinity"])
def test_objects_are_learnt_in_every_representation(phantom, tmp_path, representation):
    settings = tiny(iterations=2)
    objects = dataclasses.replace(settings.objects, representation=representation)
    results = trained(dataclasses.replace(settings, objects=objects), phantom, tmp_path)
    assert set(results["dice"]) == {"cell", "mem"}
    assert Run(tmp_path).heads().channels > 2


def test_a_volume_network_trains_too(phantom, tmp_path):
    assert trained(tiny_volume(), phantom, tmp_path)["iterations"] == 3


def test_a_network_that_sees_neighbouring_planes_trains_too(phantom, tmp_path):
    settings = tiny(iterations=2)
    settings = dataclasses.replace(settings, model=dataclasses.replace(settings.model, context=1))
    assert set(trained(settings, phantom, tmp_path)["dice"]) == {"cell", "mem"}


def test_deep_supervision_trains_and_predicts_finely(phantom, tmp_path):
    settings = tiny_volume()
    model = dataclasses.replace(settings.model, deep_supervision=True)
    results = trained(dataclasses.replace(settings, model=model), phantom, tmp_path)
    assert np.isfinite(results["loss"])


def test_bfloat16_trains_too(phantom, tmp_path):
    results = trained(tiny(iterations=2, precision="bf16"), phantom, tmp_path)
    assert np.isfinite(list(results["dice"].values())).all()


class Break(Exception):
    """A crash, as far as a training can see."""


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("at", [3, 27])
def test_an_interrupted_run_ends_with_the_same_weights_and_the_same_curve(
    phantom, tmp_path, at, workers
):
    settings = tiny(iterations=30, precision="fp32", save_every=5, validate_every=10,
                    workers=workers)  # fmt: skip
    trained(settings, phantom, tmp_path / "whole")

    def crash(event):
        if event.iteration >= at and isinstance(event, Trained | Validated):
            raise Break

    with pytest.raises(Break):
        trained(settings, phantom, tmp_path / "parts", sinks=[crash])
    assert not (tmp_path / "parts/results.json").exists()
    trained(settings, phantom, tmp_path / "parts")
    assert "resumed" in notes(tmp_path / "parts")
    assert same(weights(tmp_path / "whole"), weights(tmp_path / "parts"))
    assert losses(tmp_path / "whole") == losses(tmp_path / "parts")
    assert len(losses(tmp_path / "parts")) == 30
    checks = [
        [e for e in Run(tmp_path / name).events() if isinstance(e, Validated)]
        for name in ("whole", "parts")
    ]
    assert checks[0] == checks[1]
    assert len(checks[0]) == 3


def test_a_stop_file_ends_after_the_step_and_the_run_goes_on_exactly(phantom, tmp_path):
    settings = tiny(iterations=30, precision="fp32")
    trained(settings, phantom, tmp_path / "whole")
    run = Run(tmp_path / "parts")

    def ask(event):
        if event.iteration == 20:
            run.stop.touch()

    with pytest.raises(KeyboardInterrupt):
        trained(settings, phantom, run.folder, sinks=[ask])
    assert notes(run.folder)[-1] == "stopped"
    assert not run.stop.exists()
    assert run.load_last()["standing"]["iteration"] == 21  # the step that was under way is ended
    trained(settings, phantom, run.folder)
    assert losses(run.folder) == losses(tmp_path / "whole")
    assert same(weights(run.folder), weights(tmp_path / "whole"))
    assert notes(run.folder) == ["begun", "stopped", "resumed", "done"]


def test_a_finished_run_is_not_trained_again(phantom, tmp_path):
    run = Run(tmp_path)
    first = trained(tiny(), phantom, tmp_path)
    before = run.weights.read_bytes(), run.events()
    assert trained(tiny(), phantom, tmp_path) == json.loads(json.dumps(first))
    assert (run.weights.read_bytes(), run.events()) == before


def test_a_folder_with_another_run_is_refused(phantom, tmp_path):
    trained(tiny(), phantom, tmp_path)
    with pytest.raises(ConfigError, match=r"other settings \(training"):
        trained(tiny(lr=0.5), phantom, tmp_path)


def test_a_folder_in_which_somebody_trains_is_refused(phantom, tmp_path):
    with locked(tmp_path / "lock"), pytest.raises(ConfigError, match="already active here"):
        trained(tiny(), phantom, tmp_path)
    assert not (tmp_path / "config.json").exists()


def test_without_validation_planes_the_last_weights_are_kept(phantom, tmp_path):
    results = trained(with_split(tiny(), fraction=0.0), phantom, tmp_path)
    assert "dice" not in results
    assert Run(tmp_path).weights.is_file()


def test_the_clock_ends_a_schedule_early(phantom, tmp_path):
    results = trained(tiny(iterations=10_000, seconds=0.5), phantom, tmp_path)
    assert 0 < results["iterations"] < 500


def test_epochs_may_be_given_instead_of_iterations(phantom, tmp_path):
    settings = tiny(epochs=2, iterations=10_000)
    sampling = dataclasses.replace(settings.sampling, patches_per_image=4)
    results = trained(dataclasses.replace(settings, sampling=sampling), phantom, tmp_path)
    assert (results["iterations"], results["epochs"]) == (8, 2)
    told = [e for e in Run(tmp_path).events() if isinstance(e, Trained)]
    assert [(e.epoch, e.epochs) for e in told] == [(1, 2), (2, 2)]
    assert len([e for e in Run(tmp_path).events() if isinstance(e, Validated)]) == 2


def test_training_ends_when_validations_become_no_better(phantom, tmp_path):
    settings = tiny(iterations=200, validate_every=2, patience=2, lr=1e-8, ema=0.0)
    results = trained(settings, phantom, tmp_path)
    assert results["iterations"] == 6  # the first is the best, two are not better


def test_a_patch_that_does_not_suit_the_network_is_refused_before_training(phantom, tmp_path):
    settings = tiny(patch=[1, 31, 31])
    settings = dataclasses.replace(settings, model=dataclasses.replace(settings.model, stem=2))
    with pytest.raises(ConfigError, match="multiple"):
        trained(settings, phantom, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_without_raw_or_without_labels_there_is_no_training(phantom, tmp_path):
    empty, unlabelled, without_raw = (tmp_path / name for name in ("empty", "images", "labels"))
    empty.mkdir()
    (unlabelled / "images").mkdir(parents=True)
    tifffile.imwrite(unlabelled / "images/a.tif", np.ones((32, 32), np.uint8))
    (unlabelled / "masks").mkdir()
    shutil.copytree(phantom.root, without_raw)
    for folder in without_raw.glob("train/*/raw"):
        shutil.rmtree(folder)
    for data, words in (
        (empty, r"train\.csv.*images and masks"), (without_raw, "raw is missing"),
        (unlabelled, "no mask belongs to an image.*Add the masks"),
    ):  # fmt: skip
        settings = build(Config, {"training": {"patch": [1, 32, 32]}}, where="")
        with pytest.raises(DataError, match=words):
            trained(settings, DataFolder(data), tmp_path / "run")
        assert not (tmp_path / "run").exists()


def test_weights_are_kept_at_multiples_the_last_few_of_them(phantom, tmp_path):
    trained(tiny(iterations=12, save_every=3, keep=2), phantom, tmp_path)
    kept = sorted(int(path.stem) for path in (tmp_path / "checkpoints").iterdir())
    assert kept == [9, 12]


def test_the_same_seed_gives_the_same_weights_and_another_seed_others(phantom, tmp_path):
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        trained(tiny(iterations=3, seed=seed, precision="fp32"), phantom, tmp_path / name)
    one, two, other = (weights(tmp_path / name) for name in "abc")
    assert same(one, two)
    assert not same(one, other)


def test_the_best_weights_are_kept_not_the_last(phantom, tmp_path):
    results = trained(tiny(iterations=6, validate_every=2, ema=0.0), phantom, tmp_path)
    checks = [e for e in Run(tmp_path).events() if isinstance(e, Validated)]
    assert [e.iteration for e in checks] == [2, 4, 6]
    best = max(checks, key=lambda e: e.mean)
    assert results["iteration"] == best.iteration
    assert results["dice"] == best.dice


def test_progress_has_loss_rate_dice_speed_and_waiting(phantom, tmp_path):
    trained(tiny(iterations=45), phantom, tmp_path)
    told = [e for e in Run(tmp_path).events() if isinstance(e, Trained)]
    assert [e.iteration for e in told] == [20, 40, 45]
    assert [len(e.losses) for e in told] == [20, 20, 5]
    assert 0 < told[-1].lr < told[0].lr < tiny().training.lr
    assert all(set(e.dice) <= {"cell", "mem"} and e.dice for e in told)
    assert all(0 <= e.waited <= 1 and e.speed > 0 and e.memory_gb > 0 for e in told)
    assert told[-1].left == 0
    assert notes(tmp_path) == ["begun", "done"]
    assert Run(tmp_path).events()[-1].event == "done"


def test_a_batch_nobody_annotated_changes_nothing(phantom, tmp_path, monkeypatch):
    original = Patches.batch

    def blank(self, iteration):
        batch = original(self, iteration)
        if iteration >= 3:
            batch.known[:] = False
        return batch

    monkeypatch.setattr(Patches, "batch", blank)
    trained(tiny(iterations=6, ema=0.0, save_every=3, weight_decay=0.5), phantom, tmp_path)
    assert losses(tmp_path)[3:] == [0.0] * 3
    at_three, at_six = sorted((tmp_path / "checkpoints").iterdir())
    assert at_three.read_bytes() == at_six.read_bytes()


def test_a_batch_in_parts_gives_the_curve_of_the_batch_at_once(phantom, tmp_path):
    for name, parts in (("one", 1), ("two", 2)):
        settings = tiny(iterations=4, batch=4, accumulate=parts, precision="fp32")
        loss = dataclasses.replace(settings.loss, kind="bce", most_weight=1.0)
        trained(dataclasses.replace(settings, loss=loss), phantom, tmp_path / name)
    assert losses(tmp_path / "one") == pytest.approx(losses(tmp_path / "two"), abs=1e-4)


def test_a_loss_that_is_not_finite_goes_back_and_halves_the_rate(phantom, tmp_path, monkeypatch):
    original, spoilt = Patches.batch, []

    def spoil(self, iteration):
        batch = original(self, iteration)
        if iteration == 7 and not spoilt:
            spoilt.append(iteration)
            batch.raw[:] = float("nan")
        return batch

    monkeypatch.setattr(Patches, "batch", spoil)
    trained(tiny(iterations=12, save_every=6), phantom, tmp_path)
    assert notes(tmp_path) == ["begun", "rolled-back", "done"]
    (text,) = (e.text for e in Run(tmp_path).events() if getattr(e, "event", "") == "rolled-back")
    assert "not finite at iteration 8: back to iteration 6, with half the learning rate" in text
    assert len(losses(tmp_path)) == 12
    assert np.isfinite(losses(tmp_path)).all()
    assert Run(tmp_path).load_last()["standing"]["halvings"] == 1


def test_a_loss_that_never_becomes_finite_ends_with_advice(phantom, tmp_path, monkeypatch):
    original = Patches.batch

    def spoil(self, iteration):
        batch = original(self, iteration)
        batch.raw[:] = float("inf")
        return batch

    monkeypatch.setattr(Patches, "batch", spoil)
    with pytest.raises(ConfigError, match=r"not finite at iteration 1.*smaller training\.lr"):
        trained(tiny(), phantom, tmp_path)
    assert not Run(tmp_path).weights.exists()


def narrow(monkeypatch, most):
    """Memory in which no more than so many patches go through at once."""
    from baselines.models import UNet

    original = UNet.forward

    def forward(self, raw):
        if self.training and len(raw) > most:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return original(self, raw)

    monkeypatch.setattr(UNet, "forward", forward)


def test_out_of_memory_lets_batches_through_in_parts(phantom, tmp_path, monkeypatch):
    narrow(monkeypatch, 1)
    trained(tiny(iterations=4, batch=4), phantom, tmp_path)
    assert notes(tmp_path) == ["begun", "out-of-memory", "out-of-memory", "done"]
    assert Run(tmp_path).load_last()["standing"]["parts"] == 4
    assert len(losses(tmp_path)) == 4


def test_out_of_memory_with_a_single_patch_names_four_ways_out(phantom, tmp_path, monkeypatch):
    narrow(monkeypatch, 0)
    with pytest.raises(ConfigError, match=r"1\. Reduce the batch.*4\. Use a GPU with more memory"):
        trained(tiny(iterations=4, batch=2), phantom, tmp_path)


def test_other_errors_are_not_taken_for_a_lack_of_memory(phantom, tmp_path, monkeypatch):
    from baselines.models import UNet

    def forward(self, raw):
        raise RuntimeError("shapes do not match")

    monkeypatch.setattr(UNet, "forward", forward)
    with pytest.raises(RuntimeError, match="shapes do not match"):
        trained(tiny(), phantom, tmp_path)


def test_sinks_are_told_all_events_and_people_without_sinks_all_sentences(phantom, tmp_path):
    told, said = [], []
    trained(tiny(), phantom, tmp_path / "told", sinks=[told.append])
    assert told == Run(tmp_path / "told").events()
    train(tiny(), phantom, Run(tmp_path / "said"), device=CPU, progress=said.append)
    assert said[-len(told) :] == [sentence_of(e) for e in Run(tmp_path / "said").events()]


def test_tensorboard_gets_the_curves_on_request(phantom, tmp_path):
    pytest.importorskip("tensorboard")
    trained(tiny(iterations=3, tensorboard=True), phantom, tmp_path)
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(tmp_path / "tensorboard"))
    events.Reload()
    found = [scalar.value for scalar in events.Scalars("loss/training")]
    assert found == pytest.approx(losses(tmp_path))
    assert "dice_validation/cell" in events.Tags()["scalars"]
