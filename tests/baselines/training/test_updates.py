import dataclasses

import numpy as np
import pytest
import torch
from torch import nn

from baselines.config import Config, ConfigError, build
from baselines.models import build_model
from baselines.objects.heads import heads_of
from baselines.objects.targets import make_targets
from baselines.runs.devices import choose_device, use_bf16
from baselines.training.augment import augment
from baselines.training.losses import loss_of
from baselines.training.sampling import Batch
from baselines.training.updates import (
    follow,
    gradients,
    learns_in_bf16,
    make_optimizer,
    mask_counts,
    step,
)
from evaluator.manifest import Kind
from tests.baselines.conftest import tiny

CUBES = (8.0, 8.0, 8.0)
LABELS = ("cell", "mem")
HEADS = heads_of(LABELS, {}, tiny().objects, CUBES, planar=True)


def batch(n=2, seed=0):
    random = torch.Generator().manual_seed(seed)
    raw = torch.randn((n, 1, 1, 16, 16), generator=random)
    ids = (torch.rand((n, 2, 1, 16, 16), generator=random) > 0.5).int()
    return Batch(raw, ids, torch.ones_like(ids, dtype=torch.bool))


def network():
    torch.manual_seed(0)
    return build_model(tiny().model, channels=2, voxel_size=CUBES)


def update(net, given, *, optimizer=None, rate=1e-2, clip=1.0, parts=1):
    optimizer = optimizer or make_optimizer(net, tiny())
    loss, _ = gradients(net, given.parts(parts), HEADS, tiny(), bf16=False)
    step(optimizer, rate=rate, clip=clip)
    return loss.item()


def weights(net):
    return torch.cat([p.detach().flatten().clone() for p in net.parameters()])


def test_one_update_changes_the_weights_and_leaves_no_gradient_behind():
    net = network()
    before = weights(net)
    update(net, batch())
    assert (weights(net) != before).any()
    assert all(p.grad is None for p in net.parameters())


def test_repeated_updates_learn_the_batch():
    net = network()
    optimizer = make_optimizer(net, tiny())
    given = batch(n=1)
    given.ids[:] = (given.raw > 0).int()
    losses = [update(net, given, optimizer=optimizer) for _ in range(40)]
    assert losses[-1] < 0.5 * losses[0]


def test_what_is_not_annotated_does_not_steer_an_update():
    results = []
    for value in (0, 1):
        net, given = network(), batch()
        given.ids[:, 1], given.known[:, 1] = value, False
        update(net, given)
        results.append(weights(net))
    assert torch.equal(*results)


def test_a_batch_in_parts_moves_the_weights_like_the_batch_at_once():
    """Cross-entropy is a mean over voxels, so parts of equal size add up to the whole."""
    config = tiny()
    plain = dataclasses.replace(config.loss, kind="bce", most_weight=1.0)
    config = dataclasses.replace(config, loss=plain)
    found = []
    for parts in (1, 2, 4):
        net = network()
        loss, _ = gradients(net, batch(n=4).parts(parts), HEADS, config, bf16=False)
        found.append((loss.item(), torch.cat([p.grad.flatten() for p in net.parameters()])))
    for loss, gradient in found[1:]:
        assert loss == pytest.approx(found[0][0], abs=1e-6)
        torch.testing.assert_close(gradient, found[0][1], atol=1e-6, rtol=1e-4)


def test_voxels_of_masks_are_counted_where_somebody_looked():
    logits = torch.tensor([1.0, 1, -1, -1, 1]).reshape(1, 1, 1, 1, 5)
    target = torch.tensor([1.0, 0, 1, 0, 1]).reshape(1, 1, 1, 1, 5)
    known = torch.tensor([1.0, 1, 1, 1, 0]).reshape(1, 1, 1, 1, 5)
    heads = heads_of(("a",), {}, tiny().objects, CUBES)
    assert mask_counts(logits, target, known, heads).tolist() == [[1], [1], [1]]
    assert mask_counts([logits, logits], target, known, heads).tolist() == [[1], [1], [1]]


