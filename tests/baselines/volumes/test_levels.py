import math

import numpy as np
import pytest
import tifffile
from hypothesis import given
from hypothesis import strategies as st

from baselines.box import Box
from baselines.layout import DataError
from baselines.volumes.images import Level
from baselines.volumes.levels import alike, box_on, covering, open_level, part_of, ranked, touched
from baselines.volumes.readers import InMemory
from evaluator.geometry import VoxelGrid
from evaluator.volume import create_volume
from tests.baselines.trees import halved, pyramid, specimen


def grid(size, shape=(4, 4, 4), offset=(0.0, 0.0, 0.0)):
    return VoxelGrid(shape, (size,) * 3, offset)


def chosen(*sizes, wanted, coarsest=1.5):
    levels = [Level(InMemory(np.zeros((4, 4, 4))), grid(size)) for size in sizes]
    return [x.grid.voxel_size[0] for x in ranked(levels, (wanted,) * 3, coarsest=coarsest)]


def test_the_coarsest_level_that_is_fine_enough_comes_first():
    assert chosen(2.0, 4.0, 8.0, 16.0, wanted=8.0) == [8.0, 4.0, 2.0]
    assert chosen(2.0, 4.0, 16.0, wanted=8.0) == [4.0, 2.0]


def test_a_twentieth_makes_no_difference():
    assert chosen(4.0, 8.3, wanted=8.0) == [8.3, 4.0]
    assert alike((8.0, 8.3, 7.7), (8.0, 8.0, 8.0))
    assert not alike((8.0, 8.0, 8.5), (8.0, 8.0, 8.0))


def test_coarser_levels_serve_up_to_the_limit_and_after_all_finer_ones():
    assert chosen(16.0, 11.0, 32.0, wanted=8.0) == [11.0]
    assert chosen(16.0, 11.0, 4.0, wanted=8.0, coarsest=2.0) == [4.0, 11.0, 16.0]
    assert chosen(16.0, wanted=8.0) == []
    assert chosen(64.0, wanted=8.0, coarsest=math.inf) == [64.0]


def test_the_level_with_the_models_voxel_size_is_read_as_it_is(tmp_path):
    raw = specimen(n=16)
    pyramid(tmp_path / "raw", {4.0: raw, 8.0: halved(raw)})
    for size, expected in ((4.0, raw), (8.0, halved(raw))):
        volume = open_level(tmp_path / "raw", (size,) * 3)
        assert volume.grid.voxel_size == (size,) * 3
        np.testing.assert_array_equal(volume.read((1, 2, 3), (5, 6, 7)), expected[1:5, 2:6, 3:7])
    assert open_level(tmp_path / "raw", ()).shape == raw.shape


def test_coarser_voxels_than_any_level_has_are_made_by_averaging(tmp_path):
    raw = specimen(n=16)
    pyramid(tmp_path / "raw", {4.0: raw, 8.0: halved(raw)}, corner=(40.0,) * 3)
    volume = open_level(tmp_path / "raw", (16.0,) * 3)
    assert volume.grid == VoxelGrid((4, 4, 4), (16.0,) * 3, (48.0,) * 3)
    np.testing.assert_array_equal(volume.read((0, 0, 0), (4, 4, 4)), halved(halved(raw)))


def test_finer_voxels_than_there_are_are_refused_beyond_the_limit(tmp_path):
    create_volume(tmp_path / "raw", grid(8.0), np.uint8)[:] = 5
    with pytest.raises(DataError, match=r"raw has voxels of \(8.0.*more than 1.5.*\(4.0"):
        open_level(tmp_path / "raw", (4.0,) * 3)
    volume = open_level(tmp_path / "raw", (4.0,) * 3, coarsest=2.0)
    assert volume.shape == (8, 8, 8)
    assert (volume.read((0, 0, 0), (8, 8, 8)) == 5).all()


def test_stacks_are_read_like_any_other_volume(tmp_path):
    raw = specimen(n=8)
    tifffile.imwrite(tmp_path / "raw.tif", raw)
    volume = open_level(tmp_path / "raw.tif", (40.0, 8.0, 8.0))
    assert volume.grid == VoxelGrid((8, 8, 8), (40.0, 8.0, 8.0))
    np.testing.assert_array_equal(volume.read((2, 0, 1), (4, 8, 3)), raw[2:4, :, 1:3])


@given(st.integers(1, 40), st.floats(1.0, 50.0), st.floats(1.0, 50.0))
def test_a_covering_grid_covers_all_but_half_a_voxel(n, old, new):
    one = VoxelGrid((n, 1, 1), (old, 1.0, 1.0), (7.0, 0.0, 0.0))
    other = covering(one, (new, 1.0, 1.0))
    assert other.offset[0] - new / 2 == pytest.approx(one.offset[0] - old / 2)
    if one.extent_nm[0] >= new:
        assert abs(other.extent_nm[0] - one.extent_nm[0]) <= new / 2 + 1e-3


def test_boxes_go_from_grid_to_grid_by_centres_or_by_touch():
    fine, coarse = grid(2.0, (10, 10, 10), (1.0,) * 3), grid(8.0, (1, 1, 1), (8.0,) * 3)
    assert box_on(fine, coarse) == Box((2, 2, 2), (6, 6, 6))  # 4 to 12 nm
    shifted = grid(8.0, (1, 1, 1), (9.0,) * 3)  # 5 to 13 nm
    assert touched(fine, shifted) == Box((2, 2, 2), (7, 7, 7))
    assert box_on(fine, shifted) == Box((2, 2, 2), (6, 6, 6))  # centres from 5 up to, without, 13
    far = grid(8.0, (1, 1, 1), (900.0,) * 3)
    assert box_on(fine, far) is None
    assert touched(fine, far) is None


def test_the_part_of_a_grid_lies_where_its_box_lies():
    assert part_of(grid(4.0, (9, 9, 9), (2.0,) * 3), Box((1, 2, 3), (4, 6, 8))) == VoxelGrid(
        (3, 4, 5), (4.0,) * 3, (6.0, 10.0, 14.0)
    )
