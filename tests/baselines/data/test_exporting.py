"""Crops cut out of large data: the same voxels at the same places, and trainings that read them."""

import json

import numpy as np
import pytest
import tifffile
import zarr
from typer.testing import CliRunner

from baselines.cli import app
from baselines.config import Config, build
from baselines.data.crops import load_crops
from baselines.data.exporting import Padding, export_crops
from baselines.layout import DataError, DataFolder, Purpose
from evaluator.tiff import open_stack
from evaluator.volume import open_volume
from tests.baselines.trees import RAW, block, halved, specimen, tree


def config(**data):
    return build(Config, {"data": data, "split": {"fraction": 0.0}}, where="")


def export(data, out, *, padding=(0, 0, 0), nm=0.0, names=(), tiff=False, progress=None, **given):
    return export_crops(
        data, out, config(**given), padding=Padding(padding, nm), names=names, tiff=tiff,
        progress=progress or (lambda _: None),
    )  # fmt: skip


def loaded(data, **given):
    return load_crops(data, config(**given), progress=lambda _: None)


@pytest.fixture
def challenge(tmp_path):
    """Two crops of 16^3 voxels of 4 nm that begin at 64 nm, in raw of 64^3 voxels."""
    ids = block(value=7) + block(at=(10, 10, 10), value=3)
    tree(tmp_path / "tree", mito=ids, mem=block(at=(0, 0, 0)))
    tree(tmp_path / "tree", crop="crop9", corner=(128.0,) * 3, mem=block(at=(2, 2, 2)))
    return tmp_path / "tree"


def test_voxels_keep_their_values_and_their_places(challenge, tmp_path):
    assert export(challenge, tmp_path / "out", padding=(2, 3, 5)) == ["crop7", "crop9"]
    data = DataFolder(tmp_path / "out")
    raw = open_volume(data.raw(Purpose.TRAIN, "crop7"))
    assert np.array_equal(raw.read(), specimen()[14:34, 13:35, 11:37])
    assert raw.grid.voxel_size == (4.0, 4.0, 4.0)
    assert raw.grid.offset == (58.0, 54.0, 46.0)  # the centre of its first voxel
    targets = data.manifest(Purpose.TRAIN).by_path
    assert sorted(targets) == ["crop7/mem", "crop7/mito", "crop9/mem"]
    ids = open_volume(data.label(Purpose.TRAIN, targets["crop7/mito"]))
    assert np.array_equal(ids.read(), block(value=7) + block(at=(10, 10, 10), value=3))
    assert ids.grid == targets["crop7/mito"].grid
    assert ids.grid.offset == (66.0, 66.0, 66.0)
    assert (targets["crop7/mito"].label.id, targets["crop7/mito"].crop.dataset) == (50, "jrc_a")


def test_viewers_find_images_with_axes_sizes_and_places(challenge, tmp_path):
    export(challenge, tmp_path / "out", names=["crop7"])
    for path in ("raw", "labels/mito"):
        attributes = zarr.open_group(tmp_path / "out/train/crop7" / path, mode="r").attrs.asdict()
        (image,) = attributes["multiscales"]
        assert [axis["unit"] for axis in image["axes"]] == ["nanometer"] * 3
        (level,) = image["datasets"]
        assert level["coordinateTransformations"][0]["scale"] == [4.0] * 3
        assert level["coordinateTransformations"][1]["translation"] == [66.0] * 3


def test_training_sees_the_same_before_and_after(challenge, tmp_path):
    export(challenge, tmp_path / "out", padding=(64, 64, 64))
    (labels, before), (again, after) = loaded(challenge), loaded(tmp_path / "out")
    assert labels == again == ["mem", "mito"]
    for one, other in zip(before, after, strict=True):
        assert (one.name, one.grid, one.count) == (other.name, other.grid, other.count)
        assert (one.training, one.known, one.light) == (other.training, other.known, other.light)
        whole = ((0, 0, 0), one.grid.shape)
        assert np.array_equal(one.raw.read(*whole), other.raw.read(*whole))
        for label in one.labels:
            assert np.array_equal(one.labels[label].read(*whole), other.labels[label].read(*whole))


