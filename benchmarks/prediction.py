"""Speed and memory of prediction beside MONAI's sliding window, with the same network and overlap.

    python -m benchmarks.prediction [--nets 2D,3D,...] [--depths 64,128] [--repeat 3] [--device cpu]

Each measurement is a process of its own that goes from a Zarr array of grey values to Zarr arrays
of probabilities (uint8): ours block by block, MONAI's through arrays in memory, as it is made.
Both take turns, on one thread.  Voxels per second are of the volume, by the clock and by processor
time of the process; memory is what the process had resident at most, less what it had after
loading.  A further line tells how many voxels were written: all of them, each once.

What is not the network is the processor time of our process, from the call on a volume to the last
probability on disk, less that of the networks' forward passes in it; on a CPU alone.  A part of it
is the start: weights are read and checked before the first tile, however large the volume is.
Besides small networks, it is told of Semantic2D and Semantic3D as they are shipped, once and
without MONAI.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import math
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

from baselines.config import Config, build, load_config
from baselines.predicting.engine import Engine
from baselines.predicting.ledger import Ledger
from baselines.predicting.prediction import make_arrays, prepare, todo
from baselines.predicting.predictors import predictor_of
from baselines.predicting.subjects import Subject
from baselines.predicting.team import Team, team_of
from baselines.predicting.tiling import columns
from baselines.runs.checkpoint import Run, fingerprint_of, network_of
from baselines.runs.devices import choose_device, use_bf16
from baselines.volumes.light import measure_light
from evaluator.geometry import Shape, VoxelGrid
from evaluator.volume import create_volume

LABELS = ["cell", "ecs", "mito", "nuc"]
SMALL: dict[str, dict[str, Any]] = {
    "2D": {
        "model": {"dims": 2, "width": 16, "levels": 4},
        "training": {"patch": [1, 128, 128]},
        "prediction": {
            "tile": [1, 128, 128], "overlap": [0, 32, 32], "block": [16, 320, 320], "batch": 8,
        },
    },
    "3D": {
        "model": {"dims": 3, "width": 16, "levels": 3},
        "training": {"patch": [32, 64, 64]},
        "prediction": {
            "tile": [32, 64, 64], "overlap": [8, 16, 16], "block": [32, 192, 192], "batch": 2,
        },
    },
}  # fmt: skip
SIDES = {"2D": 320, "3D": 192, "Semantic2D": 896, "Semantic3D": 224}  # rows and columns
SHIPPED = {"Semantic2D": 8, "Semantic3D": 64}  # and planes: four tiles in each, or in all


def config_of(net: str, precision: str) -> Config:
    """The settings of a small network, or of one that comes along."""
    data = {"labels": LABELS, "voxel_size": [8.0, 8.0, 8.0]}
    if net in SMALL:
        config: Config = build(Config, SMALL[net] | {"data": data}, where="")
    else:
        config = load_config(Path(net), [f"data.{name}={value}" for name, value in data.items()])
    return dataclasses.replace(
        config, training=dataclasses.replace(config.training, precision=precision)
    )


def made(folder: Path, config: Config, shape: Shape) -> Run:
    """A run with weights as they are drawn, and beside it a volume of noise."""
    torch.manual_seed(0)
    run, model = Run(folder / "run"), network_of(config)
    run.folder.mkdir(parents=True)
    run.begin(config)
    run.save_best(model.state_dict(), fingerprint_of(config, model))
    grid = VoxelGrid(shape, (8.0, 8.0, 8.0))
    array = create_volume(folder / "raw", grid, np.uint8, multiscale=True)
    random = np.random.default_rng(0)
    for z in range(0, shape[0], 64):
        array[z : z + 64] = random.integers(60, 200, array[z : z + 64].shape).astype(np.uint8)
    return run


def timed(engine: Engine) -> list[float]:
    """Processor seconds of each forward pass to come; of one thread, which is all there is."""
    seconds: list[float] = []
    for model in engine.predictor.models:
        model.register_forward_pre_hook(lambda *_: seconds.append(-time.thread_time()))
        model.register_forward_hook(lambda *_: seconds.append(seconds.pop() + time.thread_time()))
    return seconds


def ours(team: Team, subject: Subject, folder: Path, device: torch.device) -> dict[str, Any]:
    """Prediction as `baselines predict` does it, up to the stored probabilities."""
    begun = time.process_time()
    task, grid, _ = prepare(team, subject, folder)
    make_arrays(task, grid, team, fresh=True)
    blocks = todo(task.tiling, Ledger(folder / "progress.jsonl", task.mark))
    engine = Engine(task, device)
    seconds, start = timed(engine), time.process_time() - begun
    written = np.zeros(grid.shape, np.uint8)
    for box in columns(blocks):
        for part in engine.parts(box):
            written[part.slices] += 1
    return {"once": float((written == 1).mean()), "network": sum(seconds), "start": start}


def monai(team: Team, subject: Subject, folder: Path, device: torch.device) -> dict[str, Any]:
    """The same network through MONAI: the volume, its sums and its weights lie in memory."""
    from monai.inferers import sliding_window_inference

    settings = team.config.prediction
    model = team.members[0].model()
    model.place(device)
    bf16 = use_bf16(team.config.training.precision, device)
    predictor = predictor_of(model, device=device, bf16=bf16)
    raw = subject.open(team.config)
    light = measure_light(raw)
    whole = torch.from_numpy(light.normalise(raw.read((0, 0, 0), raw.shape))[None, None])
    overlap = [o / t for o, t in zip(settings.overlap, settings.tile, strict=True)]
    with torch.inference_mode():
        found = sliding_window_inference(
            whole, settings.tile, settings.batch, predictor, overlap=overlap, mode="gaussian",
            sw_device=device, device=torch.device("cpu"),
        )  # fmt: skip
    levels = found[0].mul(255).round().to(torch.uint8).numpy()
    for label, level in zip(LABELS, levels, strict=True):
        create_volume(folder / label, raw.grid, np.uint8)[:] = level
    return {"once": float(np.isfinite(found.numpy()).mean())}


def measured(who: str, folder: Path, run: Path, device: torch.device) -> dict[str, Any]:
    """One process's measurement."""
    team, subject = team_of([Run(run)]), Subject("volume", run.parent / "raw")
    torch.set_num_threads(1)
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


