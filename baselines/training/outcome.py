"""What remains of a training: numbers in results.json."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from baselines.config import Config
from baselines.data.crops import TrainingCrop
from baselines.runs.diagnosis import diagnose
from baselines.runs.journal import Event, Trained
from baselines.training.validation import Tuned


def results_of(
    config: Config, crops: Sequence[TrainingCrop], validation: dict[str, Any],
    tuned: Mapping[str, Tuned], events: Sequence[Event], model: nn.Module,
) -> dict[str, Any]:  # fmt: skip
    """Of a finished training.

    dice, thresholds, loss, doubts, label_doubts, iteration: of the best validation, absent without
    one.  light: of each crop, so that prediction can say when grey values have changed.  split: of
    each crop its boxes, in voxels of a grid in its raw, so that it can say when they are predicted.
    objects, quality: thresholds of the objects of instance labels, and the panoptic quality they
    reach.
    """
    masks = {label: found.thresholds.mask for label, found in tuned.items()}
    trained = [event for event in events if isinstance(event, Trained)]
    last = trained[-1]
    return {
        "finished": True,
        "name": config.name,
        **validation,
        "thresholds": {**validation.get("thresholds", {}), **masks},
        "objects": {label: found.thresholds.to_json() for label, found in tuned.items()},
        "quality": {label: found.quality for label, found in tuned.items()},
        "iterations": last.iteration,
        "epochs": last.epoch,
        "training": {"loss": round(last.loss, 5), "dice": last.dice},
        "voxel_size": list(config.data.voxel_size),
        "light": {crop.name: dataclasses.asdict(crop.light) for crop in crops},
        "split": {crop.name: _boxes(crop) for crop in crops},
        "parameters": sum(p.numel() for p in model.parameters()),
        "seconds": round(last.seconds, 1),
        "cpu_seconds": round(last.cpu_seconds, 1),
        "patches_per_second": round(float(np.median([event.speed for event in trained])), 2),
        "waited": round(float(np.mean([event.waited for event in trained])), 4),
        "memory_gb": max(event.memory_gb for event in trained),
        "device": device_name(next(model.parameters()).device),
        "torch": torch.__version__,
        "hints": diagnose(events),
    }


def device_name(device: torch.device) -> str:
    """cpu, or what the GPU is called."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else str(device)


def _boxes(crop: TrainingCrop) -> dict[str, Any]:
    return {
        "raw": str(Path(crop.where).resolve()) if crop.where else "",
        "voxel_size_nm": crop.grid.voxel_size,
        "offset_nm": crop.grid.offset,
        "training": [(box.start, box.stop) for box in crop.training],
        "validation": [(box.start, box.stop) for box in crop.validation],
    }
