import json

import numpy as np
import pytest
import tifffile
import zarr
from PIL import Image as Picture

from baselines.layout import DataError
from baselines.volumes.images import is_image, open_image
from evaluator.errors import EvaluatorError, Unreadable
from evaluator.geometry import VoxelGrid
from evaluator.volume import create_volume

RAW = np.random.default_rng(0).integers(0, 255, (3, 8, 10)).astype(np.uint8)


def read(path, **options):
    reader = open_image(path, **options).levels[0].reader
    return reader.read((0, 0, 0), reader.shape)


def box(path):
    return open_image(path).levels[0].reader.read((1, 2, 3), (3, 5, 9))


@pytest.mark.parametrize("options", [{}, {"compression": "zlib"}, {"bigtiff": True}, {"ome": True}])
def test_tiff_stacks_are_read_box_by_box(tmp_path, options):
    path = tmp_path / ("a.ome.tif" if "ome" in options else "a.TIFF")
    tifffile.imwrite(path, RAW, photometric="minisblack", **options)
    np.testing.assert_array_equal(read(path), RAW)
    np.testing.assert_array_equal(box(path), RAW[1:3, 2:5, 3:9])


def test_a_single_image_is_a_stack_of_one_plane(tmp_path):
    Picture.fromarray(RAW[0]).save(tmp_path / "a.png")
    tifffile.imwrite(tmp_path / "b.tif", RAW[0])
    for name in ("a.png", "b.tif"):
        np.testing.assert_array_equal(read(tmp_path / name), RAW[:1])


@pytest.mark.parametrize("ending", ["tif", "png"])
def test_a_folder_of_planes_is_a_stack(tmp_path, ending):
    for z, plane in enumerate(RAW):
        tifffile.imwrite(tmp_path / f"z{z}.tif", plane) if ending == "tif" else Picture.fromarray(
            plane
        ).save(tmp_path / f"z{z}.png")
    np.testing.assert_array_equal(read(tmp_path), RAW)
    assert is_image(tmp_path)


def test_the_voxel_size_of_a_file_is_known_else_it_is_the_one_given(tmp_path):
    notes = {"spacing": 0.04, "unit": "um", "axes": "ZYX"}
    tifffile.imwrite(
        tmp_path / "a.tif", RAW, imagej=True, resolution=(1 / 0.004, 1 / 0.008), metadata=notes
    )
    size = open_image(tmp_path / "a.tif", voxel_size=(9.0, 9.0, 9.0)).finest.voxel_size
    assert size == pytest.approx((40.0, 8.0, 4.0))
    tifffile.imwrite(tmp_path / "b.tif", RAW, photometric="minisblack")
    assert open_image(tmp_path / "b.tif", voxel_size=(5.0, 4.0, 4.0)).finest.voxel_size == (5, 4, 4)
    assert open_image(tmp_path / "b.tif").finest.voxel_size == (1, 1, 1)


def test_colour_is_refused_unless_a_channel_is_chosen(tmp_path):
    colour = np.stack([RAW[0], RAW[1], RAW[2]], axis=-1)
    Picture.fromarray(colour).save(tmp_path / "a.png")
    tifffile.imwrite(tmp_path / "b.tif", colour, photometric="rgb")
    for name in ("a.png", "b.tif"):
        with pytest.raises(EvaluatorError, match=name):
            open_image(tmp_path / name)
        np.testing.assert_array_equal(read(tmp_path / name, channel=1), RAW[1:2])
        with pytest.raises(DataError, match=r"3 channels, numbered from 0; data.channel is 3\."):
            open_image(tmp_path / name, channel=3)


def test_a_channel_of_a_stack_with_channels_is_taken(tmp_path):
    stack = np.stack([RAW, 255 - RAW], axis=1)
    tifffile.imwrite(tmp_path / "a.tif", stack, imagej=True, metadata={"axes": "ZCYX"})
    np.testing.assert_array_equal(read(tmp_path / "a.tif", channel=1), 255 - RAW)
    with pytest.raises(DataError, match="choose a channel"):
        open_image(tmp_path / "a.tif")


def test_planes_come_in_the_order_of_their_numbers_and_a_channel_of_each_may_be_taken(tmp_path):
    for z in (0, 2, 10):
        colour = np.full((4, 4, 3), [z, z + 1, z + 2], np.uint8)
        Picture.fromarray(colour).save(tmp_path / f"z{z}.png")
    np.testing.assert_array_equal(read(tmp_path, channel=1)[:, 0, 0], [1, 3, 11])
    for z in (0, 2, 10):
        Picture.fromarray(np.full((4, 4), z, np.uint8)).save(tmp_path / f"z{z}.png")
    np.testing.assert_array_equal(read(tmp_path)[:, 0, 0], [0, 2, 10])


@pytest.mark.parametrize("zarr_format", [2, 3])
def test_zarr_of_both_versions_is_read(tmp_path, zarr_format):
    array = zarr.create_array(
        tmp_path / "a", shape=RAW.shape, dtype="uint8", chunks=(2, 4, 4), zarr_format=zarr_format
    )
    array[:] = RAW
    array.attrs.update({"voxel_size": [8, 4, 4], "translation": [80, 0, 4]})
    image = open_image(tmp_path / "a")
    np.testing.assert_array_equal(box(tmp_path / "a"), RAW[1:3, 2:5, 3:9])
    assert image.finest == VoxelGrid(RAW.shape, (8.0, 4.0, 4.0), (80.0, 0.0, 4.0))


def pyramid(path, *sizes):
    """An OME-Zarr group with a level for each edge of a voxel; only metadata of the first."""
    group = zarr.open_group(path, mode="w", zarr_format=2)
    datasets = []
    for k, size in enumerate(sizes):
        grid = VoxelGrid((4, 4, 4), (size,) * 3)
        array = create_volume(path / f"s{k}", grid, np.uint8)
        if k:
            array[:] = k
        steps = [{"type": "scale", "scale": [size] * 3}]
        datasets.append({"path": f"s{k}", "coordinateTransformations": steps})
    axes = [{"name": n, "type": "space", "unit": "nanometer"} for n in "zyx"]
    group.attrs["multiscales"] = [{"version": "0.4", "axes": axes, "datasets": datasets}]


def test_levels_that_nobody_fetched_are_left_out(tmp_path):
    pyramid(tmp_path / "a", 4.0, 8.0, 16.0)
    assert [x.grid.voxel_size[0] for x in open_image(tmp_path / "a").levels] == [8.0, 16.0]
    pyramid(tmp_path / "b", 4.0)  # all zero: the only level there is
    assert len(open_image(tmp_path / "b").levels) == 1


def test_what_is_missing_or_no_image_is_named(tmp_path):
    with pytest.raises(DataError, match=r"gone.tif is missing: put an image"):
        open_image(tmp_path / "gone.tif")
    (tmp_path / "bad.tif").write_bytes(b"no tiff")
    with pytest.raises(Unreadable, match=r"bad.tif: it cannot be read as a TIFF stack"):
        open_image(tmp_path / "bad.tif")
    (tmp_path / "empty").mkdir()
    with pytest.raises(EvaluatorError, match="empty"):
        open_image(tmp_path / "empty")
    (tmp_path / "v2").mkdir()
    (tmp_path / "v2" / ".zarray").write_text(json.dumps({"zarr_format": 2}))
    with pytest.raises(EvaluatorError, match="v2"):
        open_image(tmp_path / "v2")
