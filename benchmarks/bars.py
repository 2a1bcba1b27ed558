"""Bars for baselines that are too long, or too much a matter of the machine, for a test.

    python -m benchmarks.bars [--only SEG-1,SPD-7] [--plane 2048]

- SEG-1  Dice on a made-up specimen after 60 (planes) and 120 (volumes) seconds of processor time,
         and beside MONAI's BasicUNet in the same loop.
- INS-1  Objects that touch, told apart by networks that were really trained: F1 at IoU 1/2.
- INS-2  Objects decoded block by block against those of the whole volume.
- SPD-3  Memory of a whole `baselines predict`, eight labels, when the volume is twice as deep.
- SPD-5  What the training loop takes beside the network, its loss and its update.
- SPD-6  Start of `import baselines` and of `--help`; grey values of a TIFF.  SPD-7  Decoding.
- SIZE-1 What is installed beside torch and what torch needs itself.

Seconds are of the processor.  Ends with 1 if a bar is missed.
"""

from __future__ import annotations

import argparse
import functools
import importlib.metadata
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tifffile
import torch
import zarr
from packaging.requirements import Requirement
from scipy.ndimage import gaussian_filter

from baselines.box import Box
from baselines.config import Config, ObjectsConfig, load_config
from baselines.data.crops import load_crops
from baselines.inspecting.grey import measure_grey
from baselines.layout import DataFolder
from baselines.objects.decoding import Thresholds, mask_of, objects_of
from baselines.objects.heads import AFFINITY, BCD, COMPONENTS, Head, heads_of
from baselines.objects.stitching import stitch
from baselines.objects.targets import contours
from baselines.objects.tuning import Volume, tune
from baselines.phantoms.phantom import PhantomPlan, write_phantom
from baselines.runs.checkpoint import Run, heads_in, network_of
from baselines.runs.devices import use_bf16
from baselines.runs.journal import Event, Trained
from baselines.training.sampling import Patches
from baselines.training.train import filled, train
from baselines.training.updates import gradients, make_optimizer, step
from baselines.volumes.components import components
from baselines.volumes.images import open_image
from benchmarks import baselines as networks
from benchmarks.cells import CUBE, cells, head_of, seen
from benchmarks.memory import ROOT, ended, peak_of_predict, run_of_eight_labels, write_ramp
from benchmarks.representations import Task, f1, predicted, trained
from evaluator.manifest import Kind
from evaluator.volume import open_volume

CPU = torch.device("cpu")
LOW = Thresholds(seed_mask=0.5, seed_contour=0.5)
TOUCHING, DENSE = 7.0, np.inf  # radius of objects, voxels


@dataclass(frozen=True)
class Bar:
    """A measured value and its limit.  least: the value is to reach it, else not to exceed it."""

    name: str
    what: str
    value: float
    limit: float
    least: bool = True
    unit: str = ""

    def met(self) -> bool:
        """Whether the bar is cleared."""
        return self.value >= self.limit if self.least else self.value <= self.limit

    def __str__(self) -> str:
        sign, said = ("≥" if self.least else "≤"), ("met" if self.met() else "MISSED")
        value, limit = f"{self.value:.4g} {self.unit}", f"{sign} {self.limit:.4g} {self.unit}"
        return f"{self.name:7} {self.what:58} {value:16} {limit:16} {said}"


def made_up_specimen(asked: argparse.Namespace, folder: Path) -> Iterator[Bar]:
    """SEG-1: by the commands that participants use."""
    data = folder / "data"
    write_phantom(data, PhantomPlan(), progress=lambda _: None)
    monai = ("model.name='monai:BasicUNet'", *networks.OTHERS)
    tall = "training.patch=[16,96,96]"  # BasicUNet halves every axis four times
    for config, seconds, limit, more in (
        ("unet2d", 60, 0.85, ()), ("unet3d", 120, 0.80, (tall,))
    ):  # fmt: skip
        ours, other = (
            dice_after(seconds, folder / f"{config}-{n}", config, data, settings)
            for n, settings in enumerate(((), (*monai, *more)))
        )
        said = " ".join(f"{name} {value:.2f}" for name, value in ours.items())
        mean = statistics.mean(ours.values())
        yield Bar("SEG-1", f"{config}, {seconds} s: mean Dice ({said})", mean, limit)
        ahead = mean - statistics.mean(other.values())
        yield Bar("SEG-1", f"{config}: Dice more than MONAI's BasicUNet", ahead, -0.01)


