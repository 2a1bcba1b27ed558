"""Why a target scored what it did: its pairs of objects, the worst of them, or its worst planes.

Reads whole arrays, unlike scoring: truth, prediction and their objects' numbers fit in memory.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import cc3d
import fastremap
import numpy as np
from scipy.ndimage import find_objects

from evaluator.agreement import SHARE
from evaluator.alignment import align
from evaluator.errors import Unreadable
from evaluator.manifest import Kind, Target
from evaluator.matching import Pairs, match
from evaluator.overlap import Overlap, count_overlaps, number_objects, split_mask
from evaluator.protocol import Protocol
from evaluator.runner import Scorer
from evaluator.scores import TargetScore
from evaluator.scoring import distance_cap
from evaluator.surface import hausdorff_nm
from evaluator.tables import Cell, Sheet
from evaluator.truth import open_truth

Box = tuple[slice, slice, slice]


@dataclass(frozen=True, slots=True)
class Found:
    """An object.  number: in the array of numbers; id: as it was stored; box: around it, voxels."""

    number: int
    id: int
    voxels: int
    box: Box

    @property
    def middle(self) -> tuple[int, int, int]:
        """The voxel (Z, Y, X) in the middle of its box."""
        z, y, x = ((side.start + side.stop) // 2 for side in self.box)
        return (z, y, x)


@dataclass(frozen=True, slots=True)
class Matched:
    """A truth object and its counterpart."""

    truth: Found
    pred: Found
    iou: float
    hausdorff_nm: float

    @property
    def box(self) -> Box:
        """The box around both."""
        return _union(self.truth.box, self.pred.box)


@dataclass(frozen=True)
class Objects:
    """What became of the objects of an instance label.

    pairs: by IoU, the worst first.  missed, false: truth and predicted objects without a
    counterpart, the largest first.  splits: truth objects with the predicted ones that each hold
    more than a tenth of them; merges: the same with the sides changed.
    """

    pairs: tuple[Matched, ...]
    missed: tuple[Found, ...]
    false: tuple[Found, ...]
    splits: tuple[tuple[Found, tuple[Found, ...]], ...]
    merges: tuple[tuple[Found, tuple[Found, ...]], ...]


@dataclass(frozen=True)
class Explanation:
    """A target with what was scored of it.

    truth, pred: (Z, Y, X), numbers of objects, or bool for a semantic label; what a mask excludes
    is background.  reason: why the prediction could not be read, else "".
    objects: None for a semantic label.
    """

    target: Target
    score: TargetScore
    reason: str
    truth: np.ndarray
    pred: np.ndarray
    objects: Objects | None


def explain(target: Target, scorer: Scorer) -> Explanation:
    """What was scored of a target.  Without a prediction everything is missed.

    Raises ManifestError if the truth does not fit.
    """
    score, protocol = scorer.score(target), scorer.protocol
    told = open_truth(target, scorer.truth)
    truth = told.planes.planes(0, target.grid.shape[0])
    keep = None if told.mask is None else told.mask.planes(0, target.grid.shape[0]) != 0
    reason, pred = "", np.zeros(truth.shape, bool)
    try:
        pred = _prediction(target, scorer)
    except Unreadable as error:
        reason = str(error)
    if keep is not None:
        truth, pred = (np.where(keep, a, np.zeros((), a.dtype)) for a in (truth, pred))
    if target.label.kind == Kind.SEMANTIC:
        above = protocol.foreground_above if pred.dtype.kind == "f" else 0
        return Explanation(target, score, reason, truth != 0, pred > above, None)
    truths = number_objects(truth)
    pred = _integers(pred)
    preds = _numbered(pred, protocol)
    objects = _objects(truths, preds, ids=(truth, pred), target=target, protocol=protocol)
    return Explanation(target, score, reason, truths, preds, objects)


def pair_sheet(pairs: Iterable[Matched]) -> Sheet:
    """Pairs, one per row; places are voxels (Z, Y, X)."""
    head = ("truth", "pred", "iou", "hausdorff_nm", "truth voxels", "pred voxels", "at z y x")
    rows: list[tuple[Cell, ...]] = [
        (p.truth.id, p.pred.id, p.iou, p.hausdorff_nm, p.truth.voxels, p.pred.voxels, _at(p.truth))
        for p in pairs
    ]
    return Sheet(head, tuple(rows))


def object_sheet(objects: Iterable[Found], *, named: str) -> Sheet:
    """Objects, one per row.  named: what they are."""
    rows: list[tuple[Cell, ...]] = [(o.id, o.voxels, _at(o)) for o in objects]
    return Sheet((named, "voxels", "at z y x"), tuple(rows))


def group_sheet(groups: Iterable[tuple[Found, Sequence[Found]]], *, named: str) -> Sheet:
    """Objects with those of the other side that share them.  named: what the first one is."""
    rows: list[tuple[Cell, ...]] = [
        (one.id, one.voxels, " ".join(str(part.id) for part in parts), _at(one))
        for one, parts in groups
    ]
    return Sheet((named, "voxels", "shared by", "at z y x"), tuple(rows))


def plane_sheet(explanation: Explanation, axis: int = 0) -> Sheet:
    """Wrong voxels of a semantic label in each plane along an axis, in their order."""
    fp, fn, tp = plane_errors(explanation, axis)
    rows: list[tuple[Cell, ...]] = [
        (index, int(fp[index]), int(fn[index]), int(tp[index])) for index in range(len(fp))
    ]
    return Sheet(("zyx"[axis], "fp", "fn", "tp"), tuple(rows))


def plane_errors(
    explanation: Explanation, axis: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:  # fmt: skip
    """False, missed and right voxels of a semantic label in each plane along an axis."""
    truth, pred = explanation.truth, explanation.pred
    others = tuple(other for other in range(3) if other != axis)
    right, found, there = (
        np.count_nonzero(mask, axis=others) for mask in (truth & pred, pred, truth)
    )
    return found - right, there - right, right


def _prediction(target: Target, scorer: Scorer) -> np.ndarray:
    """The prediction on the target's grid; zeros if it is missing.  Raises Unreadable."""
    volume = scorer.submission.open(target, scorer.protocol)
    if volume is None:
        return np.zeros(target.grid.shape, bool)
    planes = align(volume, target, scorer.protocol).planes
    return planes.planes(0, planes.shape[0])