def compared(net: str, depth: int, precision: str, repeat: int, device: str) -> None:
    """Print a line for each of the two, and how they compare."""
    shape = (depth, SIDES[net], SIDES[net])
    with tempfile.TemporaryDirectory() as folder:
        run = made(Path(folder), config_of(net, precision), shape)
        rounds = [
            {who: child(who, run.folder, device) for who in ("ours", "monai")}
            for _ in range(repeat)
        ]  # fmt: skip
    voxels = math.prod(shape)
    for who in ("ours", "monai"):
        wall, cpu, memory = (
            statistics.median(one[who][key] for one in rounds)
            for key in ("wall", "cpu", "memory_mb")
        )
        print(
            f"{net} {depth:4} planes {precision}  {who:5}  {voxels / wall / 1e6:7.3f} Mvoxel/s  "
            f"{voxels / cpu / 1e6:7.3f} Mvoxel/CPU-s  {memory:6.0f} MB"
        )
    speed = statistics.median(one["monai"]["cpu"] / one["ours"]["cpu"] for one in rounds)
    wall = statistics.median(one["monai"]["wall"] / one["ours"]["wall"] for one in rounds)
    once = min(one["ours"]["once"] for one in rounds)
    print(
        f"  speed beside MONAI {speed:.2f} by processor time, {wall:.2f} by the clock; "
        f"{besides(rounds, device)}; voxels written exactly once {once:.2%}",
        flush=True,
    )


def shipped(net: str, precision: str, device: str) -> None:
    """Print what is not the network, where it is one that comes along."""
    shape = (SHIPPED[net], SIDES[net], SIDES[net])
    with tempfile.TemporaryDirectory() as folder:
        run = made(Path(folder), config_of(net, precision), shape)
        found = child("ours", run.folder, device)
    print(
        f"{net} {shape[0]:4} planes {precision}  ours   "
        f"{math.prod(shape) / found['cpu'] / 1e6:7.3f} Mvoxel/CPU-s; "
        f"{besides([{'ours': found}], device)}",
        flush=True,
    )


def besides(rounds: list[dict[str, dict[str, Any]]], device: str) -> str:
    """What part of our processor time is not the network's (median, least, most), and the start."""
    if device != "cpu":
        return "what is not the network was not measured"
    shares = [1 - one["ours"]["network"] / one["ours"]["cpu"] for one in rounds]
    start = statistics.median(one["ours"]["start"] / one["ours"]["cpu"] for one in rounds)
    return (
        f"not the network {statistics.median(shares):.1%} ({min(shares):.1%} to {max(shares):.1%}),"
        f" of which {start:.1%} is the start"
    )


def main() -> None:
    """Parse and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--nets", default="2D,3D,Semantic2D,Semantic3D")
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
    for net in asked.nets.split(","):
        if net in SHIPPED:
            shipped(net, asked.precision, asked.device)
            continue
        for depth in map(int, asked.depths.split(",")):
            compared(net, depth, asked.precision, asked.repeat, asked.device)


if __name__ == "__main__":
    main()
