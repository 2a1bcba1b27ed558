import json

import numpy as np
import pytest
import tifffile
import zarr

from baselines.predicting import output
from baselines.predicting.output import (
    add_levels,
    create_result,
    create_stored,
    grid_of,
    level_grids,
    open_stored,
    planes_of,
    segmentation,
    write_metadata,
)
from baselines.volumes.ome_tiff import write_tiff
from evaluator.geometry import VoxelGrid
from evaluator.multiscale import describe
from evaluator.tiff import open_stack
from evaluator.volume import open_volume

GRID = VoxelGrid((20, 300, 140), (40.0, 10.0, 10.0), (80.0, 5.0, 0.0))


def ids(grid):
    return np.random.default_rng(0).integers(0, 9, grid.shape).astype(np.uint32)


@pytest.mark.parametrize("channels", [1, 2])
def test_what_is_written_of_an_array_is_read_back_and_nothing_else_is_kept(tmp_path, channels):
    path, grid = tmp_path / "mito", VoxelGrid((5, 10, 6), (8.0, 8.0, 8.0))
    create_stored(path, grid, channels=channels, chunks=(4, 4, 4), about={})
    box = (slice(4, 5), slice(4, 10), slice(0, 6))
    target = open_stored(path)[(..., *box)]
    values = np.random.default_rng(0).integers(1, 256, target.shape).astype(np.uint8)
    values[..., 0:4, 0:4] = 0  # a chunk of zeros
    target.write(values).result()
    expected = np.zeros(open_stored(path).shape, np.uint8)
    expected[(..., *box)] = values
    np.testing.assert_array_equal(zarr.open_array(path, mode="r")[:], expected)
    chunks = [file for file in path.rglob("*") if file.is_file() and file.name[0] != "."]
    assert len(chunks) == 3 * channels


def test_an_array_that_is_not_there_is_not_made(tmp_path):
    with pytest.raises(ValueError, match="NOT_FOUND"):
        open_stored(tmp_path / "mito")
    assert not (tmp_path / "mito").exists()


def test_axes_with_large_voxels_wait_until_the_others_have_caught_up():
    grids = level_grids(GRID)
    assert [grid.shape for grid in grids] == [(20, 300, 140), (20, 150, 70), (20, 75, 35)]
    assert [grid.voxel_size for grid in grids] == [(40, 10, 10), (40, 20, 20), (40, 40, 40)]
    assert {grid.offset for grid in grids} == {GRID.offset}


def test_a_small_volume_and_a_single_plane_have_the_levels_that_make_sense():
    assert len(level_grids(VoxelGrid((8, 128, 100), (4.0, 4.0, 4.0)))) == 1
    flat = level_grids(VoxelGrid((1, 512, 64), (4.0, 4.0, 4.0)))
    assert [grid.shape for grid in flat] == [(1, 512, 64), (1, 256, 32), (1, 128, 16)]


def test_every_level_holds_voxels_of_the_finest_and_says_where_they_lie(tmp_path):
    values = ids(GRID)
    create_result(tmp_path / "mito", GRID, np.uint32)[:] = values
    add_levels(tmp_path / "mito")
    np.testing.assert_array_equal(open_volume(tmp_path / "mito").read(), values)
    for n, step in enumerate((1, 2, 4)):
        level = zarr.open_array(tmp_path / "mito" / f"s{n}", mode="r")
        np.testing.assert_array_equal(level[:], values[:, ::step, ::step])
    stored = json.loads((tmp_path / "mito/.zattrs").read_text())["multiscales"][0]
    assert stored["version"] == "0.4"
    assert [axis["unit"] for axis in stored["axes"]] == ["nanometer"] * 3
    assert [level["path"] for level in stored["datasets"]] == ["s0", "s1", "s2"]
    assert stored["datasets"][2]["coordinateTransformations"] == [
        {"type": "scale", "scale": [40.0, 40.0, 40.0]},
        {"type": "translation", "translation": [80.0, 5.0, 0.0]},
    ]


def test_the_scorer_finds_the_level_nearest_to_a_voxel_size(tmp_path):
    create_result(tmp_path / "mito", GRID, np.uint8)[:] = 1
    add_levels(tmp_path / "mito")

    def read(name):
        path = tmp_path / "mito" / name
        return path.read_bytes() if path.is_file() else None

    assert describe(read, like=(40.0, 38.0, 38.0)).folder == "s2"