def dice_after(
    seconds: float, folder: Path, config: str, data: Path, settings: tuple[str, ...]
) -> dict[str, float]:
    """Dice of membranes, mitochondria and nuclei in the hidden crop."""
    labels = ("mem", "mito", "nuc")
    folder.mkdir()
    words = [f"data.labels={list(labels)}", "training.seconds=0", "training.patience=0", *settings]
    trial = [*words, f"training.iterations={networks.TRIAL}"]
    networks.train(folder / "trial", config, data, trial)
    count = round(seconds / networks.seconds_each(folder / "trial"))
    networks.train(folder / "run", config, data, [*words, f"training.iterations={count}"])
    networks.run("baselines", "predict", folder / "run", "--data", data, "--out", folder / "pred")
    (crop,) = (folder / "pred").glob("*-hidden-1")
    truth = data / "challenge" / "truth.zarr" / crop.name
    return {
        name: dice(open_volume(truth / name).read() > 0, open_volume(crop / name).read() > 0)
        for name in labels
    }


def dice(truth: np.ndarray, pred: np.ndarray) -> float:
    """Of two masks."""
    return float(2 * (truth & pred).sum() / max(truth.sum() + pred.sum(), 1))


def touching_objects(asked: argparse.Namespace, folder: Path) -> Iterator[Bar]:
    """INS-1: one volume trains, another one is decoded."""
    found, plain = learnt_f1(TOUCHING, BCD, seconds=60)
    yield Bar("INS-1", "bcd on objects that touch, 60 s: F1", found, 0.90)
    yield Bar("INS-1", "bcd: F1 more than components of the same mask", found - plain, 0.15)
    found, _ = learnt_f1(DENSE, AFFINITY, seconds=60)
    yield Bar("INS-1", "affinity on a dense tessellation, 60 s: F1", found, 0.90)


def learnt_f1(radius: float, representation: str, *, seconds: float) -> tuple[float, float]:
    """F1 of objects, and of connected components of the learnt mask, thresholds chosen for each."""
    shape = (48, 96, 96)
    known, asked = (cells(shape, 220, radius=radius, seed=k).astype(np.int32) for k in (1, 2))
    box = Box((0, 0, 0), shape)
    raw = picture(known, 1)
    task = Task("cells", raw, known, CUBE, box, box, box, (16, 48, 48), 20, 0, {})
    config = ObjectsConfig(representation=representation)
    heads = heads_of(["cell"], {"cell": Kind.INSTANCE}, config, CUBE)
    model, _ = trained(task, heads, seconds=seconds, seed=0)
    tuning, given = predicted(model, raw), predicted(model, picture(asked, 2))
    (head,) = heads
    best, _ = tune([Volume(tuning, known)], head, Thresholds(), smallest=20)
    found = objects_of(given, head, best, smallest=20)
    mask, _ = tune([Volume(tuning[:1], known)], head_of(COMPONENTS), Thresholds(), smallest=20)
    plain = components(mask_of(given[0], mask.mask), smallest=20)
    return f1(asked, found), f1(asked, plain)


def picture(ids: np.ndarray, seed: int) -> np.ndarray:
    """Bright inside, dark where objects end, blurred and noisy; float32."""
    edge = contours(torch.from_numpy(ids)[None], (0, 1, 2))[0].numpy()
    clean = gaussian_filter(((ids > 0) & ~edge).astype(np.float32), 0.7)
    noise = np.random.default_rng(seed).normal(0, 0.15, ids.shape)
    found: np.ndarray = (2 * clean - 1 + noise).astype(np.float32)
    return found


def block_by_block(asked: argparse.Namespace, folder: Path) -> Iterator[Bar]:
    """INS-2: blurred and noisy probabilities of 128 x 128 x 128 voxels."""
    for representation, radius in ((BCD, 11.0), (AFFINITY, DENSE)):
        head = head_of(representation)
        given = seen(cells((128, 128, 128), 400, radius=radius), head, noise=0.15, blur=0.5)
        whole = objects_of(given, head, LOW, smallest=30)
        for block in ((64, 64, 64), (40, 128, 72)):
            parts = stitched(given, head, block)
            what = f"{representation}, blocks of {'x'.join(map(str, block))}"
            yield Bar("INS-2", f"{what}: F1 against the whole", f1(whole, parts), 0.99)
            yield Bar("INS-2", f"{what}: ids of two objects", collisions(whole, parts), 0, False)
            yield Bar(
                "INS-2", f"{what}: sizes, Kolmogorov-Smirnov", apart(whole, parts), 0.01, False
            )


