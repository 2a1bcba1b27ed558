"""Trainings that begin with the weights of another run."""

import dataclasses
import json
import pickle
import shutil

import pytest
import torch

from baselines.config import ConfigError
from baselines.data.crops import load_crops
from baselines.objects.heads import Head
from baselines.predicting.learnt import notices
from baselines.runs.archive import export
from baselines.runs.checkpoint import Run, heads_in, network_of, save_ensemble
from baselines.runs.journal import Noted, Trained
from baselines.runs.weights import load_weights, save_weights
from baselines.training.folds import train_folds
from baselines.training.schedule import plan_schedule
from baselines.training.start import Start, begin, run_at, same, start_of
from baselines.training.summary import summarise
from baselines.training.train import filled, train
from evaluator.digest import file_digest
from evaluator.geometry import VoxelGrid
from tests.baselines.conftest import tiny, tiny_volume

CPU = torch.device("cpu")


def trained(settings, data, folder, **options):
    return train(settings, data, Run(folder), device=CPU, progress=lambda _: None, **options)


def changed(settings, section, **changes):
    part = dataclasses.replace(getattr(settings, section), **changes)
    return dataclasses.replace(settings, **{section: part})


def after(start, labels=("cell", "mem"), **training):
    """Settings of a run of those labels that begins with another one."""
    settings = tiny(**{"iterations": 12, "precision": "fp32", "start": str(start), **training})
    return changed(settings, "data", labels=tuple(labels))


def weights(folder):
    return Run(folder).model().state_dict()


def losses(folder):
    return [loss for e in Run(folder).events() if isinstance(e, Trained) for loss in e.losses]


def told(folder):
    return [e.text for e in Run(folder).events() if isinstance(e, Noted) and e.event == "start"]


def loaded(settings, data):
    labels, crops = load_crops(data, settings, progress=lambda _: None)
    return filled(settings, data, labels, crops), crops


def beginning(settings, data, folder):
    """The weights of a network as its training begins, and as they would be without a start."""
    config, _ = loaded(settings, data)
    torch.manual_seed(settings.training.seed)
    model = network_of(config)
    new = {name: value.clone() for name, value in model.state_dict().items()}
    begin(config, Run(folder), model)
    return model.state_dict(), new, heads_in(config)


@pytest.fixture(scope="module")
def other(phantom, tmp_path_factory):
    """A run that has learnt cell and mem.  Tests only read it."""
    folder = tmp_path_factory.mktemp("other") / "run"
    trained(tiny(iterations=4, precision="fp32"), phantom, folder)
    return folder


@pytest.fixture(scope="module")
def child(phantom, other, tmp_path_factory):
    """A run of mem and mito that began with it, never interrupted."""
    folder = tmp_path_factory.mktemp("child") / "run"
    trained(after(other, ["mem", "mito"]), phantom, folder)
    return folder


def test_the_same_labels_begin_with_the_best_weights_to_the_last_bit(phantom, other, tmp_path):
    found, new, _ = beginning(after(other), phantom, tmp_path)
    wanted = weights(other)
    assert all(torch.equal(found[name], wanted[name]) for name in wanted)
    assert not all(torch.equal(new[name], wanted[name]) for name in wanted)


def test_channels_are_taken_over_by_name_and_new_ones_begin_as_without_a_start(
    phantom, other, tmp_path
):
    found, new, here = beginning(after(other, ["mem", "mito"]), phantom, tmp_path)
    wanted, there = weights(other), Run(other).heads()
    assert here.of("mem") != there.of("mem")  # another place
    for name in ("head.weight", "head.bias"):
        assert torch.equal(found[name][here.of("mem")], wanted[name][there.of("mem")])
        assert torch.equal(found[name][here.of("mito")], new[name][here.of("mito")])
    body = [name for name in wanted if not name.startswith("head.")]
    assert all(torch.equal(found[name], wanted[name]) for name in body)


