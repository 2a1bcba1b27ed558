"""Where predictions come to lie by the sound rules, and what it costs to put them there."""

import json
import subprocess
import sys

import numpy as np
import pytest
import zarr

from evaluator import Unreadable, VoxelGrid, open_volume
from evaluator.alignment import align
from tests.evaluator.placed import (
    AT,
    OFFICIAL,
    SOUND,
    er,
    mito,
    repeated,
    some_ids,
    some_mask,
    stored,
    whole,
)
from tests.evaluator.shapes import boxes


@pytest.mark.parametrize("protocol", [SOUND, OFFICIAL])
@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("place", [{}, {"size": 4.0}, {"size": 4.00001, "offset": AT}])
def test_on_its_targets_grid_a_volume_is_handed_on_as_it_is(tmp_path, protocol, order, place):
    volume = stored(tmp_path, some_ids(), order=order, **place)
    aligned = align(volume, mito(), protocol)
    assert aligned.planes is volume
    assert (aligned.planes.order, aligned.resampled, aligned.quirks) == (order, False, frozenset())


def test_another_shape_without_a_place_is_unreadable(tmp_path):
    volume = stored(tmp_path, some_ids((10, 10, 9)))
    with pytest.raises(Unreadable, match=r"shape is \(10, 10, 9\); expected \(10, 10, 10\)"):
        align(volume, mito(), SOUND)


def test_a_volume_on_the_same_voxels_is_moved_by_whole_ones(tmp_path):
    array = some_ids((12, 10, 9))
    volume = stored(tmp_path, array, size=4.0, offset=(100.0 + 16, 200.0 - 12, 300.0 + 1.9))
    expected = np.zeros((10, 10, 10), array.dtype)
    expected[4:, :7, :9] = array[:6, 3:]
    for aimed in (mito(), er()):
        aligned = align(volume, aimed, SOUND)
        assert np.array_equal(whole(aligned), expected)
        assert (aligned.resampled, aligned.planes.dtype) == (False, array.dtype)
        assert aligned.planes.order == "C"


def test_off_the_grid_through_the_origin_a_moved_volume_lands_where_its_offset_says(tmp_path):
    array = some_ids((9, 9, 9))
    start = (1001.5, 2001.5, 4002.0)
    volume = stored(tmp_path, array, size=4.0, offset=np.add(start, 4.0))
    expected = np.zeros((10, 10, 10), array.dtype)
    expected[1:, 1:, 1:] = array
    assert np.array_equal(whole(align(volume, mito(offset=start), SOUND)), expected)


def test_a_volume_elsewhere_leaves_nothing(tmp_path):
    for size in (2.0, 4.0, 8.0):
        volume = stored(tmp_path, np.ones((10, 10, 10), "u1"), size=size, offset=(9e3, 200, 300))
        for aimed in (mito(), er()):
            for protocol in (SOUND, OFFICIAL):
                assert not whole(align(volume, aimed, protocol)).any()


@pytest.mark.parametrize("times", [2, 3, 4])
@pytest.mark.parametrize("placed", [True, False])
def test_a_truth_repeated_times_over_gives_itself(tmp_path, times, placed):
    size = 4.0 / times
    offset = np.subtract(AT, 2.0 - size / 2) if placed else None
    for aimed, truth in ((mito(), some_ids()), (er(), some_mask().astype("u1"))):
        volume = stored(tmp_path, repeated(truth, times), size=size, offset=offset)
        aligned = align(volume, aimed, SOUND)
        assert aligned.resampled
        assert np.array_equal(whole(aligned), truth)


def test_ids_come_from_the_nearest_voxel_centre(tmp_path):
    rng = np.random.default_rng(2)
    for _ in range(20):
        aimed = mito((7, 9, 11), offset=tuple(rng.uniform(0, 20, 3)))
        grid = VoxelGrid((12, 13, 14), tuple(rng.uniform(2, 12, 3)), tuple(rng.uniform(0, 20, 3)))
        array = some_ids(grid.shape, "i8")
        volume = stored(tmp_path, array, size=grid.voxel_size, offset=grid.offset)
        expected = np.zeros(aimed.grid.shape, array.dtype)
        for place in np.ndindex(aimed.grid.shape):
            centre = np.add(aimed.grid.offset, np.multiply(place, aimed.grid.voxel_size))
            index = np.rint((centre - grid.offset) / grid.voxel_size).astype(int)
            if (index >= 0).all() and (index < grid.shape).all():
                expected[place] = array[tuple(index)]
        assert np.array_equal(whole(align(volume, aimed, SOUND)), expected)


