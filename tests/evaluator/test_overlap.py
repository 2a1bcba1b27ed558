import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from evaluator import overlap
from evaluator.overlap import count_overlaps, number_objects, split_mask
from tests.evaluator.shapes import boxes, cube

SMALL = arrays(np.uint8, (3, 4, 5), elements=st.integers(0, 3))


def table(truth: np.ndarray, pred: np.ndarray) -> dict[tuple[int, int], int]:
    found = count_overlaps(truth, pred)
    rows = zip(found.truth.tolist(), found.pred.tolist(), found.voxels.tolist(), strict=True)
    return {(t, p): n for t, p, n in rows}


def test_overlaps_of_truth_objects_are_counted_with_background():
    truth = boxes(((0, 0, 0), (1, 1, 4)), shape=(1, 1, 8))
    pred = boxes(((0, 0, 3), (1, 1, 5)), ((0, 0, 6), (1, 1, 8)), shape=(1, 1, 8))
    assert table(truth, pred) == {(1, 0): 3, (1, 1): 1}


def test_sizes_are_indexed_by_object():
    truth = boxes(((0, 0, 0), (1, 1, 4)), shape=(1, 1, 8))
    found = count_overlaps(truth, np.zeros_like(truth))
    assert found.truth_sizes.tolist() == [0, 4]
    assert found.pred_sizes.tolist() == [0]


def test_foreground_is_both_pred_alone_truth_alone():
    truth = boxes(((0, 0, 0), (1, 1, 4)), shape=(1, 1, 8))
    pred = boxes(((0, 0, 3), (1, 1, 6)), shape=(1, 1, 8))
    assert count_overlaps(truth, pred).foreground() == (1, 2, 3)


def test_iou_of_a_pair_is_shared_over_union():
    truth = boxes(((0, 0, 0), (1, 1, 4)), shape=(1, 1, 8))
    pred = boxes(((0, 0, 2), (1, 1, 6)), shape=(1, 1, 8))
    pairs = count_overlaps(truth, pred).pairs()
    assert [column.tolist() for column in pairs] == [[1], [1], [2 / 6]]


def test_objects_that_share_nothing_are_no_candidates():
    truth = boxes(((0, 0, 0), (1, 1, 1)))
    pred = boxes(((5, 5, 5), (6, 6, 6)))
    assert [len(column) for column in count_overlaps(truth, pred).pairs()] == [0, 0, 0]


@settings(max_examples=40, deadline=None)
@given(truth=SMALL, pred=SMALL)
def test_the_table_equals_counting_voxel_by_voxel(truth, pred):
    expected: dict[tuple[int, int], int] = {}
    for pair in zip(truth.ravel().tolist(), pred.ravel().tolist(), strict=True):
        if pair[0]:
            expected[pair] = expected.get(pair, 0) + 1
    assert table(truth, pred) == expected
    sizes = count_overlaps(truth, pred)
    for array, found in ((truth, sizes.truth_sizes), (pred, sizes.pred_sizes)):
        counts = np.bincount(array.ravel())
        assert found.tolist() == [0, *counts[1:].tolist()]


def test_slabs_change_nothing(monkeypatch):
    rng = np.random.default_rng(0)
    truth, pred = rng.integers(0, 9, (2, 7, 5, 6)).astype(np.uint8)
    whole = table(truth, pred)
    monkeypatch.setattr(overlap, "SLAB_VOXELS", 1)
    assert table(truth, pred) == whole


def test_objects_are_numbered_by_their_first_voxel():
    labels = np.array([[[0, 9, 9, 4, 0, 9, 200]]], np.uint8)
    assert number_objects(labels).tolist() == [[[0, 1, 1, 2, 0, 1, 3]]]


@pytest.mark.parametrize("dtype", ["u1", "i1", "u2", "i2", "u4", "i4", "u8", "i8", ">u4"])
def test_numbering_does_not_depend_on_the_width_of_ids(dtype):
    labels = boxes(((0, 0, 0), (2, 2, 2)), ((5, 5, 5), (6, 6, 6)), dtype=dtype)
    assert number_objects(labels).dtype == np.uint8
    assert np.array_equal(number_objects(labels), labels)


def test_a_mask_is_one_object():
    assert number_objects(cube((0, 0, 0))).max() == 1


def test_the_largest_ids_stay_apart():
    ids = np.array([2**64 - 1, 2**64 - 2, 2**63, 2**53, 2**53 + 1, 0], np.uint64)
    assert number_objects(ids.reshape(1, 1, 6)).tolist() == [[[1, 2, 3, 4, 5, 0]]]


def test_a_negative_id_is_an_object_of_its_own():
    ids = np.array([[[-1, -2, 0, 1]]], np.int16)
    assert number_objects(ids).tolist() == [[[1, 2, 0, 3]]]


def test_memory_order_does_not_change_the_numbers():
    labels = np.random.default_rng(1).integers(0, 5, (4, 5, 6)).astype(np.uint16)
    assert np.array_equal(number_objects(np.asfortranarray(labels)), number_objects(labels))


def test_nothing_has_no_objects():
    empty = np.zeros((2, 2, 2), np.uint16)
    assert number_objects(empty).max() == 0
    assert split_mask(empty > 0).max() == 0


def test_parts_that_touch_at_a_corner_hang_together():
    touching = cube((0, 0, 0)) | cube((2, 2, 2))
    assert split_mask(touching).max() == 1


def test_parts_with_a_gap_are_two_objects():
    parts = split_mask(cube((0, 0, 0)) | cube((3, 0, 0)))
    assert parts.max() == 2
    assert parts[0, 0, 0] == 1
    assert parts[3, 0, 0] == 2
