"""The training loop, written out: draw, step, average; now and then validate, report, save."""

from __future__ import annotations

import dataclasses
import math
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from baselines.checkpoint import Run
from baselines.config import Config, ConfigError, TrainingConfig
from baselines.crops import TrainingCrop, common_voxel_size, kinds_of, load_crops
from baselines.curves import draw_curves
from baselines.data import Batch, Patches
from baselines.layout import DataFolder
from baselines.models import UNet, build_model
from baselines.segmentation import masked_loss
from baselines.validation import validate
from evaluator.manifest import Kind

REPORT_EVERY = 20  # steps
Progress = Callable[[str], None]


def choose_device(name: str) -> torch.device:
    """auto: CUDA if there is one.  Raises ConfigError for a device that is not there."""
    if name not in ("auto", "cpu", "cuda"):
        raise ConfigError(f"--device is auto, cpu or cuda, not {name}.")
    if name == "cuda" and not torch.cuda.is_available():
        raise ConfigError(
            "--device cuda: this machine has no usable CUDA device; take --device cpu."
        )
    chosen = "cuda" if name != "cpu" and torch.cuda.is_available() else "cpu"
    if chosen == "cpu" and "OMP_NUM_THREADS" not in os.environ:
        # Half of the processors.  Threads that wait for each other spin: where something else runs
        # beside them, a second thread on two cores made these small networks five times slower.
        torch.set_num_threads(max(1, len(os.sched_getaffinity(0)) // 2))
    return torch.device(chosen)


def use_bf16(precision: str, device: torch.device) -> bool:
    """Whether to compute in bfloat16: always on request, by itself only where it is fast."""
    if precision != "auto":
        return precision == "bf16"
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported())
    # Processors without the instruction emulate it, which is slower than float32.
    return bool(torch.cpu.get_capabilities().get("avx512_bf16"))


def train(
    config: Config, data: DataFolder, run: Run, *, device: torch.device, progress: Progress = print
) -> dict[str, Any]:
    """Train, or go on with, the run in a folder; returns its results.

    Raises ConfigError or DataError before any training if something does not fit.
    """
    labels, crops = load_crops(data, config, progress=progress)
    voxel_size = common_voxel_size(crops, config.data)
    filled = dataclasses.replace(config.data, labels=tuple(labels), voxel_size=voxel_size)
    config = dataclasses.replace(config, data=filled)
    torch.manual_seed(config.training.seed)
    model = build_model(config.model, labels=len(labels), voxel_size=voxel_size)
    model.check_patch(config.training.patch)
    run.begin(config)
    model.place(device)
    kinds = kinds_of(data, config)
    trainer = Trainer(config, run, model, device, kinds, progress)
    trainer.restore()
    try:
        trainer.loop(Patches(crops, labels, config), crops)
    except KeyboardInterrupt:
        trainer.save()
        progress(f"interrupted after step {trainer.step}; the same command goes on from there")
        raise
    return trainer.finish(crops)


@dataclass
class Trainer:
    """A network on its way through the schedule."""

    config: Config
    run: Run
    model: UNet
    device: torch.device
    kinds: dict[str, Kind]
    progress: Progress
    step: int = 0
    seconds: float = 0.0  # of wall time, over all sessions
    cpu_seconds: float = 0.0
    best: float = -1.0

    def __post_init__(self) -> None:
        settings = self.config.training
        decayed = [p for p in self.model.parameters() if p.ndim > 1]
        others = [p for p in self.model.parameters() if p.ndim <= 1]
        groups: list[dict[str, Any]] = [
            {"params": decayed}, {"params": others, "weight_decay": 0.0},
        ]  # fmt: skip
        self.optimizer = torch.optim.AdamW(
            groups,
            lr=settings.lr, weight_decay=settings.weight_decay,
        )  # fmt: skip
        self.average = {k: v.detach().clone() for k, v in self.model.state_dict().items()}
        self.bf16 = use_bf16(settings.precision, self.device)
        self.results: dict[str, Any] = {}

    def loop(self, patches: Patches, crops: list[TrainingCrop]) -> None:
        """Steps until the schedule ends."""
        settings = self.config.training
        if self.step >= settings.iterations or self.done >= 1:
            return
        save_every = settings.save_every or max(1, settings.iterations // 10)
        forward = torch.compile(self.model) if settings.compile == "on" else self.model
        clock, cpu, losses = time.monotonic(), time.process_time(), []
        batches = patches.batches(self.step, settings.iterations)
        for batch in batches:
            rate = learning_rate(settings, self.done)
            loss = train_step(
                forward, batch, self.optimizer, rate=rate, clip=settings.clip,
                device=self.device, bf16=self.bf16,
            )  # fmt: skip
            self.step += 1
            follow(self.average, self.model.state_dict(), decay=settings.ema, step=self.step)
            losses.append(loss)
            now, cpu_now = time.monotonic(), time.process_time()
            self.seconds, self.cpu_seconds = (
                self.seconds + now - clock,
                self.cpu_seconds + cpu_now - cpu,
            )
            clock, cpu = now, cpu_now
            last = self.step == settings.iterations or self.done >= 1
            if self.step % REPORT_EVERY == 0 or last:
                self.report(float(np.mean(losses)), rate)
                losses = []
            if settings.validate_every and self.step % settings.validate_every == 0 and not last:
                self.validate(crops)
            if self.step % save_every == 0:
                self.save()
            if last:
                batches.close()
                break

    @property
    def done(self) -> float:
        """How much of the schedule lies behind, by steps or by the clock, whichever is more."""
        settings = self.config.training
        by_clock = self.seconds / settings.seconds if settings.seconds > 0 else 0.0
        return max(self.step / settings.iterations, by_clock)

    def report(self, loss: float, rate: float) -> None:
        """A line for people and one for machines."""
        self.run.log({
            "step": self.step, "loss": round(loss, 5), "lr": rate,
            "seconds": round(self.seconds, 2), "cpu_seconds": round(self.cpu_seconds, 2),
        })  # fmt: skip
        self.progress(f"step {self.step}  loss {loss:.4f}  {self.seconds:.0f} s")

    def validate(self, crops: list[TrainingCrop]) -> None:
        """Measure the averaged weights on the validation planes; keep them if they are the best."""
        own = {k: v.clone() for k, v in self.model.state_dict().items()}
        self.model.load_state_dict(self.average)
        found = validate(
            self.model, crops, self.config, self.kinds, device=self.device, bf16=self.bf16
        )
        self.model.load_state_dict(own)
        self.model.train()
        if found is None:
            self.run.save_weights(self.average)
            return
        self.progress(f"step {self.step}  validation {found.mean:.4f}")
        if found.mean > self.best:
            self.best = found.mean
            self.run.save_weights(self.average)
            self.results = {"step": self.step, **found.to_json()}

    def save(self) -> None:
        """Keep everything needed to go on."""
        self.run.save_last({
            "model": self.model.state_dict(), "average": self.average,
            "optimizer": self.optimizer.state_dict(), "step": self.step, "seconds": self.seconds,
            "cpu_seconds": self.cpu_seconds, "best": self.best, "results": self.results,
        })  # fmt: skip

    def restore(self) -> None:
        """Go on where the folder's run stopped, if there is one."""
        state = self.run.load_last()
        if state is None:
            return
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.average = {k: v.to(self.device) for k, v in state["average"].items()}
        self.step, self.seconds = state["step"], state["seconds"]
        self.cpu_seconds, self.best, self.results = (
            state["cpu_seconds"], state["best"], state["results"],
        )  # fmt: skip
        self.progress(f"going on from step {self.step}")

    def finish(self, crops: list[TrainingCrop]) -> dict[str, Any]:
        """Validate a last time, and write results and curves."""
        self.validate(crops)
        self.save()
        results = {
            **self.results,
            "steps": self.step,
            "parameters": sum(p.numel() for p in self.model.parameters()),
            "seconds": round(self.seconds, 1),
            "cpu_seconds": round(self.cpu_seconds, 1),
            "device": str(self.device),
            "torch": torch.__version__,
            "light": {crop.name: dataclasses.asdict(crop.light) for crop in crops},
        }
        self.run.save_results(results)
        draw_curves(self.run.lines(), self.run.folder / "curves.png")
        return results


def train_step(
    model: Callable[[Tensor], Tensor], batch: Batch, optimizer: torch.optim.Optimizer, *,
    rate: float, clip: float, device: torch.device, bf16: bool,
) -> float:  # fmt: skip
    """One update on one batch; its loss.  A batch nobody annotated changes nothing."""
    raw, target, weight = (
        torch.from_numpy(np.ascontiguousarray(array)).to(device, non_blocking=True)
        for array in (batch.raw, batch.target, batch.weight)
    )
    if not weight.any():
        return 0.0
    for group in optimizer.param_groups:
        group["lr"] = rate
    with torch.autocast(device.type, torch.bfloat16, enabled=bf16):
        logits = model(raw)
    loss = masked_loss(logits.float(), target, weight)
    optimizer.zero_grad(set_to_none=True)
    torch.autograd.backward(loss)
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    nn.utils.clip_grad_norm_(parameters, clip)
    optimizer.step()
    return loss.item()


def learning_rate(settings: TrainingConfig, done: float) -> float:
    """The rate at a share of the schedule: a straight climb, then half a cosine down to 1 %."""
    if done < settings.warmup:
        return settings.lr * (done + 0.1 * settings.warmup) / (1.1 * settings.warmup)
    way = min((done - settings.warmup) / max(1 - settings.warmup, 1e-9), 1.0)
    return settings.lr * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * way)))


def follow(
    average: dict[str, Tensor], weights: dict[str, Tensor], *, decay: float, step: int
) -> None:
    """Move the averaged weights towards the present ones, faster at the beginning."""
    share = 1 - min(decay, (1 + step) / (10 + step))
    for name, value in weights.items():
        average[name].lerp_(value, share)
