import numpy as np

from baselines.box import Box, blocks_of


def test_blocks_cover_every_voxel_once():
    count = np.zeros((5, 7, 9), int)
    for box in blocks_of((5, 7, 9), (2, 3, 9)):
        count[box.slices] += 1
    assert (count == 1).all()


def test_a_block_larger_than_the_volume_is_cut_to_it():
    assert list(blocks_of((2, 3, 4), (8, 8, 8))) == [Box((0, 0, 0), (2, 3, 4))]


def test_a_grown_box_may_reach_outside():
    assert Box((0, 1, 2), (3, 4, 5)).grown((1, 2, 0)) == Box((-1, -1, 2), (4, 6, 5))


def test_a_box_as_an_index_into_another():
    outer = Box((10, 10, 10), (20, 20, 20))
    assert Box((8, 12, 15), (12, 14, 30)).within(outer) == np.s_[0:2, 2:4, 5:10]
