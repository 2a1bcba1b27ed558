"""Objects found slab by slab are those of the whole volume."""

import cc3d
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import ndimage

from evaluator import Unreadable
from evaluator.objects import Objects, find_objects
from tests.evaluator.shapes import boxes, cube, numbered

SHAPE = (5, 4, 6)
IDS = arrays(np.uint8, SHAPE, elements=st.sampled_from([0, 0, 0, 1, 2, 3]))
MASKS = arrays(np.bool_, SHAPE, elements=st.booleans())


def found(truth, pred, *, planes=1, components=False, order="C") -> Objects:
    slabs = ((z, truth[z : z + planes], pred[z : z + planes]) for z in range(0, len(truth), planes))
    return find_objects(slabs, truth.shape, components=components, order=order)


def drawn(objects: Objects, of: str) -> np.ndarray:
    """The numbers of the objects at each voxel, from the runs that were kept."""
    out = np.zeros(objects.shape, int)
    for piece, table in zip(objects.pieces, getattr(objects, of).tables, strict=True):
        flat = out[piece.first : piece.first + piece.planes].reshape(-1)
        runs = piece.runs
        for start, length, number in zip(runs.start, runs.length, getattr(runs, of), strict=True):
            flat[start : int(start) + int(length)] = table[number]
    return out


def components(pred: np.ndarray) -> np.ndarray:
    """26-connected parts of equal value, one value after the other, numbered by first voxel."""
    parts = np.zeros(pred.shape, np.int64)
    for value in np.unique(pred[pred != 0]):
        labelled, _ = ndimage.label(pred == value, np.ones((3, 3, 3)))
        parts += np.where(labelled, labelled + parts.max(), 0)
    return numbered(parts)


@settings(max_examples=60, deadline=None)
@given(truth=IDS, pred=IDS, planes=st.integers(1, 5))
def test_components_in_slabs_are_those_of_the_whole(truth, pred, planes):
    objects = found(truth, pred, planes=planes, components=True)
    assert np.array_equal(drawn(objects, "pred"), components(pred))
    assert np.array_equal(drawn(objects, "truth"), numbered(truth))
    assert objects.pred.count == components(pred).max()
    assert objects.ids == len(np.unique(pred[pred > 0]))


@settings(max_examples=60, deadline=None)
@given(pred=MASKS, planes=st.integers(1, 5))
def test_a_mask_falls_into_the_parts_that_cc3d_finds_in_the_whole(pred, planes):
    objects = found(np.zeros(SHAPE, np.uint8), pred, planes=planes)
    assert objects.split
    whole = cc3d.connected_components(pred, connectivity=26)
    assert np.array_equal(drawn(objects, "pred"), whole)


@settings(max_examples=60, deadline=None)
@given(truth=IDS, pred=IDS, planes=st.integers(1, 5))
def test_ids_are_taken_as_they_are_unless_there_is_one(truth, pred, planes):
    objects = found(truth, pred, planes=planes)
    one = len(np.unique(pred[pred > 0])) <= 1
    expected = components(pred) if one else numbered(pred)
    assert objects.split == one
    assert np.array_equal(drawn(objects, "pred"), expected)
    assert np.array_equal(drawn(objects, "truth"), numbered(truth))
    for side, array in ((objects.truth, truth), (objects.pred, pred)):
        numbers = drawn(objects, "truth" if array is truth else "pred")
        for number, value in enumerate(side.ids.tolist(), start=1):
            assert set(array[numbers == number].tolist()) == {value}


@settings(max_examples=40, deadline=None)
@given(pred=IDS, planes=st.integers(1, 5))
def test_with_x_as_the_slow_axis_the_first_voxel_is_another(pred, planes):
    objects = found(np.zeros(SHAPE, np.uint8), pred, planes=planes, components=True, order="F")
    expected = components(np.ascontiguousarray(pred.T)).T
    assert np.array_equal(drawn(objects, "pred"), expected)


@settings(max_examples=40, deadline=None)
@given(truth=IDS, pred=IDS, planes=st.integers(1, 5))
def test_overlaps_are_those_of_the_numbers(truth, pred, planes):
    objects = found(truth, pred, planes=planes, components=True)
    t, p = drawn(objects, "truth").ravel(), drawn(objects, "pred").ravel()
    overlap = objects.overlap
    rows = zip(overlap.truth.tolist(), overlap.pred.tolist(), overlap.voxels.tolist(), strict=True)
    pairs, counts = np.unique(np.stack((t, p))[:, t > 0], axis=1, return_counts=True)
    assert {(a, b): n for a, b, n in rows} == dict(
        zip(zip(*pairs.tolist(), strict=True), counts.tolist(), strict=True)
    )
    assert overlap.pred_sizes[1:].tolist() == np.bincount(p, minlength=1)[1:].tolist()


@pytest.mark.parametrize("at", [(2, 2, 2), (2, 2, 0), (2, 0, 2), (2, 0, 0), (2, 1, 1)])
def test_parts_that_touch_across_a_slab_hang_together(at):
    touching = cube((0, 0, 0)) | cube(at)
    assert found(touching, touching).pred.count == 1


