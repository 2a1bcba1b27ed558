import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.ndimage import distance_transform_edt

from evaluator import surface
from evaluator.surface import hausdorff_nm
from tests.evaluator.shapes import boxes, cube

ISOTROPIC = (1.0, 1.0, 1.0)
MASKS = arrays(np.bool_, (5, 6, 7), elements=st.booleans())


def by_transform(truth: np.ndarray, pred: np.ndarray, voxel_size: tuple[float, ...]) -> float:
    """The definition, written out over the whole volume."""
    to_truth = distance_transform_edt(~truth, sampling=voxel_size)
    to_pred = distance_transform_edt(~pred, sampling=voxel_size)
    return float(max(to_truth[pred].max(), to_pred[truth].max()))


def test_a_shape_is_at_distance_zero_from_itself():
    assert hausdorff_nm(cube((1, 1, 1)), cube((1, 1, 1)), ISOTROPIC) == 0.0


def test_nanometres_are_counted_along_the_axis_that_moved():
    truth, pred = cube((1, 1, 1)), cube((3, 1, 1))
    assert hausdorff_nm(truth, pred, (40.0, 4.0, 4.0)) == 80.0
    assert hausdorff_nm(truth.transpose(2, 1, 0), pred.transpose(2, 1, 0), (40.0, 4.0, 4.0)) == 8.0


def test_two_empty_sets_agree_and_one_empty_set_is_at_the_cap():
    empty, full = np.zeros((3, 3, 3), bool), np.ones((3, 3, 3), bool)
    assert hausdorff_nm(empty, empty, ISOTROPIC, cap=7.0) == 0.0
    assert hausdorff_nm(empty, full, ISOTROPIC, cap=7.0) == 7.0
    assert hausdorff_nm(full, empty, ISOTROPIC) == math.inf


def test_the_distance_counts_in_both_directions():
    small = cube((0, 0, 0), side=1)
    large = boxes(((0, 0, 0), (1, 1, 6))) > 0
    assert hausdorff_nm(small, large, ISOTROPIC) == 5.0
    assert hausdorff_nm(large, small, ISOTROPIC) == 5.0


def test_the_farthest_voxel_may_lie_inside():
    # A shell against the full cube: the centre is 3 voxels from the shell, the surface 0.
    full = cube((1, 1, 1), side=7)
    shell = full & ~cube((2, 2, 2), side=5)
    assert hausdorff_nm(full, shell, ISOTROPIC) == 3.0


def test_distances_end_at_the_cap():
    far = hausdorff_nm(cube((0, 0, 0)), cube((8, 8, 8)), ISOTROPIC, cap=4.0)
    assert far == 4.0


@settings(max_examples=60, deadline=None)
@given(truth=MASKS, pred=MASKS, size=st.sampled_from([(1.0, 1.0, 1.0), (40.0, 4.0, 4.0)]))
def test_the_distance_equals_the_transform_over_the_whole_volume(truth, pred, size):
    truth[0, 0, 0] = pred[-1, -1, -1] = True
    assert hausdorff_nm(truth, pred, size) == pytest.approx(
        by_transform(truth, pred, size), rel=1e-12
    )


def test_large_shapes_with_few_differences_equal_the_transform_too():
    rng = np.random.default_rng(0)
    z, y, x = np.ogrid[:40, :44, :48]
    truth = (z - 20) ** 2 + (y - 22) ** 2 + (x - 24) ** 2 < 15**2
    for _ in range(5):
        dz, dy, dx = rng.uniform(-5, 5, 3)
        pred = (z - 20 - dz) ** 2 + (y - 22 - dy) ** 2 + (x - 24 - dx) ** 2 < 13**2
        pred[tuple(rng.integers(0, 40, 3))] = True
        expected = by_transform(truth, pred, (1.74, 2.0, 2.0))
        assert hausdorff_nm(truth, pred, (1.74, 2.0, 2.0)) == pytest.approx(expected, rel=1e-12)


def test_the_size_of_blocks_changes_no_distance(monkeypatch):
    rng = np.random.default_rng(3)
    truth, pred = rng.random((2, 20, 21, 22)) < 0.02
    expected = hausdorff_nm(truth, pred, (3.0, 2.0, 1.0))
    for block in (1, 3, 64):
        monkeypatch.setattr(surface, "BLOCK", block)
        assert hausdorff_nm(truth, pred, (3.0, 2.0, 1.0)) == expected


def test_the_box_around_both_is_enough():
    truth, pred = cube((3, 3, 3)), cube((5, 4, 3))
    inside = (slice(3, 7), slice(3, 6), slice(3, 5))
    whole = hausdorff_nm(truth, pred, (1.74, 2.0, 2.0))
    assert hausdorff_nm(truth[inside], pred[inside], (1.74, 2.0, 2.0)) == whole
