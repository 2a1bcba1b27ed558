import threading
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import numpy as np
import pytest
import torch

from baselines.config import LossConfig, ObjectsConfig
from baselines.objects.heads import Heads, heads_of
from baselines.training.losses import loss_of, shrunk, soft_dice
from evaluator.manifest import Kind

KINDS = ("dice_bce", "bce", "dice", "focal", "tversky")
PLAIN = LossConfig(most_weight=1.0)


def masks(count) -> Heads:
    return heads_of([f"label{k}" for k in range(count)], {}, ObjectsConfig(), (8.0, 8.0, 8.0))


def bcd() -> Heads:
    config = ObjectsConfig(representation="bcd")
    return heads_of(["a", "b"], {"b": Kind.INSTANCE}, config, (8.0, 8.0, 8.0))


def loss(logits, target, weight, config=PLAIN):
    tensors = [torch.tensor(v, dtype=torch.float32).reshape(1, -1, 1, 1, 4)
               for v in (logits, target, weight)]  # fmt: skip
    return loss_of(*tensors, masks(tensors[0].shape[1]), config)[0]


def noise(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("kind", KINDS)
def test_a_perfect_prediction_costs_nothing_and_its_opposite_a_lot(kind):
    config = LossConfig(kind=kind)
    target = [1, 1, 0, 0]
    right = loss([20, 20, -20, -20], target, [1] * 4, config)
    wrong = loss([-20, -20, 20, 20], target, [1] * 4, config)
    assert right < 1e-3
    assert wrong > 0.9


def test_dice_and_cross_entropy_of_undecided_voxels():
    # Probability 1/2 everywhere, two of four are true: ln 2, and 1 - 2*1 / (2+2) = 1/2.
    value = loss([0, 0, 0, 0], [1, 1, 0, 0], [1] * 4)
    assert value.item() == pytest.approx(np.log(2) + 0.5, abs=1e-3)


def test_rare_voxels_weigh_more_up_to_the_limit():
    # One true voxel of four, missed; the others right.  Three times as many are not the label.
    logits, target = [-20, -20, -20, -20], [1, 0, 0, 0]
    plain, weighed, limited = (
        loss(logits, target, [1] * 4, LossConfig(kind="bce", most_weight=most)).item()
        for most in (1, 10, 2)
    )
    assert plain == pytest.approx(20 / 4, rel=1e-4)
    assert weighed == pytest.approx(3 * 20 / 6, rel=1e-4)
    assert limited == pytest.approx(2 * 20 / 5, rel=1e-4)


def test_a_missed_voxel_costs_more_than_an_invented_one_with_tversky():
    config = LossConfig(kind="tversky")
    missed = loss([20, -20, -20, -20], [1, 1, 0, 0], [1] * 4, config)
    invented = loss([20, 20, 20, -20], [1, 1, 0, 0], [1] * 4, config)
    assert missed > invented


@pytest.mark.parametrize("kind", KINDS)
def test_what_nobody_annotated_changes_neither_loss_nor_gradient(kind):
    heads, config = masks(2), LossConfig(kind=kind)
    target = (noise(2, 2, 2, 8, 8, seed=1) > 0).float()
    weight = (noise(2, 2, 2, 8, 8, seed=2) > 0).float()
    found = []
    for seed in (3, 4):  # only where there is no weight
        logits = torch.where(weight > 0, noise(2, 2, 2, 8, 8), noise(2, 2, 2, 8, 8, seed=seed))
        logits.requires_grad_()
        other = torch.where(weight > 0, target, (noise(2, 2, 2, 8, 8, seed=seed) > 0).float())
        value, _ = loss_of(logits, other, weight, heads, config)
        value.backward()
        assert not logits.grad[weight == 0].any()
        found.append((value.item(), logits.grad[weight > 0]))
    assert found[0][0] == pytest.approx(found[1][0], abs=1e-6)
    torch.testing.assert_close(found[0][1], found[1][1], atol=1e-6, rtol=0)


@pytest.mark.parametrize("kind", KINDS)
def test_a_patch_nobody_annotated_does_not_dilute_the_others(kind):
    config = LossConfig(kind=kind)
    logits, target = noise(2, 1, 1, 8, 8), (noise(2, 1, 1, 8, 8, seed=1) > 0).float()
    weight = torch.ones_like(target)
    alone, _ = loss_of(logits[:1], target[:1], weight[:1], masks(1), config)
    weight[1] = 0
    beside, _ = loss_of(logits, target, weight, masks(1), config)
    assert alone.item() == pytest.approx(beside.item(), abs=1e-6)


def test_a_label_without_weight_does_not_dilute_the_others():
    alone = loss([3, -1, 2, 0], [1, 0, 1, 0], [1, 1, 1, 1])
    beside = loss([[3, -1, 2, 0], [5, 5, 5, 5]], [[1, 0, 1, 0], [0] * 4], [[1] * 4, [0] * 4])
    assert alone.item() == pytest.approx(beside.item(), abs=1e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_no_weight_at_all_is_a_loss_of_zero_without_gradient(kind):
    logits = torch.ones(1, 4, 1, 4, 4, requires_grad=True)
    nothing = torch.zeros(1, 4, 1, 4, 4)
    value, parts = loss_of(logits, nothing + 1, nothing, bcd(), LossConfig(kind=kind))
    value.backward()
    assert value == 0
    assert not any(parts.values())
    assert not logits.grad.any()


def test_labels_count_alike_however_many_channels_they_have():
    heads = bcd()
    target, weight = torch.zeros(1, 4, 1, 4, 4), torch.ones(1, 4, 1, 4, 4)
    logits = torch.full((1, 4, 1, 4, 4), -20.0)
    logits[:, 0] = 20.0  # the label with one channel is wrong everywhere
    value, parts = loss_of(logits, target, weight, heads, LossConfig(kind="bce", most_weight=1))
    assert value.item() == pytest.approx(20 / 2)
    assert list(parts) == ["a", "b", "b/contour", "b/distance"]
    assert parts["a"].item() == pytest.approx(20)


@pytest.mark.parametrize("kind", KINDS)
def test_a_distance_is_learnt_as_what_it_is(kind):
    target, weight = torch.full((1, 4, 1, 4, 4), 0.3), torch.zeros(1, 4, 1, 4, 4)
    weight[:, 3] = 1
    values = [
        loss_of(torch.full_like(target, at).logit(), target, weight, bcd(), LossConfig(kind=kind))
        for at in (0.2, 0.3, 0.4)
    ]
    low, right, high = (value.item() for value, _ in values)
    assert right == pytest.approx(0, abs=1e-6)
    assert min(low, high) > 0.01


def test_coarser_levels_count_half_of_the_one_before():
    heads, config = masks(1), LossConfig(kind="bce", most_weight=1)
    target, weight = torch.ones(1, 1, 4, 4, 4), torch.ones(1, 1, 4, 4, 4)
    fine, coarse = torch.zeros(1, 1, 4, 4, 4), torch.full((1, 1, 2, 2, 2), -20.0)
    value, parts = loss_of([fine, coarse], target, weight, heads, config)
    assert value.item() == pytest.approx((2 * np.log(2) + 20) / 3, rel=1e-5)
    assert parts["label0"].item() == pytest.approx(np.log(2))


def test_coarse_targets_are_means_of_what_is_annotated():
    target = torch.tensor([1.0, 0.0, 1.0, 1.0]).view(1, 1, 1, 1, 4)
    weight = torch.tensor([1.0, 0.0, 1.0, 1.0]).view(1, 1, 1, 1, 4)
    mean, share = shrunk(target, weight, torch.zeros(1, 1, 1, 1, 2))
    assert mean.flatten().tolist() == pytest.approx([1, 1])
    assert share.flatten().tolist() == [0.5, 1]


@pytest.mark.parametrize("kind", KINDS)
def test_processes_that_add_their_sums_have_the_loss_of_the_whole_batch(kind):
    heads, config = bcd(), LossConfig(kind=kind)
    logits, target = noise(2, 4, 2, 4, 4), noise(2, 4, 2, 4, 4, seed=1).sigmoid().round()
    weight = (noise(2, 4, 2, 4, 4, seed=2) > 0).float()
    whole, _ = loss_of(logits, target, weight, heads, config)
    meeting, sums = threading.Barrier(2), {}

    def across(rank, own):
        sums[rank] = own
        meeting.wait()
        both = sums[0] + sums[1]
        meeting.wait()
        return both

    def process(rank):
        part = (values[rank : rank + 1] for values in (logits, target, weight))
        return loss_of(*part, heads, config, across=partial(across, rank))[0].item()

    with ThreadPoolExecutor(2) as processes:
        assert list(processes.map(process, (0, 1))) == pytest.approx([whole.item()] * 2, rel=1e-5)


def test_dice_of_the_opposite_is_nothing():
    target, weight = torch.ones(1, 4, 1, 4, 4), torch.ones(1, 4, 1, 4, 4)
    logits = torch.full((1, 4, 1, 4, 4), 20.0)
    assert soft_dice(logits, target, weight)[0].item() == pytest.approx(1, abs=1e-3)
    assert soft_dice(-logits, target, weight)[0] < 0.01


def test_learning_by_the_loss_finds_the_target():
    heads = bcd()
    target, weight = noise(1, 4, 2, 8, 8).sigmoid().round(), torch.ones(1, 4, 2, 8, 8)
    logits = torch.zeros_like(target, requires_grad=True)
    optimizer = torch.optim.Adam([logits], lr=0.5)
    for _ in range(60):
        optimizer.zero_grad()
        loss_of(logits, target, weight, heads, LossConfig())[0].backward()
        optimizer.step()
    assert torch.equal((logits > 0).float(), target)
