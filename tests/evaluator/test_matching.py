from itertools import permutations

import numpy as np
import pytest
from scipy.optimize import linear_sum_assignment

from evaluator import matching
from evaluator.matching import Pairs, match, match_by_flow


def pairs(*rows: tuple[int, int, float]) -> Pairs:
    truth, pred, iou = zip(*rows, strict=True) if rows else ((), (), ())
    return Pairs(np.array(truth, int), np.array(pred, int), np.array(iou, float))


def chosen(candidates: Pairs) -> list[tuple[int, int]]:
    found = match(candidates)
    return list(zip(found.truth.tolist(), found.pred.tolist(), strict=True))


def test_without_candidates_nothing_is_matched():
    assert chosen(pairs()) == []


def test_one_voxel_in_common_is_enough_for_a_match():
    assert chosen(pairs((1, 1, 0.001))) == [(1, 1)]


def test_of_two_fragments_the_larger_one_is_matched():
    assert chosen(pairs((1, 1, 0.3), (1, 2, 0.6))) == [(1, 2)]


def test_of_two_objects_under_one_prediction_the_better_one_is_matched():
    assert chosen(pairs((1, 1, 0.3), (2, 1, 0.6))) == [(2, 1)]


def test_the_sum_counts_not_the_best_single_pair():
    # Greedy takes (1, 1) and leaves 0.1; 0.5 + 0.5 is more.
    candidates = pairs((1, 1, 0.6), (1, 2, 0.5), (2, 1, 0.5), (2, 2, 0.1))
    assert chosen(candidates) == [(1, 2), (2, 1)]


def test_the_sum_counts_not_the_number_of_pairs():
    # Three objects in a chain: one good pair beats two poor ones.
    assert chosen(pairs((1, 1, 0.1), (2, 1, 0.9), (2, 2, 0.1))) == [(2, 1)]


def test_above_is_strict():
    assert len(pairs((1, 1, 0.5), (2, 2, 0.51)).above(0.5)) == 1


def best_sum(iou: np.ndarray) -> float:
    n = len(iou)
    return max(sum(iou[i, p] for i, p in enumerate(order)) for order in permutations(range(n)))


@pytest.mark.parametrize("limit", [1 << 22, 0], ids=["dense", "sparse"])
def test_the_sum_is_the_largest_of_all_permutations(monkeypatch, limit):
    monkeypatch.setattr(matching, "LARGEST_DENSE", limit)
    rng = np.random.default_rng(0)
    for _ in range(30):
        iou = rng.random((5, 5)) * (rng.random((5, 5)) < 0.6)
        truth, pred = np.nonzero(iou)
        found = match(Pairs(truth + 1, pred + 1, iou[truth, pred]))
        assert len(set(found.truth.tolist())) == len(set(found.pred.tolist())) == len(found)
        assert found.iou.sum() == pytest.approx(best_sum(iou), abs=1e-12)


def test_dense_and_sparse_choose_the_same_pairs(monkeypatch):
    rng = np.random.default_rng(1)
    truth, pred = rng.integers(1, 40, (2, 200))
    unique = sorted(set(zip(truth.tolist(), pred.tolist(), strict=True)))
    candidates = pairs(*((t, p, rng.random()) for t, p in unique))
    dense = chosen(candidates)
    monkeypatch.setattr(matching, "LARGEST_DENSE", 0)
    assert chosen(candidates) == dense


def flow(candidates: Pairs, ids: list[int], preds: int) -> list[tuple[int, int]]:
    found = match_by_flow(candidates, np.array(ids), preds)
    return list(zip(found.truth.tolist(), found.pred.tolist(), strict=True))


@pytest.mark.parametrize("limit", [1 << 12, 0], ids=["full", "thinned out"])
def test_a_large_group_is_thinned_out_without_loss(monkeypatch, limit):
    monkeypatch.setattr(matching, "LARGEST_FULL", limit)
    rng = np.random.default_rng(2)
    for shape in ((3, 9), (9, 3), (4, 5)):
        iou = rng.random(shape) * (rng.random(shape) < 0.8)
        truth, pred = np.nonzero(iou)
        found = match(Pairs(truth + 1, pred + 1, iou[truth, pred]))
        square = np.zeros((9, 9))
        square[: shape[0], : shape[1]] = iou
        best = linear_sum_assignment(square, maximize=True)
        assert found.iou.sum() == pytest.approx(square[best].sum(), abs=1e-12)


