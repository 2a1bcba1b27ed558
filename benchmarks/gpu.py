"""What a GPU does with our networks: training, prediction, and what the whole challenge would take.

    python -m benchmarks.gpu [--minutes 8] [--size 160] [--json FILE] [--device cpu --tiny]
    python -m benchmarks.gpu --from FILE [--crops TABLE]

Nothing is needed but the package: the data are a phantom, painted on the fly.  The network is the
3D one of `Instance3D` (mask, contour and distance of every kind of object).

- training: updates by the real loop (patches from the data, augmentation, targets, loss, optimiser)
  as a share of the same updates on one batch that lies on the device; how long the loop waited for
  patches; how often the host waited for the device in one update.
- update: the same on one batch alone, in fp32 and bf16, as it is and compiled.  On a GPU,
  convolutions in fp32 are TF32.
- prediction: a volume from Zarr to Zarr, the same without writing, and the network alone on tiles
  that lie on the device (also compiled, which prediction does not do).
- crops: the time for the boxes of the challenge's 16 test crops at 8 nm, from the time of a tile.

A part that fails says so in a line, and the others go on; the exit status is then 1.  `--from`
takes the measurements from an earlier run's JSON and does the last part alone, where the table is.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import math
import platform
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from baselines.box import Box
from baselines.config import Config, ConfigError, load_config
from baselines.data.crops import load_crops
from baselines.layout import DataFolder, Purpose
from baselines.models import Network
from baselines.phantoms.phantom import PhantomPlan, write_phantom
from baselines.predicting.blockwise import stream
from baselines.predicting.engine import Engine, Task
from baselines.predicting.ledger import Ledger
from baselines.predicting.prediction import make_arrays, prepare, todo
from baselines.predicting.subjects import Subject
from baselines.predicting.team import team_of
from baselines.predicting.tiling import columns
from baselines.runs.checkpoint import Run, fingerprint_of, network_of
from baselines.runs.devices import choose_device, compiled, peak_memory_gb, use_bf16
from baselines.runs.journal import Event, Trained
from baselines.training.interruption import Interruption
from baselines.training.ranks import ALONE
from baselines.training.sampling import Batch
from baselines.training.schedule import Schedule
from baselines.training.standing import Untold
from baselines.training.train import filled
from baselines.training.trainer import Trainer
from benchmarks.extrapolation import CROPS, VOXEL, hours_of, tiles_of
from benchmarks.parts import Bench, of_part
from evaluator.geometry import VoxelGrid
from evaluator.volume import create_volume, open_volume

FULL = ["split.fraction=0"]
TINY = [
    *FULL, "model.width=8", "model.levels=2", "model.depths=[1, 1]", "training.patch=[8, 32, 32]",
    "prediction.tile=[8, 32, 32]", "prediction.overlap=[2, 8, 8]", "prediction.block=[16, 64, 64]",
]  # fmt: skip
LAST = "test crops at 8 nm"


def about(bench: Bench) -> dict[str, Any]:
    """The device and what drives it."""
    cuda = bench.device.type == "cuda"
    name = torch.cuda.get_device_name(bench.device) if cuda else platform.processor() or "CPU"
    memory = torch.cuda.get_device_properties(bench.device).total_memory if cuda else 0
    return {
        "device": name, "memory_gb": memory / 1e9, "torch": torch.__version__,
        "cuda": torch.version.cuda or "none",
    }  # fmt: skip


def painted(bench: Bench) -> dict[str, Any]:
    """A phantom to train on, and a volume to predict: the phantom, mirrored over and over."""
    size = bench.asked.size
    depth = 16 if bench.asked.tiny else size // 32 * 24
    plan = PhantomPlan((depth, size, size), (VOXEL,) * 3, train=1, hidden=0, cell_nm=300.0)
    write_phantom(bench.folder / "data", plan, progress=lambda _: None)
    data = DataFolder(bench.folder / "data")
    crop = np.asarray(open_volume(data.raw(Purpose.TRAIN, data.crops(Purpose.TRAIN)[0])).read())
    times = 1 if bench.asked.tiny else 3
    sides = [(0, (times - 1) * n) for n in crop.shape]
    whole = np.pad(crop, sides, mode="symmetric")
    grid = VoxelGrid(whole.shape, (VOXEL,) * 3)
    create_volume(bench.folder / "raw", grid, np.uint8, multiscale=True)[:] = whole
    return {"training_crop": list(crop.shape), "volume": list(whole.shape)}


def settings(bench: Bench, precision: str, compiling: str) -> Config:
    """Of the network, filled in by the phantom's labels."""
    changes = TINY if bench.asked.tiny else FULL
    numbers = [f"training.precision={precision}", f"training.compile={compiling}"]
    return load_config(Path("Instance3D"), [*changes, *numbers])


