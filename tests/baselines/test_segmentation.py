import numpy as np
import pytest
import torch

from baselines.segmentation import (
    THRESHOLDS,
    agreement,
    foreground,
    masked_loss,
    panoptic_quality,
)


def test_foreground_leaves_a_gap_between_touching_objects_only():
    ids = np.array([[[0, 1, 1, 1, 2, 2, 2, 0, 3, 3]]])
    expected = [[[0, 1, 1, 0, 0, 1, 1, 0, 1, 1]]]
    np.testing.assert_array_equal(foreground(ids).astype(int), expected)


def test_the_gap_is_made_along_every_axis():
    ids = np.ones((2, 4, 4), int)
    ids[1] = 2
    assert not foreground(ids).any()


def test_shrinking_takes_voxels_off_within_the_plane_only():
    ids = np.zeros((2, 7, 7), int)
    ids[:, 1:6, 1:6] = 1
    shrunk = foreground(ids, shrink=1)
    assert shrunk.sum() == 2 * 3 * 3
    assert shrunk[0, 2:5, 2:5].all()


def loss(logits, target, weight):
    shape = (1, -1, 1, 1, 4)
    return masked_loss(*(torch.tensor(v, dtype=torch.float32).reshape(shape)
                         for v in (logits, target, weight)))  # fmt: skip


def test_a_perfect_prediction_costs_nothing_and_its_opposite_a_lot():
    target = [1, 1, 0, 0]
    assert loss([20, 20, -20, -20], target, [1, 1, 1, 1]) < 1e-3
    assert loss([-20, -20, 20, 20], target, [1, 1, 1, 1]) > 20


def test_cross_entropy_of_undecided_voxels_is_ln_two():
    # probability 1/2 everywhere, two of four are true: Dice loss is 1 - 2*1/(2+2) = 1/2
    assert loss([0, 0, 0, 0], [1, 1, 0, 0], [1, 1, 1, 1]).item() == pytest.approx(
        np.log(2) + 0.5, abs=1e-3
    )


def test_what_nobody_annotated_does_not_change_the_loss():
    one = loss([3, -1, 2, 0], [1, 0, 1, 0], [1, 1, 0, 0])
    other = loss([3, -1, -9, 9], [1, 0, 0, 1], [1, 1, 0, 0])
    assert one == other


def test_a_label_without_weight_does_not_dilute_the_others():
    alone = loss([3, -1, 2, 0], [1, 0, 1, 0], [1, 1, 1, 1])
    beside = loss([[3, -1, 2, 0], [5, 5, 5, 5]], [[1, 0, 1, 0], [0] * 4], [[1] * 4, [0] * 4])
    assert alone == beside


def test_no_weight_at_all_is_a_loss_of_zero_without_gradient():
    logits = torch.ones(1, 2, 1, 2, 2, requires_grad=True)
    value = masked_loss(logits, torch.ones(1, 2, 1, 2, 2), torch.zeros(1, 2, 1, 2, 2))
    value.backward()
    assert value == 0
    assert not logits.grad.any()


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
