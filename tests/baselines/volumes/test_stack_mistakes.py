"""What import-stack refuses: each mistake is one sentence that names the file or the key."""

import re

import numpy as np
import pytest
import tifffile
from PIL import Image

from baselines.layout import DataError, DataFolder, Purpose
from baselines.volumes.stack import import_stacks, load_plan, plan_of_one, read_stack
from evaluator.volume import open_volume

SIZE = "voxel_size = [50, 4.6, 4.6]\n"
MEMBRANE = '[classes.membrane]\nkind = "semantic"\nvalues = [1]\n'
NEURON = '[classes.neuron]\nkind = "instance"\nids = true\n'
NUCLEUS = '[classes.nucleus]\nkind = "semantic"\nmasks = true\n'
CROP = '[[crop]]\nname = "a"\nsplit = "train"\nraw = "raw.tif"\nlabels = "labels.tif"\n'
HIDDEN = CROP.replace('"train"', '"hidden"')


def write(path, array, **options):
    tifffile.imwrite(path, array, photometric="minisblack", **options)


def noise(shape=(3, 32, 32), dtype=np.uint8):
    return np.random.default_rng(1).integers(1, np.iinfo(dtype).max, shape, dtype)


@pytest.fixture
def folder(tmp_path):
    """Raw and labels of 3 x 32 x 32 voxels."""
    write(tmp_path / "raw.tif", noise())
    write(tmp_path / "labels.tif", (noise() > 128).astype(np.uint8))
    return tmp_path


def bring(folder, text):
    (folder / "stack.toml").write_text(text)
    data = DataFolder(folder / "data")
    import_stacks(load_plan(folder), data, progress=lambda _: None)
    return data


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("voxel_size = [50, 4.6]\n" + MEMBRANE + CROP, "voxel_size needs three values"),
        ("voxel_size = [0, 4.6, 4.6]\n" + MEMBRANE + CROP, "above 0"),
        ("voxel_size = [50, -4.6, 4.6]\n" + MEMBRANE + CROP, "above 0"),
        ("voxel_size = [nan, 4, 4]\n" + MEMBRANE + CROP, "above 0"),
        ("voxel_size = [inf, 4, 4]\n" + MEMBRANE + CROP, "voxel_size needs three values"),
        ('voxel_size = "50,4,4"\n' + MEMBRANE + CROP, "voxel_size must be"),
        ("title = 3\n" + SIZE + MEMBRANE + HIDDEN, "title must be: text; not 3"),
        ('slug = "my tissue"\n' + SIZE + MEMBRANE + HIDDEN, "slug is made of letters"),
        ("classes = 3\n" + SIZE + CROP, "classes must be: table of tables; not 3"),
        (SIZE + "[classes]\nmembrane = 3\n" + CROP, "classes.membrane must be a table"),
        (SIZE + MEMBRANE.replace("[1]", '["one"]') + CROP, "values must be: whole number"),
        (SIZE + MEMBRANE + "id = -4\n" + CROP, "an id is 1 or more"),
        (SIZE + MEMBRANE + "id = 4\n" + NEURON + "id = 4\n" + CROP, "membrane and neuron cannot"),
        (SIZE + NEURON.replace("instance", "semantic") + CROP, "ids = true is for instance"),
        (SIZE + MEMBRANE.replace(".membrane", '."a/b"') + CROP, "classes.a/b needs a plain name"),
        (SIZE + MEMBRANE + CROP.replace('"a"', '"../a"'), "needs a plain name"),
        (SIZE + MEMBRANE + CROP + CROP, "crop a is there twice"),
        (SIZE + MEMBRANE + CROP + HIDDEN, "crop a is there twice"),
        (SIZE + MEMBRANE + CROP + "planes = [0, 1, 2]", "planes has two values"),
        (SIZE + MEMBRANE + CROP + "planes = [2, 2]", "planes [2, 2] do not fit"),
        (SIZE + MEMBRANE + CROP + "planes = [-1, 2]", "planes [-1, 2] do not fit"),
        (SIZE + MEMBRANE + CROP + "planes = [0, 4]", "has planes 0 to 3"),
        (SIZE + MEMBRANE + CROP + "offset = [0, 0]", "offset has three"),
        (SIZE + MEMBRANE + CROP + "offset = [nan, 0, 0]", "offset has three"),
        (SIZE + NUCLEUS + CROP, "crop a has no stack for any class"),
    ],
)  # fmt: skip
def test_a_description_that_cannot_be_followed_is_refused_before_writing(folder, text, words):
    with pytest.raises(DataError, match=re.escape(words)):
        bring(folder, text)
    assert not (folder / "data").exists()