def test_raw_comes_at_the_level_of_its_labels_or_of_the_model(tmp_path):
    tree(tmp_path / "tree", size=8.0, mem=block(), mito=block())
    export(tmp_path / "tree", tmp_path / "out")
    found = open_volume(DataFolder(tmp_path / "out").raw(Purpose.TRAIN, "crop7"))
    assert np.array_equal(found.read(), halved(specimen())[8:24, 8:24, 8:24])
    export(tmp_path / "tree", tmp_path / "fine", voxel_size=[4.0, 4.0, 4.0])
    found = open_volume(DataFolder(tmp_path / "fine").raw(Purpose.TRAIN, "crop7"))
    assert found.shape == (32, 32, 32)


def test_padding_is_the_larger_of_voxels_and_nanometres_and_ends_where_raw_does(
    challenge, tmp_path
):
    assert Padding((1, 5, 0), 10.0).at((4.0, 4.0, 20.0)) == (3, 5, 1)
    export(challenge, tmp_path / "out", nm=100.0, names=["crop7"])
    raw = open_volume(DataFolder(tmp_path / "out").raw(Purpose.TRAIN, "crop7"))
    assert raw.shape == (57, 57, 57)  # 16 voxels on the one side, 25 on the other
    assert raw.grid.offset == (2.0, 2.0, 2.0)


def test_raw_that_nobody_fetched_is_not_written_as_if_it_were_black(challenge, tmp_path):
    """Chunks of 32^3: crop 7 lies in the first one, crop 9 beside it."""
    (challenge / RAW.format("jrc_a") / "s0/0.0.0").unlink()
    said = []
    export(challenge, tmp_path / "out", padding=(20, 20, 20), progress=said.append)
    raw = open_volume(DataFolder(tmp_path / "out").raw(Purpose.TRAIN, "crop9"))
    assert raw.read().min() > 0
    assert raw.grid.offset == (50.0, 50.0, 130.0)  # 20 voxels before the crop, but along X
    assert any("crop7 is left out" in text and "baselines fetch" in text for text in said)


def test_a_mask_of_all_objects_becomes_objects_as_it_does_in_training(tmp_path):
    mask = block() + block(at=(10, 10, 10))
    tree(tmp_path / "tree", mito=mask, mem=block())
    export(tmp_path / "tree", tmp_path / "out")
    data = DataFolder(tmp_path / "out")
    found = open_volume(
        data.label(Purpose.TRAIN, data.manifest(Purpose.TRAIN).by_path["crop7/mito"])
    )
    assert sorted(np.unique(found.read())) == [0, 1, 2]
    assert np.array_equal(found.read() > 0, mask > 0)


def test_an_export_that_was_broken_off_goes_on_with_the_next_crop(challenge, tmp_path):
    def stop(text):
        if text.startswith("crop7:"):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        export(challenge, tmp_path / "out", progress=stop)
    data = DataFolder(tmp_path / "out")
    before = data.raw(Purpose.TRAIN, "crop7").stat().st_mtime_ns
    (data.raw(Purpose.TRAIN, "crop9") / "s0").mkdir(parents=True)  # half a crop, without a row
    (tmp_path / "out/.begun").mkdir()
    assert export(challenge, tmp_path / "out") == ["crop9"]
    assert data.raw(Purpose.TRAIN, "crop7").stat().st_mtime_ns == before
    assert open_volume(data.raw(Purpose.TRAIN, "crop9")).read().all()
    assert not (tmp_path / "out/.begun").exists()
    assert export(challenge, tmp_path / "out") == []


@pytest.mark.parametrize("other", [{"padding": (1, 1, 1)}, {"labels": ["mem"]}, {"tiff": True}])
def test_nothing_is_written_over_another_export_or_anything_else(challenge, tmp_path, other):
    export(challenge, tmp_path / "out")
    with pytest.raises(DataError, match="nothing is overwritten"):
        export(challenge, tmp_path / "out", **other)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/thesis.txt").write_text("all of it")
    with pytest.raises(DataError, match="nothing is overwritten"):
        export(challenge, tmp_path / "mine", **other)
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["thesis.txt"]


def test_crops_and_labels_can_be_chosen_and_an_unknown_crop_is_named(challenge, tmp_path):
    assert export(challenge, tmp_path / "a", names=["7"], labels=["mem"]) == ["crop7"]
    assert list(DataFolder(tmp_path / "a").manifest(Purpose.TRAIN).by_path) == ["crop7/mem"]
    with pytest.raises(DataError, match=r"there is no crop crop8 .*crops are crop7, crop9"):
        export(challenge, tmp_path / "b", names=["crop8"])
    assert not (tmp_path / "b").exists()
    said = []
    assert export(challenge, tmp_path / "c", labels=["mito"], progress=said.append) == ["crop7"]
    assert "crop9 is left out: it has none of the labels" in said


