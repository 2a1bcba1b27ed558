import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from tests.evaluator.shapes import boxes, count_overlaps

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


@pytest.mark.parametrize("planes", [1, 3, 7])
def test_parts_change_nothing(planes):
    rng = np.random.default_rng(0)
    truth, pred = rng.integers(0, 9, (2, 7, 5, 6)).astype(np.uint8)
    whole, parts = (count_overlaps(truth, pred, planes=n) for n in (7, planes))
    for name in ("truth", "pred", "voxels", "truth_sizes", "pred_sizes"):
        assert np.array_equal(getattr(whole, name), getattr(parts, name))


def test_many_objects_are_counted_by_sorting_as_few_are_by_a_table():
    rng = np.random.default_rng(1)
    truth, pred = rng.integers(0, 60_000, (2, 4, 50, 50)).astype(np.uint32)
    found = table(truth, pred)
    assert sum(found.values()) == np.count_nonzero(truth)
    (t, p), n = next(iter(found.items()))
    assert n == np.count_nonzero((truth == t) & (pred == p))
