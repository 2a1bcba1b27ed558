import tomllib

import numpy as np
import pytest
import tifffile
from PIL import Image

from baselines.layout import DataError, DataFolder, Purpose
from baselines.volumes.stack import import_stacks, load_plan, plan_of_one, read_stack
from evaluator.manifest import Kind
from evaluator.volume import open_volume

HEAD = "voxel_size = [50, 4.6, 4.6]\n"
CLASSES = """
[classes.membrane]
kind = "semantic"
values = [1]
[classes.mito]
kind = "instance"
values = [3, 4]
"""
CROP = """
[[crop]]
name = "a"
split = "train"
raw = "raw.tif"
labels = "labels.tif"
"""


def write(path, array):
    tifffile.imwrite(path, array, photometric="minisblack")


def labels():
    stack = np.zeros((4, 16, 20), np.uint8)
    stack[:, 0] = 1
    stack[0:2, 4:6, 4:6] = 3
    stack[1, 4:6, 6:8] = 4  # hangs together with the one above
    stack[3, 10:12, 10:12] = 3
    return stack


@pytest.fixture
def folder(tmp_path):
    """Stacks of 4 x 16 x 20 voxels and a description."""
    raw = np.random.default_rng(0).integers(1, 255, (4, 16, 20), np.uint8)
    write(tmp_path / "raw.tif", raw)
    write(tmp_path / "labels.tif", labels())
    (tmp_path / "stack.toml").write_text(HEAD + CLASSES + CROP)
    return tmp_path


def bring(folder, text=None):
    if text is not None:
        (folder / "stack.toml").write_text(text)
    data = DataFolder(folder / "data")
    import_stacks(load_plan(folder), data, progress=lambda _: None)
    return data


def label(data, name, split=Purpose.TRAIN, crop="a"):
    target = data.manifest(split).by_path[f"{crop}/{name}"]
    return open_volume(data.label(split, target)).read()


def test_raw_comes_through_unchanged_on_its_grid(folder):
    raw = open_volume(bring(folder).raw(Purpose.TRAIN, "a"))
    np.testing.assert_array_equal(raw.read(), tifffile.imread(folder / "raw.tif"))
    assert raw.grid.voxel_size == (50.0, 4.6, 4.6)


def test_values_become_masks_and_components(folder):
    data = bring(folder)
    np.testing.assert_array_equal(label(data, "membrane"), labels() == 1)
    mito = label(data, "mito")
    assert mito.max() == 2
    assert mito[0, 4, 4] == mito[1, 4, 7] != mito[3, 10, 10]
    assert data.manifest(Purpose.TRAIN).labels["mito"].kind is Kind.INSTANCE


def test_planar_components_end_at_their_section(folder):
    data = bring(folder, HEAD + CLASSES.replace("[3, 4]", "[3, 4]\nplanar = true") + CROP)
    assert label(data, "mito").max() == 3


def test_ids_stay_as_they_are(folder):
    ids = np.zeros((4, 16, 20), np.uint16)
    ids[:, 2:4], ids[:, 4:6] = 700, 12
    write(folder / "labels.tif", ids)
    text = HEAD + '[classes.neuron]\nkind = "instance"\nids = true\n' + CROP
    np.testing.assert_array_equal(label(bring(folder, text), "neuron"), ids)


def test_a_class_may_have_a_stack_of_its_own(folder):
    write(folder / "nuc.tif", (labels() == 3).astype(np.uint8) * 255)
    text = HEAD + CLASSES + '[classes.nuc]\nkind = "semantic"\nmasks = true\n' + CROP
    data = bring(folder, text + 'masks = { nuc = "nuc.tif" }\n')
    np.testing.assert_array_equal(label(data, "nuc"), labels() == 3)
    assert set(data.manifest(Purpose.TRAIN).labels) == {"membrane", "mito", "nuc"}


def test_planes_are_divided_between_training_and_hidden(folder):
    first = CROP + "planes = [0, 3]\n"
    hidden = CROP.replace('"a"', '"b"').replace('"train"', '"hidden"') + "planes = [3, 4]\n"
    data = bring(folder, HEAD + CLASSES + first + hidden)
    assert label(data, "mito").shape == (3, 16, 20)
    (target,) = (t for t in data.manifest(Purpose.HIDDEN).targets if t.label.name == "mito")
    assert target.grid.shape == (1, 16, 20)
    assert target.grid.offset == (150.0, 0.0, 0.0)
    assert (data.challenge / "challenge.toml").is_file()
    assert not (data.root / "hidden/b/labels").exists()


def test_several_calls_fill_one_folder(folder):
    bring(folder)
    data = bring(folder, HEAD + CLASSES + CROP.replace('"a"', '"b"'))
    assert data.crops(Purpose.TRAIN) == ["a", "b"]
    assert len(data.manifest(Purpose.TRAIN).targets) == 4


