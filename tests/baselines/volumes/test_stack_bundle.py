"""What is brought in is what servers and other programs find."""

import json

import numpy as np
import pytest
import tifffile

from baselines.layout import DataFolder, Purpose
from baselines.volumes.stack import import_stacks, load_plan
from evaluator.volume import open_volume
from server import scoring
from server.challenges.bundle import BundleError, read_bundle

TEXT = """
slug = "fly-brain"
title = "A fly's \\"brain\\""
voxel_size = [50, 4.6, 4.6]
[classes.membrane]
kind = "semantic"
values = [1]
[classes.neuron]
kind = "instance"
values = [2]
planar = true
[[crop]]
name = "a"
split = "train"
raw = "raw.tif"
labels = "labels.tif"
planes = [0, 3]
[[crop]]
name = "b"
split = "hidden"
raw = "raw.tif"
labels = "labels.tif"
planes = [3, 5]
offset = [1000, 20, 40]
"""


def stacks():
    raw = np.random.default_rng(0).integers(0, 60_000, (5, 18, 22), np.uint16)
    labels = np.zeros(raw.shape, np.uint8)
    labels[:, 5] = 1
    labels[:, 10:14, 2:6] = 2
    return raw, labels


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Three planes for training, two hidden ones.  Tests only read it."""
    folder = tmp_path_factory.mktemp("stacks")
    for name, stack in zip(("raw.tif", "labels.tif"), stacks(), strict=True):
        tifffile.imwrite(folder / name, stack, photometric="minisblack")
    (folder / "stack.toml").write_text(TEXT)
    import_stacks(load_plan(folder), DataFolder(folder / "data"), progress=lambda _: None)
    return DataFolder(folder / "data")


def test_a_server_can_load_the_hidden_crops(data):
    bundle = read_bundle(data.challenge)
    assert bundle.slug == "fly-brain"
    assert bundle.title == 'A fly\'s "brain"'
    assert [phase.slug for phase in bundle.phases] == ["test"]
    items = scoring.items(bundle.rules)
    assert {item.target for item in items} == {"b/membrane", "b/neuron"}


def test_a_folder_without_hidden_crops_is_no_challenge_yet(tmp_path):
    with pytest.raises(BundleError, match=r"challenge\.toml is missing"):
        read_bundle(DataFolder(tmp_path).challenge)


def test_grey_values_of_sixteen_bits_are_not_changed(data):
    raw, _ = stacks()
    for split, crop, planes in (
        (Purpose.TRAIN, "a", slice(0, 3)),
        (Purpose.HIDDEN, "b", slice(3, 5)),
    ):
        volume = open_volume(data.raw(split, crop))
        assert volume.dtype == np.uint16
        np.testing.assert_array_equal(volume.read(), raw[planes])


def test_a_crop_lies_where_its_first_plane_lay(data):
    grid = open_volume(data.raw(Purpose.HIDDEN, "b")).grid
    assert grid.offset == (1000 + 3 * 50, 20, 40)
    assert grid.voxel_size == (50, 4.6, 4.6)
    for target in data.manifest(Purpose.HIDDEN).targets:
        assert target.grid == grid
        assert open_volume(data.label(Purpose.HIDDEN, target)).grid == grid


def test_other_programs_find_the_size_of_a_voxel_in_nanometres(data):
    attributes = json.loads((data.raw(Purpose.TRAIN, "a") / ".zattrs").read_text())
    (scales,) = attributes["multiscales"]
    assert [(axis["name"], axis["unit"]) for axis in scales["axes"]] == [
        ("z", "nanometer"), ("y", "nanometer"), ("x", "nanometer"),
    ]  # fmt: skip
    (transform,) = (
        change for change in scales["datasets"][0]["coordinateTransformations"]
        if change["type"] == "scale"
    )  # fmt: skip
    assert transform["scale"] == [50, 4.6, 4.6]


def test_planar_objects_have_other_numbers_in_every_plane(data):
    target = data.manifest(Purpose.TRAIN).by_path["a/neuron"]
    ids = open_volume(data.label(Purpose.TRAIN, target)).read()
    assert [int(plane.max()) for plane in ids] == [1, 2, 3]
    np.testing.assert_array_equal(ids > 0, stacks()[1][:3] == 2)


def test_a_class_means_the_same_on_both_sides(data):
    assert data.manifest(Purpose.TRAIN).labels == data.manifest(Purpose.HIDDEN).labels


def test_hidden_planes_do_not_lie_among_the_training_crops(data):
    raw, _ = stacks()
    seen = open_volume(data.raw(Purpose.TRAIN, "a")).read()
    assert not any((plane == hidden).all() for plane in seen for hidden in raw[3:])
