"""VI, Rand, splits and merges, against other tools, by hand, and on real segmentations."""

import json
import math

import numpy as np
import pytest
import tifffile
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from skimage.metrics import adapted_rand_error, variation_of_information

from evaluator.agreement import agreement, n_log_n, pairs_within
from evaluator.scores import OBJECT_SCORES, Sums
from tests.evaluator.shapes import count_overlaps, numbered

SHAPE = (3, 4, 5)
LABELS = arrays(np.uint8, SHAPE, elements=st.integers(0, 4))


def sums(truth, pred):
    return Sums(**agreement(count_overlaps(numbered(truth), numbered(pred))))


def score(name, truth, pred):
    return OBJECT_SCORES[name](sums(truth, pred))


@pytest.mark.parametrize("prediction", ["ws", "seg1", "seg4"])
def test_vi_equals_what_gala_published_to_eight_digits(real_data, prediction):
    folder = real_data / "eval_gala_vi"
    published = json.loads((folder / "expected.json").read_text())["published"]
    merge, split = published[f"test_pred_{prediction}"]
    truth = tifffile.imread(folder / "test_gt.tif")
    found = sums(truth, tifffile.imread(folder / f"test_pred_{prediction}.tif"))
    assert OBJECT_SCORES["vi_split"](found) == pytest.approx(split, abs=5.1e-9)
    assert OBJECT_SCORES["vi_merge"](found) == pytest.approx(merge, abs=5.1e-9)


@pytest.mark.parametrize("folder", ["eval_gala_vi", "eval_platynereis", "embryo_nuclei3d"])
def test_rand_error_equals_that_of_scikit_image_on_real_segmentations(real_data, folder):
    entries = json.loads((real_data / folder / "expected.json").read_text())["recomputed"]
    for entry in entries if isinstance(entries, list) else [entries]:
        truth, pred = (tifffile.imread(real_data / folder / entry[key]) for key in ("ref", "pred"))
        wanted = entry["adapted_rand(scikit-image 0.26.0, gt 0 ignored)"]["adapted_rand_error"]
        assert score("rand_error", truth, pred) == pytest.approx(wanted, abs=5.1e-7)


@given(LABELS, LABELS)
def test_vi_equals_that_of_scikit_image(truth, pred):
    both = (truth > 0) & (pred > 0)
    if both.any():
        split, merge = variation_of_information(truth[both], pred[both])
        assert score("vi_split", truth, pred) == pytest.approx(split, abs=1e-12)
        assert score("vi_merge", truth, pred) == pytest.approx(merge, abs=1e-12)
    else:
        assert score("vi_split", truth, pred) == score("vi_merge", truth, pred) == 0.0


@given(LABELS, LABELS)
def test_rand_error_equals_that_of_scikit_image(truth, pred):
    found = sums(truth, pred)
    if found.rand_overlap:
        wanted = adapted_rand_error(truth, pred, ignore_labels=(0,))[0]
        assert OBJECT_SCORES["rand_error"](found) == pytest.approx(wanted, abs=1e-12)


@given(LABELS, LABELS)
def test_exchanging_the_two_exchanges_splits_and_merges(truth, pred):
    there, back = sums(truth, pred), sums(pred, truth)
    assert (there.splits, there.merges) == (back.merges, back.splits)
    assert (there.vi_truth, there.vi_pred) == (back.vi_pred, back.vi_truth)


def test_of_equal_objects_nothing_is_unknown_split_or_merged():
    truth = np.arange(60, dtype=np.uint8).reshape(SHAPE) // 7
    found = sums(truth, truth)
    assert found.splits == found.merges == 0
    for name in ("vi_split", "vi_merge", "rand_error"):
        assert OBJECT_SCORES[name](found) == 0.0


def test_without_any_object_all_sums_are_zero():
    nothing = np.zeros(SHAPE, np.uint8)
    assert sums(nothing, nothing) == Sums()
    assert sums(np.ones(SHAPE, np.uint8), nothing).vi_voxels == 0


def test_a_cut_object_is_one_split_and_a_joined_pair_one_merge():
    row = np.array([1] * 10 + [2] * 10 + [3] * 10 + [0] * 10, np.uint8).reshape(1, 4, 10)
    cut = row.copy()
    cut[0, 0, 5:] = 9
    joined = np.where(row == 3, 2, row)
    assert (sums(row, cut).splits, sums(row, cut).merges) == (1, 0)
    assert (sums(row, joined).splits, sums(row, joined).merges) == (0, 1)


def test_a_sliver_makes_no_split():
    truth = np.ones((1, 2, 10), np.uint8)
    pred = truth.copy()
    pred[0, 0, :2] = 2  # a tenth, not more
    assert sums(truth, pred).splits == 0
    pred[0, 0, 2] = 2
    assert sums(truth, pred).splits == 1


@given(st.lists(st.integers(1, 10**9), max_size=20))
def test_n_log_n_is_right_to_the_last_digits_in_any_order(sizes):
    counts = np.array(sizes, np.int64)
    wanted = math.fsum(n * math.log2(n) for n in sizes)
    assert n_log_n(counts) == pytest.approx(wanted, rel=1e-14)
    assert n_log_n(counts[::-1]) == n_log_n(counts)


def test_powers_of_two_have_exact_logarithms():
    assert n_log_n(np.array([2, 4, 1024])) == 2 * 1 + 4 * 2 + 1024 * 10


def test_pairs_are_exact_beyond_64_bits():
    assert pairs_within(np.array([5 * 10**9] * 4)) == 4 * (5 * 10**9) * (5 * 10**9 - 1)