def trainer_of(bench: Bench, config: Config, sink: Callable[[Event], None]) -> Trainer:
    """The training loop as `baselines train` makes it, with a schedule that only we end."""
    data = DataFolder(bench.folder / "data")
    labels, crops = load_crops(data, config, progress=lambda _: None)
    config = filled(config, data, labels, crops)
    torch.manual_seed(0)
    model = network_of(config)
    model.check_patch(config.training.patch)
    run = Run(bench.folder / f"run-{config.training.precision}-{config.training.compile}")
    run.begin(config)
    return Trainer(
        config, run, model, crops, schedule=endless(1), device=bench.device, ranks=ALONE,
        interruption=Interruption(run.stop), sinks=[sink],
    )  # fmt: skip


def endless(until: int) -> Schedule:
    """A schedule that pauses at an iteration, without validating or saving on the way."""
    return Schedule(until, epoch=10**9, validate_every=0, save_every=10**9)


def resident(bench: Bench, trainer: Trainer, batch: Batch, seconds: float) -> float:
    """Seconds of an update on a batch that lies on the device."""
    for _ in range(3):  # compiles, and tries convolutions
        trainer.update(batch)
    bench.finish()
    begun, count = time.monotonic(), 0
    while count < 3 or time.monotonic() - begun < seconds:
        trainer.update(batch)
        trainer.pace.keep()
        count += 1
    bench.finish()
    trainer.untold = Untold()
    return (time.monotonic() - begun) / count


def looped(bench: Bench, trainer: Trainer, events: list[Event], count: int) -> tuple[float, float]:
    """Seconds of an iteration of the real loop, and the share of them it waited for patches."""
    trainer.schedule = endless(trainer.at.iteration + count)
    events.clear()
    begun = time.monotonic()
    trainer.stretch()
    bench.finish()
    took = time.monotonic() - begun
    told = [event for event in events if isinstance(event, Trained)]
    waited = sum(event.waited * len(event.losses) for event in told)
    return took / count, waited / max(sum(len(event.losses) for event in told), 1)