def stitched(given: np.ndarray, head: Head, block: tuple[int, int, int]) -> np.ndarray:
    """Objects decoded in blocks."""
    out = zarr.create_array(zarr.storage.MemoryStore(), shape=given.shape[1:], dtype=np.uint32)
    stitch(lambda box: given[(slice(None), *box.slices)], out, head, LOW, smallest=30, block=block)
    return np.asarray(out[:])


def collisions(whole: np.ndarray, parts: np.ndarray) -> float:
    """How many ids hold most of the voxels of two or more objects of the whole volume."""
    both = (whole > 0) & (parts > 0)
    pairs, shared = np.unique(np.stack([whole[both], parts[both]]), axis=1, return_counts=True)
    most = shared > 0.5 * np.bincount(whole.ravel())[pairs[0]]
    return float((np.bincount(pairs[1][most]) > 1).sum())


def apart(whole: np.ndarray, parts: np.ndarray) -> float:
    """The largest difference between the cumulated distributions of sizes of objects."""
    one, other = (np.sort(np.bincount(ids.ravel())[1:]) for ids in (whole, parts))
    at = np.concatenate([one, other])
    shares = (np.searchsorted(sizes, at, side="right") / len(sizes) for sizes in (one, other))
    return float(np.abs(np.subtract(*shares)).max())


def twice_as_deep(asked: argparse.Namespace, folder: Path) -> Iterator[Bar]:
    """SPD-3: 64 and 128 planes."""
    run, peaks = run_of_eight_labels(folder / "run"), []
    for depth in (64, 128):
        write_ramp(folder / f"raw-{depth}", depth, asked.plane)
        peaks.append(peak_of_predict(run, folder / f"raw-{depth}", folder / f"out-{depth}"))
    few, many = peaks
    what = f"predict, 8 labels of {asked.plane} x {asked.plane}"
    yield Bar("SPD-3", f"{what}: 128 planes beside 64 ({few:.0f} MB)", many / few, 1.1, False)


def around_the_network(asked: argparse.Namespace, folder: Path) -> Iterator[Bar]:
    """SPD-5: trainings by turns with updates on a batch that is there."""
    write_phantom(folder / "data", PhantomPlan(shape=(16, 192, 192)), progress=lambda _: None)
    changes = [
        "data.labels=['mem','mito_mem','ecs']",
        "training.iterations=60",
        "training.save_every=60",
    ]
    config = load_config(Path("unet2d"), changes)
    shares = []
    for n in range(3):
        told: list[Event] = []
        train(
            config, DataFolder(folder / "data"), Run(folder / f"run-{n}"), device=CPU,
            progress=lambda _: None, sinks=[told.append],
        )  # fmt: skip
        reports = [event for event in told if isinstance(event, Trained)]
        first, last = reports[0], reports[-1]
        loop = (last.cpu_seconds - first.cpu_seconds) / (last.iteration - first.iteration)
        shares.append(1 - update_alone(config, folder / "data") / loop)
    what = "unet2d: share of an iteration that is no update"
    yield Bar("SPD-5", what, statistics.median(shares), 0.08, False)


def update_alone(config: Config, data: Path) -> float:
    """Seconds of forward, loss, backward and step on one batch."""
    torch.manual_seed(0)
    labels, crops = load_crops(DataFolder(data), config, progress=lambda _: None)
    config = filled(config, DataFolder(data), labels, crops)
    model = network_of(config)
    model.place(CPU, trains=True)
    optimizer, heads = make_optimizer(model, config), heads_in(config)
    batch = Patches(crops, labels, config).batch(0)
    bf16 = use_bf16(config.training.precision, CPU)
    for n in range(50):
        if n == 10:
            begun = time.process_time()
        gradients(model, [batch], heads, config, bf16=bf16)
        step(optimizer, rate=1e-3, clip=1.0)
    return (time.process_time() - begun) / 40


