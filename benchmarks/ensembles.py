"""What an ensemble is worth: its Dice, where its uncertainty points, which images it doubts.

    python -m benchmarks.ensembles            a few minutes of processor time

Five networks of planes learn membranes, mitochondria and the space between cells from 15 small
phantoms, each without the three that it validates on, by the code of the commands.  They predict
30 others, 30 with twice the noise, and 30 seen through a blur.  Printed, each beside its bar:

    Dice       of all voxels of the 30, mean over labels: the ensemble's, and the best network's
    AUROC      how well uncertainty tells wrong voxels from right ones: per label, and their mean
    flagged    share of images told to be out of distribution: false alarms, noise, blur
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import zarr
from scipy.ndimage import gaussian_filter

from baselines.config import Config, build, load_config
from baselines.layout import DataFolder, Purpose
from baselines.phantoms.phantom import PhantomPlan, write_phantom
from baselines.predicting.output import metadata_of, result_of
from baselines.predicting.prediction import predict
from baselines.predicting.subjects import hidden_crops
from baselines.predicting.team import team_of
from baselines.runs.checkpoint import Run, members
from baselines.training.folds import train_folds
from evaluator.volume import open_volume

LABELS = ("mem", "mito", "ecs")
PLAN = PhantomPlan(
    shape=(8, 160, 160), voxel_size=(8.0, 8.0, 8.0), seed=5, train=15, hidden=30, cell_nm=400.0
)
NOISE = 2.0  # times as much
BLUR = 1.5  # voxels, standard deviation within the plane
BARS = {"gain": 0.003, "auroc": 0.85, "flagged": 0.9, "false alarms": 0.05}


def settings(iterations: int) -> Config:
    """A small network of planes."""
    config: Config = build(
        Config,
        {
            "data": {"labels": list(LABELS)},
            "model": {"width": 16, "levels": 3, "stem": 2},
            "training": {"iterations": iterations, "batch": 4, "patch": [1, 64, 64]},
            "prediction": {"tile": [1, 160, 160], "overlap": [0, 32, 32], "batch": 4},
        },
        where="",
    )
    return config


def quiet(_: str) -> None:
    """Nobody hears."""


def make_data(root: Path, plan: PhantomPlan) -> dict[str, DataFolder]:
    """Data folders: what is learnt from and predicted, and images of two other kinds."""
    other = dataclasses.replace(plan, train=0, seed=plan.seed + 1)
    plans = {
        "usual": plan, "noise": dataclasses.replace(other, noise=NOISE * plan.noise), "blur": other
    }  # fmt: skip
    for name, each in plans.items():
        write_phantom(root / name, each, progress=quiet)
    for subject in hidden_crops(DataFolder(root / "blur")):
        array = zarr.open_array(subject.raw / "s0", mode="r+")
        seen = gaussian_filter(np.asarray(array[:]).astype(np.float32), (0, BLUR, BLUR))
        array[:] = np.round(seen).astype(np.uint8)
    return {name: DataFolder(root / name) for name in plans}


def predicted(runs: Sequence[Run], data: DataFolder, out: Path) -> Path:
    """Predict the hidden crops of a folder, with uncertainty if runs are several; where to."""
    sets = ["prediction.uncertainty=true"] if len(runs) > 1 else []
    team = team_of(runs, load_config(runs[0].settings, sets))
    predict(team, hidden_crops(data), out, device="cpu", progress=quiet)
    return out


def truths(data: DataFolder, label: str) -> dict[str, np.ndarray]:
    """Masks of the hidden crops, by name."""
    return {
        target.crop.folder: open_volume(data.label(Purpose.HIDDEN, target)).read() > 0
        for target in data.manifest(Purpose.HIDDEN).targets if target.label.name == label
    }  # fmt: skip


def dice(data: DataFolder, out: Path) -> dict[str, float]:
    """Per label, of all voxels of the hidden crops together."""
    found = {}
    for label in LABELS:
        both = either = 0
        for crop, truth in truths(data, label).items():
            mask = np.asarray(result_of(out / crop / label)[:]) > 0
            both += int((truth & mask).sum())
            either += int(truth.sum()) + int(mask.sum())
        found[label] = 2 * both / either
    return found


def errors_found(data: DataFolder, out: Path) -> dict[str, float]:
    """Per label, AUROC of uncertainty for voxels where the mask is wrong."""
    found = {}
    for label in LABELS:
        right, wrong = np.zeros(256, np.int64), np.zeros(256, np.int64)
        for crop, truth in truths(data, label).items():
            mask = np.asarray(result_of(out / crop / label)[:]) > 0
            level = np.asarray(zarr.open_array(out / crop / "uncertainty" / label, mode="r")[:])
            wrong += np.bincount(level[truth != mask], minlength=256)
            right += np.bincount(level[truth == mask], minlength=256)
        found[label] = auroc(right, wrong)
    return found


def auroc(low: np.ndarray, high: np.ndarray) -> float:
    """The chance that one of `high` lies above one of `low`; halves where they are equal.

    low, high: how often each level occurs, in the order of levels.
    """
    below = low.cumsum() - low / 2
    return float((high * below).sum() / (high.sum() * low.sum()))


def flagged(out: Path) -> float:
    """The share of predicted images that are told to be out of distribution."""
    told = [metadata_of(page.parent)["out_of_distribution"] for page in out.glob("*/metadata.json")]
    return sum(map(bool, told)) / len(told)


def measure(root: Path, iterations: int, plan: PhantomPlan = PLAN) -> dict[str, Any]:
    """Everything, in a folder."""
    begun = time.process_time()
    data = make_data(root, plan)
    painted = time.process_time()
    train_folds(
        settings(iterations),
        data["usual"],
        root / "runs",
        device=torch.device("cpu"),
        progress=quiet,
    )
    runs, trained = members(root / "runs"), time.process_time()
    outs = {name: predicted(runs, folder, root / name / "out") for name, folder in data.items()}
    alone = [
        dice(data["usual"], predicted([run], data["usual"], root / f"alone-{n}"))
        for n, run in enumerate(runs)
    ]
    together, areas = dice(data["usual"], outs["usual"]), errors_found(data["usual"], outs["usual"])
    best = max(float(np.mean(list(one.values()))) for one in alone)
    shares = {name: flagged(out) for name, out in outs.items()}
    return {
        "dice": together, "alone": alone, "auroc": areas, "flagged": shares,
        "gain": float(np.mean(list(together.values()))) - best, "best alone": best,
        "seconds": {
            "painting": painted - begun, "training": trained - painted,
            "predicting": time.process_time() - trained,
        },
    }  # fmt: skip


def report(found: dict[str, Any]) -> list[str]:
    """Lines to read, each with its bar."""
    mean = {name: float(np.mean(list(found[name].values()))) for name in ("dice", "auroc")}
    shares = found["flagged"]
    areas = ", ".join(f"{label} {area:.3f}" for label, area in found["auroc"].items())
    seconds = ", ".join(f"{name} {spent:.0f}" for name, spent in found["seconds"].items())
    return [
        f"Dice of the ensemble {mean['dice']:.4f}, of the best network alone "
        f"{found['best alone']:.4f}: {found['gain']:+.4f} (bar: {BARS['gain']:+})",
        f"AUROC of uncertainty for wrong voxels {mean['auroc']:.3f} ({areas}; bar {BARS['auroc']})",
        f"flagged: {shares['usual']:.0%} of usual images (bar: at most {BARS['false alarms']:.0%}),"
        f" {shares['noise']:.0%} of those with {NOISE:g} x the noise, {shares['blur']:.0%} through "
        f"a blur (bar: {BARS['flagged']:.0%})",
        f"CPU seconds: {seconds}",
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--iterations", type=int, default=1500, help="of each network")
    parser.add_argument("--json", type=Path, help="a file for all figures")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        found = measure(Path(folder), asked.iterations)
    print("\n".join(report(found)))
    if asked.json:
        asked.json.write_text(json.dumps(found, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main()
