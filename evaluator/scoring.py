"""Score one target: arrays in, sums out.  Pure; what is missing or unreadable has its rule here."""

from __future__ import annotations

import math
from dataclasses import dataclass
from decimal import Decimal, localcontext

import numpy as np
from scipy.ndimage import find_objects

from evaluator.errors import Unreadable
from evaluator.geometry import VoxelGrid
from evaluator.manifest import Kind, Target
from evaluator.matching import Pairs, match
from evaluator.overlap import count_overlaps, number_objects, split_mask
from evaluator.protocol import Protocol
from evaluator.scores import Counts, Status, Sums
from evaluator.surface import hausdorff_nm
from evaluator.volume import Planes

SLAB_VOXELS = 1 << 24


@dataclass(frozen=True, slots=True)
class Scored:
    """How a prediction that could be read was scored.

    status: SCORED, or SKIPPED with sums of nothing.  quirks: names of the protocol's rules that are
    not the sound ones and had an effect.
    """

    status: Status
    sums: Sums
    quirks: frozenset[str] = frozenset()


def score_planes(
    target: Target,
    truth: Planes,
    pred: Planes,
    protocol: Protocol,
    *,
    mask: Planes | None = None,
    resampled: bool = False,
) -> Scored:
    """The sums of a target from its truth and its prediction, read slab by slab.

    mask: 0 where a voxel does not count.  resampled: the prediction was brought onto this grid.
    """
    arrays = [volume.planes(0, volume.shape[0]) for volume in (truth, pred)]
    if mask is not None:
        keep = mask.planes(0, mask.shape[0]) != 0
        arrays = [np.where(keep, array, np.zeros((), array.dtype)) for array in arrays]
    return Scored(Status.SCORED, score_pair(target, arrays[0], arrays[1], protocol))


def score_pair(target: Target, truth: np.ndarray, pred: np.ndarray, protocol: Protocol) -> Sums:
    """The sums of a target from its truth and its prediction, both of shape `target.grid.shape`.

    Semantic: 0 is background; a float prediction is a probability.  Instance: values are object
    ids, but a bool or single-valued prediction is a mask and falls into its connected parts.
    Raises Unreadable if the prediction holds fractions where ids are expected.
    """
    if target.label.kind == Kind.SEMANTIC:
        return _score_semantic(truth, pred, protocol)
    return _score_instance(truth, _pred_objects(pred), target.grid, protocol)


def worst_sums(
    target: Target, truth: Planes | np.ndarray, protocol: Protocol, *, mask: Planes | None = None
) -> Sums:
    """The sums of a target whose prediction is missing or unreadable.

    Semantic: every voxel is wrong.  Instance: every truth object is missed, none of them gets
    anything for its distance, and where there is no truth object there is one false object.
    """
    if not isinstance(truth, np.ndarray):
        truth = truth.planes(0, truth.shape[0])
    if mask is not None:
        truth = np.where(mask.planes(0, mask.shape[0]) != 0, truth, np.zeros((), truth.dtype))
    foreground = sum(int(np.count_nonzero(slab)) for slab in _slabs(truth))
    wrong = Counts(fp=truth.size - foreground, fn=foreground)
    if target.label.kind == Kind.SEMANTIC:
        return Sums(voxels=wrong)
    count = int(number_objects(truth).max())
    missed = Counts(fn=count) if count else Counts(fp=1)
    cap = distance_cap(target.grid, share=protocol.cap_share)
    entries = max(1, count)
    return Sums(wrong, missed, missed, distances=entries, distance_nm=cap * entries)


def distance_cap(grid: VoxelGrid, *, share: float) -> float:
    """The largest distance that is told apart, nm: a share of the shortest side of the crop."""
    return min(grid.extent_nm) * share


def distance_score(distance_nm: float, grid: VoxelGrid, protocol: Protocol) -> float:
    """base ** (-distance / voxel diagonal): 1.0 at distance 0.

    Worked out in decimals: the power function of C differs in the last bit between machines.
    """
    diagonal = math.sqrt(math.fsum(size * size for size in grid.voxel_size))
    with localcontext(prec=30):
        return float(protocol.distance_base ** -(Decimal(distance_nm) / Decimal(diagonal)))


