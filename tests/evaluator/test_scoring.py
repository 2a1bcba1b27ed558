"""The eight cases of every metric (identical, disjoint, both empty, only one of them empty, split,
merged, shifted) and the rules of `crista-1`, with values worked out by hand."""

import math
from decimal import Decimal

import numpy as np
import pytest

from evaluator import Counts, Sums, Unreadable, get_protocol, label_score, score_pair, slabs
from evaluator import worst_sums as worst
from evaluator.scoring import distance_cap, distance_score
from tests.evaluator.shapes import boxes, cube, target

RULES = get_protocol("crista-1")
A = ((0, 0, 0), (2, 2, 2))
B = ((5, 5, 5), (7, 7, 7))
EMPTY = np.zeros((10, 10, 10), np.uint16)
CAP = 5.0  # half of 10 voxels of 1 nm


def score(truth: np.ndarray, pred: np.ndarray, **grid: object) -> Sums:
    return score_pair(target(**grid), truth, pred, RULES)


def at(distance: float) -> float:
    """The score of a distance with voxels of 1 nm, by the definition."""
    return 1.01 ** (-distance / math.sqrt(3))


def labelled(sums: Sums) -> dict:
    return label_score(target().label, sums)


# ------------------------------------------------------------------------------ instance


def test_identical_objects_score_one():
    sums = score(boxes(A, B), boxes(A, B))
    assert sums.objects == sums.good == Counts(tp=2)
    assert (sums.iou, sums.distance_nm, sums.distance_score) == (2.0, 0.0, 2.0)
    assert labelled(sums)["combined"] == 1.0


def test_other_ids_for_the_same_objects_change_nothing():
    pred = boxes(A, B)
    renamed = np.select([pred == 1, pred == 2], [70, 3]).astype(np.uint64)
    assert score(boxes(A, B), renamed) == score(boxes(A, B), pred)


def test_disjoint_objects_are_missed_and_false_at_the_cap():
    sums = score(boxes(A), boxes(A, B) * (boxes(A) == 0))
    assert sums.objects == Counts(fp=1, fn=1)
    assert (sums.distances, sums.distance_nm) == (2, 2 * CAP)
    assert sums.distance_score == pytest.approx(2 * at(CAP), rel=1e-14)
    assert labelled(sums)["combined"] == 0.0


def test_two_empty_arrays_agree():
    sums = score(EMPTY, EMPTY)
    assert sums == Sums()
    row = labelled(sums)
    assert (row["f1"], row["pq"], row["hausdorff_score"], row["combined"]) == (1.0, 1.0, 1.0, 1.0)


def test_an_empty_prediction_misses_every_object():
    sums = score(boxes(A, B), EMPTY)
    assert sums.objects == sums.good == Counts(fn=2)
    assert (sums.distances, sums.distance_nm) == (2, 2 * CAP)


def test_an_empty_truth_makes_every_object_false():
    sums = score(EMPTY, boxes(A, B))
    assert sums.objects == sums.good == Counts(fp=2)
    assert (sums.distances, sums.distance_nm) == (2, 2 * CAP)


def test_a_split_object_keeps_its_larger_part():
    # 4 x 2 x 2 voxels cut into 3 and 1 planes: IoU 12 / 16; the far plane is 1 voxel away.
    truth = boxes(((0, 0, 0), (4, 2, 2)))
    pred = boxes(((0, 0, 0), (3, 2, 2)), ((3, 0, 0), (4, 2, 2)))
    sums = score(truth, pred)
    assert sums.objects == sums.good == Counts(tp=1, fp=1)
    assert (sums.iou, sums.good_iou) == (0.75, 0.75)
    assert (sums.distances, sums.distance_nm) == (2, 1.0 + CAP)


def test_merged_objects_leave_one_unmatched():
    # One prediction over two objects of 3 and 1 planes: matched to the larger one, IoU 12 / 16.
    truth = boxes(((0, 0, 0), (3, 2, 2)), ((3, 0, 0), (4, 2, 2)))
    pred = np.where(truth > 0, 9, 0).astype(np.uint8)
    pred[9, 9, 9] = 4  # a second id, else the prediction would be a mask
    sums = score(truth, pred)
    assert sums.objects == Counts(tp=1, fp=1, fn=1)
    assert sums.iou == 0.75
    assert sums.distance_nm == 1.0 + 2 * CAP