def test_counts_come_with_the_gradients_if_asked_for():
    _, none = gradients(network(), [batch()], HEADS, tiny(), bf16=False)
    _, counts = gradients(network(), [batch()], HEADS, tiny(), bf16=False, counted=True)
    assert none is None
    found, _, missed = counts
    assert (found + missed).tolist() == batch().ids.sum((0, 2, 3, 4)).tolist()


def test_objects_with_contours_and_distances_are_learnt_too():
    config = dataclasses.replace(
        tiny(), objects=dataclasses.replace(tiny().objects, representation="bcd")
    )
    heads = heads_of(LABELS, {"cell": Kind.INSTANCE}, config.objects, CUBES, planar=True)
    net = build_model(config.model, channels=heads.channels, voxel_size=CUBES)
    loss, counts = gradients(net, [batch()], heads, config, bf16=False, counted=True)
    assert np.isfinite(loss.item())
    assert counts.shape == (3, 2)


@pytest.mark.parametrize("parts", [1, 4])
def test_large_gradients_are_clipped_once_per_update(parts):
    moved = []
    for clip in (1e-6, 1e6):
        net = network()
        before, sgd = weights(net), torch.optim.SGD(net.parameters())
        update(net, batch(n=4), optimizer=sgd, rate=1.0, clip=clip, parts=parts)
        moved.append((weights(net) - before).norm().item())
    assert moved[0] == pytest.approx(1e-6, rel=0.05)
    assert moved[1] > 100 * moved[0]


def test_the_norm_of_gradients_that_are_not_finite_is_not_finite():
    net = network()
    loss, _ = gradients(net, [batch()], HEADS, tiny(), bf16=False)
    assert np.isfinite(loss.item())
    next(net.parameters()).grad[:] = float("inf")
    assert not step(make_optimizer(net, tiny()), rate=1e-3, clip=1.0).isfinite()


def test_only_weights_of_convolutions_decay():
    optimizer = make_optimizer(network(), tiny(weight_decay=0.3))
    decays = {g["weight_decay"]: {p.ndim for p in g["params"]} for g in optimizer.param_groups}
    assert decays[0.3] == {4}
    assert decays[0.0] == {1}


@pytest.mark.parametrize("name", ["adamw", "radam", "sgd"])
def test_weights_of_convolutions_decay_with_every_optimizer_and_scales_with_none(name):
    """Without any gradient what is left is the decay: 1 - rate x decay of every weight."""
    net = network()
    before = [p.detach().clone() for p in net.parameters()]
    optimizer = make_optimizer(net, tiny(optimizer=name, weight_decay=0.5))
    for parameter in net.parameters():
        parameter.grad = torch.zeros_like(parameter)
    step(optimizer, rate=0.1, clip=1.0)
    # Nesterov's momentum counts the first gradient, here the decay, 1 + 0.9 times.
    left = 1 - 0.1 * 0.5 * (1.9 if name == "sgd" else 1.0)
    for old, new in zip(before, net.parameters(), strict=True):
        torch.testing.assert_close(new.detach(), old * (left if old.ndim > 1 else 1.0))


@pytest.mark.parametrize("name", ["adamw", "radam"])
def test_decoupled_decay_does_not_change_what_the_moments_remember(name):
    found = []
    for decay in (0.0, 0.9):
        net = network()
        optimizer = make_optimizer(net, tiny(optimizer=name, weight_decay=decay))
        update(net, batch(), optimizer=optimizer)
        found.append([state["exp_avg"] for state in optimizer.state.values()])
    assert all(torch.equal(a, b) for a, b in zip(*found, strict=True))


@pytest.mark.parametrize(("name", "rate"), [("radam", 0.05), ("sgd", 0.1)])
def test_other_optimizers_learn_the_batch_too(name, rate):
    net, given = network(), batch(n=1)
    given.ids[:] = (given.raw > 0).int()
    optimizer = make_optimizer(net, tiny(optimizer=name))
    losses = [update(net, given, optimizer=optimizer, rate=rate) for _ in range(40)]
    assert losses[-1] < 0.5 * losses[0]


def test_the_average_follows_quickly_at_first_and_slowly_later():
    average = {"w": torch.zeros(1)}
    follow(average, {"w": torch.ones(1)}, decay=0.99, iteration=0)
    assert average["w"].item() == pytest.approx(0.9)  # 1 - 1/10
    average = {"w": torch.zeros(1)}
    follow(average, {"w": torch.ones(1)}, decay=0.99, iteration=10_000)
    assert average["w"].item() == pytest.approx(0.01)


