"""How good a network is on the planes kept from training, and which threshold suits each label."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from baselines.blockwise import predict_box
from baselines.box import Box
from baselines.config import Config
from baselines.crops import TrainingCrop
from baselines.data import cut
from baselines.models.unet import UNet
from baselines.objects import components, grown, smallest_voxels
from baselines.predictors import predictor_of
from baselines.segmentation import THRESHOLDS, Agreement, agreement, panoptic_quality
from baselines.tiling import plan_tiling
from evaluator.manifest import Kind

MOST_VOXELS = 2**25  # of a crop's validation planes that are looked at: memory is bounded


@dataclass(frozen=True)
class Validation:
    """Per label: the best Dice, the quality of objects (instance labels), the threshold."""

    dice: dict[str, float]
    quality: dict[str, float]
    thresholds: dict[str, float]

    @property
    def mean(self) -> float:
        """One number to choose weights by: mean Dice of all labels."""
        return float(np.mean(list(self.dice.values())))

    def to_json(self) -> dict[str, Any]:
        """For results.json."""
        return dataclasses.asdict(self)


def validate(
    model: UNet,
    crops: list[TrainingCrop],
    config: Config,
    kinds: dict[str, Kind],
    *,
    device: torch.device,
    bf16: bool,
) -> Validation | None:
    """What the network reaches on all validation planes; None if there are none.

    Masks take the threshold of the best Dice, objects that of the best panoptic quality.
    """
    labels = config.data.labels
    total: Agreement | None = None
    quality = np.zeros((len(THRESHOLDS), len(labels)))
    weighed = np.zeros(len(labels))
    predictor = predictor_of(model, device=device, bf16=bf16)
    for crop, box in _boxes(crops):
        tiling = plan_tiling(crop.grid.shape, config.prediction, model.multiple)
        found = predict_box(
            predictor, crop.raw, crop.light, box=box, tiling=tiling,
            channels=len(labels), batch=config.prediction.batch,
        )  # fmt: skip
        whole = dataclasses.replace(crop, training=crop.validation)
        _, target, weight = cut(whole, box.start, box.shape, labels, config.objects.shrink)
        here = agreement(found, target > 0, weight)
        total = here if total is None else total + here
        for k, label in enumerate(labels):
            if kinds.get(label) is Kind.INSTANCE and label in crop.labels:
                truth = crop.labels[label].read(box.start, box.stop)
                quality[:, k] += _qualities(truth, found[k], config, label, crop)
                weighed[k] += 1
    if total is None:
        return None
    dice, thresholds = total.best()
    quality /= np.maximum(weighed, 1)
    for k in np.flatnonzero(quality.max(axis=0) > 0).tolist():
        thresholds[k] = _middle_of_best(quality[:, k])
    objects = {labels[k]: float(quality[:, k].max()) for k in np.flatnonzero(weighed).tolist()}
    return Validation(
        dict(zip(labels, np.round(dice, 5).tolist(), strict=True)),
        {label: round(value, 5) for label, value in objects.items()},
        dict(zip(labels, thresholds.tolist(), strict=True)),
    )


def _boxes(crops: list[TrainingCrop]) -> Iterator[tuple[TrainingCrop, Box]]:
    for crop in crops:
        for kept in crop.validation:
            depth = max(MOST_VOXELS // (kept.shape[1] * kept.shape[2]), 1)
            stop = (min(kept.stop[0], kept.start[0] + depth), *kept.stop[1:])
            yield crop, Box(kept.start, stop)


def _qualities(
    truth: np.ndarray, probability: np.ndarray, config: Config, label: str, crop: TrainingCrop
) -> np.ndarray:
    # Objects are cut off by the few validation planes, so small pieces of them must count.
    share = probability.shape[0] / crop.grid.shape[0]
    smallest = round(smallest_voxels(config.objects, label, crop.grid.voxel_size) * share)
    less = config.objects.shrink.get(label, 0)
    return np.array([
        panoptic_quality(truth, grown(components(probability > t, smallest=smallest), less))
        for t in THRESHOLDS
    ])  # fmt: skip


def _middle_of_best(quality: np.ndarray) -> float:
    """The middle one of the thresholds that come near the best: less of an accident than it."""
    near = np.flatnonzero(quality >= 0.98 * quality.max())
    return float(THRESHOLDS[near[len(near) // 2]])