def test_a_finer_mask_half_a_voxel_aside_counts_by_what_it_covers(tmp_path):
    fine = np.zeros((20, 20, 20), "u1")
    fine[:, :, :3] = 1  # voxels of 2 nm: it ends in the middle of the second voxel of 4 nm
    corner = np.subtract(AT, 1.0)
    for aside, width in ((0.0, 2), (-0.1, 1), (0.1, 2)):
        volume = stored(tmp_path, fine, size=2.0, offset=np.add(corner, (0, 0, aside)))
        expected = np.zeros((10, 10, 10), bool)
        expected[:, :, :width] = True
        assert np.array_equal(whole(align(volume, er(), SOUND)), expected)


def test_a_coarser_mask_keeps_its_border(tmp_path):
    coarse = stored(tmp_path, np.ones((5, 5, 5), "u1"), size=8.0)
    assert whole(align(coarse, er(), SOUND)).all()
    by_half = stored(tmp_path, np.ones((5, 5, 5), "f4") * 0.5, size=8.0)
    assert not whole(align(by_half, er(), SOUND)).any()


def test_a_mask_that_is_finer_and_coarser_on_different_axes(tmp_path):
    truth = boxes(((2, 2, 2), (8, 8, 8)), dtype="u1")
    source = truth[::2].repeat(3, 1)  # 8 nm, 4/3 nm, 4 nm
    volume = stored(tmp_path, source, size=(8.0, 4 / 3, 4.0))
    assert np.array_equal(whole(align(volume, er(), SOUND)), truth > 0)


def test_slabs_of_any_thickness_give_the_same_under_each_protocol(tmp_path):
    rng = np.random.default_rng(3)
    for protocol in (SOUND, OFFICIAL):
        for aimed in (mito(), er()):
            size, offset = rng.uniform(2, 9, 3), np.add(AT, rng.uniform(-9, 9, 3))
            volume = stored(tmp_path, some_ids((14, 15, 16)), size=size, offset=offset)
            planes = align(volume, aimed, protocol).planes
            for thickness in (1, 4, 7):
                parts = [planes.planes(z, min(z + thickness, 10)) for z in range(0, 10, thickness)]
                assert np.array_equal(np.concatenate(parts), planes.planes(0, 10))


def test_a_damaged_chunk_is_found_when_it_is_read_and_not_before(tmp_path):
    stored(tmp_path, repeated(some_ids(), 2), size=2.0)
    (chunk,) = (tmp_path / "a").glob("2.2.2")
    chunk.write_bytes(b"damaged")
    for protocol in (SOUND, OFFICIAL):
        planes = align(open_volume(tmp_path / "a"), mito(), protocol).planes
        planes.planes(0, 5)
        with pytest.raises(Unreadable, match="damaged"):
            planes.planes(5, 10)


@pytest.mark.parametrize("protocol", [SOUND, OFFICIAL])
@pytest.mark.parametrize("size", [(1e9, 1e9, 1e9), (1e-6, 1e9, 4.0)])
def test_absurd_voxel_sizes_neither_take_memory_nor_time(tmp_path, protocol, size):
    volume = stored(tmp_path, np.ones((3, 1, 5), "u1"), size=size)
    for aimed in (mito(), er()):
        whole(align(volume, aimed, protocol))


def test_a_volume_that_is_fine_on_one_axis_and_coarse_on_another_is_unreadable(tmp_path):
    volume = stored(tmp_path, np.ones((1, 1, 650), "u1"), size=(40, 40, 4 / 65))
    with pytest.raises(Unreadable, match="65 voxels along one axis to each of the target's"):
        align(volume, er(), SOUND)
    assert whole(align(volume, er(), OFFICIAL)).any()


MEASURE = """
import json, resource, sys
from pathlib import Path
from evaluator import get_protocol, open_volume
from evaluator.alignment import align
from tests.evaluator.shapes import target
aimed = target("semantic", (256,) * 3, (4.0,) * 3, label="er")
peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
before = peak()
planes = align(open_volume(Path(sys.argv[1])), aimed, get_protocol(sys.argv[2])).planes
found = sum(int(planes.planes(z, z + 16).sum()) for z in range(0, 256, 16))
print(json.dumps([peak() - before, found]))
"""


@pytest.mark.parametrize("protocol", ["crista-1", "cellmap-2026.1"])
def test_memory_does_not_follow_the_volume(tmp_path, protocol):
    made = zarr.create_array(
        tmp_path / "a", shape=(512,) * 3, dtype="u1", chunks=(64,) * 3, zarr_format=2
    )
    made.attrs["voxel_size"] = [2.0] * 3
    made[:, 100:300, 100:300] = 1
    command = [sys.executable, "-c", MEASURE, str(tmp_path / "a"), protocol]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120)
    mebibytes, found = json.loads(done.stdout)
    assert abs(found / (256 * 100 * 100) - 1) < 0.001  # blocks lose some at their seams
    assert mebibytes < 300  # the source is 128 MiB, and 1 GiB in the numbers it is blurred in
