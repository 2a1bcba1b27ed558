import json

import numpy as np
import pytest
import zarr

from evaluator import Unreadable, VoxelGrid, create_volume, open_volume, volume

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


def on(
    tmp_path, target: VoxelGrid, values: np.ndarray = VALUES, grid: VoxelGrid = GRID
) -> np.ndarray:
    create_volume(tmp_path / "a", grid, values.dtype, chunks=(8, 8, 8))[:] = values
    return open_volume(tmp_path / "a").read_on(target)


def test_on_its_own_grid_a_volume_is_itself(tmp_path):
    assert np.array_equal(on(tmp_path, GRID), VALUES)


def test_on_a_shifted_grid_the_outside_is_zero(tmp_path):
    shifted = VoxelGrid((10, 20, 30), (8.0, 4.0, 4.0), (100.0 + 16, 200.0 - 12, 300.0))
    expected = np.zeros_like(VALUES)
    expected[:8, 3:] = VALUES[2:, :17]
    assert np.array_equal(on(tmp_path, shifted), expected)


def test_on_a_coarser_grid_every_second_voxel_is_taken(tmp_path):
    coarse = VoxelGrid((5, 10, 15), (16.0, 8.0, 8.0), (100.0, 200.0, 300.0))
    assert np.array_equal(on(tmp_path, coarse), VALUES[::2, ::2, ::2])


def test_on_a_finer_grid_voxels_are_repeated(tmp_path):
    fine = VoxelGrid((20, 40, 60), (4.0, 2.0, 2.0), (98.0, 199.0, 299.0))
    expected = VALUES.repeat(2, axis=0).repeat(2, axis=1).repeat(2, axis=2)
    assert np.array_equal(on(tmp_path, fine), expected)


def test_on_a_distant_grid_everything_is_zero(tmp_path):
    assert not on(tmp_path, VoxelGrid((4, 4, 4), (8.0, 4.0, 4.0), (9000.0, 0.0, 0.0))).any()


def test_reading_in_parts_changes_nothing(tmp_path, monkeypatch):
    rng = np.random.default_rng(1)
    for _ in range(5):
        size, offset = rng.uniform(2, 12, 3), np.array(GRID.offset) + rng.uniform(-40, 40, 3)
        target = VoxelGrid((7, 9, 11), tuple(size), tuple(offset))
        whole = on(tmp_path, target)
        monkeypatch.setattr(volume, "SLAB_VOXELS", 1)
        assert np.array_equal(on(tmp_path, target), whole)
        monkeypatch.undo()


def test_without_a_grid_the_shape_must_be_that_of_the_target(tmp_path):
    zarr.create_array(tmp_path / "a", shape=(4, 5, 6), dtype="u1")[:] = 1
    found = open_volume(tmp_path / "a")
    assert found.read_on(VoxelGrid((4, 5, 6), (8.0, 4.0, 4.0))).all()
    with pytest.raises(Unreadable, match=r"shape is \(4, 5, 6\); expected \(6, 5, 4\)"):
        found.read_on(VoxelGrid((6, 5, 4), (8.0, 4.0, 4.0)))