def test_folders_of_single_images_are_stacks_in_the_order_of_their_names(tmp_path):
    for n in (2, 0, 1):
        Image.fromarray(np.full((3, 4), n, np.uint8)).save(tmp_path / f"z{n}.png")
    (tmp_path / "notes.txt").write_text("not an image")
    np.testing.assert_array_equal(read_stack(tmp_path)[:, 0, 0], [0, 1, 2])


def test_raw_of_real_numbers_is_stretched(folder):
    raw = np.linspace(-1, 1, 4 * 16 * 20, dtype=np.float32).reshape(4, 16, 20)
    write(folder / "raw.tif", raw)
    found = open_volume(bring(folder).raw(Purpose.TRAIN, "a")).read()
    assert (found.min(), found.max(), found.dtype) == (0, 65535, np.uint16)


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda f: (f / "raw.tif").unlink(), r"raw\.tif is missing"),
        (lambda f: (f / "labels.tif").write_bytes(b"no image"), r"labels\.tif cannot be read"),
        (lambda f: (f / "labels.tif").write_bytes(b""), r"labels\.tif cannot be read"),
        (
            lambda f: write(f / "labels.tif", np.zeros((4, 16, 19), np.uint8)),
            r"labels\.tif has shape \(4, 16, 19\), its raw raw\.tif \(4, 16, 20\)",
        ),
        (
            lambda f: write(f / "raw.tif", np.full((4, 16, 20), 7, np.uint8)),
            r"raw\.tif is uniform: every voxel is 7",
        ),
        (
            lambda f: write(f / "labels.tif", np.zeros((4, 16, 20), np.float32)),
            r"labels\.tif holds float32",
        ),
        (
            lambda f: write(f / "raw.tif", np.zeros((2, 4, 16, 20), np.uint8)),
            r"expected grey planes",
        ),
    ],
)
def test_a_bad_stack_is_named_and_nothing_is_written(folder, spoil, words):
    spoil(folder)
    with pytest.raises(DataError, match=words):
        bring(folder)
    assert not (folder / "data").exists()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (CLASSES + CROP, "voxel_size needs three values"),
        (HEAD + CROP, "at least one"),
        (HEAD + CLASSES, "at least one"),
        (HEAD + CLASSES.replace("values = [1]", "") + CROP, "classes.membrane needs values"),
        (HEAD + CLASSES.replace("semantic", "fuzzy") + CROP, 'kind = "semantic" or "instance"'),
        (HEAD + CLASSES + CROP.replace('"train"', '"spare"'), 'split = "train" or "hidden"'),
        (HEAD + CLASSES + CROP + "plane = [0, 1]", "unknown key crop.plane"),
        (HEAD + CLASSES + CROP + "planes = [2, 9]", r"planes \[2, 9\] do not fit"),
        (HEAD + CLASSES + CROP + 'masks = { golgi = "x.tif" }', "unknown classes"),
        (HEAD + CLASSES + CROP.replace('labels = "labels.tif"', ""), "needs labels or masks"),
        ("voxel_size = 4", "stack.toml"),
        ("voxel_size = [", "stack.toml"),
        ("colour = 3\n" + HEAD + CLASSES + CROP, "colour"),
    ],
)
def test_a_bad_description_is_an_error_that_names_the_place(folder, text, words):
    with pytest.raises(DataError, match=words):
        bring(folder, text)


def test_a_folder_without_description_is_an_error(tmp_path):
    with pytest.raises(DataError, match=r"stack\.toml is missing"):
        load_plan(tmp_path)


def of_one(folder, **changes):
    arguments = {
        "labels": folder / "labels.tif", "masks": [], "planar": False, "crop": "a",
        "classes": ["membrane=1:semantic", "mito=3,4:instance"], "split": "train", "planes": (),
        "voxel_size": (50.0, 4.6, 4.6),
    }  # fmt: skip
    return plan_of_one(folder / "raw.tif", **(arguments | changes))


def test_the_command_line_describes_the_same_as_a_file(folder):
    data = bring(folder)
    other = DataFolder(folder / "other")
    import_stacks(of_one(folder), other, progress=lambda _: None)
    assert other.manifest(Purpose.TRAIN).digest == data.manifest(Purpose.TRAIN).digest
    np.testing.assert_array_equal(label(other, "mito"), label(data, "mito"))


@pytest.mark.parametrize("text", ["membrane", "membrane=1", "membrane=x:semantic", "=1:semantic"])
def test_a_class_that_cannot_be_understood_is_quoted(folder, text):
    with pytest.raises(DataError, match=text):
        of_one(folder, classes=[text])


