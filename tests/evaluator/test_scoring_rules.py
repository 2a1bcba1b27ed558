"""Rules of scoring that protocols differ in, masks, floods, and what the sums hold besides."""

from dataclasses import replace

import numpy as np
import pytest

from evaluator import Counts, Status, Sums, get_protocol, label_score, score_pair, slabs
from evaluator import worst_sums as worst
from evaluator.scoring import Scored, is_flooded, score_planes
from evaluator.volume import ArrayPlanes
from tests.evaluator.shapes import boxes, target

RULES = get_protocol("crista-1")
OFFICIAL = get_protocol("cellmap-2026.1")
A = ((0, 0, 0), (2, 2, 2))
B = ((5, 5, 5), (7, 7, 7))
EMPTY = np.zeros((10, 10, 10), np.uint16)
CAP = 5.0  # half of 10 voxels of 1 nm


def score(truth: np.ndarray, pred: np.ndarray, **grid: object) -> Sums:
    return score_pair(target(**grid), truth, pred, RULES)


def test_the_best_overlap_counts_for_objects_that_are_matched_to_nobody():
    truth = boxes(((0, 0, 0), (3, 2, 2)), ((3, 0, 0), (4, 2, 2)))
    pred = np.where(truth > 0, 9, 0).astype(np.uint8)
    pred[9, 9, 9] = 4
    assert score(truth, pred).best_iou == 12 / 16 + 4 / 16


def test_three_quarters_are_not_more_than_three_quarters():
    truth = boxes(((0, 0, 0), (4, 2, 2)), ((6, 0, 0), (10, 2, 2)))
    pred = boxes(((0, 0, 0), (3, 2, 2)), ((6, 0, 0), (10, 2, 2)))
    sums = score(truth, pred)
    assert sums.good == Counts(tp=2)
    assert sums.strict == Counts(tp=1, fp=1, fn=1)


def test_good_pairs_are_good_even_if_they_are_not_matched():
    # Each pair above one half is unique, so a matching cannot leave one out but by a larger sum.
    truth, pred = boxes(A, B), boxes(A, B)
    assert score(truth, pred).good.tp == score(truth, pred).objects.tp == 2


def test_the_mean_distance_of_surfaces_is_told_for_matched_objects():
    truth, pred = boxes(((2, 2, 2), (4, 4, 4)), B), boxes(((2, 2, 3), (4, 4, 5)), B)
    assert score(truth, pred, voxel_size=(1.0, 1.0, 8.0)).surface_nm == 64 / 16
    official = score_pair(target(), truth, pred, OFFICIAL)
    assert official.surface_nm == 0.0  # it is not asked for


def test_the_sums_of_agreement_are_part_of_it():
    sums = score(boxes(A, B), boxes(A, B))
    assert sums.vi_voxels == 16
    assert sums.rand_overlap == sums.rand_truth == sums.rand_pred == 2 * 8 * 7


@pytest.mark.parametrize(
    ("truths", "most"), [(1, 50), (2, 87), (3, 112), (5, 141), (10, 167), (20, 218), (1000, 10_000)]
)
def test_how_many_objects_are_a_flood(truths, most):
    assert not is_flooded(most, truths)
    assert is_flooded(most + 1, truths)


def test_nothing_is_no_flood():
    assert not is_flooded(0, 5)
    assert not is_flooded(10**9, 0)
    assert not is_flooded(10**9, -(10**9))
    assert not is_flooded(1, 2**64)


def planes(
    truth: np.ndarray, pred: np.ndarray, mask: np.ndarray | None = None, rules=RULES, **grid
) -> Scored:
    masked = None if mask is None else ArrayPlanes(mask)
    place = target(**grid)
    return score_planes(place, ArrayPlanes(truth), ArrayPlanes(pred), rules, mask=masked)


def test_skipped_targets_add_nothing_and_say_why():
    pred = np.arange(1, 1001, dtype=np.uint16).reshape(10, 10, 10)
    skipped = planes(boxes(A), pred, rules=OFFICIAL)
    assert (skipped.status, skipped.sums, skipped.quirks) == (
        Status.SKIPPED, Sums(), {"skips_floods"}
    )  # fmt: skip
    kept = planes(boxes(A), pred)
    assert (kept.status, kept.quirks) == (Status.SCORED, frozenset())


def test_a_limit_on_pairs_is_not_reached_by_as_many():
    rules = replace(RULES, most_pairs=2)
    assert planes(boxes(A, B), boxes(A, B), rules=rules).status == Status.SCORED
    limited = planes(boxes(A, B), boxes(A, B), rules=replace(rules, most_pairs=1))
    assert (limited.status, limited.quirks) == (Status.SKIPPED, {"most_pairs"})


