"""Our networks on real microscopy, beside a random forest, other networks and other programs.

    python -m benchmarks.baselines [--minutes 8] [--only vnc,neurons,nuclei] [--nets unet,…]
                                   [--jobs 2] [--json FILE] [--data FOLDER] [--keep FOLDER]

Every network trains for the same minutes of processor time, on the same data, by the same commands
that participants use: `import-stack`, `train`, `predict`, `pack`, `evaluator score`.  How many
iterations that makes is found in a short trial before.  Learning sees no voxel of what is scored.

- vnc: four classes in ssTEM of a fly nerve cord; Dice on sections 10-12.  A random forest on
  multiscale features is to be beaten by 0.05 in each.
- neurons: dense neurons in FIB-SEM of a fly; planes 128-159.  Beside ours: the best of many
  watersheds on the same boundary map, and published predictions.
- nuclei: of a mouse embryo, one half trains, the other is scored.

Ends with 1 if a class does not beat the forest by as much.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
import zarr
from skimage.segmentation import watershed

from baselines.objects.agreement import panoptic_quality
from baselines.volumes.components import components
from evaluator import create_volume, load_manifest, open_volume

ROOT = Path(__file__).resolve().parents[1]
BIN = Path(sys.executable).parent
TRIAL = 60  # iterations; the first are slower, and do not count
AHEAD = 0.05  # of the forest, in Dice
# Random forest on multiscale features, trained on sections 0, 3, 6, 9; Dice on sections 10-12.
# From the README of the data.
RANDOM_FOREST = {"membrane": 0.761, "mitochondrion": 0.549, "synapse": 0.530, "glia": 0.576}
NETS = ("unet", "monai:UNet", "monai:BasicUNet", "monai:DynUNet")

VNC = """\
slug = "fly-nerve-cord"
title = "Fly nerve cord"
summary = "Membranes, glia, mitochondria and synapses in serial-section TEM of a fly."
dataset = "vnc-sstem"
voxel_size = [50, 4.6, 4.6]

[classes.membrane]
kind = "semantic"
values = [1]
[classes.mitochondrion]
kind = "semantic"
values = [3]
[classes.synapse]
kind = "semantic"
values = [4]
[classes.glia]
kind = "semantic"
values = [2]

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

NEURONS = """\
slug = "fly-medulla"
title = "Fly medulla"
summary = "Every neuron in FIB-SEM of the fly medulla."
dataset = "flyem-fibsem"
voxel_size = [10, 10, 10]

[classes.neuron]
kind = "instance"
ids = true

[[crop]]
name = "planes-0-127"
split = "train"
raw = "{data}/flyem_fibsem/raw_z000-127.tif"
labels = "{data}/flyem_fibsem/neurons_gt_z000-127.tif"

[[crop]]
name = "planes-128-159"
split = "hidden"
raw = "{data}/flyem_fibsem/raw_z128-159.tif"
labels = "{data}/flyem_fibsem/neurons_gt_z128-159.tif"
offset = [1280, 0, 0]
"""

NUCLEI = """\
slug = "embryo-nuclei"
title = "Nuclei of an embryo"
summary = "Nuclei of a mouse embryo in a confocal microscope."
dataset = "embryo-nuclei3d"
voxel_size = [1750, 800, 800]

[classes.nucleus]
kind = "instance"
ids = true

[[crop]]
name = "near"
split = "train"
raw = "near_raw.tif"
labels = "near_ids.tif"

[[crop]]
name = "far"
split = "hidden"
raw = "far_raw.tif"
labels = "far_ids.tif"
offset = [0, 48000, 0]
"""


@dataclass(frozen=True)
class Job:
    """One data set.  plan: its stack.toml; config: a bundled file and what is changed in it."""

    name: str
    plan: str
    config: str
    settings: tuple[str, ...]
    nets: tuple[str, ...]
    published: dict[str, str] = field(default_factory=dict)  # predictions, below the data folder


JOBS = (
    Job("vnc", VNC, "unet2d", ("objects.tune=false",), NETS),
    Job(
        "neurons", NEURONS, "unet3d", ("objects.representation='bcd'", "objects.smallest_nm3=1e5"),
        NETS[:2],
        {
            "flood filling": "flyem_fibsem/pred_ffn_z128-159.tif",
            "published watershed": "flyem_fibsem/pred_watershed_z128-159.tif",
        },
    ),
    Job(
        "nuclei", NUCLEI, "unet3d",
        ("objects.representation='bcd'", "objects.smallest_nm3=1e11", "training.batch=2",
         "training.patch=[16,48,64]", "prediction.tile=[32,64,64]"),
        NETS[:2],
    ),
)  # fmt: skip
# MONAI's have no stem: of as many channels they would be four times as expensive.
OTHERS = ("model.stem=1", "model.width=16")


