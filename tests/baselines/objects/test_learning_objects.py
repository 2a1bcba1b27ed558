"""Objects of a network that has really learnt: round things that touch, in a noisy picture."""

import numpy as np
import torch
from scipy.ndimage import gaussian_filter

from baselines.config import LossConfig, ModelConfig
from baselines.models import build_model
from baselines.objects.agreement import panoptic_quality
from baselines.objects.decoding import Thresholds, mask_of, objects_of
from baselines.objects.heads import BCD, COMPONENTS, Heads
from baselines.objects.targets import contours, make_targets
from baselines.objects.tuning import Volume, tune
from baselines.training.losses import loss_of
from baselines.volumes.components import components
from benchmarks.cells import CUBE, cells, head_of

PATCH = (8, 32, 32)
MODEL = ModelConfig(dims=3, width=8, levels=2, stem=1)


def picture(ids, seed):
    """Bright inside, dark where objects touch, blurred and noisy; mean 0."""
    edge = contours(torch.from_numpy(ids.astype(np.int32))[None], (0, 1, 2))[0].numpy()
    clean = gaussian_filter(((ids > 0) & ~edge).astype(np.float32), 0.7)
    noise = np.random.default_rng(seed).normal(0, 0.15, ids.shape)
    return (2 * clean - 1 + noise).astype(np.float32)


def learnt(heads, raw, ids, *, iterations):
    torch.manual_seed(0)
    random = np.random.default_rng(0)
    model = build_model(MODEL, channels=heads.channels, voxel_size=CUBE, patch=PATCH)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    for done in range(iterations):
        optimizer.param_groups[0]["lr"] = 1e-2 * (1 - done / iterations)
        start = [random.integers(n - p + 1) for n, p in zip(ids.shape, PATCH, strict=True)]
        part = tuple(slice(a, a + p) for a, p in zip(start, PATCH, strict=True))
        seen, known = (torch.from_numpy(a[part].copy())[None, None] for a in (raw, ids))
        target, weight = make_targets(known, torch.ones_like(known, dtype=torch.bool), heads)
        loss, _ = loss_of(model(seen), target, weight, heads, LossConfig())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return model.eval()


def test_a_network_learns_to_tell_touching_objects_apart():
    """Panoptic quality 0.15 above connected components of the learnt mask."""
    train, test = (cells((24, 64, 64), 70, radius=7, seed=k).astype(np.int32) for k in (1, 2))
    head = head_of(BCD)
    model = learnt(Heads((head,)), picture(train, 1), train, iterations=100)
    with torch.inference_mode():
        tuning, given = (
            model(torch.from_numpy(picture(ids, seed))[None, None])[0]
            .sigmoid().mul(255).round().to(torch.uint8).numpy()
            for ids, seed in ((train, 3), (test, 2))
        )  # fmt: skip
    thresholds, _ = tune([Volume(tuning, train)], head, Thresholds(), smallest=20)
    found = panoptic_quality(test, objects_of(given, head, thresholds, smallest=20))
    best, _ = tune([Volume(tuning[:1], train)], head_of(COMPONENTS), Thresholds(), smallest=20)
    plain = panoptic_quality(test, components(mask_of(given[0], best.mask), smallest=20))
    assert found >= 0.85
    assert found >= plain + 0.15
