"""Predictions into a submission, through the format's owner, and checked as the server will."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from baselines.layout import DataError
from baselines.progress import counted
from evaluator.alignment import align
from evaluator.geometry import Shape
from evaluator.manifest import Kind, Manifest, Target
from evaluator.packing import SubmissionWriter
from evaluator.protocol import CRISTA_1
from evaluator.report import IGNORED, MISSING, UNSCORED, Problem, Report
from evaluator.submission import check_submission
from evaluator.tiff import open_stack
from evaluator.volume import Planes, open_volume

MOST_OBJECTS = 100_000  # of a target: scores take time by the object


def pack(
    predictions: Path, manifest: Manifest, out: Path, *, most_objects: int = MOST_OBJECTS
) -> Report:
    """Write the submission and return the report of its own check.

    Targets without a prediction are left out; the report names them, and those that a prediction
    covers in part.  Arrays on another grid are brought onto their target's, slab by slab.  Raises
    DataError if there is no prediction at all.
    """
    found = {
        target: path for target in manifest.targets if (path := prediction_of(target, predictions))
    }
    if not found:
        raise DataError(
            f"{predictions} has no prediction for any target of the manifest; "
            f"expected folders such as {manifest.targets[0].path}. `baselines predict RUN --data "
            f"DATA --out {predictions}` makes them."
        )
    notes = []
    with SubmissionWriter(out, manifest) as writer:
        for target, path in found.items():
            noting = Counted(on_target(path, target))
            writer.write(target, noting)
            if path.is_dir() and not covers(path, target):
                notes.append(_partial(target))
            if target.label.kind is Kind.INSTANCE and len(noting.ids) > most_objects:
                notes.append(_many(target, len(noting.ids), most_objects))
    report = check_submission(out, manifest)
    return replace(report, problems=(*notes, *report.problems))


def described(report: Report) -> list[str]:
    """What a report says, in lines.  Crops, and then labels, without any prediction are one line
    each, rather than one for every target."""
    missing = {
        path.partition("/")[::2] for path, state in report.targets.items() if state == MISSING
    }
    there = {path.partition("/")[::2] for path in report.targets} - missing
    crops = sorted({crop for crop, _ in missing} - {crop for crop, _ in there})
    labels = sorted({label for _, label in missing} - {label for _, label in there})
    lines = [
        f"{problem.severity}: {problem.message}"
        for problem in report.problems
        if problem.code != "missing_array"
        or (problem.crop not in crops and problem.label not in labels)
    ]
    if crops:
        lines.append(
            f"{UNSCORED}: no prediction of {', '.join(crops)}: make them with `baselines predict "
            f"RUN --data DATA --crops {','.join(crops)}`, into the same folder."
        )
    if labels and there:
        lines.append(
            f"{UNSCORED}: no prediction of {', '.join(labels)} in any crop: the model did not "
            "learn them."
        )
    return lines


def prediction_of(target: Target, predictions: Path) -> Path | None:
    """Where the prediction of a target lies: its array, or else its stack."""
    array = predictions / target.path
    stack = array.with_name(f"{array.name}.tif")
    return array if array.is_dir() else stack if stack.is_file() else None


def on_target(path: Path, target: Target) -> Planes:
    """A prediction on its target's grid, read when its planes are.

    Raises DataError for a stack of another shape, as a stack does not know where it lies.
    """
    if path.is_dir():
        return align(open_volume(path), target, CRISTA_1).planes
    stack = open_stack(path)
    if stack.shape != target.grid.shape:
        raise DataError(
            f"{path} has shape {stack.shape}, its target {target.path} has {target.grid.shape}: "
            "predict with prediction.output=zarr, which knows where its voxels lie."
        )
    return stack


def covers(path: Path, target: Target) -> bool:
    """True if a prediction reaches every voxel of its target, or does not say where it lies."""
    grid = open_volume(path).grid
    return grid is None or all((axis >= 0).all() for axis in target.grid.nearest(grid))


@dataclass(frozen=True)
class Counted:
    """Planes whose ids are noted when they are read."""

    source: Planes
    ids: set[int] = field(default_factory=set)

    @property
    def shape(self) -> Shape:
        """Voxels (Z, Y, X)."""
        return self.source.shape

    @property
    def dtype(self) -> np.dtype[Any]:
        """Of the ids."""
        return self.source.dtype

    @property
    def order(self) -> str:
        """Of the memory."""
        return self.source.order

    @property
    def depth(self) -> int:
        """Planes that are decoded together."""
        return int(getattr(self.source, "depth", 1))

    def planes(self, start: int, stop: int) -> np.ndarray:
        """Planes (stop - start, Y, X)."""
        planes = self.source.planes(start, stop)
        self.ids.update(np.unique(planes[planes > 0]).tolist())
        return planes


def _partial(target: Target) -> Problem:
    return Problem(
        "partial_cover", IGNORED,
        f"the prediction of {target.path} covers only a part of the crop; the rest counts as "
        "background.",
        "Predict the whole crop.", target.crop.folder, target.label.name,
        f"the whole of {target.grid.shape}", "a part",
    )  # fmt: skip


def _many(target: Target, count: int, most: int) -> Problem:
    return Problem(
        "many_objects", IGNORED,
        f"{target.path} holds {counted(count, 'object')}; above {most} a score takes long.",
        "Remove dust: raise objects.smallest_nm3 and make the objects again.",
        target.crop.folder, target.label.name, f"{counted(most, 'object')} at most",
        counted(count, "object"),
    )  # fmt: skip