def test_groups_and_specimens_come_along(challenge, tmp_path):
    tree(challenge, crop="crop9", corner=(128.0,) * 3, golgi_mem=block(), golgi_lum=block())
    (challenge / "specimens.toml").write_text('jrc_a = "a \\"mouse\\""\n')
    export(challenge, tmp_path / "out")
    _, crops = loaded(tmp_path / "out", labels=["golgi"])
    assert [crop.name for crop in crops] == ["crop9"]
    assert crops[0].specimen == 'a "mouse"'


def test_stacks_train_and_what_nobody_looked_at_stays_unknown(challenge, tmp_path):
    export(challenge, tmp_path / "out", padding=(2, 3, 5), tiff=True, names=["crop7"])
    image = open_stack(tmp_path / "out/images/crop7.tif")
    assert np.array_equal(image.planes(0, 20), specimen()[14:34, 13:35, 11:37])
    assert image.voxel_size == (4.0, 4.0, 4.0)
    about = json.loads((tmp_path / "out/crops.json").read_text())["crop7"]
    assert about["translation"] == [58.0, 54.0, 46.0]
    inside = (slice(2, 18), slice(3, 19), slice(5, 21))
    for name, rules, expected in (
        ("mem", {"ignore": 255, "classes": {"mem": "1:semantic"}}, block(at=(0, 0, 0))),
        ("mito", {"classes": {"mito": "ids:instance"}},
         block(value=7) + block(at=(10, 10, 10), value=3)),
    ):  # fmt: skip
        _, (crop,) = loaded(tmp_path / "out", masks=f"masks/{name}", **rules)
        ids = crop.labels[name].read((0, 0, 0), (20, 22, 26))
        assert np.array_equal(ids[inside], expected)
        assert (ids < 0).sum() == ids.size - expected.size


def test_a_stack_that_was_not_ended_is_written_again(challenge, tmp_path):
    export(challenge, tmp_path / "out", tiff=True)
    (tmp_path / "out/crops.json").unlink()
    (tmp_path / "out/images/crop7.tif").write_bytes(b"half")
    assert export(challenge, tmp_path / "out", tiff=True) == ["crop7", "crop9"]
    assert open_stack(tmp_path / "out/images/crop7.tif").shape == (16, 16, 16)


def test_images_become_a_data_folder_in_which_nobody_has_to_pair_them(tmp_path):
    for folder in ("images", "masks"):
        (tmp_path / "data" / folder).mkdir(parents=True)
    values = np.random.default_rng(0).integers(1, 255, (3, 16, 16), np.uint8)
    tifffile.imwrite(tmp_path / "data/images/my cell.tif", values, photometric="minisblack")
    ids = (values > 100).astype(np.uint8)
    ids[0] = 255
    tifffile.imwrite(tmp_path / "data/masks/my cell.tif", ids, photometric="minisblack")
    given = {"voxel_size": [30.0, 5.0, 5.0], "ignore": 255, "classes": {"er": "1:semantic"}}
    assert export(tmp_path / "data", tmp_path / "out", **given) == ["my-cell"]
    _, (crop,) = loaded(tmp_path / "out")
    assert crop.grid.voxel_size == (30.0, 5.0, 5.0)
    found = crop.labels["er"].read((0, 0, 0), (3, 16, 16))
    assert (found[0] == -1).all()
    assert np.array_equal(found[1:], ids[1:])


def test_the_command_says_what_it_wrote(challenge, tmp_path):
    words = ["export-crops", challenge, "--out", tmp_path / "out", "--crops", "7", "-c", "mem"]
    done = CliRunner().invoke(app, [str(word) for word in [*words, "--padding", "1,2,3"]])
    assert done.exit_code == 0, done.output
    assert "crop7: 18 x 20 x 22 voxels, mem" in done.output
    refused = CliRunner().invoke(app, [str(word) for word in [*words, "--padding", "1,2"]])
    assert "--padding needs one number, or three" in str(refused.exception)