def test_a_shift_along_the_coarse_axis_costs_its_nanometres():
    grid = {"voxel_size": (40.0, 4.0, 4.0)}
    truth, pred = boxes(((0, 0, 0), (4, 4, 4))), boxes(((1, 0, 0), (5, 4, 4)))
    assert score(truth, pred, **grid).distance_nm == 20.0  # 40 nm, but the cap is 4 nm * 10 / 2
    grid = {"voxel_size": (8.0, 4.0, 4.0)}
    assert score(truth, pred, **grid).distance_nm == 8.0


def test_pq_needs_more_than_half_an_overlap():
    truth = boxes(((0, 0, 0), (4, 1, 1)), B)
    half = boxes(((0, 0, 0), (2, 1, 1)), B)
    sums = score(truth, half)
    assert sums.objects == Counts(tp=2)
    assert sums.good == Counts(tp=1, fp=1, fn=1)
    assert (sums.iou, sums.good_iou) == (1.5, 1.0)
    assert labelled(sums)["pq"] == 1.0 / (1 + 0.5 + 0.5)


def test_a_false_object_never_enters_the_distance_of_another():
    truth = boxes(A, B)
    pred = boxes(((9, 9, 0), (10, 10, 1)), A, B)  # the false one has the first id
    sums = score(truth, pred)
    assert sums.objects == Counts(tp=2, fp=1)
    assert sums.distance_nm == 0.0 + 0.0 + CAP


def test_many_false_objects_cost_and_never_drop_out():
    pred = np.arange(1, 1001, dtype=np.uint16).reshape(10, 10, 10)
    sums = score(boxes(A), pred)
    assert sums.objects == Counts(tp=1, fp=999)
    assert sums.distances == 1000
    assert labelled(sums)["combined"] < 0.05


def test_a_mask_falls_into_its_connected_parts():
    mask = cube((0, 0, 0)) | cube((5, 5, 5))
    expected = score(boxes(A, B), boxes(A, B))
    for pred in (mask, mask.astype(np.uint8), mask.astype(np.uint8) * 255, mask.astype(float)):
        assert score(boxes(A, B), pred) == expected


def test_several_ids_are_taken_as_they_are():
    # One id in two places is one object; it is matched once.
    both = boxes(A, B)
    both[both == 2] = 1
    both[9, 0, 0] = 2
    assert score(boxes(A, B), both).objects == Counts(tp=1, fp=1, fn=1)


def test_truth_is_never_split():
    truth = (boxes(A, B) > 0).astype(np.uint8)
    assert score(truth, boxes(A, B)).objects == Counts(tp=1, fp=1)


def test_ids_above_the_range_of_floats_stay_apart():
    pred = boxes(A, B).astype(np.uint64)
    pred[pred == 1] = 2**64 - 1
    pred[pred == 2] = 2**64 - 2
    assert score(boxes(A, B), pred).objects == Counts(tp=2)


def test_floats_with_whole_ids_are_read_and_fractions_are_not():
    assert score(boxes(A, B), boxes(A, B).astype(np.float32)).objects == Counts(tp=2)
    for wrong in (0.5, np.nan, np.inf, 1e30):
        pred = boxes(A, B).astype(np.float32)
        pred[0, 0, 0] = wrong
        with pytest.raises(Unreadable, match="whole object ids"):
            score(boxes(A, B), pred)


@pytest.mark.parametrize("dtype", ["u1", "i2", "u4", "i8", "u8", ">u2", "f2", "f8"])
def test_the_width_of_ids_changes_nothing(dtype):
    rng = np.random.default_rng(0)
    truth = np.repeat(rng.integers(0, 4, (5, 10, 10)), 2, axis=0).astype(np.uint16)
    pred = np.roll(truth, 1, axis=2)
    assert score(truth, pred.astype(dtype)) == score(truth, pred)


