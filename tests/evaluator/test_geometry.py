import math

import numpy as np
import pytest

from evaluator import VoxelGrid


def test_a_grid_knows_its_voxels_and_its_size_in_nanometres():
    grid = VoxelGrid((2, 3, 4), (8.0, 4.0, 2.0))
    assert grid.voxels == 24
    assert grid.extent_nm == (16.0, 12.0, 8.0)


@pytest.mark.parametrize(
    ("shape", "size", "offset"),
    [
        ((0, 1, 1), (1, 1, 1), (0, 0, 0)),
        ((1, 1, 1), (0, 1, 1), (0, 0, 0)),
        ((1, 1, 1), (-1, 1, 1), (0, 0, 0)),
        ((1, 1, 1), (math.nan, 1, 1), (0, 0, 0)),
        ((1, 1, 1), (1, 1, 1), (0, math.inf, 0)),
        ((1, 1), (1, 1), (0, 0)),
    ],
)
def test_a_grid_that_cannot_exist_is_refused(shape, size, offset):
    with pytest.raises(ValueError, match=r"grid|voxel size|offset"):
        VoxelGrid(shape, size, offset)


def test_nearest_on_the_same_grid_is_every_voxel_itself():
    grid = VoxelGrid((3, 2, 4), (1.74, 2.0, 2.0), (23837.13, 7599.0, 35999.0))
    for axis, n in zip(grid.nearest(grid), grid.shape, strict=True):
        assert axis.tolist() == list(range(n))


def test_nearest_outside_the_other_grid_is_minus_one():
    target = VoxelGrid((4, 1, 1), (4.0, 4.0, 4.0), (0.0, 0.0, 0.0))
    shifted = VoxelGrid((4, 1, 1), (4.0, 4.0, 4.0), (8.0, 0.0, 0.0))
    assert target.nearest(shifted)[0].tolist() == [-1, -1, 0, 1]
    assert shifted.nearest(target)[0].tolist() == [2, 3, -1, -1]


def test_nearest_half_way_takes_the_upper_voxel():
    target = VoxelGrid((2, 1, 1), (8.0, 8.0, 8.0), (2.0, 2.0, 2.0))
    finer = VoxelGrid((4, 2, 2), (4.0, 4.0, 4.0), (0.0, 0.0, 0.0))
    assert target.nearest(finer)[0].tolist() == [1, 3]


def test_nearest_of_a_coarser_grid_repeats_voxels():
    target = VoxelGrid((6, 1, 1), (4.0, 4.0, 4.0))
    coarser = VoxelGrid((3, 1, 1), (8.0, 8.0, 8.0), (2.0, 2.0, 2.0))
    assert target.nearest(coarser)[0].tolist() == [0, 0, 1, 1, 2, 2]


def test_voxel_sizes_are_the_same_to_a_hundred_thousandth():
    grid = VoxelGrid((1, 1, 1), (1.74, 2.0, 2.0))
    assert grid.has_voxels_of(VoxelGrid((9, 9, 9), (1.7400001, 2.0, 2.0)))
    assert not grid.has_voxels_of(VoxelGrid((1, 1, 1), (1.741, 2.0, 2.0)))


def test_nearest_matches_a_search_over_all_distances():
    rng = np.random.default_rng(0)
    for _ in range(20):
        a, b = (
            VoxelGrid((9, 1, 1), (rng.uniform(1, 9), 1.0, 1.0), (rng.uniform(-20, 20), 0.0, 0.0))
            for _ in range(2)
        )
        for i, found in enumerate(a.nearest(b)[0]):
            centre = a.offset[0] + i * a.voxel_size[0]
            distances = np.abs(b.offset[0] + np.arange(9) * b.voxel_size[0] - centre)
            inside = distances.min() <= b.voxel_size[0] / 2
            assert found == (distances.argmin() if inside else -1)