def main() -> None:
    options = arguments()
    if not (options.data / "vnc_sstem").is_dir():
        sys.exit(f"{options.data / 'vnc_sstem'} is missing: name the real data with --data.")
    # Threads of networks that train side by side would wait for each other.
    os.environ["OMP_NUM_THREADS"] = str(max(1, (os.cpu_count() or 1) // options.jobs))
    jobs = [job for job in JOBS if job.name in options.only.split(",")]
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.keep or Path(temporary)
        for job in jobs:
            prepare(job.plan, options.data.resolve(), folder / job.name)
        wanted = options.nets.split(",")
        pairs = [(job, net) for job in jobs for net in job.nets if net in wanted]
        with ThreadPoolExecutor(options.jobs) as pool:
            rows = list(pool.map(
                lambda pair: measure(*pair, folder / pair[0].name, options), pairs
            ))  # fmt: skip
        for job in jobs:
            rows += beside(job, folder / job.name, options.data.resolve())
    if options.json:
        options.json.write_text(json.dumps(rows, indent=1) + "\n", "utf-8")
    if missed := show(rows):
        sys.exit(f"not {AHEAD} above the random forest: {', '.join(missed)}")


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--minutes", type=float, default=8.0, help="of processor time, per network")
    parser.add_argument("--only", default=",".join(job.name for job in JOBS))
    parser.add_argument("--nets", default=",".join(NETS))
    parser.add_argument("--jobs", type=int, default=2, help="networks that train side by side")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--data", type=Path, default=ROOT.parent / "shared" / "data")
    parser.add_argument("--keep", type=Path, help="leave data, runs and predictions there")
    return parser.parse_args()


def prepare(plan: str, data: Path, folder: Path) -> None:
    """Import the stacks of a plan into FOLDER/data."""
    folder.mkdir(parents=True, exist_ok=True)
    if "near_raw" in plan:
        halve(data, folder)
    (folder / "stack.toml").write_text(plan.format(data=data), "utf-8")
    run("baselines", "import-stack", "--from", folder / "stack.toml", "--out", folder / "data")


def halve(data: Path, folder: Path) -> None:
    """The embryo's two halves, by rows."""
    for name, stem in (("raw", "raw"), ("ids", "instances")):
        whole = tifffile.imread(data / "embryo_nuclei3d" / f"16_cell_stage_{stem}.tif")
        tifffile.imwrite(folder / f"near_{name}.tif", whole[:, :60])
        tifffile.imwrite(folder / f"far_{name}.tif", whole[:, 60:])


def measure(job: Job, net: str, folder: Path, options: argparse.Namespace) -> dict[str, Any]:
    """Train for the minutes, predict and score one network."""
    own = folder / net.replace(":", "-")
    settings = [*job.settings, f"model.name='{net}'", *(OTHERS if net != "unet" else ())]
    settings += ["training.seconds=0", "training.patience=0", *options.set]
    data = folder / "data"
    train(own / "trial", job.config, data, [*settings, f"training.iterations={TRIAL}"])
    count = max(TRIAL, round(60 * options.minutes / seconds_each(own / "trial")))
    results = train(own / "run", job.config, data, [*settings, f"training.iterations={count}"])
    labels = score(predict(own / "run", folder), folder)
    facts = {key: results[key] for key in ("iterations", "cpu_seconds", "parameters", "seconds")}
    return {"data": job.name, "who": net, **facts, "labels": labels}


def train(into: Path, config: str, data: Path, settings: list[str]) -> dict[str, Any]:
    """Train a bundled configuration with changed settings; the results."""
    words = [word for setting in settings for word in ("--set", setting)]
    run("baselines", "train", config, "--data", data, "--out", into, *words)
    return dict(json.loads((into / "results.json").read_text("utf-8")))


def seconds_each(trained: Path) -> float:
    """Processor time of an iteration, between the first report and the last."""
    lines = (trained / "progress.jsonl").read_text("utf-8").splitlines()
    told = [event for line in lines if "cpu_seconds" in (event := json.loads(line))]
    first, last = told[0], told[-1]
    seconds: float = last["cpu_seconds"] - first["cpu_seconds"]
    return seconds / (last["iteration"] - first["iteration"])


def predict(trained: Path, folder: Path) -> Path:
    """Predict the hidden crops of FOLDER/data with a run; the packed submission."""
    into = trained.with_name("pred")
    run("baselines", "predict", trained, "--data", folder / "data", "--out", into)
    return pack(into, folder)


def pack(pred: Path, folder: Path) -> Path:
    """A submission of predictions."""
    packed = pred.with_suffix(".zip")
    manifest = folder / "data" / "challenge" / "manifest.csv"
    run("baselines", "pack", pred, "--manifest", manifest, "--out", packed)
    return packed


def score(packed: Path, folder: Path) -> dict[str, Any]:
    """Scores per label."""
    bundle, result = folder / "data" / "challenge", packed.with_suffix(".json")
    run("evaluator", "score", packed, "--truth", bundle / "truth.zarr", "--manifest",
        bundle / "manifest.csv", "--json", result)  # fmt: skip
    return dict(json.loads(result.read_text("utf-8"))["labels"])


def beside(job: Job, folder: Path, data: Path) -> Iterator[dict[str, Any]]:
    """What others make of the same voxels."""
    for who, path in job.published.items():
        labels = entered(tifffile.imread(data / path), who, folder)
        yield {"data": job.name, "who": who, "labels": labels}
    stored = sorted((folder / "unet" / "pred").glob("*/probabilities/neuron"))
    for path in stored if job.name == "neurons" else ():
        ids, level = best_watershed(np.asarray(zarr.open_array(path, mode="r")), folder)
        who = f"watershed on our boundaries, seeds below {level:.2f}"
        yield {"data": job.name, "who": who, "labels": entered(ids, who, folder)}


def entered(ids: np.ndarray, who: str, folder: Path) -> dict[str, Any]:
    """Scores of ids (Z, Y, X) for the one target there is."""
    (target,) = load_manifest(folder / "data" / "challenge" / "manifest.csv").targets
    into = folder / who.split(",")[0].replace(" ", "-")
    array = create_volume(into / target.path, target.grid, ids.dtype, multiscale=False)
    array[:] = ids
    return score(pack(into, folder), folder)


def best_watershed(probabilities: np.ndarray, folder: Path) -> tuple[np.ndarray, float]:
    """Of plain watersheds with seeds where boundaries are below a level, the best by panoptic
    quality on the scored voxels themselves, which ours never sees; and its level."""
    (target,) = load_manifest(folder / "data" / "challenge" / "manifest.csv").targets
    truth = open_volume(folder / "data" / "challenge" / "truth.zarr" / target.path).read()
    boundary = boundaries(probabilities)
    levels = np.arange(0.05, 1.0, 0.05)
    found = [
        watershed(boundary, components(boundary < level * 255, smallest=10)).astype(np.uint32)
        for level in levels
    ]
    best = int(np.argmax([panoptic_quality(truth, ids) for ids in found]))
    return found[best], float(levels[best])


def boundaries(probabilities: np.ndarray) -> np.ndarray:
    """(Z, Y, X) uint8: the contour, or what joins no neighbour, or what is no inside."""
    if probabilities.ndim == 3:
        return 255 - probabilities
    if len(probabilities) == 3:
        contour: np.ndarray = probabilities[1]
        return contour
    return (255 - probabilities[1:4].mean(axis=0)).astype(np.uint8)


def run(command: str, *words: object) -> None:
    """A command of ours; what it says is shown only if it fails."""
    done = subprocess.run([str(BIN / command), *map(str, words)], capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{command} {' '.join(map(str, words))}\n{done.stdout}{done.stderr}")


def show(rows: list[dict[str, Any]]) -> list[str]:
    """Print the tables; the classes that our network does not do well enough."""
    classes = [row for row in rows if row["data"] == "vnc"]
    known = {label: {"dice": dice} for label, dice in RANDOM_FOREST.items()}
    forest = {"who": "random forest", "labels": known}
    if classes:
        print(f"\n{'Dice on sections 10-12':24}", *(f"{label:>13}" for label in RANDOM_FOREST))
    for row in [*classes, forest] if classes else []:
        dice = [row["labels"][label]["dice"] for label in RANDOM_FOREST]
        print(f"{row['who']:24}", *(f"{value:13.3f}" for value in dice), told(row))
    for name in ("neurons", "nuclei"):
        objects = [row for row in rows if row["data"] == name]
        if objects:
            print(f"\n{name:44} {'PQ':>6} {'F1':>6} {'VI split':>8} {'VI merge':>8}")
        for row in objects:
            (found,) = row["labels"].values()
            print(f"{row['who']:44} {found['pq']:6.3f} {found['f1_50']:6.3f} "
                  f"{found['vi_split']:8.3f} {found['vi_merge']:8.3f} {told(row)}")  # fmt: skip
    ours = [row["labels"] for row in classes if row["who"] == "unet"]
    return [
        label for labels in ours for label, dice in RANDOM_FOREST.items()
        if labels[label]["dice"] < dice + AHEAD
    ]  # fmt: skip


def told(row: dict[str, Any]) -> str:
    """What a training took."""
    if "iterations" not in row:
        return ""
    return (
        f"  {row['iterations']} iterations, {row['cpu_seconds'] / 60:.1f} CPU min, "
        f"{row['parameters'] / 1e6:.2f} M weights"
    )


if __name__ == "__main__":
    main()