def test_counters_of_normalisation_are_copied_not_averaged():
    average = {k: v.clone() for k, v in nn.BatchNorm2d(2).state_dict().items()}
    norm = nn.BatchNorm2d(2)
    norm(torch.randn(2, 2, 4, 4))
    follow(average, norm.state_dict(), decay=0.5, iteration=100)
    assert average["num_batches_tracked"] == 1


INSTANCES = {"cell": Kind.INSTANCE}


def volume_settings(representation):
    return build(
        Config,
        {
            "model": {"dims": 3, "width": 8, "levels": 2},
            "objects": {"representation": representation},
        },
        where="",
    )


@pytest.mark.parametrize("representation", ["components", "bcd", "affinity"])
def test_an_update_asks_its_device_for_no_number(representation):
    """On torch's meta device numbers do not exist: whoever asks for one fails.  On a GPU, it would
    wait."""
    config = volume_settings(representation)
    heads = heads_of(LABELS, INSTANCES, config.objects, CUBES)
    ids = torch.zeros(1, 2, 8, 16, 16, dtype=torch.int32, device="meta")
    net = build_model(config.model, channels=heads.channels, voxel_size=CUBES).to("meta")
    target, weight = make_targets(ids, ids.bool(), heads)
    logits = net(torch.zeros(1, 1, 8, 16, 16, device="meta"))
    loss, _ = loss_of(logits, target, weight, heads, config.loss)
    loss.backward()
    assert mask_counts(logits, target, weight, heads).shape == (3, 2)
    assert step(make_optimizer(net, config), rate=1e-3, clip=1.0).is_meta


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("representation", ["components", "bcd", "affinity"])
def test_a_gpu_is_not_waited_for_between_two_updates(representation):
    gpu, config = choose_device("cuda"), volume_settings(representation)
    heads = heads_of(LABELS, INSTANCES, config.objects, CUBES)
    net = build_model(config.model, channels=heads.channels, voxel_size=CUBES)
    net.place(gpu)
    optimizer = make_optimizer(net, config)
    ids = torch.randint(0, 3, (2, 2, 8, 16, 16), dtype=torch.int32)
    given = Batch(torch.randn(2, 1, 8, 16, 16), ids, ids >= 0).pinned()
    for n in range(3):
        torch.cuda.set_sync_debug_mode("error" if n else "default")  # the first one sets things up
        try:
            random = torch.Generator().manual_seed(n)
            batch = augment(given.to(gpu), config.augment, random, CUBES)
            gradients(net, [batch], heads, config, bf16=True, counted=True)
            step(optimizer, rate=1e-3, clip=1.0)
        finally:
            torch.cuda.set_sync_debug_mode("default")


def volumes(planes, precision):
    """A network of two levels for patches of so many planes, and its settings."""
    settings = {
        "model": {"dims": 3, "width": 8, "levels": 2, "stem": 1},
        "training": {"patch": [planes, 16, 16], "precision": precision},
    }
    config = build(Config, settings, where="")
    return config, build_model(config.model, channels=1, voxel_size=CUBES, patch=(planes, 16, 16))


def test_volumes_of_too_few_planes_are_not_learnt_in_bfloat16_on_a_cpu():
    cpu = torch.device("cpu")
    config, net = volumes(2, "auto")
    net.train()
    before = {name: value.clone() for name, value in net.state_dict().items()}
    assert not learns_in_bf16(config, net, cpu)
    assert net.training
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
    with pytest.raises(ConfigError, match=r"fewer planes than its kernels.*'fp32' or 'auto'"):
        learns_in_bf16(*volumes(2, "bf16"), cpu)


@pytest.mark.parametrize("precision", ["auto", "bf16", "fp32"])
def test_other_volumes_are_learnt_as_asked_for(precision):
    cpu = torch.device("cpu")
    assert learns_in_bf16(*volumes(8, precision), cpu) == use_bf16(precision, cpu)


def test_planes_are_learnt_as_asked_for():
    assert learns_in_bf16(tiny(precision="bf16"), network(), torch.device("cpu"))
