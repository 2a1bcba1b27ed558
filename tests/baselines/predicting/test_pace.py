from baselines.box import Box
from baselines.predicting.pace import Pace
from baselines.predicting.tiling import Tiling

TILING = Tiling((10, 100, 200), (4, 50, 50), (1, 8, 8), (4, 100, 100))  # 3 x 1 x 2 blocks


def test_blocks_planes_speed_and_what_is_left_are_told():
    blocks = list(TILING.blocks())
    pace = Pace.of(TILING, blocks, 100.0)
    assert pace.after(blocks[0], 102.0) == (
        "block 1 of 6, 2 of 10 planes, 0.02 million voxels/s, 8 s left"
    )
    assert pace.after(blocks[-1], 103.0) == (  # the last two planes, on half of the plane
        "block 2 of 6, 3 of 10 planes, 0.02 million voxels/s, 7 s left"
    )


def test_what_was_done_before_counts_as_done_and_not_for_the_speed():
    blocks = list(TILING.blocks())
    pace = Pace.of(TILING, blocks[4:], 0.0)
    assert pace.after(blocks[4], 0.02) == (
        "block 5 of 6, 9 of 10 planes, 1 million voxels/s, 0 s left"
    )
    assert pace.after(blocks[5], 3600.0).startswith("block 6 of 6, 10 of 10 planes")


def test_of_a_crop_in_its_raw_the_crop_alone_counts():
    tiling = Tiling(
        (10, 100, 200), (4, 50, 50), (1, 8, 8), (4, 100, 100), core=Box((2, 0, 0), (3, 50, 80))
    )
    (block,) = tiling.blocks()
    assert block == Box((2, 0, 0), (3, 50, 80))
    assert Pace.of(tiling, [block], 0.0).after(block, 0.001) == (
        "block 1 of 1, 1 of 1 plane, 4 million voxels/s, 0 s left"
    )