def _score_semantic(truth: np.ndarray, pred: np.ndarray, protocol: Protocol) -> Sums:
    tp = truth_voxels = pred_voxels = 0
    for truth_slab, pred_slab in zip(_slabs(truth), _slabs(pred), strict=True):
        t = truth_slab != 0
        fraction = pred_slab.dtype.kind == "f"
        p = pred_slab > protocol.foreground_above if fraction else pred_slab != 0
        tp += int(np.count_nonzero(t & p))
        truth_voxels += int(np.count_nonzero(t))
        pred_voxels += int(np.count_nonzero(p))
    return Sums(voxels=Counts(tp, pred_voxels - tp, truth_voxels - tp))


def _score_instance(
    truth: np.ndarray, pred: np.ndarray, grid: VoxelGrid, protocol: Protocol
) -> Sums:
    truth = number_objects(truth)
    overlap = count_overlaps(truth, pred)
    candidates = Pairs(*overlap.pairs())
    pairs, good = match(candidates), candidates.above(protocol.good_overlap)
    truths, preds = int(truth.max()), int(pred.max())
    cap = distance_cap(grid, share=protocol.cap_share)
    distances = _distances(truth, pred, pairs, grid=grid, cap=cap)
    scores = [distance_score(distance, grid, protocol) for distance in distances]
    # An object without a counterpart is as far away as can be; there may be millions of them.
    alone = truths + preds - 2 * len(pairs)
    at_cap = distance_score(cap, grid, protocol)
    return Sums(
        voxels=Counts(*overlap.foreground()),
        objects=_counts(truths, preds, len(pairs)),
        good=_counts(truths, preds, len(good)),
        iou=math.fsum(pairs.iou),
        good_iou=math.fsum(good.iou),
        distances=len(pairs) + alone,
        distance_nm=math.fsum([*distances, alone * cap]),
        distance_score=math.fsum([*scores, alone * at_cap]),
    )


def _counts(truths: int, preds: int, matched: int) -> Counts:
    return Counts(matched, preds - matched, truths - matched)


def _distances(
    truth: np.ndarray, pred: np.ndarray, pairs: Pairs, *, grid: VoxelGrid, cap: float
) -> list[float]:
    """The Hausdorff distance of each pair, nm, worked out in the box around its two objects."""
    if len(pairs) == 0:
        return []
    # Predictions take the number of their truth object; the others vanish and disturb nobody.
    number = np.zeros(int(pred.max()) + 1, np.min_scalar_type(int(truth.max())))
    number[pairs.pred] = pairs.truth
    matched = number[pred]
    truth_boxes, pred_boxes = find_objects(truth), find_objects(matched)
    distances = []
    for i in pairs.truth.tolist():
        box = _union(truth_boxes[i - 1], pred_boxes[i - 1])
        distances.append(hausdorff_nm(truth[box] == i, matched[box] == i, grid.voxel_size, cap=cap))
    return distances


def _union(a: tuple[slice, ...], b: tuple[slice, ...]) -> tuple[slice, ...]:
    return tuple(
        slice(min(s.start, t.start), max(s.stop, t.stop)) for s, t in zip(a, b, strict=True)
    )


def _pred_objects(pred: np.ndarray) -> np.ndarray:
    """The objects of an instance prediction, numbered 1 … n."""
    if pred.dtype.kind == "f":
        pred = _whole_numbers(pred)
    if pred.dtype == bool:
        return split_mask(pred)
    objects = number_objects(pred)
    return split_mask(objects > 0) if objects.max() == 1 else objects


def _whole_numbers(pred: np.ndarray) -> np.ndarray:
    """Ids that were stored as floats.  Raises Unreadable if they are no whole numbers."""
    whole = np.zeros(pred.shape, np.int64)
    for source, out in zip(_slabs(pred), _slabs(whole), strict=True):
        if not (abs(source.astype(np.float64)) < 2.0**63).all():  # false for NaN, too
            raise Unreadable("it holds values that are not finite; expected whole object ids.")
        out[...] = source
        if (out != source).any():
            raise Unreadable(
                "it holds fractions such as probabilities; expected whole object ids, 0 background."
            )
    return whole


def _slabs(array: np.ndarray) -> list[np.ndarray]:
    """Views of an array, cut along Z into thin slabs."""
    planes = max(1, SLAB_VOXELS // max(1, math.prod(array.shape[1:])))
    return [array[z : z + planes] for z in range(0, array.shape[0], planes)]