def test_slabs_and_memory_order_change_nothing(monkeypatch):
    rng = np.random.default_rng(1)
    truth = rng.integers(0, 5, (10, 10, 10)).astype(np.uint16)
    pred = rng.integers(0, 5, (10, 10, 10)).astype(np.float32)
    expected = score(truth, pred)
    monkeypatch.setattr(slabs, "SLAB_VOXELS", 1)
    assert score(np.asfortranarray(truth), np.asfortranarray(pred)) == expected


def test_the_arrays_that_come_in_are_left_as_they_were():
    truth, pred = boxes(A, B), boxes(B, A)
    score(truth, pred)
    assert np.array_equal(truth, boxes(A, B))
    assert np.array_equal(pred, boxes(B, A))


# ------------------------------------------------------------------------------ semantic


def semantic(truth: np.ndarray, pred: np.ndarray) -> Counts:
    return score(truth, pred, kind="semantic").voxels


def test_semantic_voxels_are_counted():
    assert semantic(boxes(A), boxes(((1, 0, 0), (3, 2, 2)))) == Counts(tp=4, fp=4, fn=4)


def test_every_value_above_zero_is_foreground():
    assert semantic(boxes(A, B), boxes(B, A) * 100) == Counts(tp=16)
    assert semantic(boxes(A), -boxes(A, dtype="int8")) == Counts(fn=8)


def test_floats_are_probabilities_with_foreground_above_one_half():
    pred = np.zeros((10, 10, 10), np.float32)
    pred[0, 0, :4] = (0.5, 0.51, np.nan, 1.0)
    assert semantic(boxes(A), pred) == Counts(tp=1, fp=1, fn=7)


def test_semantic_scores_count_no_objects():
    sums = score(boxes(A), boxes(A), kind="semantic")
    assert sums.objects == sums.good == Counts()
    assert sums.distances == 0


# ------------------------------------------------------------------------------ missing, distances


def test_a_missing_semantic_target_has_every_voxel_wrong():
    sums = worst(target("semantic"), boxes(A), RULES)
    assert sums == Sums(voxels=Counts(fp=992, fn=8))
    assert label_score(target("semantic").label, sums)["score"] == 0.0


def test_missing_an_empty_semantic_target_is_not_rewarded():
    sums = worst(target("semantic"), EMPTY, RULES)
    assert label_score(target("semantic").label, sums)["score"] == 0.0


def test_a_missing_instance_target_misses_every_object_without_any_credit():
    sums = worst(target(), boxes(A, B), RULES)
    assert sums.objects == sums.good == Counts(fn=2)
    assert (sums.distances, sums.distance_nm, sums.distance_score) == (2, 2 * CAP, 0.0)


def test_missing_an_empty_instance_target_counts_one_false_object():
    sums = worst(target(), EMPTY, RULES)
    assert sums.objects == sums.good == Counts(fp=1)
    row = labelled(sums)
    assert (row["f1"], row["pq"], row["hausdorff_score"], row["combined"]) == (0.0, 0.0, 0.0, 0.0)


@pytest.mark.parametrize("kind", ["instance", "semantic"])
@pytest.mark.parametrize("truth", [EMPTY, boxes(A), boxes(A, B)], ids=["empty", "one", "two"])
def test_sending_nothing_is_never_better_than_sending_zeros(kind, truth):
    label = target(kind).label
    nothing = label_score(label, worst(target(kind), truth, RULES))["score"]
    assert nothing <= label_score(label, score(truth, EMPTY, kind=kind))["score"]


def test_the_cap_is_half_the_shortest_physical_side():
    grid = target(shape=(10, 40, 40), voxel_size=(40.0, 4.0, 4.0)).grid
    assert distance_cap(grid, share=0.5) == 80.0


def test_the_score_of_a_distance_follows_its_definition():
    grid = target(voxel_size=(3.0, 4.0, 12.0)).grid  # diagonal 13 nm
    assert distance_score(0.0, grid, RULES) == 1.0
    assert distance_score(13.0, grid, RULES) == float(1 / Decimal("1.01"))
    assert distance_score(100.0, grid, RULES) == pytest.approx(1.01 ** (-100 / 13), rel=1e-14)
