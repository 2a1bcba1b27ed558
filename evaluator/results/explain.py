"""Why a target scored what it did: its pairs of objects, the worst of them, or its worst planes.

Reads whole arrays, unlike scoring: truth, prediction and their objects' numbers fit in memory.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.ndimage import find_objects as boxes_of

from evaluator.agreement import SHARE
from evaluator.alignment import align
from evaluator.distances import measure
from evaluator.errors import Unreadable
from evaluator.manifest import Kind, Target
from evaluator.matching import Pairs, match, match_by_flow
from evaluator.objects import Objects as Numbered
from evaluator.objects import find_objects
from evaluator.overlap import Overlap
from evaluator.protocol import Protocol
from evaluator.results.tables import Cell, Sheet
from evaluator.runner import Scorer
from evaluator.scores import Status, TargetScore
from evaluator.scoring import distance_cap, measured_pairs, memory_order
from evaluator.slabs import Pair
from evaluator.truth import open_truth
from evaluator.volume import ArrayPlanes, Planes
from evaluator.windows import Pairing, windows

Box = tuple[slice, slice, slice]


@dataclass(frozen=True, slots=True)
class Found:
    """An object.  number: in the array of numbers; id: as it was stored; box: around it, voxels."""

    number: int
    id: int | float
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
    collided: missed truth objects with the distance, nm, that a protocol gives them for a false
    object of the same number.
    """

    pairs: tuple[Matched, ...]
    missed: tuple[Found, ...]
    false: tuple[Found, ...]
    splits: tuple[tuple[Found, tuple[Found, ...]], ...]
    merges: tuple[tuple[Found, tuple[Found, ...]], ...]
    collided: tuple[tuple[Found, float], ...]


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
    score, reason = scorer.score(target), ""
    pooled = score.status != Status.SKIPPED
    try:
        pred, resampled = _prediction(target, scorer)
        truth, found, objects = _scored(target, scorer, pred, resampled=resampled, pooled=pooled)
    except Unreadable as error:
        reason = str(error)
        nothing = _nothing(target)
        truth, found, objects = _scored(target, scorer, nothing, resampled=False, pooled=pooled)
    return Explanation(target, score, reason, truth, found, objects)


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


def collision_sheet(collided: Iterable[tuple[Found, float]]) -> Sheet:
    """Missed truth objects with the distance they have by a collision of numbers."""
    rows: list[tuple[Cell, ...]] = [(o.id, o.voxels, distance, _at(o)) for o, distance in collided]
    return Sheet(("truth", "voxels", "hausdorff_nm", "at z y x"), tuple(rows))


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


def _prediction(target: Target, scorer: Scorer) -> tuple[Planes, bool]:
    """The prediction on the target's grid, and whether it was resampled.  Raises Unreadable."""
    volume = scorer.submission.open(target, scorer.protocol)
    if volume is None:
        return _nothing(target), False
    aligned = align(volume, target, scorer.protocol)
    return aligned.planes, aligned.resampled


def _nothing(target: Target) -> Planes:
    return ArrayPlanes(np.broadcast_to(np.zeros((), np.uint8), target.grid.shape))


def _scored(
    target: Target, scorer: Scorer, pred: Planes, *, resampled: bool, pooled: bool
) -> tuple[np.ndarray, np.ndarray, Objects | None]:
    """Truth and prediction as they were scored, and their objects.  Raises Unreadable."""
    truth, protocol = open_truth(target, scorer.truth), scorer.protocol
    slabs = Pair(truth.planes, pred, truth.mask, factors=protocol.mask_factors)
    if target.label.kind == Kind.SEMANTIC:
        above = protocol.foreground_above if pred.dtype.kind == "f" and not resampled else 0
        masks = [(t > 0, p > above) for _, t, p in slabs]
        t, p = (np.concatenate(parts) for parts in zip(*masks, strict=True))
        return t, p, None
    order = memory_order(pred, truth.mask)
    numbered = find_objects(
        slabs, target.grid.shape, components=protocol.components, order=order
    )  # fmt: skip
    t, p = _drawn(numbered)
    return t, p, _objects(numbered, t, p, target=target, protocol=protocol, pooled=pooled)


