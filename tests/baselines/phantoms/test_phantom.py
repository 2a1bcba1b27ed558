import tomllib

import numpy as np
import pytest

from baselines.layout import Purpose
from baselines.phantoms.phantom import LABELS, PhantomPlan, write_phantom
from evaluator.manifest import Kind, load_manifest
from evaluator.volume import open_volume
from tests.baselines.conftest import PLAN


def content(folder):
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def small(**changes):
    return PhantomPlan(shape=(3, 20, 20), voxel_size=(8.0, 8.0, 8.0), **changes)


def test_the_same_seed_writes_the_same_bytes(tmp_path):
    for name in ("a", "b"):
        write_phantom(tmp_path / name, small(seed=3), progress=lambda _: None)
    assert content(tmp_path / "a") == content(tmp_path / "b")


def test_another_seed_writes_other_raw(tmp_path):
    for seed in (1, 2):
        write_phantom(tmp_path / str(seed), small(seed=seed, train=1), progress=lambda _: None)
    one, two = (open_volume(tmp_path / s / "train/phantom-train-1/raw").read() for s in "12")
    assert (one != two).mean() > 0.5


def test_the_layout_is_the_one_that_training_and_servers_read(phantom):
    assert phantom.crops(Purpose.TRAIN) == ["phantom-train-1", "phantom-train-2"]
    assert phantom.crops(Purpose.HIDDEN) == ["phantom-hidden-1"]
    hidden, train = phantom.manifest(Purpose.HIDDEN), phantom.manifest(Purpose.TRAIN)
    assert len(hidden.targets) == len(LABELS)
    assert len(train.targets) == 2 * len(LABELS)
    assert load_manifest(phantom.challenge) == hidden
    bundle = tomllib.loads((phantom.challenge / "challenge.toml").read_text())
    assert bundle["protocol"] == "crista-1"
    assert (phantom.challenge / bundle["truth"]).is_dir()
    assert (phantom.challenge / bundle["overview"]).is_file()
    assert bundle["phase"][0]["opens"] < bundle["phase"][0]["closes"]


def test_nothing_of_the_hidden_truth_lies_among_what_participants_get(phantom):
    assert {path.name for path in (phantom.root / "hidden/phantom-hidden-1").iterdir()} == {"raw"}


def test_every_label_is_present(phantom):
    for split in Purpose:
        manifest = phantom.manifest(split)
        for name in manifest.labels:
            arrays = [open_volume(phantom.label(split, t)).read()
                      for t in manifest.targets if t.label.name == name]  # fmt: skip
            if split is Purpose.TRAIN:
                assert any(array.any() for array in arrays), name


def test_raw_and_labels_lie_on_the_grid_of_the_manifest(phantom):
    for target in phantom.manifest(Purpose.TRAIN).targets:
        assert open_volume(phantom.label(Purpose.TRAIN, target)).grid == target.grid
        raw = open_volume(phantom.raw(Purpose.TRAIN, target.crop.folder))
        assert raw.grid == target.grid
        assert raw.dtype == np.uint8


def test_crops_lie_apart_and_differ(phantom):
    one, two = (
        open_volume(phantom.raw(Purpose.TRAIN, crop)) for crop in phantom.crops(Purpose.TRAIN)
    )
    assert two.grid.offset[0] - one.grid.offset[0] > 10_000
    assert (one.read() != two.read()).mean() > 0.5


def test_semantic_labels_are_masks_and_objects_are_numbered_from_one(phantom):
    for target in phantom.manifest(Purpose.TRAIN).targets:
        values = np.unique(open_volume(phantom.label(Purpose.TRAIN, target)).read())
        top = 1 if target.label.kind is Kind.SEMANTIC else len(values) - 1
        assert set(values) - {0} <= set(range(1, top + 1))


def test_a_group_is_the_union_of_what_it_contains(phantom):
    crop = phantom.root / "train/phantom-train-1/labels"
    mem, pm, mito_mem = (open_volume(crop / n).read() > 0 for n in ("mem", "pm", "mito_mem"))
    assert (mem >= (pm | mito_mem)).all()
    assert mem.sum() > pm.sum()


def test_ids_do_not_change_at_the_border_of_a_painted_block(tmp_path, monkeypatch):
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    write_phantom(whole, small(train=1, hidden=0), progress=lambda _: None)
    monkeypatch.setattr("baselines.phantoms.phantom._BLOCK", (2, 10, 20))
    write_phantom(parts, small(train=1, hidden=0), progress=lambda _: None)
    one, two = (open_volume(f / "train/phantom-train-1/labels/cell").read() for f in (whole, parts))
    pairs = set(zip(one.ravel().tolist(), two.ravel().tolist(), strict=True))
    assert len(pairs) == len({a for a, _ in pairs}) == len({b for _, b in pairs})


@pytest.mark.parametrize("voxel_size", [(40.0, 4.0, 4.0), (16.0, 16.0, 16.0)])
def test_any_voxel_size_can_be_painted(tmp_path, voxel_size):
    plan = PhantomPlan(shape=(2, 17, 33), voxel_size=voxel_size, train=1, hidden=0)
    write_phantom(tmp_path / "data", plan, progress=lambda _: None)
    raw = open_volume(tmp_path / "data/train/phantom-train-1/raw")
    assert raw.shape == (2, 17, 33)
    assert raw.grid.voxel_size == voxel_size
    assert raw.read().std() > 5


def test_the_plan_of_these_tests_has_hidden_objects(phantom):
    target = phantom.manifest(Purpose.HIDDEN).by_path["phantom-hidden-1/cell"]
    assert open_volume(phantom.label(Purpose.HIDDEN, target)).read().any()
    assert target.grid.shape == PLAN.shape