def test_a_stack_of_png_images_becomes_a_crop(folder):
    planes = folder / "planes"
    planes.mkdir()
    for z, plane in enumerate(tifffile.imread(folder / "raw.tif")):
        Image.fromarray(plane).save(planes / f"section_{z:03}.png")
    data = bring(folder, HEAD + CLASSES + CROP.replace("raw.tif", "planes"))
    raw = open_volume(data.raw(Purpose.TRAIN, "a")).read()
    np.testing.assert_array_equal(raw, tifffile.imread(folder / "raw.tif"))


def test_a_folder_of_images_of_different_sizes_names_the_odd_one(tmp_path):
    for name, size in (("a", (3, 4)), ("b", (3, 5))):
        Image.fromarray(np.zeros(size, np.uint8)).save(tmp_path / f"{name}.png")
    with pytest.raises(DataError, match=r"b\.png has shape \(3, 5\), the first image \(3, 4\)"):
        read_stack(tmp_path)


def test_a_folder_without_images_says_so(tmp_path):
    with pytest.raises(DataError, match="holds no TIFF or PNG"):
        read_stack(tmp_path)


def test_coloured_images_are_refused(tmp_path):
    Image.fromarray(np.zeros((3, 4, 3), np.uint8)).save(tmp_path / "colour.png")
    with pytest.raises(DataError, match=r"colour\.png has shape \(3, 4, 3\)"):
        read_stack(tmp_path / "colour.png")


def test_a_single_image_is_a_stack_of_one_plane(tmp_path):
    write(tmp_path / "one.tif", np.arange(12, dtype=np.uint16).reshape(3, 4))
    assert read_stack(tmp_path / "one.tif").shape == (1, 3, 4)


def test_small_components_can_be_dropped(folder):
    data = bring(folder, HEAD + CLASSES.replace("[3, 4]", "[3, 4]\nsmallest = 5") + CROP)
    assert label(data, "mito").max() == 1  # eight voxels in two sections stay, four in one do not


def test_labels_keep_their_ids_from_call_to_call(folder):
    first = bring(folder).known_labels()
    extra = '[classes.axon]\nkind = "semantic"\nvalues = [3]\n'
    data = bring(folder, HEAD + extra + CLASSES + CROP.replace('"a"', '"b"'))
    later = data.known_labels()
    assert {name: later[name].id for name in first} == {n: v.id for n, v in first.items()}
    assert len({v.id for v in later.values()}) == 3


def test_an_id_can_be_given(folder):
    data = bring(folder, HEAD + CLASSES.replace("[1]", "[1]\nid = 75") + CROP)
    ids = {name: found.id for name, found in data.known_labels().items()}
    assert ids["membrane"] == 75
    assert ids["mito"] != 75


def test_a_label_that_changes_its_kind_is_refused(folder):
    bring(folder)
    other = CLASSES.replace('kind = "instance"', 'kind = "semantic"')
    with pytest.raises(DataError, match="defines mito as instance"):
        bring(folder, HEAD + other + CROP.replace('"a"', '"b"'))


def test_the_bundle_of_a_hidden_crop_is_complete(folder):
    text = 'slug = "fly"\ntitle = "Fly"\nsummary = "Small."\n' + HEAD + CLASSES
    data = bring(folder, text + CROP.replace('"train"', '"hidden"'))
    bundle = tomllib.loads((data.challenge / "challenge.toml").read_text())
    assert (bundle["slug"], bundle["title"], bundle["summary"]) == ("fly", "Fly", "Small.")
    overview = (data.challenge / "overview.md").read_text()
    assert "50 × 4.6 × 4.6 nm" in overview
    assert "| membrane | semantic |" in overview
    np.testing.assert_array_equal(label(data, "membrane", Purpose.HIDDEN), labels() == 1)


def test_hidden_labels_do_not_lie_beside_the_raw(folder):
    data = bring(folder, HEAD + CLASSES + CROP.replace('"train"', '"hidden"'))
    assert [path.name for path in (data.root / "hidden" / "a").iterdir()] == ["raw"]
    assert not (data.root / "train").exists()


def test_wide_label_values_are_read_as_they_are(folder):
    wide = labels().astype(np.uint16) * 1000
    write(folder / "labels.tif", wide)
    text = HEAD + CLASSES.replace("[1]", "[1000]").replace("[3, 4]", "[3000, 4000]") + CROP
    data = bring(folder, text)
    np.testing.assert_array_equal(label(data, "membrane"), labels() == 1)
    assert label(data, "mito").max() == 2


def test_object_ids_and_masks_from_the_command_line(folder):
    write(folder / "nuc.tif", (labels() == 3).astype(np.uint8))
    plan = of_one(
        folder, classes=["neuron=ids:instance"], masks=[f"nuc={folder / 'nuc.tif'}:semantic"]
    )
    data = DataFolder(folder / "other")
    import_stacks(plan, data, progress=lambda _: None)
    np.testing.assert_array_equal(label(data, "neuron"), labels())
    np.testing.assert_array_equal(label(data, "nuc"), labels() == 3)