def test_a_name_and_the_number_in_it_are_the_same_crop(folder):
    two = CROP.replace('"a"', '"crop7"') + CROP.replace('"a"', '"7"')
    with pytest.raises(DataError, match="crop crop7 is there twice"):
        bring(folder, SIZE + MEMBRANE + two)


@pytest.mark.parametrize(("first", "then"), [(CROP, HIDDEN), (HIDDEN, CROP)])
def test_a_crop_cannot_be_for_training_and_hidden_at_once(folder, first, then):
    data = bring(folder, SIZE + MEMBRANE + first)
    before = {path: path.read_bytes() for path in data.root.rglob("*") if path.is_file()}
    with pytest.raises(DataError, match=r"crop a is a (train|hidden) crop of .*; it cannot be"):
        bring(folder, SIZE + MEMBRANE + then)
    after = {path: path.read_bytes() for path in data.root.rglob("*") if path.is_file()}
    assert after == before


def test_an_id_of_another_class_in_the_folder_is_refused_and_the_folder_stays_usable(folder):
    bring(folder, SIZE + MEMBRANE + "id = 9\n" + CROP)
    other = CROP.replace('"a"', '"b"')
    with pytest.raises(DataError, match="classes membrane and neuron cannot both have the id 9"):
        bring(folder, SIZE + NEURON + "id = 9\n" + other)
    data = bring(folder, SIZE + NEURON + other)
    assert data.known_labels()["membrane"].id == 9
    assert data.known_labels()["neuron"].id == 1


def test_a_crop_that_comes_again_is_replaced_by_its_new_self(folder):
    bring(folder, SIZE + MEMBRANE + CROP)
    write(folder / "raw.tif", noise((2, 16, 16)))
    write(folder / "labels.tif", np.full((2, 16, 16), 7, np.uint8))
    data = bring(folder, SIZE + NEURON + CROP)
    assert open_volume(data.raw(Purpose.TRAIN, "a")).shape == (2, 16, 16)
    assert list(data.manifest(Purpose.TRAIN).by_path) == ["a/neuron"]


def test_labels_with_fewer_planes_than_the_raw_are_refused(folder):
    write(folder / "labels.tif", np.ones((2, 32, 32), np.uint8))
    with pytest.raises(DataError, match=r"has shape \(2, 32, 32\), its raw raw\.tif \(3, 32, 32\)"):
        bring(folder, SIZE + MEMBRANE + CROP)


def test_planes_must_lie_in_the_labels_too(folder):
    write(folder / "labels.tif", np.ones((2, 32, 32), np.uint8))
    with pytest.raises(DataError, match=r"labels\.tif has planes 0 to 2; planes \[1, 3\]"):
        bring(folder, SIZE + MEMBRANE + CROP + "planes = [1, 3]")


@pytest.mark.parametrize(("low", "high"), [(-1, 3), (0, 2**32)])
def test_object_ids_that_would_become_others_are_refused(folder, low, high):
    ids = np.zeros((3, 32, 32), np.int64)
    ids[0, 0, :2] = low, high
    write(folder / "labels.tif", ids)
    with pytest.raises(DataError, match=rf"from {low} to {high}; labels must be whole numbers"):
        bring(folder, SIZE + NEURON + CROP)


def test_the_largest_object_id_is_kept(folder):
    ids = np.zeros((3, 32, 32), np.uint32)
    ids[0, 0, 0] = 2**32 - 1
    write(folder / "labels.tif", ids)
    data = bring(folder, SIZE + NEURON + CROP)
    (target,) = data.manifest(Purpose.TRAIN).targets
    assert open_volume(data.label(Purpose.TRAIN, target)).read().max() == 4294967295


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_grey_values_that_are_no_numbers_are_refused(folder, value):
    raw = np.linspace(0, 1, 3 * 32 * 32, dtype=np.float32).reshape(3, 32, 32)
    raw[1, 1, 1] = value
    write(folder / "raw.tif", raw)
    with pytest.raises(DataError, match=r"raw\.tif holds NaN or infinity"):
        bring(folder, SIZE + MEMBRANE + CROP)


