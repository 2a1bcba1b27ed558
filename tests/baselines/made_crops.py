"""Training crops made of arrays."""

from __future__ import annotations

from baselines.box import Box, box_around
from baselines.config import SplitConfig
from baselines.data.crops import TrainingCrop
from baselines.data.foreground import find_foreground
from baselines.data.split import Part, boxes_of
from baselines.volumes.light import measure_light
from baselines.volumes.readers import Reader
from evaluator.geometry import VoxelGrid


def make_crop(
    name: str, grid: VoxelGrid, raw: Reader, labels: dict[str, Reader], *,
    validation: float = 0.0, known: dict[str, Box] | None = None, valid: Box | None = None,
    dataset: str = "", specimen: str = "",
) -> TrainingCrop:  # fmt: skip
    """A crop with its light measured and its foreground found.

    validation: share of the annotated planes, the last ones, that is kept from training.
    known, valid: all of the raw if not given.
    """
    whole = Box((0, 0, 0), raw.shape)
    known = known if known is not None else dict.fromkeys(labels, whole)
    part = Part(name, dataset, specimen, box_around(known.values() or [whole]))
    boxes = boxes_of([part], SplitConfig(fraction=validation))[name]
    found = find_foreground(labels, known, boxes.training)
    return TrainingCrop(
        name, dataset, specimen or dataset, grid, raw, measure_light(raw), labels, known,
        valid or whole, boxes.training, boxes.validation, found.points, found.count,
        found.negatives,
    )  # fmt: skip
