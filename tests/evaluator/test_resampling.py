"""Each kernel against a slow statement of the same by other means."""

import itertools
import math
from fractions import Fraction

import numpy as np
import pytest
from scipy.ndimage import map_coordinates
from skimage.transform import rescale

from evaluator import VoxelGrid, create_volume, open_volume, resampling
from evaluator.resampling import (
    BlurredIds,
    MaskShares,
    RawLinear,
    Sampled,
    Stretch,
    nearest,
    nearest_rounded,
)

FACTORS = [0.25, 1 / 3, 0.5, 0.57, 2 / 3, 0.87, 1.0, 1.149, 1.5, 2.0, 3.0, 4 / 1.74]


def stored(tmp_path, array):
    """The array as a volume on disk, in chunks that no slab fits."""
    grid = VoxelGrid(array.shape, (1.0, 1.0, 1.0))
    create_volume(tmp_path / "a", grid, array.dtype, chunks=(5, 8, 16))[:] = array
    return open_volume(tmp_path / "a")


def rescaled(n, factor):
    """An axis rescaled as a whole: target voxels share the source's extent evenly."""
    count = max(1, round(n * factor))
    x = n / count * (np.arange(count) + 0.5) - 0.5
    return [Stretch(0, 0, n, x, n / count)]


def sampled(tmp_path, array, axes, kernel, dtype=bool):
    shape = tuple(max(stretch.stop for stretch in stretches) for stretches in axes)
    return Sampled(stored(tmp_path, array), shape, np.dtype(dtype), tuple(axes), kernel)


def whole(planes):
    return planes.planes(0, planes.shape[0])


def like_skimage(array, factors, order):
    return rescale(array, factors, order=order, mode="constant", preserve_range=True)


def random_volume(rng, dtype):
    """Values as predictions have them: masks, probabilities, ids."""
    shape = tuple(int(n) for n in rng.integers(3, 26, 3))
    mask = rng.random(shape) < rng.choice([0.05, 0.3, 0.6])
    if dtype == "bool":
        return mask
    values = rng.random(shape) if np.dtype(dtype).kind == "f" else rng.integers(1, 100, shape)
    if rng.random() < 0.3:
        values = np.full(shape, rng.choice([1, 3]))
    return (mask * values).astype(dtype)


@pytest.mark.parametrize("dtype", ["bool", "u1", "i2", "u4", "i8", "f2", "f4", "f8"])
def test_raw_values_are_blurred_and_interpolated_to_the_bit_like_scikit_image(tmp_path, dtype):
    rng = np.random.default_rng(1)
    for _ in range(25):
        array = random_volume(rng, dtype)
        factors = rng.choice(FACTORS, 3)
        axes = [rescaled(n, f) for n, f in zip(array.shape, factors, strict=True)]
        source = array.astype(np.float32) if dtype == "bool" else array
        expected = like_skimage(source, factors, order=1) > 0.5
        assert np.array_equal(whole(sampled(tmp_path, array, axes, RawLinear())), expected)


@pytest.mark.parametrize("dtype", ["f2", "f4", "f8"])
def test_ids_as_fractions_are_blurred_to_the_bit_like_scikit_image(tmp_path, dtype):
    rng = np.random.default_rng(2)
    for _ in range(25):
        array = random_volume(rng, dtype) * dtype_of(dtype)(37)
        factors = rng.choice(FACTORS, 3)
        axes = [rescaled(n, f) for n, f in zip(array.shape, factors, strict=True)]
        expected = like_skimage(array, factors, order=0).astype(dtype)
        found = whole(sampled(tmp_path, array, axes, BlurredIds(), dtype))
        assert np.array_equal(found, expected)
        assert found.dtype == np.dtype(dtype)


def dtype_of(name):
    return np.dtype(name).type


@pytest.mark.parametrize("dtype", ["bool", "u1", "i2", "u4", "i8", "u8"])
def test_whole_ids_come_from_the_voxels_scikit_image_takes(tmp_path, dtype):
    rng = np.random.default_rng(3)
    for _ in range(25):
        array = random_volume(rng, dtype)
        factors = rng.choice(FACTORS, 3)
        axes = [rescaled(n, f) for n, f in zip(array.shape, factors, strict=True)]
        found = whole(sampled(tmp_path, array, axes, nearest_rounded, dtype))
        assert np.array_equal(found, like_skimage(array, factors, order=0))


def test_through_floats_huge_ids_run_together_and_otherwise_they_do_not(tmp_path):
    array = np.full((4, 4, 4), 2**53 + 1, np.uint64)
    axes = [rescaled(4, 0.5)] * 3
    assert (whole(sampled(tmp_path, array, axes, nearest_rounded, "u8")) == 2**53).all()
    assert (whole(sampled(tmp_path, array, axes, nearest, "u8")) == 2**53 + 1).all()