def training(bench: Bench, compiling: str) -> dict[str, Any]:
    """The real loop beside the same updates on a batch that lies on the device."""
    events: list[Event] = []
    trainer = trainer_of(bench, settings(bench, "auto", compiling), events.append)
    batch = trainer.patches.batch(0).to(bench.device)
    alone = resident(bench, trainer, batch, bench.share(0.1))
    looped(bench, trainer, events, 5)  # fills the memory that patches come in
    wanted = round(bench.share(0.15) / alone)
    real, waited = looped(bench, trainer, events, max(wanted // 20 * 20, 20))
    again = resident(bench, trainer, batch, bench.share(0.1))
    alone = (alone + again) / 2
    patches = trainer.config.training.batch
    voxels = patches * math.prod(trainer.config.training.patch)
    trainer.run.save_best(trainer.average, fingerprint_of(trainer.config, trainer.model))
    return {
        "share_of_resident": alone / real, "waited": waited, "patches_per_s": patches / real,
        "voxels_per_s": voxels / real, "resident_voxels_per_s": voxels / alone,
        "host_waits_in_an_update": waits(bench, trainer, batch),
        "memory_gb": peak_memory_gb(bench.device), "patch": list(trainer.config.training.patch),
        "batch": patches, "bf16": trainer.bf16,
    }  # fmt: skip


def waits(bench: Bench, trainer: Trainer, batch: Batch) -> int | str:
    """How often the host waits for the device in one update: it should never."""
    if bench.device.type != "cuda":
        return "only counted on a GPU"
    bench.finish()
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        torch.cuda.set_sync_debug_mode("warn")
        trainer.update(batch)
        torch.cuda.set_sync_debug_mode("default")
    return sum("synchronizing" in str(one.message) for one in told)


def numbers(bench: Bench, precision: str, compiling: str) -> dict[str, Any]:
    """Updates on a batch that lies on the device, computed one way."""
    trainer = trainer_of(bench, settings(bench, precision, compiling), lambda _: None)
    batch = trainer.patches.batch(0).to(bench.device)
    took = resident(bench, trainer, batch, bench.share(0.1))
    training = trainer.config.training
    voxels = training.batch * math.prod(training.patch)
    return {"updates_per_s": 1 / took, "voxels_per_s": voxels / took}


def trained(bench: Bench) -> Run:
    """The run that `training` left.  Raises ValueError if it failed."""
    found = list(bench.folder.glob("run-*/best_model.safetensors"))
    if not found:
        raise ValueError("there are no weights, since training failed")
    return Run(found[0].parent)


def volume(bench: Bench) -> tuple[Task, VoxelGrid, list[Box]]:
    """The task of predicting the volume, its arrays in place, and its blocks."""
    team = team_of([trained(bench)])
    task, grid, _ = prepare(
        team, Subject("volume", bench.folder / "raw"), Path(tempfile.mkdtemp(dir=bench.folder))
    )
    make_arrays(task, grid, team, fresh=True)
    return task, grid, todo(task.tiling, Ledger(task.folder / "progress.jsonl", task.mark))


def prediction(bench: Bench) -> dict[str, Any]:
    """The volume from Zarr to Zarr, without writing, and the network alone."""
    task, grid, blocks = volume(bench)
    tiles = tiles_of(task.tiling)
    engine = Engine(task, bench.device)
    tile = torch.zeros(task.config.prediction.batch, 1, *task.tiling.tile, device=bench.device)
    alone = repeated(bench, lambda: engine.predictor(tile)) / len(tile)
    begun = time.monotonic()
    for box in columns(blocks):
        for _ in stream(
            engine.predictor, engine.raw, task.light, box=box, tiling=task.tiling,
            channels=engine.channels, batch=len(tile),
        ):  # fmt: skip
            pass
    bench.finish()
    unwritten = time.monotonic() - begun
    begun = time.monotonic()
    stored = sum(part.voxels for box in columns(blocks) for part in engine.parts(box))
    bench.finish()
    took = time.monotonic() - begun
    return {
        "gvoxel_per_h": gvoxel_per_h(grid.voxels, took),
        "gvoxel_per_h_without_writing": gvoxel_per_h(grid.voxels, unwritten),
        "gvoxel_per_h_network_alone": gvoxel_per_h(grid.voxels, alone * tiles),
        "coverage": stored / grid.voxels, "seconds_per_tile": took / tiles,
        "tile": list(task.tiling.tile), "channels": engine.channels,
        "multiple": list(engine.multiple), "settings": dataclasses.asdict(task.config.prediction),
        "memory_gb": peak_memory_gb(bench.device),
    }  # fmt: skip


def gvoxel_per_h(voxels: int, seconds: float) -> float:
    """Voxels of the volume, not of the tiles, which overlap."""
    return voxels / seconds * 3600 / 1e9


def repeated(bench: Bench, work: Callable[[], Any]) -> float:
    """Seconds of some work that is done over and over."""
    for _ in range(2):
        work()
    bench.finish()
    begun, count, seconds = time.monotonic(), 0, bench.share(0.05)
    while count < 3 or time.monotonic() - begun < seconds:
        work()
        bench.finish()
        count += 1
    return (time.monotonic() - begun) / count


def network(bench: Bench, compiling: str) -> dict[str, Any]:
    """The network alone on tiles that lie on the device."""
    run = trained(bench)
    model: Network = run.model().eval()
    model.place(bench.device)
    config = run.config()
    forward = compiled(model, compiling, bench.device)
    shape = (config.prediction.batch, 1, *config.prediction.tile)
    tile = torch.zeros(shape, device=bench.device)
    bf16 = use_bf16(config.training.precision, bench.device)

    def work() -> None:
        with (
            torch.inference_mode(),
            torch.autocast(bench.device.type, torch.bfloat16, enabled=bf16),
        ):
            forward(tile)

    return {"gvoxel_of_tiles_per_h": gvoxel_per_h(tile.numel(), repeated(bench, work))}


def measure(bench: Bench, table: Path) -> None:
    """All parts, the most important ones first."""
    bench.part("device", lambda: about(bench))
    bench.part("phantom", lambda: painted(bench))
    if bench.compiling:
        bench.part("training", lambda: training(bench, "on"))
    if "training" not in bench.found:
        bench.part("training, not compiled", lambda: training(bench, "off"))
    bench.part("prediction", lambda: prediction(bench))
    bench.part(LAST, lambda: hours_of(of_part(bench.found, "prediction"), table))
    for setting in ["off", "on"] if bench.compiling else ["off"]:
        for precision in ("bf16", "fp32"):
            bench.part(
                f"update, {precision}, compile {setting}",
                lambda p=precision, s=setting: numbers(bench, p, s),
            )
        bench.part(f"network alone, compile {setting}", lambda s=setting: network(bench, s))


def main(words: Sequence[str] | None = None) -> int:
    """Measure, or take measurements from a file; print, write, and tell whether all went well."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--tiny", action="store_true", help="a small network on small data")
    parser.add_argument("--minutes", type=float, default=8.0)
    parser.add_argument("--size", type=int, default=160, help="rows and columns of the phantom")
    parser.add_argument("--compile", choices=("on", "off"), default="on")
    parser.add_argument("--crops", type=Path, default=CROPS)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--from", dest="earlier", type=Path)
    asked = parser.parse_args(words)
    try:
        device = choose_device("cpu" if asked.earlier else asked.device)
    except ConfigError as error:
        parser.error(str(error))
    if asked.earlier:
        found = json.loads(asked.earlier.read_text("utf-8"))["found"]
        bench = Bench(device, Path(), asked, found)
        bench.part(LAST, lambda: hours_of(of_part(found, "prediction"), asked.crops))
    else:
        with tempfile.TemporaryDirectory() as folder:
            bench = Bench(device, Path(folder), asked)
            measure(bench, asked.crops)
    if asked.json:
        told = {"found": bench.found, "failed": bench.failed}
        asked.json.write_text(json.dumps(told, indent=1) + "\n", "utf-8")
    return 1 if bench.failed else 0


if __name__ == "__main__":
    sys.exit(main())
