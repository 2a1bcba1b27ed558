"""Where predictions come to lie: by the official results, by other means, and by hand."""

import hashlib
import json
import math
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import zarr
from skimage.transform import rescale

from evaluator import Unreadable, VoxelGrid, alignment, get_protocol, load_manifest, open_volume
from evaluator.alignment import align
from tests.evaluator.shapes import boxes, target

SOUND, OFFICIAL = get_protocol("crista-1"), get_protocol("cellmap-2026.1")
AT = (100.0, 200.0, 300.0)


def stored(tmp_path, array, *, size=None, offset=None, order="C"):
    """The array on disk, with as much about its place as is given."""
    made = zarr.create_array(
        tmp_path / "a", shape=array.shape, dtype=array.dtype, chunks=(8, 8, 8), zarr_format=2,
        order=order, overwrite=True,
    )  # fmt: skip
    made[:] = array
    if size is not None:
        made.attrs["voxel_size"] = list(map(float, np.broadcast_to(size, 3)))
    if offset is not None:
        made.attrs["translation"] = list(map(float, np.broadcast_to(offset, 3)))
    return open_volume(tmp_path / "a")


def whole(aligned):
    return aligned.planes.planes(0, aligned.planes.shape[0])


def mito(shape=(10, 10, 10), size=4.0, offset=AT):
    return target("instance", shape, (size,) * 3, label="mito", offset=offset)


def er(shape=(10, 10, 10), size=4.0, offset=AT):
    return target("semantic", shape, (size,) * 3, label="er", offset=offset)


def some_ids(shape=(10, 10, 10), dtype="u2"):
    return np.random.default_rng(0).integers(0, 9, shape).astype(dtype)


def some_mask(shape=(10, 10, 10)):
    return np.random.default_rng(0).random(shape) < 0.5


def repeated(array, times):
    return array.repeat(times, 0).repeat(times, 1).repeat(times, 2)


# The official results


def digest(array):
    text = f"{array.dtype.str}|{array.shape}|".encode()
    return hashlib.sha256(text + np.ascontiguousarray(array).tobytes()).hexdigest()


def check_golden(golden, name):
    """Every aligned array of a case, read in uneven slabs, is the official one to the byte."""
    manifest = load_manifest(golden.case(name) / "manifest.csv")
    checked = 0
    for path, detail in golden.result(name)["detail"].items():
        if "aligned" in detail:
            aimed, folder = manifest.by_path[path], golden.unpacked(name) / path
            planes = align(open_volume(folder), aimed, OFFICIAL).planes
            depth, expected = aimed.grid.shape[0], detail["aligned"]
            parts = [planes.planes(z, min(z + 23, depth)) for z in range(0, depth, 23)]
            found = np.concatenate(parts).astype(expected["dtype"], casting="equiv")
            assert digest(found) == expected["sha256"], path
            checked += 1
    return checked


def test_every_official_geometry_is_matched_to_the_byte(golden):
    names = [n for n in golden.names("geo_") if n not in ("geo_chunked_path", "geo_ratio_limit")]
    assert len(names) > 30
    for name in names:
        assert check_golden(golden, name) == 2, name


@pytest.mark.parametrize("kind", ["sem_", "inst_", "truth_"])
def test_what_is_not_moved_stays_to_the_byte_in_every_official_case(golden, kind):
    for name in golden.names(kind):
        if golden.result(name)["detail"]:
            assert check_golden(golden, name) == 1, name


@pytest.mark.parametrize("name", ["agg_many", "lay_normal", "agg_all_skipped_is_perfect"])
def test_whole_submissions_are_matched_to_the_byte(golden, name):
    assert check_golden(golden, name) >= 4


def test_the_sampler_follows_the_built_in_list_and_not_the_manifest(golden):
    name = "agg_instance_override_finer"
    assert golden.result(name)["instance_classes"]
    assert check_golden(golden, name) == 4


@pytest.mark.timeout(600)
def test_blocks_of_a_huge_volume_are_matched_to_the_byte(golden):
    assert check_golden(golden, "geo_chunked_path") == 2