def test_a_flood_of_candidates_is_matched_in_no_time():
    rng = np.random.default_rng(3)
    truth = np.repeat(np.arange(1, 41), 50_000)
    pred = np.tile(np.arange(1, 50_001), 40)
    found = match(Pairs(truth, pred, rng.random(len(truth))))
    assert len(found) == 40
    assert found.iou.min() > 0.999


def test_the_flow_has_the_largest_sum_where_there_is_one():
    rng = np.random.default_rng(4)
    for _ in range(20):
        iou = rng.random((4, 4)) * (rng.random((4, 4)) < 0.7)
        truth, pred = np.nonzero(iou)
        candidates = Pairs(truth + 1, pred + 1, iou[truth, pred])
        assert flow(candidates, [1, 2, 3, 4], 4) == chosen(candidates)


def test_the_flow_does_not_tell_millionths_apart():
    # 0.50000004 against 0.5 is a tie of whole millionths: the solver of flows decides.
    candidates = pairs((1, 1, 0.5), (1, 2, 0.5 + 4e-8))
    assert chosen(candidates) == [(1, 2)]
    assert flow(candidates, [1], 2) in ([(1, 1)], [(1, 2)])
    assert flow(pairs((1, 1, 0.5), (1, 2, 0.500002)), [1], 2) == [(1, 2)]


def test_a_tie_goes_to_the_solver_of_flows_and_the_rest_stays():
    halves = pairs((1, 1, 0.5), (1, 2, 0.5), (2, 3, 0.9))
    found = flow(halves, [1, 2], 3)
    assert found[1:] == [(2, 3)]
    assert found == flow(halves, [1, 2], 3)  # the same each time


def test_a_tie_between_one_good_pair_and_two_poor_ones_is_seen():
    # Gains in millionths: 500001 + 500001 against 1000002 do not exist; 0.2 + 0.3 against 0.5
    # is one better by the 1 that each pair is worth, so it is no tie.
    two = pairs((1, 1, 0.25), (1, 2, 0.5), (2, 2, 0.25))
    assert flow(two, [1, 2], 2) == [(1, 1), (2, 2)]


@pytest.mark.parametrize("ids", [[3, 1000], [7, 2**62], [-5, 9]])
def test_ids_may_have_gaps_or_be_large(ids):
    ties = pairs((1, 1, 0.5), (1, 2, 0.5), (2, 3, 0.5), (2, 4, 0.5))
    found = flow(ties, ids, 4)
    assert [truth for truth, _ in found] == [1, 2]
    assert found[0][1] in (1, 2)
    assert found[1][1] in (3, 4)


def test_the_order_of_candidates_changes_no_flow():
    ties = pairs((1, 1, 0.5), (1, 2, 0.5), (2, 2, 0.5), (2, 3, 0.5), (3, 3, 0.5))
    other = pairs((3, 3, 0.5), (2, 3, 0.5), (1, 2, 0.5), (2, 2, 0.5), (1, 1, 0.5))
    assert sorted(flow(ties, [1, 2, 3], 3)) == sorted(flow(other, [1, 2, 3], 3))


def test_pairs_are_equal_if_all_their_columns_are():
    assert pairs((1, 1, 0.5)) == pairs((1, 1, 0.5))
    assert pairs((1, 1, 0.5)) != pairs((1, 2, 0.5))
    assert pairs((1, 1, 0.5)) != [(1, 1, 0.5)]


def test_noise_over_thousands_of_objects_is_matched_in_seconds(monkeypatch):
    monkeypatch.setattr(matching, "LARGEST_DENSE", 0)
    rng = np.random.default_rng(5)
    key = np.unique(rng.integers(0, 1500 * 30_000, 300_000))
    truth, pred = key // 30_000 + 1, key % 30_000 + 1
    iou = 1.0 / rng.integers(600, 900, 1500)[truth - 1]
    found = match(Pairs(truth, pred, iou))
    assert len(found) == len(np.unique(truth))  # each finds one: there are enough
    assert len(set(found.pred.tolist())) == len(found)
