"""Results made by hand: four targets whose scores can be worked out in the head."""

from __future__ import annotations

import json
from typing import Any

from evaluator import Counts, Kind, Label, Manifest, Status, Sums, TargetScore, get_protocol, pool
from evaluator.results.saved import Saved, saved
from tests.evaluator.shapes import target

ER = ("semantic", "er")
MITO = ("instance", "mito")


def manifest() -> Manifest:
    """er (semantic) and mito (instance) in the crops 1 and 2."""
    return Manifest(
        tuple(
            target(kind, label=label, crop=crop)
            for crop in ("1", "2")
            for kind, label in (ER, MITO)
        )
    )


def voxels(tp: int, fp: int, fn: int) -> Sums:
    """The sums of a semantic target."""
    return Sums(voxels=Counts(tp, fp, fn))


def objects(tp: int, fp: int, fn: int) -> Sums:
    """The sums of an instance target whose pairs are perfect and whose other objects score 0."""
    counts = Counts(tp, fp, fn)
    return Sums(
        counts, counts, counts, iou=float(tp), good_iou=float(tp), best_iou=float(tp),
        distances=tp + fp + fn, distance_nm=5.0 * (fp + fn), distance_score=float(tp),
    )  # fmt: skip


SUMS = {
    "crop1/er": voxels(50, 25, 25),
    "crop2/er": voxels(10, 0, 0),
    "crop1/mito": objects(1, 1, 0),
    "crop2/mito": objects(2, 0, 0),
}


def values(
    protocol: str = "crista-1",
    *,
    sums: dict[str, Sums] | None = None,
    status: dict[str, Status] | None = None,
    quirks: dict[str, tuple[str, ...]] | None = None,
    truth: str = "t",
    pred: str = "p",
) -> dict[str, Any]:
    """The JSON values of a result.  sums, status, quirks: by path, in place of the usual ones."""
    rules, scores = get_protocol(protocol), []
    for path, usual in SUMS.items():
        crop, label = path.split("/")
        score = TargetScore(
            crop=crop, label=label, voxels=1000, truth_digest=truth, pred_digest=pred,
            status=(status or {}).get(path, Status.SCORED),
            sums=(sums or {}).get(path, usual),
            quirks=(quirks or {}).get(path, ()),
            beside=TargetScore(crop, label, Status.SCORED, 1000, usual, truth, pred)
            if rules.beside else None,
        )  # fmt: skip
        scores.append(score)
    return dict(json.loads(pool(manifest(), scores, protocol=rules).to_json()))


def result(name: str = "r.json", **changes: Any) -> Saved:
    """The same as it is read from a file."""
    return saved(name, values(**changes))


def label(name: str = "mito", kind: str = "instance") -> Label:
    """A label of a kind."""
    return Label(name, 1, Kind(kind))