def start(asked: argparse.Namespace, folder: Path) -> Iterator[Bar]:
    """SPD-6: the best of five."""
    for what, words, limit in (
        ("python -c 'import baselines'", ["-c", "import baselines"], 0.3),
        ("baselines --help", ["-m", "baselines", "--help"], 0.5),
    ):
        used = [ended([sys.executable, *words]) for _ in range(5)]
        seconds = min(one.ru_utime + one.ru_stime for one in used)
        yield Bar("SPD-6", what, seconds, limit, False, "s")
    values = np.random.default_rng(0).integers(0, 255, (200, 1000, 1000), np.uint8)
    tifffile.imwrite(folder / "raw.tif", values)
    reader = open_image(folder / "raw.tif").levels[0].reader
    taken = min(seconds_of(lambda: measure_grey(reader)) for _ in range(3))
    yield Bar("SPD-6", "inspect: grey values of a TIFF", 200 / taken, 200, unit="MB/s")


def decoders(asked: argparse.Namespace, folder: Path) -> Iterator[Bar]:
    """SPD-7: of 128 x 128 x 128 voxels; the best of three."""
    ids = cells((128, 128, 128), 400, radius=11)
    for representation, limit in ((BCD, 1.0), (AFFINITY, 0.5)):
        head = head_of(representation)
        given = seen(cells((128, 128, 128), 400) if head.offsets else ids, head, blur=0.5)
        speed = voxels_a_second(functools.partial(objects_of, given, head, LOW))
        yield Bar("SPD-7", f"{representation}: decode", speed, limit, unit="Mvox/s")
    mask = ids > 0
    speed = voxels_a_second(lambda: components(mask, smallest=1))
    yield Bar("SPD-7", "connected components", speed, 50, unit="Mvox/s")


def voxels_a_second(decode: Callable[[], np.ndarray]) -> float:
    """Millions, by the processor."""
    return float(128**3 / 1e6 / min(seconds_of(decode) for _ in range(3)))


def seconds_of(work: Callable[[], object]) -> float:
    """Of the processor."""
    begun = time.process_time()
    work()
    return time.process_time() - begun


def installed(asked: argparse.Namespace, folder: Path) -> Iterator[Bar]:
    """SIZE-1: files of the packages that evaluator and baselines ask for, and theirs."""
    files = (ROOT / "requirements" / f"{name}.in" for name in ("base", "evaluator", "baselines"))
    lines = (line.split("#")[0].strip() for file in files for line in file.open(encoding="utf-8"))
    sizes = needed([line for line in lines if line])
    for name in needed(["torch"]):
        sizes.pop(name)
    largest = sorted(sizes, key=lambda name: -sizes[name])[:3]
    what = f"beside torch; the largest {', '.join(largest)}"
    yield Bar("SIZE-1", what, sum(sizes.values()) / 1e6, 300, False, "MB")


def needed(asked: list[str]) -> dict[str, int]:
    """Bytes of the files of packages and of all that they need, by name, as installed here."""
    sizes: dict[str, int] = {}
    while asked:
        wanted = Requirement(asked.pop())
        name = wanted.name.lower().replace("_", "-")
        if name in sizes or (wanted.marker and not wanted.marker.evaluate({"extra": ""})):
            continue
        package = importlib.metadata.distribution(name)
        paths = (Path(str(package.locate_file(file))) for file in package.files or ())
        sizes[name] = sum(path.stat().st_size for path in paths if path.is_file())
        asked = [*asked, *(package.requires or ())]
    return sizes


PARTS: dict[str, Callable[[argparse.Namespace, Path], Iterator[Bar]]] = {
    "SEG-1": made_up_specimen, "INS-1": touching_objects, "INS-2": block_by_block,
    "SPD-3": twice_as_deep, "SPD-5": around_the_network, "SPD-6": start, "SPD-7": decoders,
    "SIZE-1": installed,
}  # fmt: skip


def main() -> None:
    """Print a line per bar."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", default=",".join(PARTS))
    parser.add_argument("--plane", type=int, default=2048, help="SPD-3: voxels along Y and X")
    asked = parser.parse_args()
    if unknown := set(asked.only.split(",")) - set(PARTS):
        parser.error(
            f"no bars are named {', '.join(sorted(unknown))}; there are {', '.join(PARTS)}"
        )
    torch.set_num_threads(1)
    missed = 0
    for name in asked.only.split(","):
        with tempfile.TemporaryDirectory() as folder:
            for bar in PARTS[name](asked, Path(folder)):
                print(bar, flush=True)
                missed += not bar.met()
    if missed:
        sys.exit(f"{missed} missed")


if __name__ == "__main__":
    main()
