"""What follows from stored probabilities: masks, objects, stacks, and a page that tells of them."""

from __future__ import annotations

import dataclasses
import importlib.metadata
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import zarr

from baselines.objects.recipe import Recipe, keep_recipe, make_label
from baselines.predicting.engine import Task
from baselines.predicting.output import (
    METADATA,
    add_levels,
    create_result,
    grid_of,
    result_of,
    write_metadata,
    write_segmentation,
    write_stack,
)
from baselines.predicting.sureness import sureness_of
from baselines.predicting.team import Team
from baselines.progress import Progress, counted
from evaluator.geometry import VoxelGrid
from evaluator.manifest import Kind


def write_results(
    task: Task, team: Team, *, ids: Mapping[str, int], about: Mapping[str, Any],
    progress: Progress = print,
) -> None:  # fmt: skip
    """Make everything but the probabilities themselves, for a volume whose blocks are all done.

    ids: per label, for segmentation.tif.  about: more to be said in metadata.json, which is there
    only while all labels are made as it says.
    """
    (task.folder / METADATA).unlink(missing_ok=True)
    labels = _make_labels(task, team, ids, progress)
    grid = grid_of(result_of(task.folder / team.heads.heads[0].label))
    output = team.config.prediction.output
    if output in ("tiff", "both"):
        for head in team.heads:
            write_stack(task.folder / head.label, task.folder / f"{head.label}.tif")
        write_segmentation(task.folder, {head.label: ids[head.label] for head in team.heads})
    if output == "tiff":
        for head in team.heads:
            shutil.rmtree(task.folder / head.label)
    sure = sureness_of(task.folder, team)
    for text in (sure.line, sure.warning and f"warning: {sure.warning}"):
        if text:
            progress(text)
    warnings = [text for text in (*about.get("warnings", ()), sure.warning) if text]
    told = {label: content | sure.told(label) for label, content in labels.items()}
    content = described(task, team, grid, told) | dict(about) | {"warnings": warnings}
    write_metadata(task.folder, content | sure.told())


def _make_labels(
    task: Task, team: Team, ids: Mapping[str, int], progress: Progress
) -> dict[str, dict[str, Any]]:
    """Masks and objects; what metadata.json says of each."""
    labels = {}
    for head in team.heads:
        recipe = team.recipe(head)
        objects = write_label(task.folder, recipe)
        labels[head.label] = {
            "id": ids[head.label], "kind": str(recipe.kind),
            "representation": head.representation, "thresholds": recipe.thresholds.to_json(),
            "objects": objects,
        }  # fmt: skip
        if objects is not None:
            progress(f"{task.subject.name}: {counted(objects, 'object')} of {head.label}")
            if objects > (most := team.config.objects.most):
                progress(
                    f"warning: more than {most} objects of {head.label} take long to score; "
                    "remove dust with objects.smallest_nm3."
                )
    return labels


def write_label(folder: Path, recipe: Recipe) -> int | None:
    """Write the mask or the objects of a label into the folder of a predicted volume.

    How many objects there are, None for a mask.
    """
    stored = zarr.open_array(folder / "probabilities" / recipe.head.label, mode="r+")
    keep_recipe(stored, recipe)
    path = folder / recipe.head.label
    array = create_result(
        path, grid_of(stored), np.uint32 if recipe.kind is Kind.INSTANCE else np.uint8
    )
    count = make_label(stored, array, recipe, scratch=folder)
    add_levels(path)
    return count


def described(task: Task, team: Team, grid: VoxelGrid, labels: Mapping[str, Any]) -> dict[str, Any]:
    """What metadata.json says: all that is needed to know what the arrays are, and to make them
    again."""
    return {
        "name": task.subject.name,
        "raw": str(task.subject.raw),
        "data": {"channel": team.config.data.channel, "coarsest": team.config.data.coarsest},
        "axes": "zyx",
        "shape": grid.shape,
        "voxel_size_nm": grid.voxel_size,
        "offset_nm": grid.offset,
        "grey_values": dataclasses.asdict(task.light),
        "model": [str(run.folder) for run in team.members],
        "digest": task.mark,
        "prediction": dataclasses.asdict(team.config.prediction),
        "tiling": {
            k: v for k, v in dataclasses.asdict(task.tiling).items() if k != "shape"
        },
        "labels": dict(labels),
        "version": importlib.metadata.version("crista"),
    }  # fmt: skip