@pytest.mark.parametrize("at", [(3, 0, 0), (2, 3, 0), (2, 0, 3)])
def test_parts_with_a_gap_stay_apart(at):
    apart = cube((0, 0, 0)) | cube(at)
    assert found(apart, apart).pred.count == 2


def test_the_end_of_a_row_does_not_touch_the_begin_of_the_next():
    mask = np.zeros((2, 3, 5), bool)
    mask[0, 1, 4] = mask[1, 2, 0] = mask[1, 1, 0] = True
    assert found(mask, mask).pred.count == 2


def test_equal_values_join_and_others_do_not():
    pred = boxes(((0, 0, 0), (4, 4, 4)), ((0, 0, 4), (4, 4, 8)), ((8, 8, 8), (9, 9, 9)))
    pred[pred == 3] = 1
    assert found(pred, pred, components=True).pred.count == 3
    assert found(pred, pred).pred.count == 2


def test_a_spiral_of_many_slabs_is_one_component():
    mask = np.zeros((40, 20, 20), bool)
    z = np.arange(40)
    mask[z, (10 + 8 * np.sin(z / 8)).astype(int), (10 + 8 * np.cos(z / 8)).astype(int)] = True
    mask[:, 10, 10] |= True
    mask[20, 10, :] = True
    for planes in (1, 3, 40):
        assert found(mask, mask, planes=planes).pred.count == cc3d.connected_components(mask).max()


def test_a_second_value_in_the_last_slab_makes_ids_of_all():
    pred = boxes(((0, 0, 0), (2, 2, 2)), ((5, 0, 0), (7, 2, 2)), ((9, 9, 9), (10, 10, 10)))
    pred[pred == 2] = 1
    objects = found(pred, pred)
    assert not objects.split
    assert objects.pred.ids.tolist() == [1, 3]


@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_components_of_floats_have_one_value_and_each_nan_is_one(dtype):
    pred = np.zeros((4, 3, 3), dtype)
    pred[0:2, 0, 0] = 0.25
    pred[2, 0, 0] = 0.5
    pred[3, 1:, 1:] = np.nan
    pred[1, 2, 2] = -0.0
    objects = found(np.zeros(pred.shape, np.uint8), pred, components=True)
    assert objects.pred.count == objects.ids == 6


def test_components_of_short_floats_are_those_of_their_bits():
    pred = np.zeros((4, 3, 3), np.float16)
    pred[3, 1:, 1:] = np.nan
    pred[1, 2, 2] = -0.0
    whole = cc3d.connected_components(pred, connectivity=26)
    objects = found(np.zeros(pred.shape, np.uint8), pred, components=True)
    assert np.array_equal(drawn(objects, "pred"), whole)
    assert whole.max() == 2


def test_minus_zero_is_background_of_a_mask():
    mask = cube((0, 0, 0)).astype(np.float16)
    mask[0, 0, 2:] = -0.0
    truth = np.ones(mask.shape, np.uint8)
    assert np.array_equal(drawn(found(truth, mask), "pred"), cube((0, 0, 0)))


@pytest.mark.parametrize("wrong", [0.5, np.nan, np.inf, -np.inf, 1e30])
def test_ids_that_are_no_whole_numbers_are_refused(wrong):
    pred = boxes(((0, 0, 0), (2, 2, 2))).astype(np.float32)
    pred[9, 9, 9] = wrong
    with pytest.raises(Unreadable, match="whole object ids"):
        found(pred, pred)


@pytest.mark.parametrize("dtype", ["u1", "i1", "u2", "i2", "u4", "i4", "u8", "i8", "f4", "f8"])
def test_the_width_of_ids_changes_nothing(dtype):
    labels = boxes(((0, 0, 0), (2, 2, 2)), ((4, 4, 4), (6, 9, 9)))
    assert np.array_equal(drawn(found(labels, labels.astype(dtype)), "pred"), labels)


def test_the_largest_ids_stay_apart_from_slab_to_slab():
    ids = np.array([2**64 - 1, 2**64 - 2, 2**63, 2**53, 2**53 + 1, 2**64 - 1], np.uint64)
    objects = found(ids.reshape(6, 1, 1), ids.reshape(6, 1, 1))
    assert drawn(objects, "pred").ravel().tolist() == [1, 2, 3, 4, 5, 1]


def test_negative_ids_are_objects():
    ids = np.array([-1, -2, 0, 1, -1], np.int16).reshape(5, 1, 1)
    assert drawn(found(ids, ids), "pred").ravel().tolist() == [1, 2, 0, 3, 1]


def test_nothing_has_no_objects():
    empty = np.zeros((3, 3, 3), np.uint16)
    for components_too in (False, True):
        objects = found(empty, empty, components=components_too)
        assert (objects.truth.count, objects.pred.count, objects.ids) == (0, 0, 0)
        assert len(objects.overlap.truth) == 0
