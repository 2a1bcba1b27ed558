"""Blocks of a single volume: together all of it, and apart from what trains."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from baselines.box import Box, common_box
from baselines.config import Config, SplitConfig, build
from baselines.data.blocks import (
    Block,
    Sight,
    blocks_along,
    last_block,
    last_planes,
    sight_of,
    without,
)
from baselines.data.split import Boxes, Part, boxes_of, folds_in, places_of, rows_of
from baselines.data.split_file import SplitFile, read_split, write_split
from baselines.layout import DataError
from evaluator.geometry import VoxelGrid

CUBES = (8.0, 8.0, 8.0)
CELL = Sight(patch=(8, 16, 16), reach=(4, 8, 8))


def box(*shape, at=(0, 0, 0)):
    return Box((0, 0, 0), shape).moved(at)


def part(shape, name="a", *, voxel_size=CUBES, offset=(0.0, 0.0, 0.0), dataset="d"):
    grid = VoxelGrid(shape, voxel_size, offset)
    return Part(name, dataset, "s", box(*shape), {}, grid)


def kfold(fold=0, **given):
    return SplitConfig(kind="kfold", fold=fold, **given)


def mask(boxes, shape):
    found = np.zeros(shape, int)
    for one in boxes:
        found[one.slices] += 1
    return found


def test_what_a_network_sees_is_half_a_patch_and_its_context():
    config = build(Config, {"model": {"context": 3}, "training": {"patch": [1, 64, 96]}}, where="")
    assert sight_of(config) == Sight((1, 64, 96), (3, 32, 48))
    planes = build(Config, {"training": {"patch": [1, 64, 64]}}, where="")
    assert sight_of(planes).reach == (1, 32, 32)  # planes beside each other are nearly alike


def test_blocks_lie_along_the_longest_axis_in_nanometres():
    found = blocks_along(box(20, 64, 40), (50.0, 4.0, 4.0), most=2, sight=Sight())
    assert [block.box for block in found] == [box(10, 64, 40), box(10, 64, 40, at=(10, 0, 0))]
    found = blocks_along(box(20, 64, 40), CUBES, most=2, sight=Sight())
    assert [block.box for block in found] == [box(20, 32, 40), box(20, 32, 40, at=(0, 32, 0))]
    cube = blocks_along(box(40, 40, 40), CUBES, most=2, sight=Sight())
    assert cube[0].box == box(20, 40, 40)  # of axes alike the first


def test_an_axis_that_holds_not_even_two_patches_is_passed_over():
    sight = Sight(patch=(8, 64, 16), reach=(4, 32, 8))
    (first, _) = blocks_along(box(16, 100, 40), CUBES, most=2, sight=sight)
    assert first == Block(box(16, 100, 20), (0, 0, 8))
    assert blocks_along(box(15, 100, 31), CUBES, most=5, sight=sight) == ()


def test_there_are_no_more_blocks_than_patches_and_than_gaps_leave_room_for():
    volume = box(8, 16, 100)
    assert len(blocks_along(volume, CUBES, most=5, sight=CELL)) == 5
    assert len(blocks_along(volume, CUBES, most=50, sight=CELL)) == 6
    # 24 voxels of a gap of 192 nm: 4 blocks of 25 voxels, of which one voxel is left at least.
    found = blocks_along(volume, CUBES, most=5, sight=CELL, apart=192.0)
    assert [block.gap for block in found] == [(0, 0, 24)] * 4
    assert blocks_along(volume, CUBES, most=5, sight=CELL, apart=401.0) == ()


def test_the_end_of_a_volume_is_a_patch_at_least_and_leaves_one_to_train_on():
    assert last_block(box(8, 16, 100), CUBES, fraction=0.3, sight=CELL) == Block(
        box(8, 16, 30, at=(0, 0, 70)), (0, 0, 8)
    )
    assert last_block(box(8, 16, 40), CUBES, fraction=0.1, sight=CELL) == Block(
        box(8, 16, 16, at=(0, 0, 24)), (0, 0, 8)
    )
    assert last_block(box(8, 16, 39), CUBES, fraction=0.1, sight=CELL) is None


def test_last_planes_have_a_gap_only_where_one_is_asked_for():
    assert last_planes(box(10, 8, 8), CUBES, fraction=0.2) == Block(box(2, 8, 8, at=(8, 0, 0)))
    found = last_planes(box(10, 8, 8), CUBES, fraction=0.2, apart=20.0)
    assert found == Block(box(2, 8, 8, at=(8, 0, 0)), (3, 0, 0))
    assert last_planes(box(2, 8, 8), CUBES, fraction=0.5, apart=20.0) is None


@settings(max_examples=60, deadline=None)
@given(
    shape=st.tuples(*[st.integers(1, 40)] * 3), patch=st.tuples(*[st.integers(1, 12)] * 3),
    folds=st.integers(2, 6), apart=st.sampled_from([0.0, 20.0, 90.0]),
)  # fmt: skip
def test_every_voxel_is_validated_once_and_no_patch_that_trains_holds_one(
    shape, patch, folds, apart
):
    z, y, x = patch
    sight = Sight(patch, (z // 2, y // 2, x // 2))
    volume = part(shape)
    count = folds_in(places_of([volume], kfold(folds=folds, apart=apart), sight))
    found = [
        boxes_of([volume], kfold(fold, folds=folds, apart=apart), sight)["a"]
        for fold in range(count)
    ]
    if count > 1:  # else the last planes, if any
        assert (mask([b for f in found for b in f.validation], shape) == 1).all()
    for boxes in found if count > 1 else ():
        (kept,) = boxes.validation
        assert boxes.training
        assert mask([*boxes.training, kept], shape).max() == 1
        for piece in boxes.training:
            gaps = [max(a - d, c - b) for a, b, c, d in zip(
                kept.start, kept.stop, piece.start, piece.stop, strict=True)]  # fmt: skip
            assert max(gaps) * 8.0 >= apart
            # A patch around a piece that is shorter reaches half of what is lacking beyond it.
            lacking = [max(0, -(-(p - n) // 2)) for p, n in zip(patch, piece.shape, strict=True)]
            assert common_box(piece.grown(tuple(lacking)), kept) is None


@settings(max_examples=60, deadline=None)
@given(
    start=st.tuples(*[st.integers(-4, 12)] * 3), shape=st.tuples(*[st.integers(1, 9)] * 3),
    gap=st.tuples(*[st.integers(0, 3)] * 3),
)  # fmt: skip
def test_what_is_left_is_all_but_the_block_and_its_gap(start, shape, gap):
    whole, block = box(10, 9, 8), Block(box(*shape, at=start), gap)
    expected = np.ones(whole.shape, int)
    expected[block.box.grown(gap).within(whole)] = 0
    assert np.array_equal(mask(without(whole, block), whole.shape), expected)


def test_one_volume_makes_folds_of_blocks_and_tells_how_many_there_are():
    volume, sight = part((100, 16, 16)), Sight((8, 16, 16), (4, 8, 8))
    found = [boxes_of([volume], kfold(fold, folds=2), sight)["a"] for fold in range(2)]
    assert found == [
        Boxes((box(46, 16, 16, at=(54, 0, 0)),), (box(50, 16, 16),)),
        Boxes((box(46, 16, 16),), (box(50, 16, 16, at=(50, 0, 0)),)),
    ]
    with pytest.raises(DataError, match=r"split.fold is 2, but the folds are numbered 0 to 1"):
        boxes_of([volume], kfold(2, folds=2, seed=1), sight)


def test_of_one_volume_random_keeps_the_end_with_a_gap_and_nothing_if_nothing_is_to_be_kept():
    split = SplitConfig(kind="random", fraction=0.2)
    found = boxes_of([part((100, 16, 16))], split, CELL)["a"]
    assert found == Boxes((box(76, 16, 16),), (box(20, 16, 16, at=(80, 0, 0)),))
    nothing = SplitConfig(kind="random", fraction=0.0)
    assert boxes_of([part((100, 16, 16))], nothing, CELL)["a"] == Boxes((box(100, 16, 16),))


def test_each_crop_of_a_single_group_has_blocks_of_its_own():
    one, other = part((100, 16, 16), "a"), part((40, 16, 16), "b", offset=(0.0, 0.0, 5000.0))
    places = places_of([one, other], kfold(by="dataset", folds=5), CELL)
    assert [len(places[name]) for name in "ab"] == [5, 5]
    short = part((20, 16, 16), "b", offset=(0.0, 0.0, 5000.0))
    places = places_of([one, short], kfold(by="dataset", folds=5), CELL)
    assert [len(places[name]) for name in "ab"] == [5, 2]
    boxes = boxes_of([one, short], kfold(4, by="dataset"), CELL)
    assert boxes["b"] == Boxes((short.box,))  # it has no part in the later folds


def test_more_groups_than_one_are_never_cut():
    parts = [part((100, 16, 16), "a"), part((100, 16, 16), "b", dataset="e")]
    places = places_of(parts, kfold(folds=2), CELL)
    assert [place.block for name in "ab" for place in places[name]] == [None, None]


@pytest.mark.parametrize("voxel_size", [CUBES, (37.5, 4.3, 4.3)])
@pytest.mark.parametrize("kind", ["kfold", "random", "planes"])
def test_a_file_gives_the_same_blocks_again(tmp_path, kind, voxel_size):
    volume = part((60, 40, 40), voxel_size=voxel_size, offset=(12.5, 3.3, 1.7))
    made = SplitConfig(kind=kind, apart=60.0, fraction=0.2)
    write_split(tmp_path / "s.toml", SplitFile(rows_of([volume], made, CELL)))
    for fold in range(folds_in(places_of([volume], made, CELL))):
        by_file = SplitConfig(kind="file", file=str(tmp_path / "s.toml"), fold=fold)
        expected = SplitConfig(kind=kind, apart=60.0, fraction=0.2, fold=fold)
        assert boxes_of([volume], by_file) == boxes_of([volume], expected, CELL)


def test_blocks_stand_readably_in_the_file(tmp_path):
    volume = part((100, 16, 16))
    write_split(tmp_path / "s.toml", SplitFile(rows_of([volume], kfold(folds=2), CELL)))
    text = (tmp_path / "s.toml").read_text()
    assert text.count("[[crop.block]]") == 2
    assert "gap = [32.0, 0.0, 0.0]" in text
    assert "validation = [[-4.0, -4.0, -4.0], [396.0, 124.0, 124.0]]" in text
    (row,) = read_split(tmp_path / "s.toml").rows
    assert [block.fold for block in row.blocks] == [0, 1]


CORNERS = "validation = [[0, 0, 0], [8, 8, 8]]"


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        ("fold = 0\n[[crop.block]]\nfold = 0\n" + CORNERS, "fold and validation are theirs"),
        ("[[crop.block]]\n" + CORNERS, "a block needs fold = 0, 1"),
        ("[[crop.block]]\nfold = 0", "validation is"),
        ("[[crop.block]]\nfold = 0\nbox = 1\n" + CORNERS, "unknown key box"),
        (f"[[crop.block]]\nfold = 0\n{CORNERS}\n[[crop.block]]\nfold = 0\n{CORNERS}",
         "a fold has one block of it at most"),
        (f"fold = 0\n{CORNERS}\ngap = [1, -1, 0]", "none of them below 0"),
        (f"fold = 0\n{CORNERS}\ngap = 3", "gap is"),
    ],
)  # fmt: skip
def test_a_block_that_cannot_be_is_named_with_its_crop(tmp_path, lines, words):
    (tmp_path / "s.toml").write_text(f'[[crop]]\nname = "crop7"\n{lines}\n')
    with pytest.raises(DataError, match=f"crop7.*{words}"):
        read_split(tmp_path / "s.toml")
