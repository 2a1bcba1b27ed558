"""The 2D baseline on real electron microscopy, beside a random forest's figures.

    python benchmarks/real_em.py [--data FOLDER] [--set KEY=VALUE]…

Trains `unet2d` on sections 0-9 of the ssTEM stack of a fly nerve cord, predicts sections 10-12,
packs and scores them with the participants' own commands, and prints Dice per class, the random
forest's Dice on the same sections, and the CPU seconds of the training.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
BIN = Path(sys.executable).parent
# Random forest on multiscale features, trained on sections 0, 3, 6, 9; Dice on sections 10-12.
# From the README of the data.
RANDOM_FOREST = {"membrane": 0.761, "mitochondrion": 0.549, "synapse": 0.530}

VNC = """\
slug = "fly-nerve-cord"
title = "Fly nerve cord"
summary = "Membranes, mitochondria and synapses in serial-section TEM of a fly."
dataset = "vnc-sstem"
voxel_size = [50, 4.6, 4.6]

[classes.membrane]
kind = "semantic"
values = [1]
[classes.mitochondrion]
kind = "instance"
values = [3]
[classes.synapse]
kind = "instance"
values = [4]

[[crop]]
name = "sections-0-9"
split = "train"
raw = "{data}/vnc_sstem/raw_z00-09.tif"
labels = "{data}/vnc_sstem/classes5_z00-09.tif"

[[crop]]
name = "sections-10-12"
split = "hidden"
raw = "{data}/vnc_sstem/raw_z10-12.tif"
labels = "{data}/vnc_sstem/classes5_z10-12.tif"
offset = [500, 0, 0]
"""


def main() -> None:
    parser = argparse.ArgumentParser(description="U-Net and random forest on real EM")
    parser.add_argument("--data", type=Path, default=ROOT.parent / "shared" / "data")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    options = parser.parse_args()
    if not (options.data / "vnc_sstem").is_dir():
        sys.exit(
            f"{options.data / 'vnc_sstem'} is missing: name the folder of real data with --data."
        )
    with tempfile.TemporaryDirectory() as folder:
        show(*measure(options.data.resolve(), Path(folder), options.set))


def measure(data: Path, folder: Path, overrides: list[str]) -> tuple[dict[str, dict], float]:
    """Scores per label, and the CPU seconds that training took."""
    prepare(VNC, data, folder)
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    train(folder, overrides)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    packed = predict(folder)
    bundle, result = folder / "data" / "challenge", folder / "result.json"
    run("evaluator", "score", packed, "--truth", bundle / "truth.zarr", "--manifest",
        bundle / "manifest.csv", "--json", result)  # fmt: skip
    seconds = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return json.loads(result.read_text("utf-8"))["labels"], seconds


def prepare(plan: str, data: Path, folder: Path) -> None:
    """Import the stacks of a plan into FOLDER/data."""
    (folder / "stack.toml").write_text(plan.format(data=data), "utf-8")
    run("baselines", "import-stack", "--from", folder / "stack.toml", "--out", folder / "data")


def train(folder: Path, overrides: list[str]) -> None:
    """Train unet2d on FOLDER/data into FOLDER/run."""
    config = ROOT / "baselines" / "configs" / "unet2d.toml"
    settings = [word for override in overrides for word in ("--set", override)]
    run("baselines", "train", config, "--data", folder / "data", "--out", folder / "run", *settings)


def predict(folder: Path) -> Path:
    """Predict the hidden crops with FOLDER/run; the packed submission."""
    pred, packed = folder / "pred", folder / "submission.zip"
    run("baselines", "predict", folder / "run", "--data", folder / "data", "--out", pred)
    manifest = folder / "data" / "challenge" / "manifest.csv"
    run("baselines", "pack", pred, "--manifest", manifest, "--out", packed)
    return packed


def run(command: str, *arguments: object) -> None:
    subprocess.run([str(BIN / command), *map(str, arguments)], check=True)


def show(labels: dict[str, dict], seconds: float) -> None:
    print(f"\n{'class':15} {'U-Net Dice':>10} {'forest Dice':>11} {'ratio':>6}")
    for label, forest in RANDOM_FOREST.items():
        dice = labels[label]["dice"]
        print(f"{label:15} {dice:10.3f} {forest:11.3f} {dice / forest:6.2f}")
    print(f"training took {seconds:.0f} CPU seconds")


if __name__ == "__main__":
    main()