@pytest.mark.parametrize(("channels", "shape"), [(1, (5, 6, 7)), (3, (3, 5, 6, 7))])
def test_stored_numbers_have_an_axis_of_channels_only_if_there_are_several(
    tmp_path, channels, shape
):
    grid = VoxelGrid((5, 6, 7), (8.0, 4.0, 4.0), (1.0, 2.0, 3.0))
    array = create_stored(
        tmp_path / "a", grid, channels=channels, chunks=(4, 4, 4), about={"kind": "instance"}
    )
    assert array.shape == shape
    assert array.chunks[-3:] == (4, 4, 4)
    found = zarr.open_array(tmp_path / "a", mode="r")
    assert found.attrs["kind"] == "instance"
    assert grid_of(found) == grid
    assert not found[:].any()


@pytest.mark.parametrize("dtype", [np.uint8, np.uint32])
def test_a_tiff_holds_the_planes_in_order_and_knows_its_voxels(tmp_path, dtype):
    grid = VoxelGrid((7, 12, 10), (40.0, 4.0, 5.0))
    values = ids(grid).astype(dtype)
    array = create_result(tmp_path / "a", grid, dtype)
    array[:] = values
    write_tiff(
        tmp_path / "a.tif", planes_of(array), shape=grid.shape, dtype=dtype,
        voxel_size=grid.voxel_size,
    )  # fmt: skip
    stack = open_stack(tmp_path / "a.tif")
    assert stack.dtype == dtype
    assert stack.voxel_size == pytest.approx((40, 4, 5))
    np.testing.assert_array_equal(stack.planes(0, 7), values)
    np.testing.assert_array_equal(tifffile.imread(tmp_path / "a.tif"), values)
    assert [path.name for path in tmp_path.iterdir() if path.name.endswith(".part")] == []


def test_a_tall_stack_is_read_in_slabs(tmp_path, monkeypatch):
    monkeypatch.setattr(output, "_SLAB_VOXELS", 2 * 12 * 10)
    grid = VoxelGrid((7, 12, 10), (4.0, 4.0, 4.0))
    array = create_result(tmp_path / "a", grid, np.uint32)
    array[:] = ids(grid)
    np.testing.assert_array_equal(np.stack(list(planes_of(array))), ids(grid))


def test_a_voxel_is_of_the_most_probable_label_that_is_there(tmp_path):
    grid = VoxelGrid((1, 1, 4), (4.0, 4.0, 4.0))
    for name, mask, probability in (
        ("er", [1, 1, 0, 0], [200, 90, 250, 10]),
        ("mito", [0, 1, 1, 0], [255, 100, 60, 20]),
    ):
        create_result(tmp_path / name, grid, np.uint8)[:] = np.array([[mask]])
        create_stored(
            tmp_path / "probabilities" / name, grid, channels=1, chunks=(1, 1, 4), about={}
        )[:] = np.array([[probability]])
    planes = list(segmentation(tmp_path, {"er": 16, "mito": 300}, grid.shape))
    assert np.stack(planes).tolist() == [[[16, 300, 300, 0]]]
    assert planes[0].dtype == np.uint16


def test_of_several_channels_the_first_is_the_mask(tmp_path):
    grid = VoxelGrid((1, 1, 2), (4.0, 4.0, 4.0))
    create_result(tmp_path / "nuc", grid, np.uint32)[:] = np.array([[[7, 0]]])
    stored = create_stored(
        tmp_path / "probabilities/nuc", grid, channels=3, chunks=(1, 1, 2), about={}
    )
    stored[0] = np.array(
        [[[0, 200]]]
    )  # an object is where it is, even where its mask says 0: a filled hole
    assert np.stack(list(segmentation(tmp_path, {"nuc": 2}, grid.shape))).tolist() == [[[2, 0]]]


def test_metadata_is_plain_json(tmp_path):
    write_metadata(tmp_path, {"labels": {"mito": {"threshold": 0.5}}})
    stored = json.loads((tmp_path / "metadata.json").read_text())
    assert stored["labels"]["mito"] == {"threshold": 0.5}
