"""Speed and memory of prediction beside MONAI's sliding window, with the same network and overlap.

    python -m benchmarks.prediction [--dims 2,3] [--depths 64,128] [--repeat 3] [--device cpu]

Each measurement is a process of its own that goes from a Zarr array of grey values to Zarr arrays
of probabilities (uint8): ours block by block, MONAI's through arrays in memory, as it is made.
Both take turns.  Voxels per second are of the volume, by the clock and by processor time of the
process; memory is what the process had resident at most, less what it had after loading.
A further line tells what part of our time the network alone takes, and how many voxels were
written: all of them, each once.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from baselines.config import Config, build
from baselines.predicting.ledger import Ledger
from baselines.predicting.prediction import here, make_arrays, prepare, todo
from baselines.predicting.subjects import Subject
from baselines.predicting.team import Team, team_of
from baselines.runs.checkpoint import Run, fingerprint_of, network_of
from baselines.runs.devices import choose_device, use_bf16
from baselines.volumes.light import measure_light
from evaluator.geometry import VoxelGrid
from evaluator.volume import create_volume

LABELS = ["cell", "ecs", "mito", "nuc"]
PLANE = 320  # rows and columns
SETTINGS: dict[int, dict[str, Any]] = {
    2: {
        "model": {"dims": 2, "width": 16, "levels": 4},
        "training": {"patch": [1, 128, 128]},
        "prediction": {
            "tile": [1, 128, 128], "overlap": [0, 32, 32], "block": [16, 320, 320], "batch": 8,
        },
    },
    3: {
        "model": {"dims": 3, "width": 16, "levels": 3},
        "training": {"patch": [32, 64, 64]},
        "prediction": {
            "tile": [32, 64, 64], "overlap": [8, 16, 16], "block": [32, 320, 320], "batch": 2,
        },
    },
}  # fmt: skip


def made(folder: Path, dims: int, depth: int, precision: str) -> tuple[Run, Subject]:
    """A run with weights as they are drawn, and a volume of noise."""
    table = SETTINGS[dims] | {"data": {"labels": LABELS, "voxel_size": [8.0, 8.0, 8.0]}}
    config: Config = build(Config, table, where="")
    config = dataclasses.replace(
        config, training=dataclasses.replace(config.training, precision=precision)
    )
    torch.manual_seed(0)
    run, model = Run(folder / "run"), network_of(config)
    run.folder.mkdir(parents=True)
    run.begin(config)
    run.save_best(model.state_dict(), fingerprint_of(config, model))
    grid = VoxelGrid((depth, PLANE, PLANE), (8.0, 8.0, 8.0))
    array = create_volume(folder / "raw", grid, np.uint8, multiscale=True)
    random = np.random.default_rng(0)
    for z in range(0, depth, 64):
        array[z : z + 64] = random.integers(60, 200, array[z : z + 64].shape).astype(np.uint8)
    return run, Subject("volume", folder / "raw")


def ours(team: Team, subject: Subject, folder: Path, device: torch.device) -> dict[str, Any]:
    """Prediction as `baselines predict` does it, up to the stored probabilities."""
    task, grid, _ = prepare(team, subject, folder)
    make_arrays(task, grid, team, fresh=True)
    blocks = todo(task.tiling, Ledger(folder / "progress.jsonl", task.mark))
    written = np.zeros(grid.shape, np.uint8)
    for part in here(task, blocks, device):
        written[part.slices] += 1
    return {"once": float((written == 1).mean())}


def monai(team: Team, subject: Subject, folder: Path, device: torch.device) -> dict[str, Any]:
    """The same through MONAI: the volume, its sums and its weights lie in memory."""
    from monai.inferers import sliding_window_inference

    settings = team.config.prediction
    model = team.members[0].model().eval()
    model.place(device)
    raw = subject.open(team.config)
    light = measure_light(raw)
    bf16 = use_bf16(team.config.training.precision, device)
    whole = torch.from_numpy(light.normalise(raw.read((0, 0, 0), raw.shape))[None, None])

    def network(tiles: torch.Tensor) -> torch.Tensor:
        with torch.autocast(device.type, torch.bfloat16, enabled=bf16):
            return model(tiles).float().sigmoid()

    overlap = [o / t for o, t in zip(settings.overlap, settings.tile, strict=True)]
    with torch.inference_mode():
        found = sliding_window_inference(
            whole, settings.tile, settings.batch, network, overlap=overlap, mode="gaussian",
            sw_device=device, device=torch.device("cpu"),
        )  # fmt: skip
    levels = found[0].mul(255).round().to(torch.uint8).numpy()
    for label, level in zip(LABELS, levels, strict=True):
        create_volume(folder / label, raw.grid, np.uint8)[:] = level
    return {"once": float(np.isfinite(found.numpy()).mean())}


def network_alone(team: Team, subject: Subject, device: torch.device) -> float:
    """Processor seconds of the network for as many tiles as the volume has."""
    task, _, _ = prepare(team, subject, Path())
    tiles = sum(len(list(task.tiling.tiles(block))) for block in task.tiling.blocks())
    model = team.members[0].model().eval()
    model.place(device)
    batch = team.config.prediction.batch
    raw = torch.zeros(batch, 1, *task.tiling.tile)
    with torch.inference_mode():
        model(raw)
        begun = time.process_time()
        for _ in range(4):
            model(raw)
    return (time.process_time() - begun) / 4 / batch * tiles


def measured(who: str, folder: Path, run: Path, device: torch.device) -> dict[str, Any]:
    """One process's measurement."""
    team, subject = team_of([Run(run)]), Subject("volume", run.parent / "raw")
    if who == "network":
        return {"cpu": network_alone(team, subject, device)}
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    begun, cpu = time.perf_counter(), time.process_time()
    found = {"ours": ours, "monai": monai}[who](team, subject, folder, device)
    return found | {
        "wall": time.perf_counter() - begun,
        "cpu": time.process_time() - cpu,
        "memory_mb": (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024,
    }


def child(who: str, run: Path, device: str) -> dict[str, Any]:
    """The same in a process of its own."""
    with tempfile.TemporaryDirectory(dir=run.parent) as folder:
        words = [sys.executable, "-m", "benchmarks.prediction", "--child", who, "--folder", folder]
        done = subprocess.run(
            [*words, "--run", str(run), "--device", device], check=True, capture_output=True,
            text=True,
        )  # fmt: skip
    return dict(json.loads(done.stdout.splitlines()[-1]))


def compared(dims: int, depth: int, precision: str, repeat: int, device: str) -> None:
    """Print a line for each of the two, and how they compare."""
    with tempfile.TemporaryDirectory() as folder:
        run, _ = made(Path(folder), dims, depth, precision)
        rounds = [
            {who: child(who, run.folder, device) for who in ("ours", "network", "monai")}
            for _ in range(repeat)
        ]  # fmt: skip
    voxels = depth * PLANE * PLANE
    for who in ("ours", "monai"):
        wall, cpu, memory = (
            statistics.median(one[who][key] for one in rounds)
            for key in ("wall", "cpu", "memory_mb")
        )
        print(
            f"{dims}D {depth:4} planes {precision}  {who:5}  {voxels / wall / 1e6:7.3f} Mvoxel/s  "
            f"{voxels / cpu / 1e6:7.3f} Mvoxel/CPU-s  {memory:6.0f} MB"
        )
    speed = statistics.median(one["monai"]["cpu"] / one["ours"]["cpu"] for one in rounds)
    wall = statistics.median(one["monai"]["wall"] / one["ours"]["wall"] for one in rounds)
    share = statistics.median(one["network"]["cpu"] / one["ours"]["cpu"] for one in rounds)
    once = min(one["ours"]["once"] for one in rounds)
    print(
        f"  speed beside MONAI {speed:.2f} by processor time, {wall:.2f} by the clock; the network "
        f"alone {share:.0%} of ours; voxels written exactly once {once:.2%}"
    )


def main() -> None:
    """Parse and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--dims", default="2,3")
    parser.add_argument("--depths", default="64,128")
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--precision", default="fp32")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--child")
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--run", type=Path)
    asked = parser.parse_args()
    if asked.child:
        print(
            json.dumps(measured(asked.child, asked.folder, asked.run, choose_device(asked.device)))
        )
        return
    for dims in map(int, asked.dims.split(",")):
        for depth in map(int, asked.depths.split(",")):
            compared(dims, depth, asked.precision, asked.repeat, asked.device)


if __name__ == "__main__":
    main()