# The official rules where no result exists, by other means


def by_blocks(array, factors, side, *, order):
    """Blocks rescaled each by itself, later ones over earlier ones."""
    shape = [max(1, round(n * f)) for n, f in zip(array.shape, factors, strict=True)]
    out = np.zeros(shape, array.dtype if order == 0 else np.float32)
    for corner in np.ndindex(*(math.ceil(n / side) for n in array.shape)):
        start = [i * side for i in corner]
        block = array[tuple(slice(n, n + side) for n in start)]
        part = rescale(block, factors, order=order, mode="constant", preserve_range=True)
        at = [int(n * f) for n, f in zip(start, factors, strict=True)]
        where = tuple(slice(a, a + n) for a, n in zip(at, part.shape, strict=True))
        kept = tuple(map(slice, out[where].shape))
        out[where] = part[kept]
    return out if order == 0 else out > 0.5


@pytest.mark.parametrize("size", [2.0, 4 / 3, 1.74, 6.0, 8.0])
@pytest.mark.parametrize("dtype", ["u1", "f4", "f8"])
def test_blocks_are_rescaled_each_by_itself(tmp_path, monkeypatch, size, dtype):
    monkeypatch.setattr(alignment, "BLOCKS_ABOVE", 100)
    protocol, rng = replace(OFFICIAL, resample_block=7), np.random.default_rng(1)
    mask = rng.random((17, 20, 23)) < 0.6
    mask[:8, :8, :8] = True
    array = (mask * rng.uniform(0.4, 1, mask.shape) if dtype != "u1" else mask).astype(dtype)
    shape = tuple(max(1, round(n * size / 4)) for n in array.shape)
    aligned = align(stored(tmp_path, array, size=size), er(shape), protocol)
    assert np.array_equal(whole(aligned), by_blocks(array, [size / 4] * 3, 7, order=1))
    assert aligned.quirks == {"resample_block", "interpolates_raw"}
    aligned = align(stored(tmp_path, array, size=size), mito(shape), protocol)
    assert np.array_equal(whole(aligned), by_blocks(array, [size / 4] * 3, 7, order=0))
    assert "resample_block" in aligned.quirks


def test_a_huge_volume_without_voxel_size_is_squeezed_into_the_crop(tmp_path, monkeypatch):
    monkeypatch.setattr(alignment, "BLOCKS_ABOVE", 100)
    protocol, array = replace(OFFICIAL, resample_block=7), some_ids((15, 20, 10))
    aligned = align(stored(tmp_path, array), mito(), protocol)
    assert np.array_equal(whole(aligned), by_blocks(array, (10 / 15, 0.5, 1.0), 7, order=0))
    assert aligned.quirks == {"resample_block", "centres_unplaced"}
    small_on_one_side = some_ids((15, 20, 9))
    aligned = align(stored(tmp_path, small_on_one_side), mito(), protocol)
    assert aligned.quirks == {"centres_unplaced"}
    assert np.array_equal(whole(aligned)[:, :, :9], small_on_one_side[2:12, 5:15])


def test_without_blocks_a_huge_volume_is_rescaled_at_once(tmp_path, monkeypatch):
    monkeypatch.setattr(alignment, "BLOCKS_ABOVE", 100)
    array = repeated(some_mask(), 2).astype("u1")
    aligned = align(stored(tmp_path, array, size=2.0), er(), replace(OFFICIAL, resample_block=0))
    expected = rescale(array, 0.5, order=1, mode="constant", preserve_range=True) > 0.5
    assert np.array_equal(whole(aligned), expected)
    assert "resample_block" not in aligned.quirks


def test_a_volume_without_voxel_size_is_cut_and_filled_up_around_its_centre(tmp_path):
    array = some_ids((13, 7, 10))
    aligned = align(stored(tmp_path, array), mito(), OFFICIAL)
    expected = np.zeros((10, 10, 10), array.dtype)
    expected[:, 1:8] = array[1:11]
    assert np.array_equal(whole(aligned), expected)
    assert (aligned.quirks, aligned.resampled) == ({"centres_unplaced"}, False)


