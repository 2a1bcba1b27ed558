"""Phantoms of other sizes, voxels and seeds: complete truth on the right grid."""

import json

import numpy as np
import pytest

from baselines.layout import DataFolder, Purpose
from baselines.phantoms.painting import Part
from baselines.phantoms.phantom import LABELS, PhantomPlan, write_phantom
from evaluator.geometry import VoxelGrid
from evaluator.manifest import Kind
from evaluator.volume import open_volume
from server.challenges.bundle import read_bundle

SIZES = [((7, 33, 50), (8.0, 8.0, 8.0)), ((3, 40, 40), (40.0, 8.0, 8.0)),
         ((40, 20, 12), (4.0, 16.0, 16.0))]  # fmt: skip


def write(folder, **changes):
    plan = {"shape": (6, 40, 40), "voxel_size": (8.0, 8.0, 8.0), "cell_nm": 300.0, "train": 1}
    write_phantom(folder, PhantomPlan(**(plan | changes)), progress=lambda _: None)
    return DataFolder(folder)


@pytest.fixture(scope="module", params=SIZES, ids=str)
def made(request, tmp_path_factory):
    """A phantom of one training and one hidden crop, and its size.  Tests only read it."""
    shape, voxel_size = request.param
    data = write(tmp_path_factory.mktemp("phantom"), shape=shape, voxel_size=voxel_size, seed=11)
    return data, shape, voxel_size


def truth(data, split=Purpose.TRAIN):
    (crop,) = data.crops(split)
    targets = data.manifest(split).targets
    return {t.label.name: open_volume(data.label(split, t)).read() for t in targets}, crop


def test_every_label_has_an_array_of_the_size_of_the_crop(made):
    data, shape, _ = made
    for split in Purpose:
        found, _ = truth(data, split)
        assert set(found) == set(LABELS)
        assert {array.shape for array in found.values()} == {shape}


def test_raw_is_grey_of_eight_bits_with_contrast(made):
    data, shape, _ = made
    for split in Purpose:
        (crop,) = data.crops(split)
        raw = open_volume(data.raw(split, crop)).read()
        assert raw.dtype == np.uint8
        assert raw.shape == shape
        low, high = np.percentile(raw, (5, 95))
        assert high - low > 40


def test_the_grid_says_what_was_asked_for(made):
    data, shape, voxel_size = made
    (train,), (hidden,) = data.crops(Purpose.TRAIN), data.crops(Purpose.HIDDEN)
    assert open_volume(data.raw(Purpose.TRAIN, train)).grid == VoxelGrid(shape, voxel_size)
    offset = open_volume(data.raw(Purpose.HIDDEN, hidden)).grid.offset
    assert offset[1:] == (0.0, 0.0)
    assert offset[0] % voxel_size[0] == 0  # whole voxels
    assert offset[0] >= 20_000


def test_the_metadata_of_raw_is_that_of_an_image_pyramid(made):
    data, _, voxel_size = made
    (crop,) = data.crops(Purpose.TRAIN)
    attributes = json.loads((data.raw(Purpose.TRAIN, crop) / ".zattrs").read_text())
    (pyramid,) = attributes["multiscales"]
    assert [axis["name"] for axis in pyramid["axes"]] == ["z", "y", "x"]
    assert {axis["unit"] for axis in pyramid["axes"]} == {"nanometer"}
    changes = {c["type"]: c for c in pyramid["datasets"][0]["coordinateTransformations"]}
    assert changes["scale"]["scale"] == list(voxel_size)


def test_cells_and_the_space_between_them_share_out_the_crop(made):
    found, _ = truth(made[0])
    np.testing.assert_array_equal(found["cell"] == 0, found["ecs"] == 1)


def test_a_group_contains_its_parts_and_more_only_if_it_has_other_parts(made):
    found, _ = truth(made[0])
    for name in ("pm", "mito_mem"):
        assert not (found[name] > found["mem"]).any()
    named = found["pm"] | found["mito_mem"]
    unnamed = (found["mem"] == 1) & (named == 0)
    others = (found["er"] > 0) | (found["ves"] > 0) | (found["nuc"] > 0)
    assert not (unnamed & ~others).any()


def test_membranes_lie_in_what_they_enclose(made):
    found, _ = truth(made[0])
    assert not ((found["pm"] > 0) & (found["cell"] == 0)).any()
    assert not ((found["mito_mem"] > 0) & (found["mito"] == 0)).any()


def test_organelles_of_two_kinds_never_share_a_voxel(made):
    found, _ = truth(made[0])
    kinds = [found[name] > 0 for name in ("mito", "ves", "nuc", "er", "pm", "ecs")]
    assert np.sum(kinds, axis=0).max() <= 1


def test_a_server_can_load_it(made):
    bundle = read_bundle(made[0].challenge)
    assert bundle.slug == "phantom"
    assert "| mito | instance |" in bundle.overview


def test_no_part_is_painted_that_no_label_could_hold():
    ids = [label.id for label in LABELS.values()]
    assert len(set(ids)) == len(ids)
    for label in LABELS.values():
        assert set(label.contains) <= {int(part) for part in Part}
        if label.kind is Kind.SEMANTIC and not label.contains:
            assert label.id in {int(part) for part in Part}


def test_two_seeds_share_neither_image_nor_truth(tmp_path):
    one, two = (write(tmp_path / str(seed), seed=seed, hidden=0) for seed in (1, 2))
    (first, crop), (second, _) = truth(one), truth(two)
    assert (first["ecs"] != second["ecs"]).mean() > 0.02
    raws = [open_volume(data.raw(Purpose.TRAIN, crop)).read().astype(float) for data in (one, two)]
    assert abs(np.corrcoef(raws[0].ravel(), raws[1].ravel())[0, 1]) < 0.5


def test_noise_changes_the_image_and_never_the_truth(tmp_path):
    calm, loud = (write(tmp_path / str(n), noise=n, hidden=0) for n in (0.0, 0.3))
    (before, crop), (after, _) = truth(calm), truth(loud)
    for name, array in before.items():
        np.testing.assert_array_equal(after[name], array)
    rough = [
        np.abs(np.diff(open_volume(data.raw(Purpose.TRAIN, crop)).read().astype(float))).mean()
        for data in (calm, loud)
    ]
    assert rough[1] > 2 * rough[0]


def test_a_smaller_pitch_gives_more_cells(tmp_path):
    near, far = (write(tmp_path / str(nm), cell_nm=nm, hidden=0) for nm in (160.0, 600.0))
    counts = [len(np.unique(truth(data)[0]["cell"])) for data in (near, far)]
    assert counts[0] > counts[1]


def test_more_crops_leave_the_first_one_as_it_was(tmp_path):
    alone, beside = (write(tmp_path / str(n), train=n, hidden=0) for n in (1, 2))
    name = "phantom-train-1"
    one, two = (open_volume(d.raw(Purpose.TRAIN, name)).read() for d in (alone, beside))
    np.testing.assert_array_equal(one, two)


def test_without_hidden_crops_there_is_no_challenge(tmp_path):
    assert not write(tmp_path / "data", hidden=0).challenge.exists()


def test_without_training_crops_there_is_nothing_to_train_on(tmp_path):
    data = write(tmp_path / "data", train=0)
    assert data.crops(Purpose.TRAIN) == []
    assert not data.table(Purpose.TRAIN).exists()
    assert data.crops(Purpose.HIDDEN) == ["phantom-hidden-1"]
