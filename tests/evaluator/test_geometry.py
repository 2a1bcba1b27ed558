import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evaluator.geometry import VoxelGrid

ANISOTROPIC = (40.0, 4.0, 4.0)


def test_a_grid_knows_its_voxels_and_its_extent_per_axis():
    grid = VoxelGrid((2, 3, 5), ANISOTROPIC, (0.0, 0.0, 0.0))
    assert grid.voxels == 30
    assert grid.extent_nm == (80.0, 12.0, 20.0)


@pytest.mark.parametrize(
    ("shape", "size", "offset"),
    [
        ((0, 3, 5), ANISOTROPIC, (0.0, 0.0, 0.0)),
        ((2, 3), (4.0, 4.0), (0.0, 0.0)),
        ((2, 3, 5), (40.0, 0.0, 4.0), (0.0, 0.0, 0.0)),
        ((2, 3, 5), (40.0, float("nan"), 4.0), (0.0, 0.0, 0.0)),
        ((2, 3, 5), ANISOTROPIC, (0.0, float("inf"), 0.0)),
    ],
)
def test_what_is_no_grid_is_refused(shape, size, offset):
    with pytest.raises(ValueError, match=r"a grid has|voxel size|offset"):
        VoxelGrid(shape, size, offset)


def test_a_grid_meets_itself_voxel_by_voxel():
    grid = VoxelGrid((2, 3, 5), (1.74, 2.0, 2.0), (23837.13, 7599.0, 35999.0))
    for axis, length in zip(grid.nearest(grid), grid.shape, strict=True):
        assert axis.tolist() == list(range(length))


def test_an_array_that_begins_one_voxel_later_leaves_the_first_voxel_outside():
    target = VoxelGrid((4, 1, 1), (8.0, 4.0, 4.0), (100.0, 0.0, 0.0))
    later = VoxelGrid((4, 1, 1), (8.0, 4.0, 4.0), (108.0, 0.0, 0.0))
    assert target.nearest(later)[0].tolist() == [-1, 0, 1, 2]


def test_an_offset_off_the_grid_goes_to_the_nearest_voxel_not_down():
    """3 nm of an 8 nm voxel round to 0 voxels, 5 nm to 1: a floor would shift both alike."""
    target = VoxelGrid((3, 1, 1), (8.0, 4.0, 4.0), (0.0, 0.0, 0.0))
    assert target.nearest(VoxelGrid((3, 1, 1), (8.0, 4.0, 4.0), (3.0, 0.0, 0.0)))[0].tolist() == [
        0,
        1,
        2,
    ]
    assert target.nearest(VoxelGrid((3, 1, 1), (8.0, 4.0, 4.0), (5.0, 0.0, 0.0)))[0].tolist() == [
        -1,
        0,
        1,
    ]


def test_voxels_twice_as_fine_are_sampled_by_their_centres():
    """Coarse centres at 0 and 8 nm, fine ones at -2, 2, 6, 10: half way takes the upper."""
    coarse = VoxelGrid((2, 1, 1), (8.0, 4.0, 4.0), (0.0, 0.0, 0.0))
    fine = VoxelGrid((4, 1, 1), (4.0, 4.0, 4.0), (-2.0, 0.0, 0.0))
    assert coarse.nearest(fine)[0].tolist() == [1, 3]


def test_grids_that_do_not_meet_have_no_voxel_in_common():
    here = VoxelGrid((2, 2, 2), ANISOTROPIC, (0.0, 0.0, 0.0))
    there = VoxelGrid((2, 2, 2), ANISOTROPIC, (0.0, 0.0, 900.0))
    assert np.all(here.nearest(there)[2] == -1)


def test_voxel_sizes_are_compared_to_a_hundred_thousandth():
    grid = VoxelGrid((1, 1, 1), (1.74, 2.0, 2.0))
    assert grid.has_voxels_of(VoxelGrid((9, 9, 9), (1.7400001, 2.0, 2.0)))
    assert not grid.has_voxels_of(VoxelGrid((1, 1, 1), (1.75, 2.0, 2.0)))


@given(
    n=st.integers(1, 40),
    size=st.floats(0.5, 64),
    start=st.floats(-1e5, 1e5),
    shift=st.integers(-9, 9),
)
def test_a_shift_by_whole_voxels_moves_the_indices_by_as_many(n, size, start, shift):
    target = VoxelGrid((n, 1, 1), (size, 1.0, 1.0), (start, 0.0, 0.0))
    moved = VoxelGrid((n, 1, 1), (size, 1.0, 1.0), (start + shift * size, 0.0, 0.0))
    expected = [i - shift if 0 <= i - shift < n else -1 for i in range(n)]
    assert target.nearest(moved)[0].tolist() == expected
