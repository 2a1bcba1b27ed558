import numpy as np

from baselines.box import Box, blocks_of, box_around, common_box


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


def test_what_two_boxes_share_is_a_box_or_nothing():
    one = Box((0, 0, 0), (4, 4, 4))
    assert common_box(one, Box((2, 1, 3), (9, 3, 9))) == Box((2, 1, 3), (4, 3, 4))
    assert common_box(one, Box((4, 0, 0), (5, 4, 4))) is None  # they touch


def test_the_smallest_box_around_others():
    boxes = [Box((0, 5, 2), (1, 6, 3)), Box((3, 0, 2), (4, 1, 9))]
    assert box_around(boxes) == Box((0, 0, 2), (4, 6, 9))


def test_a_moved_box_keeps_its_shape():
    box = Box((1, 2, 3), (4, 6, 8))
    assert box.moved((-1, 0, 10)) == Box((0, 2, 13), (3, 6, 18))
    assert box.voxels == 3 * 4 * 5
