"""Masks and objects made again from stored probabilities, by other thresholds, and as tables.

A label that is there was made as its recipe and metadata.json say, whenever the work was cut off:
the old one goes before they are changed, the new one comes after.  One that is missing is made.
"""

from __future__ import annotations

import math
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import zarr

from baselines.config import Config, ConfigError, build
from baselines.layout import DataError
from baselines.objects.object_table import object_table, write_table
from baselines.objects.recipe import Recipe, keep_recipe, make_label, recipe_of
from baselines.predicting.output import (
    SEGMENTATION,
    add_levels,
    create_result,
    grid_of,
    metadata_of,
    result_of,
    write_metadata,
    write_segmentation,
    write_stack,
)
from baselines.predicting.subjects import Subject
from baselines.progress import Progress, counted
from baselines.volumes.readers import Reader, Window
from evaluator.geometry import Shape, VoxelGrid
from evaluator.manifest import Kind


def remake(
    predictions: Path, *, crops: Sequence[str] = (), labels: Sequence[str] = (),
    changes: Mapping[str, float | bool] | None = None, stats: bool = False,
    progress: Progress = print,
) -> None:  # fmt: skip
    """Make the labels of predicted crops anew, each as its recipe says, with some changes.

    crops, labels: only these; by default all.  Without changes, only what is missing is made.
    stats: write PRED/<crop>/<label>.csv, a row per object; a table that is there follows its label.
    Raises DataError for crops or labels that were not predicted.
    """
    folders = {path.parent.name: path.parent for path in predictions.glob("*/probabilities")}
    made = False
    for crop in _chosen(crops, sorted(folders), f"crops of {predictions}"):
        folder = folders[crop]
        known = sorted(path.name for path in (folder / "probabilities").iterdir() if path.is_dir())
        for label in _chosen(labels, known, f"labels of {crop}"):
            stored = zarr.open_array(folder / "probabilities" / label, mode="r+")
            recipe, making = recipe_of(stored), bool(changes) or not (folder / label).is_dir()
            if making:
                recipe = recipe.changed(changes or {})
                count = _make(folder, label, stored, recipe, progress)
                what = "mask" if count is None else counted(count, "object")
                progress(f"{crop}: {label}: {what}")
            tabled = making and (folder / f"{label}.csv").is_file()
            if (stats or tabled) and recipe.kind is Kind.INSTANCE:
                _tabulate(folder, label, progress)
            made = made or making
        _restack(folder, known, progress)
    if not (made or stats):
        progress(
            "all labels are there, made as their recipes say: nothing is left to do. "
            "--set NAME=VALUE makes them by other thresholds, --stats writes tables of objects."
        )


def value_of(text: str) -> tuple[str, float | bool]:
    """NAME=VALUE as on the command line, as in seed_contour=0.7 or fill_holes=false."""
    name, _, value = text.partition("=")
    if value in ("true", "false"):
        return name, value == "true"
    try:
        number = float(value)
    except ValueError:
        number = -1.0
    if not 0 <= number < math.inf:
        raise ConfigError(f"--set needs NAME=VALUE with a number from 0, not {text!r}.")
    return name, number


def _chosen(wanted: Sequence[str], known: Sequence[str], what: str) -> Sequence[str]:
    if missing := sorted(set(wanted) - set(known)):
        raise DataError(
            f"not among the {what}: {', '.join(missing)}; there are {', '.join(known) or 'none'}."
        )
    if not known:
        raise DataError(f"there are no {what} with stored probabilities: predict first.")
    return wanted or known


def _make(
    folder: Path, label: str, stored: zarr.Array[Any], recipe: Recipe, progress: Progress
) -> int | None:
    """Make a label beside the old one, and put it in its place when all that tells of it is new."""
    new, old = folder / f".{label}.new", folder / f".{label}.old"
    shutil.rmtree(new, ignore_errors=True)
    dtype = np.uint32 if recipe.kind is Kind.INSTANCE else np.uint8
    out = create_result(new, grid_of(stored), dtype)
    count = make_label(stored, out, recipe, scratch=folder, progress=progress)
    add_levels(new)
    stack, stacked = folder / f"{label}.tif", _stacked(folder, label)
    shutil.rmtree(old, ignore_errors=True)
    if (folder / label).is_dir():
        (folder / label).replace(old)  # at once: a removal that is cut off leaves a part
    for outdated in (stack, folder / SEGMENTATION):
        outdated.unlink(missing_ok=True)
    keep_recipe(stored, recipe)
    _note(folder, label, recipe, count)
    if stacked:
        write_stack(new, stack)
    new.replace(folder / label)
    shutil.rmtree(old, ignore_errors=True)
    return count


def _stacked(folder: Path, label: str) -> bool:
    """Whether a label is to be a TIFF stack, too."""
    asked = metadata_of(folder).get("prediction", {}).get("output") in ("tiff", "both")
    return asked or (folder / f"{label}.tif").is_file()


def _restack(folder: Path, labels: Sequence[str], progress: Progress) -> None:
    """Make the stack of all labels again, if one of them was changed."""
    about = metadata_of(folder)
    asked = about.get("prediction", {}).get("output") in ("tiff", "both")
    if not asked or (folder / SEGMENTATION).is_file():
        return
    if missing := [label for label in labels if not (folder / label).is_dir()]:
        progress(
            f"{folder / SEGMENTATION} waits for {', '.join(missing)}, of which there is a stack "
            "alone: name no --label, and all are made."
        )
        return
    write_segmentation(folder, {label: about["labels"][label]["id"] for label in labels})


def _note(folder: Path, label: str, recipe: Recipe, count: int | None) -> None:
    """Enter what was changed in metadata.json."""
    if content := metadata_of(folder):
        content["labels"][label] |= {"thresholds": recipe.thresholds.to_json(), "objects": count}
        write_metadata(folder, content)


def _tabulate(folder: Path, label: str, progress: Progress) -> None:
    array = result_of(folder / label)
    grid = grid_of(array)
    raw = _raw(folder, grid)
    without = "" if raw else ", without grey values: the raw that was predicted is gone"
    try:
        rows = object_table(_Stored(array), grid, raw)
    except DataError as error:
        rows = object_table(_Stored(array), grid)
        without = f", without grey values: {error}"
    write_table(rows, folder / f"{label}.csv")
    progress(f"{folder / label}.csv: {counted(len(rows), 'object')}{without}")


def _raw(folder: Path, grid: VoxelGrid) -> Reader | None:
    """The raw that was predicted, as metadata.json says, if it is still there."""
    about = metadata_of(folder)
    path = Path(about.get("raw", ""))
    if "raw" not in about or not path.exists():
        return None
    data = {"voxel_size": list(grid.voxel_size), **about.get("data", {})}
    settings: Config = build(Config, {"data": data}, where="")
    try:
        raw = Subject(folder.name, path, grid).open(settings)
    except DataError:
        return None
    return Window(raw.reader, raw.core) if raw.core.shape == grid.shape else None


class _Stored:
    """A zarr array as a Reader."""

    def __init__(self, array: zarr.Array[Any]) -> None:
        self._array = array
        z, y, x = array.shape
        self.shape: Shape = (z, y, x)

    def read(self, start: Shape, stop: Shape) -> np.ndarray:
        """A box of the array."""
        return np.asarray(self._array[tuple(map(slice, start, stop))])
