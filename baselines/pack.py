"""Predictions into a submission, through the format's owner, and checked as the server will."""

from __future__ import annotations

from pathlib import Path

from baselines.layout import DataError
from evaluator.alignment import align
from evaluator.manifest import Manifest
from evaluator.packing import SubmissionWriter
from evaluator.protocol import CRISTA_1
from evaluator.report import Report
from evaluator.submission import check_submission
from evaluator.volume import open_volume


def pack(predictions: Path, manifest: Manifest, out: Path) -> Report:
    """Write the submission and return the report of its own check.

    Targets without a prediction are left out; the report names them.  Arrays on another grid are
    brought onto their target's.  Raises DataError if there is no prediction at all.
    """
    found = {
        target.path: folder
        for target in manifest.targets
        if (folder := predictions / target.path).is_dir()
    }
    if not found:
        raise DataError(
            f"{predictions} has no prediction for any target of the manifest; "
            f"expected folders such as {manifest.targets[0].path}."
        )
    with SubmissionWriter(out, manifest) as writer:
        for path, folder in found.items():
            target = manifest.by_path[path]
            planes = align(open_volume(folder), target, CRISTA_1).planes
            writer.write(target, planes.planes(0, target.grid.shape[0]))
    return check_submission(out, manifest)