def test_a_false_object_spoils_the_distance_of_another_only_where_numbers_collide():
    truth = boxes(A, B)
    pred = boxes(((0, 0, 9), (1, 1, 10)), A, B)  # the false one has number 1
    spoilt = planes(truth, pred, rules=OFFICIAL)
    assert spoilt.quirks == {"collides"}
    assert spoilt.sums.objects == Counts(tp=2, fp=1)
    assert spoilt.sums.distance_nm == CAP + 0.0 + CAP  # the false one is 8 from A: at the cap
    sound = planes(truth, pred)
    assert (sound.sums.distance_nm, sound.quirks) == (CAP, frozenset())


def test_numbers_beyond_the_ids_of_truth_do_not_collide():
    pred = boxes(A, B, ((9, 9, 9), (10, 10, 10)))
    assert planes(boxes(A, B), pred, rules=OFFICIAL).quirks == frozenset()


def test_distances_are_rounded_where_the_protocol_rounds():
    truth, pred = boxes(((0, 0, 0), (4, 4, 4))), boxes(((0, 0, 0), (4, 4, 4)))
    pred[0, 0, 0] = 0
    size = (1.0, 1.0, 0.3)
    exact = planes(truth, pred, rules=replace(OFFICIAL, rounds_distances=False), voxel_size=size)
    rounded = planes(truth, pred, rules=OFFICIAL, voxel_size=size)
    assert exact.sums.distance_nm == 0.3
    assert rounded.sums.distance_nm == float(np.float32(0.3))


def test_what_a_mask_drops_counts_in_no_way():
    truth, pred = boxes(A), boxes(A, B, ((9, 9, 9), (10, 10, 10)))
    mask = np.zeros((10, 10, 10), np.uint8)
    mask[:5] = 3
    expected = planes(truth[:5], pred[:5], shape=(5, 10, 10)).sums
    found = planes(truth, pred, mask).sums
    assert found.objects == expected.objects == Counts(tp=1)
    assert found.voxels == Counts(tp=8)


def test_a_mask_cuts_semantic_labels_too():
    mask = boxes(A) > 0
    assert planes(boxes(A, B), boxes(B), mask, kind="semantic").sums.voxels == Counts(fn=8)


def test_a_resampled_prediction_holds_no_probabilities():
    pred = np.where(boxes(A) > 0, 0.4, 0.0).astype(np.float32)
    arrays = ArrayPlanes(boxes(A)), ArrayPlanes(pred)
    for resampled, counts in ((True, Counts(tp=8)), (False, Counts(fn=8))):
        found = score_planes(target("semantic"), *arrays, RULES, resampled=resampled)
        assert found.sums.voxels == counts


def test_whatever_is_above_zero_is_foreground_where_the_protocol_says_so():
    pred = np.where(boxes(A) > 0, 0.4, 0.0).astype(np.float32)
    pred[9, 9] = np.nan
    pred[8, 8] = -1.0
    found = planes(boxes(A), pred, rules=OFFICIAL, kind="semantic")
    assert found.sums.voxels == Counts(tp=8)
    assert found.quirks == {"foreground_above"}


def test_missing_voxels_count_where_the_mask_lets_them():
    mask = np.zeros((10, 10, 10), bool)
    mask[0] = True
    sums = worst(target("semantic"), boxes(A), RULES, mask=ArrayPlanes(mask))
    assert sums == Sums(voxels=Counts(fp=96, fn=4))
    assert worst(target(), boxes(A, B), RULES, mask=ArrayPlanes(mask)).objects == Counts(fn=1)


def test_missing_is_worst_even_where_no_voxel_counts():
    nothing = ArrayPlanes(np.zeros((10, 10, 10), bool))
    for kind in ("semantic", "instance"):
        sums = worst(target(kind), boxes(A), RULES, mask=nothing)
        assert label_score(target(kind).label, sums)["score"] == 0.0


def test_what_is_missing_counts_as_officially_where_the_protocol_says_so():
    mask = ArrayPlanes(np.zeros((10, 10, 10), bool))
    assert worst(target("semantic"), boxes(A), OFFICIAL, mask=mask) == Sums(voxels=Counts(fn=1000))
    sums = worst(target(), boxes(A, B), OFFICIAL, mask=mask)
    assert (sums.objects, sums.distances, sums.distance_score) == (Counts(fn=2), 2, 0.0)
    empty = worst(target(), EMPTY, OFFICIAL)
    assert (empty.objects, empty.distances) == (Counts(), 0)


@pytest.mark.parametrize("rules", [RULES, OFFICIAL], ids=["sound", "official"])
@pytest.mark.parametrize("voxels", [1, 150, 1 << 22])
def test_the_size_of_slabs_changes_no_bit(monkeypatch, rules, voxels):
    rng = np.random.default_rng(7)
    truth = np.kron(rng.integers(0, 9, (4, 5, 5)), np.ones((3, 2, 2), int)).astype(np.uint16)
    pred = np.roll(truth, 1, axis=2) * (rng.random(truth.shape) < 0.97)
    place = {"shape": truth.shape, "voxel_size": (1.74, 2.0, 2.0)}
    expected = planes(truth, pred, rules=rules, **place)
    monkeypatch.setattr(slabs, "SLAB_VOXELS", voxels)
    assert planes(truth, pred, rules=rules, **place) == expected
