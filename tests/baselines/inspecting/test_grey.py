"""Range, contrast and sharpness of images, against plain formulas."""

import math

import numpy as np
import pytest

from baselines.inspecting.grey import measure_grey, outliers, sharpness
from baselines.volumes.readers import InMemory


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int16", "float32"])
def test_range_mean_and_spread_are_those_of_the_voxels(dtype):
    values = np.random.default_rng(3).integers(5, 200, (7, 33, 41)).astype(dtype)
    grey = measure_grey(InMemory(values))
    assert (grey.dtype, grey.low, grey.high) == (dtype, values.min(), values.max())
    assert math.isclose(grey.mean, values.mean(), rel_tol=1e-6)
    assert math.isclose(grey.spread, values[:, ::2, ::2].std(), rel_tol=1e-4)
    assert grey.finite


def test_nan_and_infinity_are_told_and_spoil_nothing_else():
    values = np.ones((2, 8, 8), np.float32)
    values[0, 0, 0], values[1, 1, 1] = np.nan, np.inf
    grey = measure_grey(InMemory(values))
    assert not grey.finite
    assert (grey.low, grey.high) == (0.0, 1.0)
    assert math.isfinite(grey.mean)


def test_a_blurred_plane_is_less_sharp_whatever_its_contrast_and_brightness():
    plane = np.random.default_rng(0).normal(100, 20, (64, 64)).astype(np.float32)
    blurred = (
        plane + np.roll(plane, 1, 0) + np.roll(plane, 1, 1) + np.roll(plane, (1, 1), (0, 1))
    ) / 4
    assert sharpness(blurred) < 0.5 * sharpness(plane)
    assert math.isclose(sharpness(plane * 3 + 50), sharpness(plane), rel_tol=1e-3)


def test_a_known_plane_has_a_known_sharpness():
    # A checkerboard of 0 and 1: the Laplacian is +4 or -4, its variance 16, the plane's 1/4.
    board = np.indices((18, 18)).sum(axis=0) % 2
    assert math.isclose(sharpness(board), 64.0)


def test_flat_and_tiny_planes_have_no_sharpness():
    assert sharpness(np.full((9, 9), 7)) == 0.0
    assert sharpness(np.arange(4).reshape(2, 2)) == 0.0


def test_of_a_deep_stack_single_planes_out_of_focus_do_not_count():
    planes = np.random.default_rng(0).integers(0, 255, (30, 32, 32)).astype(np.uint8)
    sharp = measure_grey(InMemory(planes)).focus
    planes[::7] = 128
    assert measure_grey(InMemory(planes)).focus > 0.9 * sharp


def test_outliers_are_far_from_the_median_by_robust_deviations():
    assert outliers([100, 101, 99, 100, 102, 98, 160]) == [6]
    assert outliers([100, 101, 99, 40, 102, 98, 160]) == [3, 6]
    assert outliers([100.0] * 5 + [104.0]) == []
    assert outliers([1.0, 2.0, 900.0]) == []
    assert outliers([]) == []
