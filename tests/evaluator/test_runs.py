"""Runs along X, and numbers for their values."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from evaluator.runs import Runs, find_runs, number_values

SHAPE = (2, 3, 6)
SMALL = arrays(np.int8, SHAPE, elements=st.integers(-1, 2))


def spans(truth, pred) -> list[tuple[int, int]]:
    return list(zip(*(column.tolist() for column in find_runs(truth, pred)), strict=True))


def test_a_run_ends_where_either_changes():
    truth = np.array([[[1, 1, 1, 0, 0, 2]]])
    pred = np.array([[[0, 5, 5, 5, 0, 0]]])
    assert spans(truth, pred) == [(0, 1), (1, 2), (3, 1), (5, 1)]


def test_a_run_ends_with_its_row():
    ones = np.ones((2, 2, 3), bool)
    assert spans(ones, ones) == [(0, 3), (3, 3), (6, 3), (9, 3)]


def test_background_has_no_runs():
    assert spans(np.zeros(SHAPE), np.zeros(SHAPE, bool)) == []
    assert spans(np.zeros(SHAPE), -np.zeros(SHAPE)) == []  # minus zero


def test_every_voxel_that_is_no_number_is_a_run():
    pred = np.full((1, 1, 3), np.nan)
    assert spans(np.zeros((1, 1, 3), int), pred) == [(0, 1), (1, 1), (2, 1)]


@given(SMALL, SMALL)
def test_runs_cover_the_foreground_once_and_are_constant(truth, pred):
    covered = np.zeros(truth.size, int)
    for start, length in spans(truth, pred):
        voxels = slice(start, start + length)
        covered[voxels] += 1
        assert len(set(zip(truth.ravel()[voxels], pred.ravel()[voxels], strict=True))) == 1
        assert start // SHAPE[2] == (start + length - 1) // SHAPE[2]
    assert np.array_equal(covered, ((truth != 0) | (pred != 0)).ravel().astype(int))


def test_runs_between_two_voxels():
    runs = Runs(np.array([0, 4, 8, 9]), np.ones(4, int), np.arange(4), np.arange(4))
    assert runs.between(4, 9).truth.tolist() == [1, 2]
    assert runs.between(10, 20).truth.tolist() == []


def test_values_are_numbered_by_their_first_place():
    numbers, places = number_values(np.array([0, 9, 9, 4, 0, 9, 200], np.uint8))
    assert numbers.tolist() == [0, 1, 1, 2, 0, 1, 3]
    assert places.tolist() == [1, 3, 6]


@pytest.mark.parametrize(
    "values",
    [
        np.array([2**64 - 1, 2**64 - 2, 2**63, 2**53, 2**53 + 1, 0], np.uint64),
        np.array([-(2**63), 2**63 - 1, -1, 1, 2, 0], np.int64),
        np.array([-128, 127, -1, 1, 2, 0], np.int8),
        np.array([2**64 - 1, 2**64 - 2, 2**64 - 3, 2**64 - 4, 2**64 - 5, 0], np.uint64),
        np.array([-70000.5, 1e30, np.inf, -np.inf, 5.0, -0.0]),
    ],
    ids=["uint64", "int64", "int8", "high and near", "float"],
)
def test_values_of_any_width_stay_apart(values):
    assert number_values(values)[0].tolist() == [1, 2, 3, 4, 5, 0]


def test_true_is_a_value():
    assert number_values(np.array([False, True, True]))[0].tolist() == [0, 1, 1]


def test_each_nan_is_a_value_of_its_own():
    numbers, places = number_values(np.array([np.nan, 1.0, np.nan, 1.0], np.float32))
    assert numbers.tolist() == [1, 2, 3, 2]
    assert places.tolist() == [0, 1, 2]


def test_nothing_has_no_numbers():
    for empty in (np.zeros(0, np.int64), np.zeros(3, np.float32)):
        assert number_values(empty)[1].tolist() == []
        assert not number_values(empty)[0].any()


@given(st.lists(st.sampled_from([0, 1, 5, 70_000, 2**40, -3]), max_size=12))
def test_numbers_follow_from_the_definition(values):
    seen = {0: 0}
    expected = [seen.setdefault(value, len(seen)) for value in values]
    assert number_values(np.array(values, np.int64))[0].tolist() == expected
