"""Small networks learn what they are shown, and nothing from what nobody annotated."""

import time

import numpy as np
import torch

from baselines.config import Config, build
from baselines.models import build_model
from baselines.objects.heads import heads_of
from baselines.training.augment import augment
from baselines.training.sampling import Patches
from baselines.training.updates import follow, gradients, make_optimizer, step
from baselines.volumes.readers import InMemory
from evaluator.geometry import VoxelGrid
from tests.baselines.made_crops import make_crop

CUBES = (8.0, 8.0, 8.0)


def settings(labels, **training):
    return build(
        Config,
        {
            "data": {"labels": labels},
            "model": {"width": 8, "levels": 2},
            "training": {"batch": 4, "patch": [1, 32, 32], "workers": 1, **training},
        },
        where="",
    )


def bright_squares(seed, name="a", label="a", *, inverted=False):
    random = np.random.default_rng(seed)
    squares = np.zeros((4, 48, 48), np.uint8)
    for z in range(4):
        for y, x in random.integers(4, 36, (3, 2)):
            squares[z, y : y + 8, x : x + 8] = 1
    raw = np.clip(90 + 40 * squares + random.normal(0, 20, squares.shape), 1, 255)
    shown = InMemory(1 - squares if inverted else squares)
    grid = VoxelGrid(squares.shape, CUBES)
    return make_crop(name, grid, InMemory(raw.astype(np.uint8)), {label: shown})


def learnt(crops, labels, iterations):
    """A network after some iterations, and the losses on the way."""
    config = settings(labels)
    heads = heads_of(labels, {}, config.objects, CUBES, planar=True)
    torch.manual_seed(0)
    net = build_model(config.model, channels=len(labels), voxel_size=CUBES)
    optimizer, patches, losses = make_optimizer(net, config), Patches(crops, labels, config), []
    for n in range(iterations):
        random = torch.Generator().manual_seed(n)
        batch = augment(patches.batch(n), config.augment, random, CUBES)
        losses.append(gradients(net, [batch], heads, config, bf16=False)[0].item())
        step(optimizer, rate=1e-2, clip=1.0)
    return net, losses


def test_it_learns_bright_squares_in_forty_iterations_although_they_are_spoilt():
    _, losses = learnt([bright_squares(0)], ["a"], 40)
    assert np.mean(losses[-5:]) < 0.6 * np.mean(losses[:5])


def test_labels_annotated_in_different_crops_are_both_learnt():
    crops = [bright_squares(0), bright_squares(1, "b", "b", inverted=True)]
    net, _ = learnt(crops, ["a", "b"], 60)
    test = bright_squares(2)
    raw = torch.from_numpy(test.light.normalise(test.raw.array))[None, None]
    with torch.inference_mode():
        a, b = net.eval()(raw)[0].sigmoid()
    inside = torch.from_numpy(test.labels["a"].array > 0)
    assert a[inside].mean() > a[~inside].mean() + 0.3
    assert b[inside].mean() < b[~inside].mean() - 0.3


def test_the_loop_costs_little_beside_forward_and_backward():
    """Everything an iteration does but the network, its loss, its update: at most 8 % on a CPU."""
    config = build(
        Config,
        {
            "data": {"labels": ["a"]},
            "model": {"width": 32, "levels": 3},
            "training": {"batch": 4, "patch": [1, 128, 128]},
        },
        where="",
    )
    raw = np.random.default_rng(0).integers(1, 255, (4, 256, 256), np.uint8)
    grid = VoxelGrid(raw.shape, CUBES)
    crop = make_crop("a", grid, InMemory(raw), {"a": InMemory((raw > 200).astype(np.uint8))})
    heads = heads_of(["a"], {}, config.objects, CUBES, planar=True)
    net = build_model(config.model, channels=1, voxel_size=CUBES)
    optimizer, patches = make_optimizer(net, config), Patches([crop], ["a"], config)
    average = {k: v.detach().clone() for k, v in net.state_dict().items()}
    network, around = [], []
    for n in range(6):
        began = time.thread_time()
        batch = augment(patches.batch(n), config.augment, torch.Generator().manual_seed(n), CUBES)
        between = time.thread_time()
        gradients(net, [batch], heads, config, bf16=False)
        step(optimizer, rate=1e-3, clip=1.0)
        done = time.thread_time()
        follow(average, net.state_dict(), decay=0.99, iteration=n)
        network.append(done - between)
        around.append(between - began + time.thread_time() - done)
    assert np.median(around) < 0.08 * np.median(network)


def test_a_label_that_nobody_annotated_is_not_pushed_anywhere():
    net, _ = learnt([bright_squares(0)], ["a", "b"], 20)
    torch.manual_seed(0)
    fresh = build_model(settings(["a", "b"]).model, channels=2, voxel_size=CUBES)
    assert torch.equal(net.head.bias[1], fresh.head.bias[1])
    assert not torch.equal(net.head.bias[0], fresh.head.bias[0])