def test_a_class_whose_values_do_not_occur_is_annotated_as_absent(folder):
    data = bring(folder, SIZE + MEMBRANE.replace("[1]", "[99]") + CROP)
    (target,) = data.manifest(Purpose.TRAIN).targets
    assert not open_volume(data.label(Purpose.TRAIN, target)).read().any()


def test_a_coloured_tiff_is_not_taken_for_a_stack(tmp_path):
    tifffile.imwrite(tmp_path / "colour.tif", noise((16, 20, 3)), photometric="rgb")
    with pytest.raises(DataError, match=r"colour\.tif cannot be read .* in colour"):
        read_stack(tmp_path / "colour.tif")


@pytest.mark.parametrize("size", [(8, 6, 3), (3, 8, 6), (4, 8, 6)])
def test_a_grey_stack_with_few_planes_or_columns_is_not_taken_for_colour(tmp_path, size):
    write(tmp_path / "grey.tif", noise(size))
    assert read_stack(tmp_path / "grey.tif").shape == size


def test_a_large_section_is_no_attack(tmp_path, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)  # an image of 1024 pixels is "a bomb"
    Image.fromarray(noise()[0]).save(tmp_path / "section.png")
    np.testing.assert_array_equal(read_stack(tmp_path / "section.png")[0], noise()[0])


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_png_keeps_its_depth(tmp_path, dtype):
    Image.fromarray(noise(dtype=dtype)[0]).save(tmp_path / "section.png")
    found = read_stack(tmp_path / "section.png")
    assert found.dtype == dtype
    np.testing.assert_array_equal(found[0], noise(dtype=dtype)[0])


def test_a_png_with_a_palette_gives_the_numbers_and_not_the_colours(tmp_path):
    image = Image.fromarray(np.array([[0, 1], [2, 1]], np.uint8)).convert("P")
    image.putpalette([0, 0, 0, 255, 0, 0, 0, 255, 0])
    image.save(tmp_path / "classes.png")
    np.testing.assert_array_equal(read_stack(tmp_path / "classes.png"), [[[0, 1], [2, 1]]])


@pytest.mark.parametrize("share", [0.0, 0.01, 0.3, 0.95])
@pytest.mark.parametrize(("name", "options"), [("a.tif", {"compression": "zlib"}), ("a.png", {})])
def test_a_file_that_was_cut_short_is_named(tmp_path, name, options, share):
    path = tmp_path / name
    if name.endswith("png"):
        Image.fromarray(noise()[0]).save(path)
    else:
        write(path, noise()[0], **options)
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    with pytest.raises(DataError, match=re.escape(str(path))):
        read_stack(path)


def test_damage_inside_a_compressed_stack_is_noticed(tmp_path):
    path = tmp_path / "a.tif"
    write(path, noise(), compression="zlib")
    content = bytearray(path.read_bytes())
    content[1500:1508] = b"\xff" * 8
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"a\.tif cannot be read as an image"):
        read_stack(path)


def test_a_file_that_is_no_image_is_named(tmp_path):
    (tmp_path / "movie.avi").write_bytes(b"RIFF")
    with pytest.raises(DataError, match=r"movie\.avi cannot be read as an image"):
        read_stack(tmp_path / "movie.avi")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"labels": None}, "needs labels or masks"),
        ({"classes": []}, "at least one [classes.NAME] is needed"),
        ({"classes": ["n=ids:semantic"]}, "ids = true is for instance"),
        ({"masks": ["nucleus"]}, "'nucleus' needs the form NAME=VALUE:semantic"),
        ({"split": "test"}, 'split = "train" or "hidden"'),
        ({"crop": "a/b"}, "crop 'a/b' needs a plain name"),
        ({"voxel_size": (4.0, 4.0)}, "voxel_size needs three values"),
    ],
)
def test_a_command_that_cannot_be_followed_is_refused(folder, changes, words):
    arguments = {
        "labels": folder / "labels.tif", "masks": [], "classes": ["membrane=1:semantic"],
        "planar": False, "voxel_size": (50.0, 4.6, 4.6), "crop": "a", "split": "train",
        "planes": (),
    }  # fmt: skip
    with pytest.raises(DataError, match=re.escape(words)):
        plan_of_one(folder / "raw.tif", **(arguments | changes))
