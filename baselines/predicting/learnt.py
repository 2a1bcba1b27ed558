"""What of a volume a run has learnt from: how well it does there says nothing of other data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from baselines.box import Box, box_around
from baselines.runs.checkpoint import Run
from baselines.volumes.levels import part_of, touched
from evaluator.geometry import VoxelGrid


def notices(name: str, raw: Path, predicted: VoxelGrid, runs: Sequence[Run]) -> list[str]:
    """A sentence for each training crop that a prediction meets; [] if runs did not note theirs.

    raw: the path of the image.  predicted: the part of it that is predicted.
    """
    return [
        f"{name}: the model was trained on planes {around.start[0]} to {around.stop[0] - 1} of it "
        f"(crop {crop}): how well it does there says nothing of other data."
        for crop, around in met(raw, predicted, runs).items()
    ]


def met(raw: Path, part: VoxelGrid, runs: Sequence[Run]) -> dict[str, Box]:
    """Per training crop of some runs that a part of an image meets, the voxels around where."""
    found: dict[str, list[Box]] = {}
    for run in runs:
        for crop, boxes in run.learnt():
            if boxes.get("raw") == str(raw.resolve()):
                grids = (_grid(boxes, box) for box in boxes["training"])
                inside = [box for grid in grids if (box := touched(part, grid)) is not None]
                found.setdefault(crop, []).extend(inside)
    return {crop: box_around(boxes) for crop, boxes in found.items() if boxes}


def _grid(crop: Mapping[str, Any], box: list[list[int]]) -> VoxelGrid:
    """Where a training box lies."""
    (z, y, x), (end_z, end_y, end_x) = box
    (size_z, size_y, size_x), (oz, oy, ox) = crop["voxel_size_nm"], crop["offset_nm"]
    whole = VoxelGrid((end_z, end_y, end_x), (size_z, size_y, size_x), (oz, oy, ox))
    return part_of(whole, Box((z, y, x), (end_z, end_y, end_x)))
