import numpy as np

from baselines.box import Box
from baselines.data.foreground import MOST_POINTS, SLAB, find_foreground
from baselines.volumes.readers import InMemory

SHAPE = (40, 10, 10)
WHOLE = Box((0, 0, 0), SHAPE)


def label(*voxels, value=1):
    array = np.zeros(SHAPE, np.int16)
    for voxel in voxels:
        array[voxel] = value
    return InMemory(array)


def points(found, name):
    return {tuple(point) for point in found.points[name].tolist()}


def test_voxels_of_a_label_are_found_and_counted_wherever_they_lie():
    voxels = {(0, 0, 0), (SLAB, 3, 4), (39, 9, 9)}
    found = find_foreground({"a": label(*voxels, value=700)}, {"a": WHOLE}, [WHOLE])
    assert points(found, "a") == voxels
    assert found.count == {"a": 3}
    assert found.highest == {"a": 700}


def test_only_the_boxes_and_what_is_known_count():
    labels = {"a": label((1, 1, 1), (20, 1, 1), (30, 1, 1))}
    boxes = [Box((0, 0, 0), (10, 10, 10)), Box((25, 0, 0), (40, 10, 10))]
    known = {"a": Box((0, 0, 0), (26, 10, 10))}
    found = find_foreground(labels, known, boxes)
    assert points(found, "a") == {(1, 1, 1)}
    assert found.count == {"a": 1}
    assert find_foreground(labels, known, []).count == {"a": 0}


def test_negatives_are_annotated_and_have_none_of_the_labels():
    full, half = np.ones(SHAPE, np.int8), np.zeros(SHAPE, np.int8)
    full[:, :5], half[:3] = 0, -1
    labels = {"a": InMemory(full), "b": InMemory(half)}
    known = {"a": Box((0, 0, 0), (40, 10, 4)), "b": Box((0, 0, 0), (40, 10, 6))}
    negatives = find_foreground(labels, known, [WHOLE]).negatives
    z, y, x = negatives.T
    assert x.max() == 5  # beyond, nobody looked
    assert z.min() == 3  # b says that nobody looked above
    assert y[x < 4].max() == 4  # a is there from 5 on
    assert y.max() == 9  # where only b is known, a does not matter


def test_a_sample_is_bounded_spread_and_always_the_same():
    shape = (64, 64, 64)
    labels, known = {"a": InMemory(np.ones(shape, np.uint8))}, {"a": Box((0, 0, 0), shape)}
    found = find_foreground(labels, known, [known["a"]])
    assert found.count["a"] == 64**3
    assert len(found.points["a"]) <= MOST_POINTS + 4
    assert np.abs(found.points["a"].mean(axis=0) - 31.5).max() < 1
    again = find_foreground(labels, known, [known["a"]])
    np.testing.assert_array_equal(found.points["a"], again.points["a"])


def test_without_labels_there_is_nothing():
    found = find_foreground({}, {}, [WHOLE])
    assert found.points == {}
    assert found.negatives.shape == (0, 3)
