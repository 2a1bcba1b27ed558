import numpy as np
import pytest

from baselines.objects.agreement import (
    THRESHOLDS,
    agreement,
    covering,
    panoptic_quality,
)


def test_counts_at_each_threshold():
    probability = np.array([0.05, 0.3, 0.7, 0.95]).reshape(1, 1, 1, 4)
    target = np.array([False, True, False, True]).reshape(1, 1, 1, 4)
    found = agreement(probability, target, np.ones((1, 1, 1, 4)))
    half = list(THRESHOLDS).index(0.5)
    assert (found.tp[half, 0], found.fp[half, 0], found.fn[half, 0]) == (1, 1, 1)
    assert (found.tp[0, 0], found.fp[0, 0], found.fn[0, 0]) == (2, 1, 0)


def test_voxels_without_weight_are_not_counted():
    found = agreement(np.ones((1, 1, 1, 2)), np.zeros((1, 1, 1, 2), bool), np.zeros((1, 1, 1, 2)))
    assert not found.fp.any()
    assert (found.dice() == 1).all()


def test_the_best_threshold_separates_the_two_sides():
    probability = np.array([0.1, 0.2, 0.3, 0.4]).reshape(1, 1, 1, 4)
    target = np.array([False, False, True, True]).reshape(1, 1, 1, 4)
    dice, threshold = agreement(probability, target, np.ones((1, 1, 1, 4))).best()
    assert dice[0] == 1
    assert 0.2 < threshold[0] <= 0.3


def test_agreements_add():
    one = agreement(np.ones((1, 1, 1, 2)), np.ones((1, 1, 1, 2), bool), np.ones((1, 1, 1, 2)))
    assert (one + one).tp[0, 0] == 4


def test_panoptic_quality_of_known_cases():
    truth = np.array([[[1, 1, 1, 1, 0, 2, 2, 2]]])
    assert panoptic_quality(truth, truth * 7) == 1.0
    assert panoptic_quality(truth, np.zeros_like(truth)) == 0.0
    assert panoptic_quality(np.zeros_like(truth), np.zeros_like(truth)) == 1.0
    # the first found with IoU 3/4, the second missed: 2 * 0.75 / (2 + 1)
    assert panoptic_quality(truth, np.array([[[5, 5, 5, 0, 0, 0, 0, 0]]])) == pytest.approx(0.5)
    # one object over both: IoU with the first is 4/8, not above one half
    assert panoptic_quality(truth, np.ones_like(truth)) == 0.0


def test_covering_of_known_cases():
    truth = np.array([[[1, 1, 1, 1, 0, 2, 2, 2]]])
    assert covering(truth, truth * 7) == 1.0
    assert covering(truth, np.zeros_like(truth)) == covering(np.zeros_like(truth), truth) == 0.0
    assert covering(np.zeros_like(truth), np.zeros_like(truth)) == 1.0
    # the first found with IoU 3/4, the second missed: 4 of 7 voxels at 3/4, and all 3 found at 3/4
    part = np.array([[[5, 5, 5, 0, 0, 0, 0, 0]]])
    assert covering(truth, part) == pytest.approx((4 * 0.75 / 7 + 0.75) / 2)
    # one object over both: IoU 4/8 with the first, 3/8 with the second, and 4/8 the other way round
    assert covering(truth, np.ones_like(truth)) == pytest.approx(((16 + 9) / 56 + 0.5) / 2)
    assert covering(truth, part) == covering(part, truth)


def test_covering_against_every_pair_of_objects():
    random = np.random.default_rng(3)
    truth, pred = (random.integers(0, 5, (4, 6, 7)) * 3 for _ in range(2))

    def one_way(a, b):
        fits = [
            max(((a == x) & (b == y)).sum() / ((a == x) | (b == y)).sum() for y in set(b[b > 0]))
            for x in a[a > 0]
        ]
        return np.mean(fits)

    expected = (one_way(truth, pred) + one_way(pred, truth)) / 2
    assert covering(truth, pred) == pytest.approx(expected)
