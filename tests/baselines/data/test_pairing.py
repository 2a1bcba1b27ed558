from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from baselines.data.pairing import images_in, infer_suffix, pair_images, stem
from baselines.layout import DataError


def touch(folder: Path, *names: str) -> Path:
    folder.mkdir(exist_ok=True)
    for name in names:
        (folder / name).write_bytes(b"")
    return folder


def test_the_suffixes_of_the_seed_are_inferred(tmp_path):
    images = touch(tmp_path / "images", "0001.tif", "img_5.png")
    masks = touch(tmp_path / "masks", "0001_mask.png", "img_5_mask.png")
    pairs = pair_images(images, masks)
    assert [(p.name, p.mask.name) for p in pairs] == [
        ("0001", "0001_mask.png"), ("img_5", "img_5_mask.png"),
    ]  # fmt: skip


# images, masks, the suffix that belongs to them; None: nobody can tell, or there is none
NAMES = [
    (["1"], ["1.png"], ".png"),
    (["1"], ["1_mask.png"], "_mask.png"),
    (["1", "10"], ["1.png", "10.png"], ".png"),
    (["1", "10"], ["1_mask.png", "10_mask.png"], "_mask.png"),
    (["1", "10", "100"], ["1_m.png", "10_m.png", "100_m.png"], "_m.png"),
    (["10", "1"], ["10_mask.png", "1_mask.png"], "_mask.png"),
    (["1", "1_mask"], ["1_mask.png", "1_mask_mask.png"], "_mask.png"),
    (["a", "aa"], ["aa.png", "aaa.png"], "a.png"),
    (["a", "ab", "abb"], ["ab.png", "abb.png", "abbb.png"], "b.png"),
    (["x1", "x2"], ["x1_mask.png", "x2_mask.png", "x1.png", "x2.png"], None),
    (["x1", "x2"], ["x1_mask.png", "x2_mask.png", "x1.png"], "_mask.png"),
    (["x1", "x2"], ["x1_mask.png", "x2_label.png"], None),
    (["x1", "x2"], ["x1_mask.png"], None),
    (["x1"], ["y1.png"], None),
    (["x1"], [], None),
    (["1"], ["1_mask.png", "10_mask.png"], None),
    (["0001", "0002"], ["0001.png", "0002.png"], ".png"),
    (["img", "img2"], ["img_mask.tif", "img2_mask.tif"], "_mask.tif"),
    (["img", "img2", "img22"], ["img2.png", "img22.png", "img222.png"], "2.png"),
    (["a.b", "a.c"], ["a.b.png", "a.c.png"], ".png"),
    (["a.b", "a"], ["a.b.png", "a.png"], ".png"),
    (["ä", "ö"], ["ä_Maske.png", "ö_Maske.png"], "_Maske.png"),
    (["A", "a"], ["A.png", "a.png"], ".png"),
    (["A"], ["a.png"], None),
    (["s 1", "s 2"], ["s 1 mask.png", "s 2 mask.png"], " mask.png"),
    (["1", "2"], ["1-seg.ome.tif", "2-seg.ome.tif"], "-seg.ome.tif"),
    (["z1", "z2"], ["z1", "z2"], ""),
    (["1", "11"], ["11.png", "111.png", "1.png"], None),
    (["1", "11", "111"], ["1.png", "11.png", "111.png", "1111.png"], None),
    (["p", "q"], ["p_mask.png", "q_mask.png", "notes.png"], "_mask.png"),
    (["p", "q"], ["p_1.png", "p_2.png", "q_1.png", "q_2.png"], None),
    (["p", "p_1"], ["p_1_1.png", "p_1.png", "p_1_1_1.png"], None),
]


@pytest.mark.parametrize(("images", "masks", "suffix"), NAMES)
def test_a_suffix_is_inferred_over_all_names_or_refused(images, masks, suffix):
    if suffix is None:
        with pytest.raises(DataError):
            infer_suffix(images, masks)
    else:
        assert infer_suffix(images, masks) == suffix


def test_when_several_suffixes_fit_the_message_names_them():
    with pytest.raises(DataError, match=r"'.png', '_mask.png'.*data.suffix"):
        infer_suffix(["a"], ["a.png", "a_mask.png"])


def test_when_a_mask_is_missing_the_message_says_whose(tmp_path):
    images = touch(tmp_path / "i", "1.tif", "2.tif", "3.tif")
    masks = touch(tmp_path / "m", "1_m.png", "3_m.png")
    with pytest.raises(DataError, match=r"'_m.png' fits 2 of 3 images, but not 2"):
        pair_images(images, masks)
    with pytest.raises(DataError, match=r"1 of 3 images have no mask: 2; expected .*2_m.png"):
        pair_images(images, masks, "_m.png")


def test_two_images_of_one_name_are_an_error(tmp_path):
    images = touch(tmp_path / "i", "1.tif", "1.png")
    with pytest.raises(DataError, match=r"1.png and 1.tif have one name.*Rename one"):
        images_in(images)


def test_a_folder_without_images_and_a_missing_one_are_errors(tmp_path):
    with pytest.raises(DataError, match="holds no TIFF, PNG or Zarr"):
        images_in(touch(tmp_path / "i", "readme.txt"))
    with pytest.raises(DataError, match=r"masks is missing.*data.images and data.masks"):
        pair_images(touch(tmp_path / "i", "1.tif"), tmp_path / "masks")


def test_hidden_files_and_notes_are_no_images(tmp_path):
    images = touch(tmp_path / "i", "1.tif", "._1.tif", "notes.txt")
    assert list(images_in(images)) == ["1"]


def test_a_folder_of_planes_is_one_image(tmp_path):
    stack = tmp_path / "i" / "cell.v2"
    stack.mkdir(parents=True)
    Image.fromarray(np.zeros((2, 2), np.uint8)).save(stack / "z0.png")
    assert list(images_in(tmp_path / "i")) == ["cell.v2"]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("0001.tif", "0001"),
        ("a.b.PNG", "a.b"),
        ("x.ome.tiff", "x"),
        ("x.ome.zarr", "x"),
        ("x", "x"),
    ],
)
def test_only_the_ending_is_taken_off(name, expected):
    assert stem(name) == expected
