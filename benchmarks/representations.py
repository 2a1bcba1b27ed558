"""Which representation of objects to learn: the same network, data and CPU time for each.

    python -m benchmarks.representations DATA --seconds 60 --seeds 0 1 2

DATA holds `flyem_fibsem` (dense neurons) and `embryo_nuclei3d` (nuclei that lie apart).  Thresholds
are chosen on voxels away from those that count: of the neurons on planes 96 to 127, before the test
planes 128 to 159; of the nuclei in the half that trains.  Prints a line of JSON per training.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
import torch
from skimage.metrics import variation_of_information
from torch import Tensor, nn

from baselines.box import Box
from baselines.config import LossConfig, ModelConfig, ObjectsConfig
from baselines.models import build_model
from baselines.objects.agreement import panoptic_quality
from baselines.objects.decoding import Thresholds, objects_of
from baselines.objects.heads import BCD, Head, Heads, heads_of
from baselines.objects.targets import make_targets
from baselines.objects.tuning import Volume, tune
from baselines.objects.watershed import SMALLEST_SEED, flood
from baselines.training.losses import loss_of
from baselines.volumes.components import components
from evaluator.geometry import Nanometres
from evaluator.manifest import Kind

MODEL = ModelConfig(dims=3, width=16, levels=3, stem=2)
REPRESENTATIONS = ("components", "bcd", "affinity")


@dataclass(frozen=True)
class Task:
    """Volumes (Z, Y, X): raw normalised, ids; boxes to train, to tune and to test on.

    smallest: objects of fewer voxels, true or found, do not count.
    """

    name: str
    raw: np.ndarray
    ids: np.ndarray
    voxel_size: Nanometres
    train: Box
    tune: Box
    test: Box
    patch: tuple[int, int, int]
    smallest: int
    shrink: int
    others: dict[str, np.ndarray]  # predictions of others, of the test box


def neurons(data: Path) -> Task:
    """Dense neurons of a fly, 10 nm along every axis."""
    folder = data / "flyem_fibsem"

    def stack(name: str) -> np.ndarray:
        parts = [tifffile.imread(folder / f"{name}_z{z}.tif") for z in ("000-127", "128-159")]
        return np.concatenate(parts)

    return Task(
        "flyem_fibsem", normalised(stack("raw")), stack("neurons_gt").astype(np.int32),
        (10.0, 10.0, 10.0), Box((0, 0, 0), (96, 250, 250)), Box((96, 0, 0), (128, 250, 250)),
        Box((128, 0, 0), (160, 250, 250)), (16, 64, 64), smallest=500, shrink=1,
        others={n: stack(f"pred_{n}")[128:].astype(np.uint32) for n in ("ffn", "watershed")},
    )  # fmt: skip


def nuclei(data: Path) -> Task:
    """Sixteen nuclei of an embryo; the half with small Y trains."""
    folder = data / "embryo_nuclei3d"
    raw, ids = (tifffile.imread(folder / f"16_cell_stage_{n}.tif") for n in ("raw", "instances"))
    train, test = Box((0, 0, 0), (51, 60, 122)), Box((0, 60, 0), (51, 120, 122))
    return Task(
        "embryo_nuclei3d", normalised(raw), ids.astype(np.int32), (1750.0, 800.0, 800.0), train,
        train, test, (16, 48, 64), smallest=100, shrink=0,
        others={"qcanet": tifffile.imread(folder / "16_cell_stage_pred_qcanet.tif")[:, 60:]},
    )  # fmt: skip


def normalised(raw: np.ndarray) -> np.ndarray:
    """Mean 0, deviation 1."""
    found: np.ndarray = ((raw - raw.mean()) / raw.std()).astype(np.float32)
    return found


def patches(task: Task, seed: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Raw (1, 1, *patch) and ids of random places, mirrored and lit at random."""
    random = np.random.default_rng(seed)
    raw, ids = task.raw[task.train.slices], task.ids[task.train.slices]
    while True:
        starts = [random.integers(n - p + 1) for n, p in zip(raw.shape, task.patch, strict=True)]
        part = tuple(slice(a, a + p) for a, p in zip(starts, task.patch, strict=True))
        steps = tuple(slice(None, None, int(random.choice((-1, 1)))) for _ in range(3))
        image = raw[part][steps] * np.exp(random.normal(0, 0.2)) + random.normal(0, 0.2)
        yield tuple(
            torch.from_numpy(np.ascontiguousarray(a, t))[None, None]
            for a, t in ((image, np.float32), (ids[part][steps], np.int32))
        )  # type: ignore[misc]


def trained(task: Task, heads: Heads, *, seconds: float, seed: int) -> tuple[nn.Module, int]:
    """A network after so many CPU-seconds, and how many iterations they were."""
    torch.manual_seed(seed)
    model = build_model(
        MODEL, channels=heads.channels, voxel_size=task.voxel_size, patch=task.patch
    )
    model.place(torch.device("cpu"), trains=True)
    optimizer = torch.optim.AdamW(model.parameters(), weight_decay=1e-2)
    source, begun, iterations = patches(task, seed), time.process_time(), 0
    while (done := (time.process_time() - begun) / seconds) < 1:
        rate = 3e-3 * min(1, done / 0.03 + 0.01) * (0.01 + 0.99 * (1 + np.cos(np.pi * done)) / 2)
        for group in optimizer.param_groups:
            group["lr"] = rate
        pairs = [next(source) for _ in range(2)]
        raw, ids = (torch.cat(column) for column in zip(*pairs, strict=True))
        target, weight = make_targets(ids, torch.ones_like(ids, dtype=torch.bool), heads)
        with torch.autocast("cpu", torch.bfloat16):
            logits = model(raw)
        loss, _ = loss_of(logits, target, weight, heads, LossConfig(most_weight=1.0))
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        iterations += 1
    return model.eval(), iterations