@pytest.mark.parametrize(
    ("values", "foreground"),
    [
        ((1.0, 1.0), True),  # no zero in it: its border does not fade
        ((0.5, 0.5), False),  # rounding must not lift it over one half
        ((0.51, 3.0), True),
        ((0.4, 0.5), False),
        ((math.nan, math.nan), False),
    ],
)
@pytest.mark.parametrize("factor", [0.4, 2.0])
def test_volumes_all_above_or_all_below_one_half_stay_so(tmp_path, values, foreground, factor):
    array = np.resize(np.array(values), (9, 8, 7))
    found = whole(sampled(tmp_path, array, [rescaled(n, factor) for n in (9, 8, 7)], RawLinear()))
    assert (found == foreground).all()
    if not math.isnan(values[0]):
        assert np.array_equal(found, like_skimage(array, [factor] * 3, order=1) > 0.5)


@pytest.mark.parametrize("special", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("factor", [0.5, 2.0])
def test_values_that_are_not_finite_do_as_in_scikit_image(tmp_path, special, factor):
    rng = np.random.default_rng(4)
    array = rng.random((8, 9, 10))
    array[2, 3, 4] = array[0, 8, 9] = special
    axes = [rescaled(n, factor) for n in array.shape]
    with np.errstate(invalid="ignore"):
        smooth, sharp = (like_skimage(array, [factor] * 3, order=order) for order in (1, 0))
    assert np.array_equal(whole(sampled(tmp_path, array, axes, RawLinear())), smooth > 0.5)
    if factor < 1:  # upwards there is no blur
        found = whole(sampled(tmp_path, array, axes, BlurredIds(), "f8"))
        assert np.array_equal(found, sharp, equal_nan=True)


def test_rounding_to_32_bits_comes_before_the_threshold(tmp_path):
    array = np.full((2, 2, 2), 0.5 + 1e-12)
    array[0, 0, 0] = 0
    axes = [rescaled(2, 1.0)] * 3
    assert whole(sampled(tmp_path, array, axes, RawLinear())).sum() == 7
    assert not whole(sampled(tmp_path, array, axes, RawLinear(rounds=True))).any()


def overlap(i, centre, step):
    """How much of source voxel i lies within `step` voxels around a place, exactly."""
    low, high = centre - step / 2, centre + step / 2
    return max(Fraction(0), min(high, i + Fraction(1, 2)) - max(low, i - Fraction(1, 2)))


def share_by_hand(mask, centres, steps):
    """The share of each target voxel's box that a mask covers, in fractions."""
    out = np.zeros([len(axis) for axis in centres], bool)
    for place in np.ndindex(out.shape):
        covered = sum(
            math.prod(
                overlap(i, c[p], s) for i, c, p, s in zip(at, centres, place, steps, strict=True)
            )
            for at in np.argwhere(mask).tolist()
        )
        out[place] = covered / math.prod(steps) >= Fraction(1, 2)
    return out


def test_a_finer_mask_counts_by_the_exact_share_it_covers(tmp_path):
    rng = np.random.default_rng(5)
    steps = Fraction(2), Fraction(3, 2), Fraction(7, 3)
    for shift in (Fraction(1, 2), Fraction(0), Fraction(1, 3)):
        mask = rng.random((6, 6, 7)) < 0.5
        centres = [[shift + i * step for i in range(3)] for step in steps]
        axes = [
            [Stretch(0, 0, n, np.array(list(map(float, axis))), float(step))]
            for n, axis, step in zip(mask.shape, centres, steps, strict=True)
        ]
        found = whole(sampled(tmp_path, mask, axes, MaskShares(0.5)))
        assert np.array_equal(found, share_by_hand(mask, centres, steps))


def test_a_coarser_mask_is_interpolated_and_does_not_fade_at_the_border(tmp_path):
    rng = np.random.default_rng(6)
    for _ in range(10):
        mask = rng.random((5, 6, 7)) < 0.5
        axes = [rescaled(n, f) for n, f in zip(mask.shape, (2.0, 3.0, 1.7), strict=True)]
        places = np.meshgrid(*(stretches[0].x for stretches in axes), indexing="ij")
        expected = map_coordinates(mask.astype(float), places, order=1, mode="nearest")
        found = whole(sampled(tmp_path, mask, axes, MaskShares(0.5)))
        certain = np.abs(expected - 0.5) > 1e-6
        assert np.array_equal(found[certain], (expected > 0.5)[certain])
        assert found[~certain].all()


def test_exactly_half_a_voxel_is_foreground(tmp_path):
    mask = np.zeros((2, 2, 2), bool)
    axes = [rescaled(2, 0.5)] * 3
    assert not whole(sampled(tmp_path, mask, axes, MaskShares(0.5))).any()
    mask[0] = True
    assert whole(sampled(tmp_path, mask, axes, MaskShares(0.5))).all()
    mask[0, 0, 0] = False
    assert not whole(sampled(tmp_path, mask, axes, MaskShares(0.5))).any()


@pytest.mark.parametrize("times", [2, 3, 5])
def test_a_mask_repeated_times_over_gives_itself(tmp_path, times):
    mask = np.random.default_rng(7).random((5, 6, 7)) < 0.5
    fine = mask.repeat(times, 0).repeat(times, 1).repeat(times, 2)
    axes = [rescaled(n, 1 / times) for n in fine.shape]
    assert np.array_equal(whole(sampled(tmp_path, fine, axes, MaskShares(0.5))), mask)


@pytest.mark.parametrize("dtype", ["u1", "i4", "f4"])
def test_the_mask_is_made_before_it_is_resampled(tmp_path, dtype):
    array = np.zeros((4, 4, 4), dtype)
    array[:2] = 200  # of a plane pair one is far above, which must not outvote the other
    array[2] = 200
    found = whole(sampled(tmp_path, array, [rescaled(4, 0.25)] * 3, MaskShares(0.5)))
    assert found.item()
    array[1:3] = 0
    found = whole(sampled(tmp_path, array, [rescaled(4, 0.25)] * 3, MaskShares(0.5)))
    assert not found.any()


def test_fractions_up_to_the_threshold_and_negative_numbers_are_background(tmp_path):
    for values in (np.full((4, 4, 4), 0.5), np.full((4, 4, 4), math.nan), np.full((4, 4, 4), -3)):
        axes = [rescaled(4, 0.5)] * 3
        assert not whole(sampled(tmp_path, values, axes, MaskShares(0.5))).any()


@pytest.mark.parametrize("kernel", [nearest, MaskShares, RawLinear])
@pytest.mark.parametrize("factors", [(0.5, 0.5, 0.5), (0.4, 2.0, 1.0), (3.0, 1.5, 2.0)])
def test_slabs_of_any_thickness_give_the_same(tmp_path, monkeypatch, kernel, factors):
    if kernel is not nearest:
        kernel = kernel(0.5) if kernel is MaskShares else kernel()
    dtype = "u2" if kernel is nearest else "bool"
    array = random_volume(np.random.default_rng(8), "u2")
    axes = [rescaled(n, f) for n, f in zip(array.shape, factors, strict=True)]
    planes = sampled(tmp_path, array, axes, kernel, dtype)
    expected, depth = whole(planes), planes.shape[0]
    for slab, thickness in itertools.product((1, 300), (1, 3, depth)):
        monkeypatch.setattr(resampling, "SLAB_VOXELS", slab)
        parts = [planes.planes(z, min(z + thickness, depth)) for z in range(0, depth, thickness)]
        assert np.array_equal(np.concatenate(parts), expected)
        assert all(part.flags.c_contiguous for part in parts)


def test_where_no_stretch_lies_is_zero(tmp_path):
    array = np.ones((4, 4, 4), np.uint8)
    part = [Stretch(2, 1, 4, np.arange(2.0))]
    planes = Sampled(stored(tmp_path, array), (6, 6, 6), array.dtype, (part, part, part), nearest)
    expected = np.zeros((6, 6, 6), np.uint8)
    expected[2:4, 2:4, 2:4] = 1
    assert np.array_equal(whole(planes), expected)
    nowhere = Sampled(planes.source, (6, 6, 6), array.dtype, ([], part, part), nearest)
    assert not whole(nowhere).any()
    assert nowhere.depth == 4


def test_a_stretch_does_not_look_beyond_its_ends(tmp_path):
    array = np.ones((8, 8, 8), np.uint8)
    array[:4] = 0
    everything = rescaled(8, 1.0)
    lower = [Stretch(0, 0, 4, np.arange(4.0))], everything, everything
    finer = [Stretch(0, 4, 8, np.arange(8) / 2 - 0.25, 0.5)], everything, everything
    assert not whole(sampled(tmp_path, array, lower, RawLinear())).any()
    assert whole(sampled(tmp_path, array, finer, MaskShares(0.5))).all()


def test_a_stretch_is_cut_to_what_of_it_there_is():
    stretch = Stretch(-2, 0, 10, np.arange(10.0))
    part = stretch.cut(0, 4)
    assert (part.at, part.stop, part.x.tolist()) == (0, 4, [2.0, 3.0, 4.0, 5.0])
    for start, stop in ((8, 20), (-9, -2), (5, 5), (7, 2)):
        assert len(stretch.cut(start, stop).x) == 0


def test_half_way_between_two_voxels_the_upper_one_is_nearest():
    assert Stretch(0, 3, 9, np.array([-0.5, 0.5, 1.49, 5.49])).index().tolist() == [3, 4, 4, 8]
