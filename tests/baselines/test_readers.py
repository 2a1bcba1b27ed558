import numpy as np
import pytest

from baselines.readers import InMemory, read_padded
from evaluator.geometry import VoxelGrid

GRID = VoxelGrid((6, 8, 8), (8.0, 8.0, 8.0))


@pytest.mark.parametrize("start", [(0, 0, 0), (-2, -3, 0), (4, 6, 7), (-9, 0, 0), (7, 9, 20)])
def test_a_box_may_reach_outside(start):
    volume = np.arange(GRID.voxels).reshape(GRID.shape)
    part = read_padded(InMemory(volume), start, (4, 4, 4))
    assert part.shape == (4, 4, 4)
    assert np.isin(part, volume).all()


def test_outside_the_volume_is_mirrored():
    volume = np.arange(5).reshape(1, 1, 5)
    found = read_padded(InMemory(volume), (0, 0, -2), (1, 1, 5))
    np.testing.assert_array_equal(found, [[[1, 0, 0, 1, 2]]])
    found = read_padded(InMemory(volume), (0, 0, 3), (1, 1, 5))
    np.testing.assert_array_equal(found, [[[3, 4, 4, 3, 2]]])
    found = read_padded(InMemory(volume), (0, 0, 3), (1, 1, 4), mirror=False)
    np.testing.assert_array_equal(found, [[[3, 4, 4, 4]]])
