from itertools import permutations

import numpy as np
import pytest

from evaluator import matching
from evaluator.matching import Pairs, match


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
