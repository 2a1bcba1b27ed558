"""A split on disk: what is written is read back, and a person may change it."""

import pytest

from baselines.box import Box
from baselines.config import SplitConfig
from baselines.data.split import Boxes, Part, boxes_of, rows_of
from baselines.data.split_file import Row, SplitFile, read_split, write_split
from baselines.layout import DataError
from evaluator.geometry import VoxelGrid

ROWS = (
    Row("crop1", 0, None, "d", "s", "train/crop1/raw", {"mito": 12, "nuc": 0}, {"mito": "p/mito"}),
    Row("crop2", 1, None, "d", "s", "r", {"mito": 1}),
    Row("crop3", -1, None, 'a "quoted" name', "s", "C:\\raw"),
    Row("crop4", 0, ((8.0, 0.0, 0.0), (10.0, 8.0, 8.0))),
)
BOX = Box((0, 0, 0), (10, 8, 8))


def written(tmp_path, text):
    path = tmp_path / "split.toml"
    path.write_text(text, "utf-8")
    return path


def by_file(path, fold=0):
    return SplitConfig(kind="file", file=str(path), fold=fold)


def parts(*names):
    return [Part(name, "d", "s", BOX) for name in names]


def test_what_is_written_is_read_back(tmp_path):
    split = SplitFile(ROWS, {"labels": ["mito", "nuc"], "folds": 2, "by": "crop", "apart": 0.5})
    write_split(tmp_path / "new" / "split.toml", split)
    assert read_split(tmp_path / "new" / "split.toml") == split


def test_a_crop_validates_in_its_own_fold_and_trains_in_the_others(tmp_path):
    write_split(tmp_path / "s.toml", SplitFile(ROWS))
    first, second = (
        boxes_of(parts("crop1", "crop2", "crop3", "crop4"), by_file(tmp_path / "s.toml", fold))
        for fold in (0, 1)
    )
    assert first["crop1"] == second["crop2"] == Boxes(validation=(BOX,))
    assert first["crop2"] == first["crop3"] == second["crop1"] == Boxes(training=(BOX,))
    assert first["crop4"] == Boxes((Box((0, 0, 0), (8, 8, 8)),), (Box((8, 0, 0), (10, 8, 8)),))


def test_a_box_within_a_crop_leaves_all_around_it_to_training(tmp_path):
    path = written(tmp_path, '[[crop]]\nname="a"\nfold=0\nvalidation=[[4,2,2],[6,6,6]]\n')
    found = boxes_of(parts("a"), by_file(path))["a"]
    assert found.validation == (Box((4, 2, 2), (6, 6, 6)),)
    assert sum(box.voxels for box in found.training) == 10 * 8 * 8 - 2 * 4 * 4
    painted = {
        (z, y, x)
        for box in found.training
        for z in range(box.start[0], box.stop[0])
        for y in range(box.start[1], box.stop[1])
        for x in range(box.start[2], box.stop[2])
    }
    assert len(painted) == 10 * 8 * 8 - 2 * 4 * 4
    assert (5, 3, 3) not in painted


def test_a_crop_that_is_not_listed_neither_trains_nor_validates(tmp_path):
    path = written(tmp_path, '[[crop]]\nname="a"\nfold=0\n')
    assert boxes_of(parts("a", "b"), by_file(path))["b"] == Boxes()


def test_a_file_of_other_data_is_refused(tmp_path):
    path = written(tmp_path, '[[crop]]\nname="a"\nfold=0\n')
    with pytest.raises(DataError, match="names none of the crops that are there: it has a, there"):
        boxes_of(parts("x", "y"), by_file(path))


def test_a_fold_that_the_file_does_not_have_is_refused(tmp_path):
    path = written(tmp_path, '[[crop]]\nname="a"\nfold=0\n[[crop]]\nname="b"\nfold=1\n')
    with pytest.raises(DataError, match=r"split\.fold is 2"):
        boxes_of(parts("a", "b"), by_file(path, fold=2))


