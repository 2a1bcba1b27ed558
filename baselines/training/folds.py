"""An ensemble: one training per fold, each validated on what the others train on."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from baselines.config import Config, SplitConfig
from baselines.data.blocks import sight_of
from baselines.data.crops import TrainingCrop, load_crops
from baselines.data.split import folds_in, places_of
from baselines.data.splitting import part_of
from baselines.layout import DataFolder
from baselines.progress import Progress
from baselines.runs.checkpoint import Run, save_ensemble
from baselines.runs.journal import Sink
from baselines.training.ranks import ALONE, Ranks
from baselines.training.train import train


def train_folds(
    config: Config, data: DataFolder, folder: Path, *, device: torch.device,
    progress: Progress = print, sinks: Sequence[Sink] = (), ranks: Ranks = ALONE,
    only: Sequence[int] = (),
) -> list[dict[str, Any]]:  # fmt: skip
    """Train fold-0, fold-1, … in a folder, one after the other; their results.

    min(groups, split.folds) folds, or those of the blocks of a single group; what was finished
    before is not trained again.  only: these folds, for machines that share the work.
    ensemble.json names all members.
    """
    config = dataclasses.replace(config, split=dataclasses.replace(config.split, kind="kfold"))
    whole = dataclasses.replace(config, split=SplitConfig(kind="planes", fraction=0.0))
    folds = count_folds(load_crops(data, whole, progress=progress)[1], config)
    folder.mkdir(parents=True, exist_ok=True)
    if ranks.first:
        save_ensemble(folder, [f"fold-{fold}" for fold in range(folds)])
    results = []
    for fold in only or range(folds):
        progress(f"fold {fold} of {folds}")
        split = dataclasses.replace(config.split, fold=fold)
        results.append(train(
            dataclasses.replace(config, split=split), data, Run(folder / f"fold-{fold}"),
            device=device, progress=progress, sinks=sinks, ranks=ranks,
        ))  # fmt: skip
    return results


def count_folds(crops: Sequence[TrainingCrop], config: Config) -> int:
    """min(groups, split.folds), where groups are what must stay together.

    A single group makes as many folds as it makes blocks.  crops: of which all trains.
    """
    return folds_in(places_of([part_of(crop) for crop in crops], config.split, sight_of(config)))
