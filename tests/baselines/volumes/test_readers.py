import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from baselines.box import Box
from baselines.volumes.readers import InMemory, Placed, Stacked, Window, read_padded
from evaluator.geometry import VoxelGrid
from evaluator.volume import ArrayPlanes

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


def numbered():
    return np.arange(GRID.voxels).reshape(GRID.shape)


def test_a_window_is_a_volume_of_its_own():
    window = Window(InMemory(numbered()), Box((1, 2, 3), (5, 8, 8)))
    assert window.shape == (4, 6, 5)
    np.testing.assert_array_equal(window.read((1, 0, 2), (3, 6, 5)), numbered()[2:4, 2:8, 5:8])


@given(st.tuples(*[st.integers(-3, 6)] * 3), st.tuples(*[st.integers(1, 6)] * 3))
def test_a_placed_volume_is_zero_around_itself(start, size):
    inner = np.arange(1, 28, dtype=np.int16).reshape(3, 3, 3)
    expected = np.zeros((20, 20, 20), np.int16)
    expected[8:11, 8:11, 8:11] = inner
    placed = Placed(InMemory(inner), (3, 3, 3), (12, 12, 12))
    stop = tuple(a + n for a, n in zip(start, size, strict=True))
    there = tuple(slice(a + 5, b + 5) for a, b in zip(start, stop, strict=True))
    np.testing.assert_array_equal(placed.read(start, stop), expected[there])


def test_planes_are_read_for_the_box_alone():
    class Counting(ArrayPlanes):
        def planes(self, start, stop):
            read.append((start, stop))
            return super().planes(start, stop)

    read: list[tuple[int, int]] = []
    stacked = Stacked(Counting(numbered()))
    np.testing.assert_array_equal(stacked.read((2, 1, 0), (4, 5, 7)), numbered()[2:4, 1:5, 0:7])
    assert read == [(2, 4)]
    assert stacked.shape == GRID.shape