def test_a_volume_without_offset_begins_at_the_corner(tmp_path):
    array = some_ids((8, 12, 10))
    aligned = align(stored(tmp_path, array, size=4.0), mito(), OFFICIAL)
    expected = np.zeros((10, 10, 10), array.dtype)
    expected[:8] = array[:, :10]
    assert np.array_equal(whole(aligned), expected)
    assert not aligned.quirks


@pytest.mark.parametrize(
    ("start", "offset", "moved"),
    [
        (1000.0, 1004.0, 1),  # on the grid through the origin
        (1001.5, 1005.5, 0),  # off it
        (1001.5, 997.5, -1),
        (1001.5, 1013.5, 2),
        (1000.0, 1000.0 + 4e6, 10),  # far away
    ],
)
def test_offsets_are_snapped_to_a_grid_through_the_origin(tmp_path, start, offset, moved):
    array = some_ids()
    aligned = align(stored(tmp_path, array, size=4.0, offset=offset), mito(offset=(start,) * 3),
                    OFFICIAL)  # fmt: skip
    expected = np.zeros_like(array)
    kept, gone = slice(max(moved, 0), 10 + min(moved, 0)), slice(max(-moved, 0), 10 - max(moved, 0))
    expected[kept, kept, kept] = array[gone, gone, gone]
    assert np.array_equal(whole(aligned), expected)


# Quirks


@pytest.mark.parametrize(
    ("name", "er_quirks", "mito_quirks"),
    [
        ("geo_larger_roi", set(), set()),
        ("geo_no_attrs_same_shape", set(), set()),
        ("geo_no_attrs_larger", {"centres_unplaced"}, {"centres_unplaced"}),
        ("geo_offset_m1_offgrid", set(), set()),
        ("geo_offset_p1_offgrid", {"snaps_offsets"}, {"snaps_offsets"}),
        ("geo_offset_p1_ongrid", set(), set()),
        ("geo_finer2", {"interpolates_raw"}, set()),
        ("geo_coarser2", {"interpolates_raw"}, set()),
        ("geo_finer2_float32_inst", {"interpolates_raw"}, {"blurs_ids"}),
    ],
)
def test_a_quirk_is_told_where_it_had_an_effect(golden, name, er_quirks, mito_quirks):
    manifest = load_manifest(golden.case(name) / "manifest.csv")
    for aimed, expected in zip(manifest.targets, (er_quirks, mito_quirks), strict=True):
        volume = open_volume(golden.unpacked(name) / aimed.path)
        assert align(volume, aimed, OFFICIAL).quirks == expected
        if "no_attrs_larger" not in name:
            assert not align(volume, aimed, SOUND).quirks


def test_a_kind_that_the_built_in_list_does_not_know_is_told(tmp_path):
    volume = stored(tmp_path, repeated(some_ids(), 2), size=2.0)
    for kind, label, quirk in (("semantic", "mito", True), ("instance", "mito", False),
                               ("instance", "er", True), ("semantic", "er", False)):  # fmt: skip
        aimed = target(kind, (10, 10, 10), (4.0, 4.0, 4.0), label=label, offset=AT)
        aligned = align(volume, aimed, OFFICIAL)
        assert ("builtin_kinds" in aligned.quirks) == quirk
        assert (aligned.planes.dtype == bool) == (label == "er")
        assert (align(volume, aimed, SOUND).planes.dtype == bool) == (kind == "semantic")


def test_what_is_not_resampled_has_no_quirk_of_its_label(tmp_path):
    volume = stored(tmp_path, some_ids(dtype="f4"), size=4.0, offset=AT)
    aimed = target("instance", (10, 10, 10), (4.0, 4.0, 4.0), label="er", offset=AT)
    assert not align(volume, aimed, OFFICIAL).quirks


# The sound rules


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
