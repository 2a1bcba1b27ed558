"""Where the official code puts predictions: by its own results, and by other means."""

import hashlib
import math
from dataclasses import replace

import numpy as np
import pytest
from skimage.transform import rescale

from evaluator import alignment, load_manifest, open_volume
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
from tests.evaluator.shapes import target


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


def laid(array, start, shape):
    """An array put into zeros so that it begins at a voxel, which may lie outside."""
    out = np.zeros(shape, array.dtype)
    for place in np.ndindex(*shape):
        index = np.subtract(place, start)
        if (index >= 0).all() and (index < array.shape).all():
            out[place] = array[tuple(index)]
    return out


@pytest.mark.parametrize("seed", range(12))
def test_a_volume_is_rescaled_from_its_corner_and_then_moved(tmp_path, seed):
    rng = np.random.default_rng(seed)
    size, voxels = rng.choice([1.74, 2.0, 3.0, 4.0, 6.0, 8.0], 3), rng.integers(-6, 7, 3)
    size[seed % 3] = 2.5
    array = some_ids(tuple(rng.integers(5, 25, 3)))
    volume = stored(tmp_path, array, size=size, offset=1000 + 4.0 * voxels + rng.uniform(0, 3.9, 3))
    for aimed, order in ((mito(offset=(1000.0,) * 3), 0), (er(offset=(1000.0,) * 3), 1)):
        scaled = rescale(array, size / 4, order=order, mode="constant", preserve_range=True)
        expected = laid(scaled > 0.5 if order else scaled, voxels, aimed.grid.shape)
        assert np.array_equal(whole(align(volume, aimed, OFFICIAL)), expected)


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
