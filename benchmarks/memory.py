"""What a whole `baselines predict` keeps in memory: the command as a process of its own.

The network has few channels and weights as they are drawn: it is the volume that counts.
"""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

from baselines.config import Config, build
from baselines.runs.checkpoint import Run, fingerprint_of, network_of
from benchmarks.cells import CUBE
from evaluator.geometry import VoxelGrid
from evaluator.volume import create_volume

LABELS = tuple(f"label{n}" for n in range(8))
ROOT = Path(__file__).resolve().parents[1]


def run_of_eight_labels(folder: Path) -> Run:
    """A run of planes with a threshold for each of LABELS."""
    table = {
        "data": {"labels": list(LABELS), "voxel_size": list(CUBE)},
        "model": {"width": 8, "levels": 1, "stem": 2},
        "training": {"patch": [1, 64, 64]},
    }
    config = build(Config, table, where="")
    run, model = Run(folder), network_of(config)
    folder.mkdir()
    run.begin(config)
    run.save_best(model.state_dict(), fingerprint_of(config, model))
    run.save_results({"thresholds": dict.fromkeys(LABELS, 0.5)})
    return run


def write_ramp(path: Path, depth: int, plane: int) -> None:
    """Raw of (depth, plane, plane) voxels, uint8, brighter along Y and X, at all levels."""
    grid = VoxelGrid((depth, plane, plane), CUBE)
    array = create_volume(path, grid, np.uint8, multiscale=True)
    rows = np.linspace(60, 180, plane)[:, None] + np.linspace(0, 60, plane)
    for z in range(0, depth, 64):
        thick = min(64, depth - z)
        array[z : z + thick] = np.broadcast_to(rows, (thick, plane, plane)).astype(np.uint8)


def peak_of_predict(run: Run, image: Path, out: Path) -> float:
    """Most MB resident while an image is predicted on the CPU."""
    words = ["-m", "baselines", "predict", str(run.folder), "--image", str(image)]
    used = ended([sys.executable, *words, "--out", str(out), "--device", "cpu"])
    return used.ru_maxrss / 1024


def ended(words: list[str]) -> resource.struct_rusage:
    """What a process used.  Raises RuntimeError with what it said if it failed."""
    with tempfile.TemporaryFile() as said:
        child = subprocess.Popen(words, stdout=said, stderr=said, cwd=ROOT)
        _, status, used = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)
        if child.returncode:
            said.seek(0)
            raise RuntimeError(said.read().decode())
    return used