@pytest.mark.parametrize(
    "model",
    [{"stem": 2}, {"levels": 4, "deep_supervision": True}, {"norm": "batch", "block": "residual"}],
    ids=lambda model: next(iter(model)),
)
def test_what_a_label_says_stays_the_same_in_every_network(phantom, tmp_path, model):
    old = changed(tiny(iterations=2, precision="fp32", patch=[1, 32, 32]), "model", **model)
    trained(old, phantom, tmp_path / "old")
    settings = changed(after(tmp_path / "old", ["ves", "mem", "cell"]), "model", **model)
    config, _ = loaded(settings, phantom)
    network = network_of(config)
    begin(config, Run(tmp_path / "new"), network)
    raw = torch.randn(2, 1, 1, 32, 32, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        one = Run(tmp_path / "old").model().train(model.get("deep_supervision", False))(raw)
        two = network.train(model.get("deep_supervision", False))(raw)
    one, two = (out if isinstance(out, list) else [out] for out in (one, two))
    assert len(one) == len(two)
    for before, now in zip(one, two, strict=True):
        for label in ("mem", "cell"):
            here, there = heads_in(config).of(label), Run(tmp_path / "old").heads().of(label)
            torch.testing.assert_close(now[:, here], before[:, there])


@pytest.mark.parametrize("name", ["UNet", "BasicUNet", "DynUNet", "SegResNet"])
def test_networks_of_monai_are_taken_over_too(phantom, other, tmp_path, name):
    pytest.importorskip("monai")
    model = {"name": f"monai:{name}", "levels": 3}
    config, _ = loaded(changed(tiny(), "model", **model), phantom)
    source = network_of(config)
    Run(tmp_path / "old").begin(config)
    apart = {n: value.clone() for n, value in source.state_dict().items()}
    Run(tmp_path / "old").save_best(apart, "")
    settings = changed(after(tmp_path / "old", ["mito", "mem"]), "model", **model)
    found, new, _ = beginning(settings, phantom, tmp_path / "new")
    wanted = source.state_dict()
    outputs = Start(Run(tmp_path / "old"), config).axes
    assert outputs
    assert all(torch.equal(found[n], wanted[n]) for n in wanted if n not in outputs)
    weighty = [n for n in outputs if wanted[n].any()]  # biases may begin as zeros in both
    assert weighty
    assert not any(torch.equal(found[n], new[n]) for n in weighty)


def test_volumes_begin_with_volumes(phantom, tmp_path):
    trained(tiny_volume(), phantom, tmp_path / "old")
    found, _, _ = beginning(
        changed(tiny_volume(), "training", start=str(tmp_path / "old")), phantom, tmp_path / "new"
    )
    assert all(torch.equal(found[n], value) for n, value in weights(tmp_path / "old").items())


def test_a_label_in_another_representation_begins_new(phantom, other):
    settings = changed(after(other), "objects", representation="affinity")
    start = start_of(loaded(settings, phantom)[0])
    assert [head.label for head in start.taken] == ["mem"]
    size = (8.0, 8.0, 8.0)
    near, far = (Head("a", "affinity", size, offsets=((0, 0, -n),)) for n in (1, 4))
    assert not same(near, far)
    assert same(near, dataclasses.replace(near, voxel_size=(4.0, 4.0, 4.0)))


def test_what_is_taken_over_is_told_before_the_first_iteration(child, other):
    (text,) = told(child)
    assert text == (
        f"begins with {other / 'best_model.safetensors'}: taken over are the channels of mem; "
        "new: mito"
    )
    events = Run(child).events()
    assert [e.event for e in events[:2]] == ["begun", "start"]


def test_where_no_label_is_shared_it_is_told_and_the_rest_is_taken_over(phantom, other, tmp_path):
    settings = after(other, ["mito"])
    start = start_of(loaded(settings, phantom)[0])
    (text,) = start.sentences(())
    assert (
        "no label in the same way (there cell, mem), so no channel is taken over; new: mito" in text
    )
    found, _, _ = beginning(settings, phantom, tmp_path)
    assert torch.equal(found["enter.weight"], weights(other)["enter.weight"])


def test_a_run_says_where_it_began(child, other):
    config = Run(child).config()
    file = other / "best_model.safetensors"
    assert config.trained.start == str(file.resolve())
    assert config.trained.start_digest == file_digest(file)
    assert config.training.start == str(other)


def test_weights_of_a_child_do_not_pass_for_those_of_its_parent(phantom, other, tmp_path):
    """The same network, labels, voxels and seed; only the start differs."""
    trained(after(other, iterations=2), phantom, tmp_path / "run")
    mixed = Run.of(tmp_path / "run/best_model.pth", other / "config.json")
    with pytest.raises(ConfigError, match="Model file invalid"):
        mixed.model()


@pytest.mark.parametrize("name", [
    "", "best_model.pth", "best_model.safetensors", "checkpoints/000000004.safetensors",
])  # fmt: skip
def test_a_folder_or_a_model_file_in_it_is_a_start(other, name):
    run = run_at(other / name)
    assert run.folder == other
    assert run.weights == other / (name or "best_model.safetensors")
    assert run.model()


def test_the_average_begins_with_the_same_weights(phantom, other, tmp_path):
    trained(after(other, iterations=2, lr=1e-8, weight_decay=0.0), phantom, tmp_path)
    wanted = weights(other)
    for name, value in load_weights(Run(tmp_path).weights)[0].items():
        torch.testing.assert_close(value, wanted[name], atol=1e-6, rtol=0)


def test_an_interrupted_run_goes_on_exactly_without_the_other_one(phantom, other, child, tmp_path):
    parent, run = tmp_path / "parent", Run(tmp_path / "run")
    shutil.copytree(other, parent)
    settings = after(parent, ["mem", "mito"])

    def ask(event):
        if event.iteration == 0:
            run.stop.touch()

    with pytest.raises(KeyboardInterrupt):
        trained(settings, phantom, run.folder, sinks=[ask])
    shutil.rmtree(parent)
    assert 0 < run.load_last()["standing"]["iteration"] < 12
    trained(settings, phantom, run.folder)
    one, two = weights(run.folder), weights(child)
    assert all(torch.equal(one[name], two[name]) for name in two)
    assert losses(run.folder) == losses(child)
    trained(settings, phantom, run.folder)  # it is done: the other one is not asked for, either


class Break(Exception):
    """A crash, as far as a training can see."""


def test_a_run_that_broke_off_at_once_goes_on_without_the_other_one(
    phantom, other, child, tmp_path, monkeypatch
):
    parent, folder = tmp_path / "parent", tmp_path / "run"
    shutil.copytree(other, parent)
    settings = after(parent, ["mem", "mito"])

    def crash(self):
        raise Break

    with monkeypatch.context() as patch:
        patch.setattr("baselines.training.trainer.Trainer.stretch", crash)
        with pytest.raises(Break):
            trained(settings, phantom, folder)
    shutil.rmtree(parent)
    trained(settings, phantom, folder)
    assert losses(folder) == losses(child)
    assert told(folder) == [told(child)[0].replace(str(other), str(parent))]


def test_a_start_that_changed_before_anything_was_saved_is_refused(phantom, other, tmp_path):
    parent, folder = tmp_path / "parent", tmp_path / "run"
    shutil.copytree(other, parent)
    trained(after(parent, iterations=1), phantom, folder)
    for name in ("last.pt", "results.json"):
        (folder / name).unlink()
    found, mark = load_weights(parent / "best_model.safetensors")
    save_weights({n: v + 1 for n, v in found.items()}, parent / "best_model.safetensors", mark)
    with pytest.raises(ConfigError, match=r"has changed since .* choose another folder"):
        trained(after(parent, iterations=1), phantom, folder)


def test_a_folder_that_began_elsewhere_is_refused(phantom, child, other):
    settings = after(other / "best_model.pth", ["mem", "mito"])
    with pytest.raises(ConfigError, match=r"other settings \(training.start"):
        trained(settings, phantom, child)


@pytest.mark.parametrize(
    ("model", "words"),
    [
        ({"width": 16}, "model.width is 16 here and 8 there.*--set 'model.width=8'"),
        ({"levels": 3}, "model.levels is 3 here and 2 there"),
        ({"context": 1}, "model.context is 1 here and 0 there"),
        ({"norm": "batch"}, 'model.norm is "batch" here and "group" there'),
        ({"norm": "instance", "up": "linear"}, 'model.norm is .*; model.up is "linear" here and'),
        ({"block": "residual", "depths": (1, 1)}, r"model.depths is \[1, 1\] here and \[\] there"),
    ],
)
def test_another_network_is_refused_with_both_values_and_what_to_set(
    phantom, other, tmp_path, model, words
):
    with pytest.raises(ConfigError, match=words):
        trained(changed(after(other), "model", **model), phantom, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_volumes_do_not_begin_with_planes(phantom, other, tmp_path):
    settings = changed(tiny_volume(), "training", start=str(other))
    with pytest.raises(ConfigError, match=r"model\.dims is 3 here and 2 there.*'model.dims=2'"):
        trained(settings, phantom, tmp_path / "run")


def test_a_patch_that_makes_other_levels_is_refused(phantom, tmp_path):
    """The same settings of the network, but an axis too short to be halved as often."""
    old = changed(tiny_volume(), "model", levels=3, stem=1)
    old = changed(old, "training", patch=(8, 32, 32), iterations=1)
    trained(old, phantom, tmp_path / "old")
    new = changed(old, "training", patch=(4, 32, 32), start=str(tmp_path / "old"))
    words = (
        r"shape: training.patch is \[4, 32, 32\] here and \[8, 32, 32\] there\. Take what it has"
    )
    with pytest.raises(ConfigError, match=words):
        trained(new, phantom, tmp_path / "new")
    both = changed(new, "data", voxel_size=(8.0, 8.0, 16.0))
    with pytest.raises(
        ConfigError, match=r"voxel_size is \[8, 8, 16\] here and .*; training.patch"
    ):
        trained(both, phantom, tmp_path / "new")


def test_other_voxels_are_warned_of_with_both_sizes(phantom, other):
    settings = changed(after(other), "data", voxel_size=(8.0, 16.0, 16.0))
    start = start_of(loaded(settings, phantom)[0])
    (text,) = (t for t in start.sentences(()) if "nm" in t)
    assert text.startswith(f"warning: {other} was trained at 8 × 8 × 8 nm (Z, Y, X)")
    assert "this run is at 8 × 16 × 16 nm: the same structures have another size" in text


class Evil:
    def __reduce__(self):
        return (print, ("code ran",))


def spoilt(folder, how):
    """A copy of a run of which the weights cannot be used."""
    file = folder / "best_model.pth"
    if how == "code":
        file.write_bytes(pickle.dumps(Evil(), protocol=2))
    elif how == "half":
        file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    elif how == "nan":
        found, mark = load_weights(file)
        save_weights({name: value * float("nan") for name, value in found.items()}, file, mark)
    else:
        save_weights({"w": torch.zeros(3)}, file, "")
    return file


@pytest.mark.parametrize(
    ("how", "words"),
    [("code", "damaged, or not a file"), ("half", "damaged, or not a file"),
     ("nan", "not finite"), ("others", "same training session")],
)  # fmt: skip
def test_weights_that_cannot_be_used_are_refused_and_no_code_runs(
    phantom, other, tmp_path, capsys, how, words
):
    shutil.copytree(other, tmp_path / "parent")
    file = spoilt(tmp_path / "parent", how)
    with pytest.raises(ConfigError, match=f"Model file invalid.*{words}"):
        trained(after(file), phantom, tmp_path / "run")
    assert "code ran" not in capsys.readouterr().out
    assert not (tmp_path / "run").exists()


def test_what_is_no_run_is_refused_with_the_next_step(phantom, other, tmp_path):
    archive = tmp_path / "a.zip"
    export({"runs": [other]}, archive)
    (tmp_path / "empty").mkdir()
    shutil.copy(other / "best_model.pth", tmp_path / "empty")
    (tmp_path / "team").mkdir()
    save_ensemble(tmp_path / "team", ["fold-0"])
    for path, words in (
        (tmp_path / "nowhere", "nowhere is missing. Give the folder of a run"),
        (archive, f"is an archive: unpack it with `baselines import {archive}`"),
        (tmp_path / "empty", "holds no run: config.json is missing"),
        (tmp_path / "empty/best_model.pth", "lies without its config.json"),
        (other / "last.pt", "is no model file, which ends in .pth or .safetensors"),
        (tmp_path / "team", "is an ensemble: train with --folds, or choose a run, such as"),
    ):
        with pytest.raises(ConfigError) as found:
            trained(after(path), phantom, tmp_path / "run")
        assert words in str(found.value)
    assert not (tmp_path / "run").exists()


def test_a_run_without_weights_yet_is_refused(phantom, other, tmp_path):
    (tmp_path / "new").mkdir()
    shutil.copy(other / "config.json", tmp_path / "new")
    with pytest.raises(ConfigError, match="train it first"):
        trained(after(tmp_path / "new"), phantom, tmp_path / "run")


def test_a_start_that_has_seen_what_validates_is_told(phantom, other):
    config, crops = loaded(changed(after(other), "split", fraction=0.5), phantom)
    (text,) = (t for t in start_of(config).sentences(crops) if "trained on" in t)
    assert text.startswith(f"warning: {other} was trained on what validates here, of "
                           "phantom-train-1, phantom-train-2: their Dice is too good")  # fmt: skip


def test_of_many_crops_four_are_named(phantom, other):
    config, crops = loaded(changed(after(other), "split", fraction=0.5), phantom)
    many = [dataclasses.replace(crops[0], name=name) for name in "abcdefg"]
    (text,) = (t for t in start_of(config).sentences(many) if "trained on" in t)
    assert "validates here, of a, b, c, d and 3 more: their Dice" in text


def test_a_start_that_kept_the_same_planes_is_not_warned_of(child):
    assert not [text for text in told(child) if "warning" in text]


def test_a_start_that_does_not_say_what_it_learnt_from_is_told(phantom, other, tmp_path):
    shutil.copytree(other, tmp_path / "parent")
    (tmp_path / "parent/results.json").unlink()
    config, crops = loaded(after(tmp_path / "parent"), phantom)
    assert (
        "does not say which crops it was trained on" in list(start_of(config).sentences(crops))[-1]
    )


def test_what_was_learnt_before_is_remembered_by_the_child_of_a_child(phantom, child, tmp_path):
    """So that a prediction of planes that only the first one saw is told of, too."""
    trained(after(child, iterations=1), phantom, tmp_path / "run")
    names = [name for name, _ in Run(tmp_path / "run").learnt()]
    assert names == ["phantom-train-1", "phantom-train-2"] * 3
    run = Run(tmp_path / "run")
    results = run.results()
    (tmp_path / "run/results.json").write_text(json.dumps({**results, "split": {}}))
    raw = phantom.root / "train/phantom-train-1/raw"
    grid = VoxelGrid(
        (12, 64, 64), (8.0, 8.0, 8.0), tuple(results["split"]["phantom-train-1"]["offset_nm"])
    )
    (text,) = notices("a", raw, grid, [run])
    assert "trained on planes 0 to 9" in text


def test_every_fold_begins_with_the_run_and_what_it_saw_is_told(phantom, other, tmp_path):
    train_folds(after(other, iterations=1), phantom, tmp_path, device=CPU, progress=lambda _: None)
    for fold in ("fold-0", "fold-1"):
        first, second = told(tmp_path / fold)
        assert first.startswith(f"begins with {other / 'best_model.safetensors'}")
        assert "was trained on what validates here, of phantom-train-" in second
        assert Run(tmp_path / fold).config().trained.start_digest


def test_folds_may_begin_with_the_same_folds_of_another_ensemble(phantom, tmp_path):
    """Those have not seen what validates, so nothing is to be warned of."""
    old, new = tmp_path / "old", tmp_path / "new"
    quiet = {"device": CPU, "progress": lambda _: None}
    train_folds(tiny(iterations=1), phantom, old, **quiet)
    train_folds(after(old, ["cell"], iterations=1), phantom, new, **quiet)
    for fold in ("fold-0", "fold-1"):
        assert told(new / fold) == [
            f"begins with {old / fold / 'best_model.safetensors'}: taken over are the channels of "
            "cell; new: none"
        ]
    shutil.rmtree(old)
    train_folds(after(old, ["cell"], iterations=1), phantom, new, **quiet)  # all are done


def test_the_summary_says_what_training_begins_with(phantom, other):
    config, crops = loaded(after(other, ["cell", "mito"]), phantom)
    remarks = summarise(config, crops, plan_schedule(config, 2)).remarks
    assert remarks[0].endswith("taken over are the channels of cell; new: mito")
    with pytest.raises(ConfigError, match=r"model\.width is 16"):
        summarise(changed(config, "model", width=16), crops, plan_schedule(config, 2))


def test_a_run_without_a_start_says_so(other):
    trained_ = Run(other).config().trained
    assert (trained_.start, trained_.start_digest) == ("", "")
    assert not (other / "start.json").exists()
    assert told(other) == []