def test_a_file_that_parts_overlapping_crops_is_refused(tmp_path):
    path = written(tmp_path, '[[crop]]\nname="a"\nfold=0\n[[crop]]\nname="b"\nfold=-1\n')
    grids = [VoxelGrid((10, 8, 8), (8.0, 4.0, 4.0), (z, 0.0, 0.0)) for z in (0.0, 72.0)]
    two = [Part(n, "d", "s", BOX, grid=grid) for n, grid in zip("ab", grids, strict=True)]
    with pytest.raises(DataError, match=r"crops b \(training\) and a \(validation\) of d overlap"):
        boxes_of(two, by_file(path))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "lists no crop"),
        ("[[crop]\n", "is no split file"),
        ('[[crop]]\nname="a"\n', "crop 'a' needs fold"),
        ('[[crop]]\nname="a"\nfold=-2\n', "crop 'a' needs fold"),
        ('[[crop]]\nname="a"\nfold="0"\n', "crop 'a' needs fold"),
        ('[[crop]]\nname=7\nfold=0\n', "crop 7 needs fold"),
        ("[[crop]]\nfold=0\n", "is no split file: 'name'"),
        ('[[crop]]\nname="a"\nfold=0\nfoold=1\n', "crop 'a' has the unknown key foold"),
        ('[[crop]]\nname="a"\nfold=0\n[[crop]]\nname="a"\nfold=1\n', "crop a is there twice"),
        ('[[crop]]\nname="a"\nfold=0\nvalidation=[[1,2],[3,4]]\n', "validation is"),
        ('[[crop]]\nname="a"\nfold=0\nvalidation=[[1,2,3],[1,4,5]]\n', "not empty"),
        ('[[crop]]\nname="a"\nfold=0\nvalidation=[[0,0,0],["1",4,5]]\n', "validation is"),
        ('[[crop]]\nname="a"\nfold=0\nvalidation=7\n', "validation is"),
        ("crop = 3\n", "is no split file"),
    ],
)  # fmt: skip
def test_a_mistake_in_the_file_is_named(tmp_path, text, message):
    with pytest.raises(DataError, match=message):
        read_split(written(tmp_path, text))


def test_a_missing_file_says_what_makes_one(tmp_path):
    with pytest.raises(DataError, match="baselines split"):
        read_split(tmp_path / "none.toml")


@pytest.mark.parametrize(
    "split",
    [
        SplitConfig(kind="planes", fraction=0.3),
        SplitConfig(kind="random", fraction=0.5, seed=3),
        SplitConfig(kind="kfold", folds=3, fold=1),
    ],
)
def test_a_split_from_its_file_is_the_split_it_was_made_from(tmp_path, split):
    made = [
        Part(f"c{k}", "d", "s", BOX, grid=VoxelGrid((10, 8, 8), (8.0, 3.3, 3.3), (900.7 * k, 1, 2)))
        for k in range(5)
    ]
    write_split(tmp_path / "s.toml", SplitFile(rows_of(made, split)))
    again = SplitConfig(kind="file", file=str(tmp_path / "s.toml"), fold=split.fold)
    assert boxes_of(made, again) == boxes_of(made, split)


def test_a_box_means_the_same_place_however_much_raw_lies_around_it_and_at_any_voxel_size(tmp_path):
    grid = VoxelGrid((10, 8, 8), (8.0, 4.0, 4.0), (100.0, 0.0, 0.0))
    split = SplitConfig(kind="planes", fraction=0.2)
    rows = rows_of([Part("a", "d", "s", BOX, grid=grid)], split)
    write_split(tmp_path / "s.toml", SplitFile(rows))
    # Five planes more in front, and voxels of half the size.
    wide = VoxelGrid((30, 8, 8), (4.0, 4.0, 4.0), (100.0 - 40 - 2.0, 0.0, 0.0))
    moved = Part("a", "d", "s", Box((10, 0, 0), (30, 8, 8)), grid=wide)
    found = boxes_of([moved], by_file(tmp_path / "s.toml"))["a"]
    assert found == Boxes((Box((10, 0, 0), (26, 8, 8)),), (Box((26, 0, 0), (30, 8, 8)),))