def _drawn(numbered: Numbered) -> tuple[np.ndarray, np.ndarray]:
    """The numbers of the objects at each voxel: of truth, of prediction."""
    truths, preds = numbered.truth.count, numbered.pred.count
    itself = Pairing(numbered, np.arange(truths + 1), np.arange(preds + 1), max(truths, preds))
    parts = [
        (window.truth.reshape(-1)[window.core].copy(), window.pred.reshape(-1)[window.core].copy())
        for window in windows(itself, margin=(0, 0, 0))
    ]
    t, p = (np.concatenate(side).reshape(numbered.shape) for side in zip(*parts, strict=True))
    return t, p


def _objects(
    numbered: Numbered,
    truth: np.ndarray,
    pred: np.ndarray,
    *,
    target: Target,
    protocol: Protocol,
    pooled: bool,
) -> Objects:
    """What became of them.  pooled: False if a rule leaves the target out: none is matched."""
    overlap = numbered.overlap
    truths = _found(truth, numbered.truth.ids, overlap.truth_sizes)
    preds = _found(pred, numbered.pred.ids, overlap.pred_sizes)
    pairs, distances = Pairs(*overlap.pairs()), dict[int, float]()
    if pooled:
        pairs = (
            match_by_flow(pairs, numbered.truth.ids, numbered.pred.count)
            if protocol.flow_matching
            else match(pairs)
        )
        distances = _distances(numbered, pairs, target, protocol)
    else:
        pairs = pairs.above(np.inf)
    matched = [
        Matched(truths[t], preds[p], iou, distances[t])
        for t, p, iou in zip(
            *(a.tolist() for a in (pairs.truth, pairs.pred, pairs.iou)), strict=True
        )
    ]
    missed = _largest(truths, besides=pairs.truth)
    return Objects(
        tuple(sorted(matched, key=lambda pair: (pair.iou, pair.truth.number))),
        missed,
        _largest(preds, besides=pairs.pred),
        _shared(overlap, lambda o: (o.truth, o.pred, o.truth_sizes), truths, preds),
        _shared(overlap, lambda o: (o.pred, o.truth, o.pred_sizes), preds, truths),
        tuple((o, distances[o.number]) for o in missed if o.number in distances),
    )


def _distances(
    numbered: Numbered, pairs: Pairs, target: Target, protocol: Protocol
) -> dict[int, float]:
    """The distance in nm of each truth object that is measured, by its number."""
    pairing = measured_pairs(numbered, pairs, protocol, set())
    cap = distance_cap(target.grid, share=protocol.cap_share)
    found = measure(pairing, target.grid.voxel_size, cap=cap).hausdorff
    if protocol.rounds_distances:
        found = found.astype(np.float32)
    measured = np.flatnonzero(pairing.truth)
    return dict(zip(measured.tolist(), found[pairing.truth[measured] - 1].tolist(), strict=True))


def _found(numbers: np.ndarray, ids: np.ndarray, sizes: np.ndarray) -> dict[int, Found]:
    """The objects of an array of numbers, by number.  ids: what they are called where stored."""
    return {
        number: Found(number, _whole(ids[number - 1].item()), int(sizes[number]), box)
        for number, box in enumerate(boxes_of(numbers), start=1)
    }


def _whole(value: int | float) -> int | float:
    return int(value) if float(value).is_integer() else value


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


def _largest(objects: dict[int, Found], *, besides: np.ndarray) -> tuple[Found, ...]:
    """The objects without those numbers, the largest first."""
    left = [objects[number] for number in objects.keys() - set(besides.tolist())]
    return tuple(sorted(left, key=lambda o: (-o.voxels, o.number)))


def _union(a: Box, b: Box) -> Box:
    z, y, x = (slice(min(s.start, t.start), max(s.stop, t.stop)) for s, t in zip(a, b, strict=True))
    return (z, y, x)


def _at(found: Found) -> str:
    return " ".join(map(str, found.middle))