def predicted(model: nn.Module, raw: np.ndarray) -> np.ndarray:
    """Probabilities (channels, Z, Y, X) uint8 of a whole box."""
    pads = [(0, -n % 8) for n in raw.shape]
    padded = torch.from_numpy(np.pad(raw, pads, mode="reflect"))[None, None]
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
        found = model(padded)[0].float().sigmoid().mul(255).round().to(torch.uint8).numpy()
    z, y, x = raw.shape
    return np.ascontiguousarray(found[:, :z, :y, :x])


def scores(task: Task, found: np.ndarray) -> dict[str, float]:
    """PQ and F1 at IoU 1/2 of the objects that are large enough, VI split and merge in bits."""
    truth = task.ids[task.test.slices]
    split, merge = variation_of_information(found, truth, ignore_labels=(0,))
    large = [without_small(a, task.smallest) for a in (truth, found)]
    # A voxel of an object that does not count, counts for nobody.
    large[1] = np.where((truth > 0) & (large[0] == 0), 0, large[1])
    return {
        "pq": round(panoptic_quality(*large), 4), "f1": round(f1(*large), 4),
        "vi_merge": round(float(split), 4), "vi_split": round(float(merge), 4),
        "objects": int(len(np.unique(large[1])) - 1),
    }  # fmt: skip


def without_small(ids: np.ndarray, least: int) -> np.ndarray:
    """Ids of which those of fewer voxels are 0."""
    numbers, inverse, counts = np.unique(ids, return_inverse=True, return_counts=True)
    return np.where(counts >= least, numbers, 0)[inverse].reshape(ids.shape)


def f1(truth: np.ndarray, found: np.ndarray) -> float:
    """Of objects that overlap by more than half of both together."""
    keys, both = np.unique(truth.astype(np.int64) << 32 | found, return_counts=True)
    sizes = [dict(zip(*np.unique(a, return_counts=True), strict=True)) for a in (truth, found)]
    hits = sum(
        n > 0.5 * (sizes[0][k >> 32] + sizes[1][k & 0xFFFFFFFF] - n)
        for k, n in zip(keys.tolist(), both.tolist(), strict=True) if k >> 32 and k & 0xFFFFFFFF
    )  # fmt: skip
    objects = sum(len(set(s) - {0}) for s in sizes)
    return float(2 * hits / objects) if objects else 1.0


def plain_watershed(task: Task, test: np.ndarray, tuning: np.ndarray) -> dict[str, Any]:
    """The usual watershed on the same contours: seeds are what hangs together below a level."""
    truth = without_small(task.ids[task.tune.slices], task.smallest)

    def decode(given: np.ndarray, level: float) -> np.ndarray:
        only = np.stack([np.full_like(given[1], 255), given[1], np.zeros_like(given[1])])
        seeds = components(given[1] < level * 255, smallest=SMALLEST_SEED)
        return flood(only, seeds, mask=0.5)[0]

    levels = np.arange(0.1, 0.95, 0.1)
    best = max(levels, key=lambda level: panoptic_quality(truth, decode(tuning, level)))
    return {**scores(task, decode(test, best)), "level": round(float(best), 2)}


def compare(task: Task, representation: str, *, seconds: float, seed: int) -> dict[str, Any]:
    """Train, choose thresholds, test."""
    config = ObjectsConfig(representation=representation, shrink={"object": task.shrink})
    heads = heads_of(["object"], {"object": Kind.INSTANCE}, config, task.voxel_size)
    head: Head = heads.heads[0]
    model, iterations = trained(task, heads, seconds=seconds, seed=seed)
    tuning, test = (predicted(model, task.raw[box.slices]) for box in (task.tune, task.test))
    known = without_small(task.ids[task.tune.slices], task.smallest)
    begun = time.process_time()
    thresholds, quality = tune(
        [Volume(tuning, known)], head, Thresholds(), smallest=task.smallest, most=2**19
    )
    tuned = time.process_time() - begun
    begun = time.process_time()
    found = objects_of(test, head, thresholds, smallest=task.smallest)
    speed = found.size / 1e6 / (time.process_time() - begun)
    result = {
        "data": task.name, "representation": representation, "seed": seed,
        "iterations": iterations, **scores(task, found), "tuning_pq": round(quality, 4),
        "tuning_seconds": round(tuned, 1), "decode_mvoxels_per_second": round(speed, 2),
        "thresholds": {k: round(v, 2) for k, v in thresholds.to_json().items()},
    }  # fmt: skip
    if representation == BCD:
        result["plain_watershed"] = plain_watershed(task, test, tuning)
    return result


def main() -> None:
    """Read the arguments and print a line per training, then those of the others' predictions."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--only", choices=("flyem_fibsem", "embryo_nuclei3d"))
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    tasks = [make(arguments.data) for make in (neurons, nuclei)]
    for task in tasks:
        if arguments.only in (None, task.name):
            for name, other in task.others.items():
                row = {"data": task.name, "other": name, **scores(task, other)}
                print(json.dumps(row), flush=True)
            for seed in arguments.seeds:
                for representation in REPRESENTATIONS:
                    row = compare(task, representation, seconds=arguments.seconds, seed=seed)
                    print(json.dumps(row), flush=True)


if __name__ == "__main__":
    main()
