"""From settings and data to a trained run: what does not fit is said before any training."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Sequence
from typing import Any

import torch

from baselines.config import Config
from baselines.data.crops import TrainingCrop, common_voxel_size, kinds_of, load_crops
from baselines.layout import DataFolder
from baselines.progress import Progress
from baselines.runs.board import board
from baselines.runs.checkpoint import Run, fingerprint_of, network_of
from baselines.runs.journal import Sink, sentences
from baselines.runs.lock import locked
from baselines.training.interruption import Interruption
from baselines.training.ranks import ALONE, Ranks
from baselines.training.schedule import plan_schedule
from baselines.training.start import begin
from baselines.training.trainer import Trainer


def train(
    config: Config, data: DataFolder, run: Run, *, device: torch.device, progress: Progress = print,
    sinks: Sequence[Sink] = (), ranks: Ranks = ALONE,
) -> dict[str, Any]:  # fmt: skip
    """Train, or go on with, the run in a folder; returns its results.

    progress: told sentences; of events only without sinks, which are told events.
    ranks: this process among those of `torchrun`.
    Raises ConfigError or DataError before any training if something does not fit, and
    KeyboardInterrupt, with everything saved, when a signal or a file named STOP ended it.
    """
    labels, crops = load_crops(data, config, progress=progress)
    images = sum(bool(crop.training) for crop in crops)
    config = filled(config, data, labels, crops)
    schedule = plan_schedule(config, images)
    torch.manual_seed(config.training.seed)
    model = network_of(config)
    model.check_patch(config.training.patch)
    config, start = begin(config, run, model)
    trained = dataclasses.replace(config.trained, fingerprint=fingerprint_of(config, model))
    config = dataclasses.replace(config, trained=trained)
    boards = [board(run.folder / "tensorboard")] if config.training.tensorboard else []
    run.folder.mkdir(parents=True, exist_ok=True)
    with locked(run.lock) if ranks.first else contextlib.nullcontext():
        if ranks.first:
            run.begin(config)
            if start is not None:
                run.save_start(start.run)
        if done := finished(run):
            progress(f"{run.folder} is done already: nothing is left to train.")
            return done
        with Interruption(run.stop) as interruption:
            trainer = Trainer(
                config, run, model, crops, schedule=schedule, device=device, ranks=ranks,
                interruption=interruption, sinks=(*(sinks or (sentences(progress),)), *boards),
                begins=list(start.sentences(crops)) if start else (),
            )  # fmt: skip
            trainer.loop()
            return trainer.finish()


def finished(run: Run) -> dict[str, Any]:
    """The results of a run that has ended its schedule; empty for one that has not."""
    results = run.results()
    return results if results.get("finished") else {}


def filled(
    config: Config, data: DataFolder, labels: Sequence[str], crops: list[TrainingCrop]
) -> Config:
    """The settings with what the data decide: labels, their kinds, the voxel size."""
    known = kinds_of(data, config)
    kinds = {label: str(known[label]) for label in labels if label in known}
    voxel_size = common_voxel_size(crops, config.data)
    return dataclasses.replace(
        config,
        data=dataclasses.replace(config.data, labels=tuple(labels), voxel_size=voxel_size),
        trained=dataclasses.replace(config.trained, kinds=kinds),
    )
