"""Masks and objects made again from stored probabilities, by other thresholds, and as tables."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import zarr

from baselines.config import ConfigError
from baselines.layout import DataError
from baselines.objects.object_table import object_table, write_table
from baselines.objects.recipe import Recipe, keep_recipe, make_label, recipe_of
from baselines.predicting.output import (
    add_levels,
    create_result,
    grid_of,
    planes_of,
    result_of,
    write_tiff,
)
from baselines.progress import Progress
from baselines.volumes.levels import open_level
from baselines.volumes.readers import Reader
from evaluator.geometry import Shape
from evaluator.manifest import Kind


def remake(
    predictions: Path, *, crops: Sequence[str] = (), labels: Sequence[str] = (),
    changes: Mapping[str, float | bool] | None = None, stats: bool = False,
    progress: Progress = print,
) -> None:  # fmt: skip
    """Make the labels of predicted crops anew, each as its recipe says, with some changes.

    crops, labels: only these; by default all, without changes the objects' tables alone are made.
    stats: write PRED/<crop>/<label>.csv, a row per object.
    Raises DataError for crops or labels that were not predicted.
    """
    folders = {path.parent.name: path.parent for path in predictions.glob("*/probabilities")}
    for crop in _chosen(crops, sorted(folders), f"crops of {predictions}"):
        folder = folders[crop]
        known = sorted(path.name for path in (folder / "probabilities").iterdir() if path.is_dir())
        for label in _chosen(labels, known, f"labels of {crop}"):
            stored = zarr.open_array(folder / "probabilities" / label, mode="r+")
            recipe = recipe_of(stored)
            if changes or not (folder / label).is_dir():
                recipe = recipe.changed(changes or {})
                count = _make(folder, label, stored, recipe, progress)
                _note(folder, label, recipe, count)
                what = "mask" if count is None else f"{count} objects"
                progress(f"{crop}: {label}: {what}")
            if stats and recipe.kind is Kind.INSTANCE:
                _tabulate(folder, label, progress)


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
    """Make a label beside the old one, and put it in its place when it is whole."""
    new = folder / f".{label}.new"
    dtype = np.uint32 if recipe.kind is Kind.INSTANCE else np.uint8
    out = create_result(new, grid_of(stored), dtype)
    count = make_label(stored, out, recipe, scratch=folder, progress=progress)
    add_levels(new)
    keep_recipe(stored, recipe)
    shutil.rmtree(folder / label, ignore_errors=True)
    new.replace(folder / label)
    stack = folder / f"{label}.tif"
    if stack.is_file():
        array = result_of(folder / label)
        grid = grid_of(array)
        write_tiff(
            stack, planes_of(array), shape=grid.shape, dtype=dtype, voxel_size=grid.voxel_size
        )
    return count


def _note(folder: Path, label: str, recipe: Recipe, count: int | None) -> None:
    """Enter what was changed in metadata.json."""
    path = folder / "metadata.json"
    if not path.is_file():
        return
    content = json.loads(path.read_text("utf-8"))
    content["labels"][label] |= {"thresholds": recipe.thresholds.to_json(), "objects": count}
    temporary = path.with_suffix(".new")
    temporary.write_text(json.dumps(content, indent=1) + "\n", "utf-8")
    temporary.replace(path)


def _tabulate(folder: Path, label: str, progress: Progress) -> None:
    array = result_of(folder / label)
    grid = grid_of(array)
    raw = _raw(folder, grid.shape, grid.voxel_size)
    rows = object_table(_Stored(array), grid, raw)
    write_table(rows, folder / f"{label}.csv")
    without = "" if raw else ", without grey values: the raw that was predicted is gone"
    progress(f"{folder / label}.csv: {len(rows)} objects{without}")


def _raw(folder: Path, shape: Shape, voxel_size: tuple[float, ...]) -> Reader | None:
    """The raw that was predicted, if metadata.json names it and it is still there."""
    path = folder / "metadata.json"
    named = json.loads(path.read_text("utf-8")).get("raw") if path.is_file() else None
    if not named or not Path(named).exists():
        return None
    raw = open_level(Path(named), voxel_size)
    return raw if raw.shape == shape else None


class _Stored:
    """A zarr array as a Reader."""

    def __init__(self, array: zarr.Array[Any]) -> None:
        self._array = array
        z, y, x = array.shape
        self.shape: Shape = (z, y, x)

    def read(self, start: Shape, stop: Shape) -> np.ndarray:
        """A box of the array."""
        return np.asarray(self._array[tuple(map(slice, start, stop))])
