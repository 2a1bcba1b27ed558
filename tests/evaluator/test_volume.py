import json

import numpy as np
import pytest
import zarr

from evaluator import Unreadable, VoxelGrid, create_volume, open_volume

GRID = VoxelGrid((10, 20, 30), (8.0, 4.0, 4.0), (100.0, 200.0, 300.0))
VALUES = np.random.default_rng(0).integers(0, 60000, GRID.shape).astype(np.uint16)


@pytest.mark.parametrize("multiscale", [False, True])
def test_what_is_created_is_opened_with_its_grid(tmp_path, multiscale):
    array = create_volume(tmp_path / "a", GRID, "u2", chunks=(8, 8, 8), multiscale=multiscale)
    array[:] = VALUES
    found = open_volume(tmp_path / "a")
    assert (found.shape, found.dtype, found.grid) == (GRID.shape, np.uint16, GRID)
    assert np.array_equal(found.read(), VALUES)


def test_a_multiscale_volume_is_valid_ome_ngff(tmp_path):
    create_volume(tmp_path / "mito", GRID, "u1", multiscale=True)
    assert (tmp_path / "mito" / "s0" / ".zarray").is_file()
    attributes = json.loads((tmp_path / "mito" / ".zattrs").read_text())
    (image,) = attributes["multiscales"]
    assert [axis["name"] for axis in image["axes"]] == ["z", "y", "x"]
    assert image["datasets"][0]["path"] == "s0"


def test_creating_again_replaces_what_was_there(tmp_path):
    create_volume(tmp_path / "a", GRID, "u2")[:] = VALUES
    create_volume(tmp_path / "a", GRID, "u1", multiscale=True)
    found = open_volume(tmp_path / "a")
    assert found.dtype == np.uint8
    assert not found.read().any()


@pytest.mark.parametrize("zarr_format", [2, 3])
@pytest.mark.parametrize("dtype", [">u2", "i4", "bool", "f4"])
@pytest.mark.parametrize("order", ["C", "F"])
def test_arrays_of_the_usual_library_are_read_voxel_for_voxel(tmp_path, zarr_format, dtype, order):
    values = VALUES.astype(dtype)
    settings = {"order": order} if zarr_format == 2 else {}
    array = zarr.create_array(
        tmp_path / "a", shape=GRID.shape, chunks=(4, 8, 16), dtype=dtype, zarr_format=zarr_format,
        **settings,
    )  # fmt: skip
    array[:] = values
    found = open_volume(tmp_path / "a")
    assert found.grid is None
    assert found.dtype.isnative
    assert np.array_equal(found.read(), values)


def test_a_sharded_array_is_read(tmp_path):
    array = zarr.create_array(
        tmp_path / "a", shape=GRID.shape, chunks=(8, 8, 8), shards=(16, 16, 16), dtype="u2"
    )
    array[:] = VALUES
    assert np.array_equal(open_volume(tmp_path / "a").read(), VALUES)


def test_a_box_is_read(tmp_path):
    create_volume(tmp_path / "a", GRID, "u2", chunks=(8, 8, 8))[:] = VALUES
    box = open_volume(tmp_path / "a").read((1, 2, 3), (9, 12, 30))
    assert np.array_equal(box, VALUES[1:9, 2:12, 3:30])
    assert box.flags.c_contiguous


def test_slabs_follow_each_other_and_the_last_is_thinner(tmp_path):
    create_volume(tmp_path / "a", GRID, "u2")[:] = VALUES
    slabs = list(open_volume(tmp_path / "a").slabs(4))
    assert [len(slab) for slab in slabs] == [4, 4, 2]
    assert np.array_equal(np.concatenate(slabs), VALUES)


def test_voxels_that_were_never_written_are_zero(tmp_path):
    create_volume(tmp_path / "a", GRID, "u2")
    assert not open_volume(tmp_path / "a").read().any()


@pytest.mark.parametrize("content", [None, "{}", "not json", '{"zarr_format": 2}'])
def test_what_is_no_array_is_named(tmp_path, content):
    if content is not None:
        (tmp_path / ".zarray").write_text(content)
    with pytest.raises(Unreadable, match=str(tmp_path)):
        open_volume(tmp_path)


def test_a_damaged_chunk_is_unreadable_and_the_others_are_not(tmp_path):
    create_volume(tmp_path / "a", GRID, "u2", chunks=(8, 8, 8))[:] = VALUES
    (tmp_path / "a" / "0" / "0" / "0").write_bytes(b"damaged")
    found = open_volume(tmp_path / "a")
    with pytest.raises(Unreadable, match="a chunk is damaged"):
        found.read()
    assert np.array_equal(found.read((8, 8, 8)), VALUES[8:, 8:, 8:])


def test_a_caching_volume_reads_the_same_in_slabs_that_overlap(tmp_path):
    create_volume(tmp_path / "a", GRID, "u2", chunks=(8, 8, 8))[:] = VALUES
    found = open_volume(tmp_path / "a")
    kept = found.caching()
    assert (kept.shape, kept.dtype, kept.grid, kept.depth) == (GRID.shape, np.uint16, GRID, 8)
    for z in range(8):
        assert np.array_equal(kept.planes(z, z + 3), VALUES[z : z + 3])


def test_a_caching_volume_decodes_a_chunk_once(tmp_path):
    create_volume(tmp_path / "a", GRID, "u2", chunks=(8, 8, 8))[:] = VALUES
    kept = open_volume(tmp_path / "a").caching()
    kept.planes(0, 2)
    for chunk in (tmp_path / "a" / "0").rglob("[0-9]"):
        if chunk.is_file():
            chunk.unlink()
    assert np.array_equal(kept.planes(2, 8), VALUES[2:8])
    assert not open_volume(tmp_path / "a").planes(2, 8).any()


def test_a_damaged_chunk_is_unreadable_each_time(tmp_path):
    create_volume(tmp_path / "a", GRID, "u2", chunks=(8, 8, 8))[:] = VALUES
    (tmp_path / "a" / "0" / "0" / "0").write_bytes(b"damaged")
    kept = open_volume(tmp_path / "a").caching()
    for _ in range(2):
        with pytest.raises(Unreadable, match="a chunk is damaged"):
            kept.planes(0, 2)
