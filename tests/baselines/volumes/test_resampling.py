import numpy as np
import pytest

from baselines.volumes import resampling
from baselines.volumes.readers import InMemory
from baselines.volumes.resampling import Resampled, Rule
from evaluator.geometry import VoxelGrid


def grid(shape, size, corner=(0.0, 0.0, 0.0)):
    """A grid whose first voxel begins at a corner."""
    offset = tuple(c + s / 2 for c, s in zip(corner, size, strict=True))
    return VoxelGrid(shape, size, offset)


def on(array, size, target, rule):
    found = Resampled(InMemory(array), grid(array.shape, size), target, rule)
    return found.read((0, 0, 0), target.shape)


def test_raw_of_twice_the_voxels_is_the_mean_of_those_it_covers():
    raw = np.random.default_rng(0).integers(0, 255, (4, 6, 8)).astype(np.float32)
    found = on(raw, (4.0, 4.0, 4.0), grid((2, 3, 4), (8.0, 8.0, 8.0)), Rule.MEAN)
    expected = raw.reshape(2, 2, 3, 2, 4, 2).mean(axis=(1, 3, 5))
    np.testing.assert_allclose(found, expected, rtol=1e-6)
    assert found.dtype == np.float32


def test_integers_stay_integers_and_are_rounded():
    raw = np.array([[[10, 13, 200, 200]]], np.uint8)
    found = on(raw, (1.0, 1.0, 1.0), grid((1, 1, 2), (1.0, 1.0, 2.0)), Rule.MEAN)
    assert found.dtype == np.uint8
    np.testing.assert_array_equal(found, [[[12, 200]]])


def test_a_voxel_that_covers_parts_of_others_weighs_them_by_their_shares():
    raw = np.array([[[0.0, 30.0, 60.0]]])
    found = on(raw, (1.0, 1.0, 2.0), grid((1, 1, 2), (1.0, 1.0, 3.0)), Rule.MEAN)
    # 0 .. 3 nm: two of the first voxel, one of the second; 3 .. 6 nm: one and two
    np.testing.assert_allclose(found, [[[10.0, 50.0]]], rtol=1e-6)


def test_a_coarser_source_is_interpolated_between_the_middles_of_its_voxels():
    raw = np.array([[[0.0, 40.0]]])
    found = on(raw, (1.0, 1.0, 4.0), grid((1, 1, 4), (1.0, 1.0, 2.0)), Rule.MEAN)
    # middles at 2 and 6 nm; asked for at 1, 3, 5, 7 nm
    np.testing.assert_allclose(found, [[[0.0, 10.0, 30.0, 40.0]]], rtol=1e-6)


def test_a_mask_is_where_at_least_half_of_a_voxel_is_covered():
    mask = np.array([[[1, 1, 1, 0, 0, 0, 0, 1]]], np.uint8)
    found = on(mask, (1.0, 1.0, 1.0), grid((1, 1, 4), (1.0, 1.0, 2.0)), Rule.MASK)
    np.testing.assert_array_equal(found, [[[1, 1, 0, 1]]])


def test_where_nobody_looked_stays_unknown_and_is_no_background():
    mask = np.array([[[-1, -1, -1, 0, 0, 0]]], np.int8)
    found = on(mask, (1.0, 1.0, 1.0), grid((1, 1, 2), (1.0, 1.0, 3.0)), Rule.MASK)
    np.testing.assert_array_equal(found, [[[-1, 0]]])


def test_ids_are_never_mixed():
    ids = np.array([[[7, 7, 900, 900, 0, 0]]], np.int32)
    found = on(ids, (1.0, 1.0, 1.0), grid((1, 1, 2), (1.0, 1.0, 3.0)), Rule.NEAREST)
    np.testing.assert_array_equal(found, [[[7, 0]]])
    assert found.dtype == np.int32


@pytest.mark.parametrize("rule", list(Rule))
def test_outside_the_source_is_nothing(rule):
    array = np.ones((2, 2, 2), np.uint8)
    target = grid((6, 2, 2), (1.0, 1.0, 1.0), corner=(-2.0, 0.0, 0.0))
    found = on(array, (1.0, 1.0, 1.0), target, rule)
    np.testing.assert_array_equal(found[:, 0, 0], [0, 0, 1, 1, 0, 0])
    far = grid((2, 2, 2), (1.0, 1.0, 1.0), corner=(50.0, 0.0, 0.0))
    assert not on(array, (1.0, 1.0, 1.0), far, rule).any()


@pytest.mark.parametrize("rule", list(Rule))
def test_a_box_is_the_same_part_of_the_whole_whatever_is_read_at_once(rule, monkeypatch):
    array = np.random.default_rng(1).integers(0, 3, (9, 20, 20)).astype(np.uint8)
    target = grid((12, 9, 13), (3.0, 9.0, 7.0), corner=(-4.0, 3.0, 2.0))
    volume = Resampled(InMemory(array), grid(array.shape, (4.0, 4.0, 5.0)), target, rule)
    whole = volume.read((0, 0, 0), target.shape)
    assert whole.any()
    monkeypatch.setattr(resampling, "MOST_VOXELS", 50)
    np.testing.assert_array_equal(volume.read((0, 0, 0), target.shape), whole)
    np.testing.assert_array_equal(volume.read((3, 2, 4), (11, 7, 12)), whole[3:11, 2:7, 4:12])


def test_a_grid_that_is_the_source_gives_the_source():
    array = np.random.default_rng(2).integers(0, 255, (3, 4, 5)).astype(np.uint8)
    for rule in (Rule.MEAN, Rule.NEAREST):
        found = on(array, (8.0, 4.0, 4.0), grid(array.shape, (8.0, 4.0, 4.0)), rule)
        np.testing.assert_array_equal(found, array)
