"""Labels that exclude each other: an annotation of one tells of the others, and of nothing else."""

import numpy as np
import pytest

from baselines.box import Box
from baselines.config import Config, build
from baselines.data.crops import load_crops
from baselines.data.exclusion import Excluded, Known, exclude, exclusive_groups
from baselines.layout import DataError
from baselines.training.sampling import cut
from baselines.volumes.readers import InMemory, Placed
from tests.baselines.trees import block, tree

SHAPE = (1, 1, 6)


def known(*ids, at=0):
    """Ids along X from a place on, in a row of six voxels."""
    values = InMemory(np.array(ids, np.int32).reshape(1, 1, -1))
    box = Box((0, 0, at), (1, 1, at + len(ids)))
    return Known(Placed(values, box.start, SHAPE), box)


def row(reader):
    return reader.read((0, 0, 0), SHAPE).ravel().tolist()


def test_where_another_label_is_a_label_that_nobody_looked_for_is_absent():
    told = exclude({"a": known(5, 0, 5, 0)}, ["a", "b"], [("a", "b")], SHAPE)
    assert row(told["b"].reader) == [0, -1, 0, -1, -1, -1]
    assert told["b"].box == Box((0, 0, 0), (1, 1, 4))
    assert row(told["a"].reader)[:4] == [5, 0, 5, 0]


def test_what_was_annotated_is_never_changed():
    own, other = known(1, -1, 0, -1, at=1), known(1, 1, 1, 1, 0, 0)
    told = exclude({"a": own, "b": other}, ["a", "b"], [("a", "b")], SHAPE)
    assert row(told["a"].reader) == [0, 1, 0, 0, -1, -1]
    assert told["a"].box == Box((0, 0, 0), (1, 1, 6))
    assert row(told["b"].reader) == [1, 1, 1, 1, 0, 0]


def test_what_is_told_of_one_label_tells_nothing_of_a_third():
    """a and b exclude each other, b and c do: of c, a knows nothing."""
    told = exclude({"a": known(1, 1)}, ["a", "b", "c"], [("a", "b"), ("b", "c")], SHAPE)
    assert set(told) == {"a", "b"}


def test_labels_without_a_group_stay_as_they_are():
    found = {"a": known(1, 0), "z": known(0, 1)}
    told = exclude(found, ["a", "b", "z"], [("a", "b")], SHAPE)
    assert told["z"] is found["z"]


def test_boxes_anywhere_are_read_alike():
    reader = Excluded(known(1, -1, at=2), (known(1, 1, 0, 1),), SHAPE)
    whole = reader.read((0, 0, 0), SHAPE)
    for start in range(6):
        for stop in range(start + 1, 7):
            part = reader.read((0, 0, start), (1, 1, stop))
            assert np.array_equal(part, whole[:, :, start:stop])


def test_a_label_that_is_none_is_named_with_the_one_that_may_be_meant():
    assert exclusive_groups(["mito, nuc"], ["mito", "nuc"]) == [("mito", "nuc")]
    with pytest.raises(DataError, match=r"data.exclusive names mitto .*mito"):
        exclusive_groups(["nuc,mitto"], ["mito", "nuc"])


def crops_of(root, **data):
    config = build(Config, {"data": data, "split": {"fraction": 0.0}}, where="")
    labels, crops = load_crops(root, config, progress=lambda _: None)
    return labels, {crop.name: crop for crop in crops}


def test_training_learns_absence_where_another_label_was_annotated(tmp_path):
    """Of two crops each has one label; an 8 x 8 x 8 block of it is somewhere in the middle."""
    tree(tmp_path, mito=block(size=(8, 8, 8)))
    tree(tmp_path, crop="crop9", corner=(128.0,) * 3, mem=block(size=(8, 8, 8)))
    labels, crops = crops_of(tmp_path, exclusive=["mito,mem"])
    for name, own, other in (("crop7", "mito", "mem"), ("crop9", "mem", "mito")):
        crop = crops[name]
        _, ids, seen = cut(crop, crop.training[0], labels, boxes=crop.training)
        here, there = labels.index(own), labels.index(other)
        assert seen[here].all()
        assert np.array_equal(seen[there], ids[here] > 0)
        assert not ids[there].any()
        assert crop.count[other] == 0
    _, plain = crops_of(tmp_path)
    assert set(plain["crop7"].known) == {"mito"}
