import numpy as np
import pytest
import tifffile
from PIL import Image

from baselines.config import Config, build
from baselines.layout import DataError
from baselines.predicting.subjects import (
    Subject,
    doubts,
    hidden_crops,
    images_at,
    images_in,
    similar,
)
from baselines.volumes.light import Light
from evaluator.geometry import VoxelGrid
from evaluator.volume import create_volume

USUAL = Light(120.0, 20.0)


def config(voxel_size=(8.0, 8.0, 8.0)):
    return build(Config, {"data": {"voxel_size": list(voxel_size)}}, where="")


def volume(path, voxel_size):
    create_volume(path, VoxelGrid((4, 8, 8), voxel_size), np.uint8, multiscale=True)[:] = 9
    return Subject(path.name, path)


def test_all_hidden_crops_or_those_that_are_named(phantom):
    assert [subject.name for subject in hidden_crops(phantom)] == ["phantom-hidden-1"]
    (one,) = hidden_crops(phantom, ["phantom-hidden-1"])
    assert one.open(phantom_config()).grid.voxel_size == (8.0, 8.0, 8.0)
    with pytest.raises(DataError, match=r"no test crop crop9; it has phantom-hidden-1"):
        hidden_crops(phantom, ["phantom-hidden-1", "crop9"])


def phantom_config():
    return config()


def test_every_image_of_a_folder_is_one_by_itself(tmp_path):
    tifffile.imwrite(tmp_path / "b.ome.tif", np.ones((3, 8, 8), np.uint8), photometric="minisblack")
    Image.fromarray(np.ones((8, 8), np.uint8)).save(tmp_path / "a.png")
    volume(tmp_path / "c.zarr", (8.0, 8.0, 8.0))
    (tmp_path / "notes.txt").write_text("not an image")
    subjects = images_in(tmp_path)
    assert [subject.name for subject in subjects] == ["a", "b", "c"]
    assert [subject.open(config()).shape for subject in subjects] == [
        (1, 8, 8), (3, 8, 8), (4, 8, 8),
    ]  # fmt: skip


def test_images_of_one_name_are_refused(tmp_path):
    for name in ("a.tif", "a.png"):
        (tmp_path / name).write_bytes(b"x")
    with pytest.raises(DataError, match=r"a\.png and a\.tif have one name"):
        images_in(tmp_path)
    with pytest.raises(DataError, match="several images are called a"):
        images_at([tmp_path / "a.tif", tmp_path / "a.png"])


def test_a_folder_without_images_and_an_image_that_is_not_there_are_named(tmp_path):
    with pytest.raises(DataError, match="holds no TIFF, PNG or Zarr images"):
        images_in(tmp_path)
    with pytest.raises(DataError, match="nowhere is missing: expected a folder of images"):
        images_in(tmp_path / "nowhere")
    with pytest.raises(DataError, match=r"nowhere\.tif is missing"):
        images_at([tmp_path / "nowhere.tif"])


@pytest.mark.parametrize(
    ("name", "expected"),
    [("a.ome.tif", "a"), ("a.TIFF", "a"), ("a.ome.zarr", "a"), ("a.b.png", "a.b"), ("a", "a")],
)
def test_a_prediction_is_named_after_the_file_without_endings(tmp_path, name, expected):
    (tmp_path / name).touch()
    assert [subject.name for subject in images_at([tmp_path / name])] == [expected]


def test_a_volume_like_those_of_the_training_raises_no_doubt(tmp_path):
    subject = volume(tmp_path / "a", (8.0, 8.0, 8.0))
    assert doubts(subject, Light(125.0, 22.0), config(), [USUAL, Light(90.0, 15.0)]) == []
    assert doubts(subject, USUAL, config(), []) == []


def test_other_voxels_are_told_of_with_both_sizes(tmp_path):
    subject = volume(tmp_path / "a", (8.0, 4.0, 4.0))
    (note,) = doubts(subject, USUAL, config(), [USUAL])
    assert "a has voxels of 8 × 4 × 4 nm" in note
    assert "8 × 8 × 8 nm" in note


def test_an_image_that_does_not_say_its_voxels_is_told_of(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", np.ones((3, 8, 8), np.uint8), photometric="minisblack")
    (note,) = doubts(Subject("a", tmp_path / "a.tif"), USUAL, config(), [USUAL])
    assert "a does not say how large its voxels are" in note


@pytest.mark.parametrize("light", [Light(60.0, 20.0), Light(120.0, 60.0), Light(120.0, 5.0)])
def test_other_grey_values_than_in_training_are_told_of(tmp_path, light):
    subject = volume(tmp_path / "a", (8.0, 8.0, 8.0))
    (note,) = doubts(subject, light, config(), [USUAL, Light(130.0, 25.0)])
    assert "grey values of a" in note
    assert "(120–130 ± 20–25)" in note


def test_likeness_is_mutual():
    assert similar(Light(100.0, 10.0), Light(110.0, 20.0))
    assert similar(Light(110.0, 20.0), Light(100.0, 10.0))
    assert not similar(Light(100.0, 10.0), Light(121.0, 20.0))