def _integers(pred: np.ndarray) -> np.ndarray:
    """Ids that may have been stored as floats, each kept apart."""
    if pred.dtype.kind != "f":
        return pred
    values, index = np.unique(pred, return_inverse=True)
    whole = np.array_equal(values, np.rint(values))
    ids = values.astype(np.int64) if whole else np.where(values == 0, 0, np.arange(len(values)) + 1)
    return np.asarray(ids[index].reshape(pred.shape))


def _numbered(pred: np.ndarray, protocol: Protocol) -> np.ndarray:
    """The objects of a prediction as the protocol sees them, numbered from 1."""
    objects = number_objects(pred)
    if protocol.components:
        parts = cc3d.connected_components(objects, connectivity=26)
        return np.asarray(parts)
    return split_mask(objects > 0) if objects.max(initial=0) == 1 else objects


def _objects(
    truth: np.ndarray,
    pred: np.ndarray,
    *,
    ids: tuple[np.ndarray, np.ndarray],
    target: Target,
    protocol: Protocol,
) -> Objects:
    overlap = count_overlaps(truth, pred)
    truths = _found(truth, ids[0], overlap.truth_sizes)
    preds = _found(pred, ids[1], overlap.pred_sizes)
    cap = distance_cap(target.grid, share=protocol.cap_share)
    pairs = []
    chosen = match(Pairs(*overlap.pairs()))
    for t, p, iou in zip(chosen.truth.tolist(), chosen.pred.tolist(), chosen.iou, strict=True):
        box = _union(truths[t].box, preds[p].box)
        distance = hausdorff_nm(truth[box] == t, pred[box] == p, target.grid.voxel_size, cap=cap)
        pairs.append(Matched(truths[t], preds[p], float(iou), distance))
    taken_truths, taken_preds = set(chosen.truth.tolist()), set(chosen.pred.tolist())
    return Objects(
        tuple(sorted(pairs, key=lambda p: (p.iou, p.truth.number))),
        _largest(o for number, o in truths.items() if number not in taken_truths),
        _largest(o for number, o in preds.items() if number not in taken_preds),
        _shared(overlap, lambda o: (o.truth, o.pred, o.truth_sizes), truths, preds),
        _shared(overlap, lambda o: (o.pred, o.truth, o.pred_sizes), preds, truths),
    )


def _found(numbers: np.ndarray, ids: np.ndarray, sizes: np.ndarray) -> dict[int, Found]:
    """The objects of an array of numbers, by number.  ids: what they are called where stored."""
    if not numbers.any():
        return {}
    stored = ids.astype(np.int64) if ids.dtype.kind == "f" else ids.view(_unsigned(ids))
    called = fastremap.component_map(numbers, stored)
    boxes = find_objects(numbers)
    return {
        number: Found(number, int(called[number]), int(sizes[number]), box)
        for number, box in enumerate(boxes, start=1)
        if box is not None
    }


def _unsigned(array: np.ndarray) -> np.dtype[Any]:
    return np.dtype(f"u{array.dtype.itemsize}")


def _shared(
    overlap: Overlap,
    side: Callable[[Overlap], tuple[np.ndarray, np.ndarray, np.ndarray]],
    ones: dict[int, Found],
    others: dict[int, Found],
) -> tuple[tuple[Found, tuple[Found, ...]], ...]:
    """Objects of one side that several of the other hold a good share of, as `agreement` counts."""
    one, other, sizes = side(overlap)
    holds = (one > 0) & (other > 0) & (overlap.voxels * SHARE > sizes[one])
    groups: dict[int, list[Found]] = {}
    for number, holder in zip(one[holds].tolist(), other[holds].tolist(), strict=True):
        groups.setdefault(number, []).append(others[holder])
    several = [(ones[number], tuple(held)) for number, held in groups.items() if len(held) > 1]
    return tuple(sorted(several, key=lambda group: (-group[0].voxels, group[0].number)))


def _largest(objects: Iterable[Found]) -> tuple[Found, ...]:
    return tuple(sorted(objects, key=lambda o: (-o.voxels, o.number)))


def _union(a: Box, b: Box) -> Box:
    z, y, x = (slice(min(s.start, t.start), max(s.stop, t.stop)) for s, t in zip(a, b, strict=True))
    return (z, y, x)


def _at(found: Found) -> str:
    return " ".join(map(str, found.middle))
