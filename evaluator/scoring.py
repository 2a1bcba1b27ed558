"""Score one target: truth and prediction in, sums out.  What is missing has its rule here, too."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal, localcontext
from functools import partial
from typing import Any

import numpy as np

from evaluator.agreement import agreement
from evaluator.distances import measure
from evaluator.geometry import VoxelGrid
from evaluator.manifest import Kind, Target
from evaluator.matching import Pairs, match, match_by_flow
from evaluator.objects import Objects, find_objects
from evaluator.protocol import CRISTA_1, Protocol
from evaluator.scores import Counts, Status, Sums
from evaluator.slabs import Pair, Slab, read_slabs
from evaluator.volume import ArrayPlanes, Planes
from evaluator.windows import Pairing


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

    truth, pred, mask: of shape `target.grid.shape`.  mask: 0 where a voxel does not count.
    resampled: the prediction was brought onto this grid; then no value of it is a probability.
    Semantic: what is above 0 is foreground; a float prediction is a probability.  Instance: values
    are object ids, but a bool or single-valued prediction is a mask and falls into its parts.
    Raises Unreadable if the prediction holds fractions where the protocol expects ids.
    """
    slabs = Pair(truth, pred, mask, factors=protocol.mask_factors)
    quirks: set[str] = set()
    sums: Sums | None
    if target.label.kind == Kind.SEMANTIC:
        sums = _score_semantic(slabs, protocol, quirks, probabilities=not resampled)
    else:
        objects = find_objects(
            slabs, target.grid.shape, components=protocol.components, order=memory_order(pred, mask)
        )
        sums = _score_instance(objects, target.grid, protocol, quirks)
    if slabs.scaled:
        quirks.add("mask_factors")
    if sums is None:
        return Scored(Status.SKIPPED, Sums(), frozenset(quirks))
    return Scored(Status.SCORED, sums, frozenset(quirks))


def score_pair(target: Target, truth: np.ndarray, pred: np.ndarray, protocol: Protocol) -> Sums:
    """The sums of a target from arrays of shape `target.grid.shape`; see `score_planes`."""
    return score_planes(target, ArrayPlanes(truth), ArrayPlanes(pred), protocol).sums


def worst_sums(
    target: Target, truth: Planes | np.ndarray, protocol: Protocol, *, mask: Planes | None = None
) -> Sums:
    """The sums of a target whose prediction is missing or unreadable.

    Semantic: every voxel that counts is wrong, or at least one.  Instance: every truth object is
    missed, none of them gets anything for its distance, and where there is no truth object there is
    one false object.
    """
    planes = ArrayPlanes(truth) if isinstance(truth, np.ndarray) else truth
    nothing = ArrayPlanes(np.broadcast_to(np.zeros((), np.uint8), planes.shape))
    mask = None if protocol.misses_whole_crop else mask
    slabs = Pair(planes, nothing, mask)
    if target.label.kind == Kind.SEMANTIC:
        missed = _score_semantic(slabs, protocol, set(), probabilities=False).voxels.fn
        return Sums(voxels=_all_wrong(missed, planes, mask, protocol))
    objects = find_objects(slabs, planes.shape, components=False)
    count = objects.truth.count
    wrong = _all_wrong(objects.overlap.foreground()[2], planes, mask, protocol)
    if count == 0 and protocol.empty_missing_is_free:
        return Sums(voxels=wrong)
    alone = Counts(fn=count) if count else Counts(fp=1)
    cap = distance_cap(target.grid, share=protocol.cap_share)
    entries = max(1, count)
    return Sums(wrong, alone, alone, alone, distances=entries, distance_nm=cap * entries)


def _all_wrong(missed: int, truth: Planes, mask: Planes | None, protocol: Protocol) -> Counts:
    """Every voxel of a missing target that counts; missed: those of them that are foreground."""
    voxels = math.prod(truth.shape)
    if protocol.misses_whole_crop:
        return Counts(fn=voxels)
    if mask is not None:
        voxels = sum(int(np.count_nonzero(slab)) for _, (slab,) in read_slabs((mask,)))
    return Counts(fp=max(1, voxels) - missed, fn=missed)


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


def is_flooded(preds: int, truths: int) -> bool:
    """True if a prediction has so many objects that its crop may be left out of the pool.

    The limit is 10 objects per true one for many, up to 51 for one.  If there are none of either
    kind, none.
    """
    if preds == 0 or truths < 1:
        return False
    return preds / truths > 10.0 + 50.0 * math.exp(-truths / 5.0)


def memory_order(pred: Planes, mask: Planes | None) -> str:
    """The memory order of a prediction, or of its product with a mask as numpy lays it out."""
    orders = {planes.order for planes in (pred, mask) if planes is not None}
    return "F" if orders == {"F"} else "C"


def _score_semantic(
    slabs: Iterable[Slab], protocol: Protocol, quirks: set[str], *, probabilities: bool
) -> Sums:
    tp = truths = preds = doubtful = 0
    for _, truth, pred in slabs:
        t, p = truth > 0, pred > 0
        if pred.dtype.kind == "f" and probabilities:
            p = pred > protocol.foreground_above
            doubtful += int(np.count_nonzero(p != (pred > CRISTA_1.foreground_above)))
        tp += int(np.count_nonzero(t & p))
        truths += int(np.count_nonzero(t))
        preds += int(np.count_nonzero(p))
    if doubtful:
        quirks.add("foreground_above")
    return Sums(voxels=Counts(tp, preds - tp, truths - tp))


def _score_instance(
    objects: Objects, grid: VoxelGrid, protocol: Protocol, quirks: set[str]
) -> Sums | None:
    """None if a rule, which `quirks` then tells, leaves the target out of the pool."""
    if protocol.components and 1 < objects.ids != objects.pred.count:
        quirks.add("components")
    largest = int(objects.truth.ids.max(initial=0))
    if protocol.skips_floods and is_flooded(objects.pred.count, largest):
        quirks.add("skips_floods")
        return None
    candidates = Pairs(*objects.overlap.pairs())
    if 0 < protocol.most_pairs < len(candidates):
        quirks.add("most_pairs")
        return None
    pairs = match(candidates)
    if protocol.flow_matching:
        exact, pairs = pairs, match_by_flow(candidates, objects.truth.ids, objects.pred.count)
        if exact != pairs:
            quirks.add("flow_matching")
    pairing = measured_pairs(objects, pairs, protocol, quirks)
    counts = partial(_counts, objects)
    good = candidates.above(protocol.good_overlap)
    best = np.zeros(objects.truth.count + 1)
    np.maximum.at(best, candidates.truth, candidates.iou)
    return Sums(
        voxels=Counts(*objects.overlap.foreground()),
        objects=counts(pairs),
        good=counts(good),
        strict=counts(candidates.above(protocol.strict_overlap)),
        iou=math.fsum(pairs.iou),
        good_iou=math.fsum(good.iou),
        best_iou=math.fsum(best),
        **_distances(pairing, pairs, grid, protocol),
        **agreement(objects.overlap),
    )


def _counts(objects: Objects, pairs: Pairs) -> Counts:
    matched = len(pairs)
    return Counts(matched, objects.pred.count - matched, objects.truth.count - matched)


def _distances(
    pairing: Pairing, pairs: Pairs, grid: VoxelGrid, protocol: Protocol
) -> dict[str, Any]:
    """The sums of distances, by their names in `Sums`."""
    cap = distance_cap(grid, share=protocol.cap_share)
    found = measure(pairing, grid.voxel_size, cap=cap, surfaces=protocol.surface_distance)
    distances = found.hausdorff
    if protocol.rounds_distances:
        distances, cap = distances.astype(np.float32), float(np.float32(cap))
    # What has no counterpart is as far away as can be; there may be millions of such objects.
    objects = pairing.objects
    alone = objects.truth.count - pairing.count + objects.pred.count - len(pairs)
    values, times = np.unique(distances, return_counts=True)
    scores = [distance_score(value, grid, protocol) for value in values.tolist()]
    surface = found.surface[pairing.truth[pairs.truth] - 1] if protocol.surface_distance else ()
    return {
        "distances": pairing.count + alone,
        "distance_nm": math.fsum([*distances.tolist(), alone * cap]),
        "distance_score": math.fsum(
            [*np.repeat(scores, times), alone * distance_score(cap, grid, protocol)]
        ),
        "surface_nm": math.fsum(surface),
    }


def measured_pairs(objects: Objects, pairs: Pairs, protocol: Protocol, quirks: set[str]) -> Pairing:
    """What is measured against what: each truth object that has a counterpart against this.

    Where numbers collide, a predicted object without counterpart belongs, too, to the truth object
    whose id is its number.
    """
    ids = objects.truth.ids
    # Of predicted objects, of which there may be millions, a truth object.
    owner = np.zeros(objects.pred.count + 1, np.min_scalar_type(objects.truth.count))
    owner[pairs.pred] = pairs.truth
    if protocol.collides:
        known = np.flatnonzero((ids >= 1) & (ids <= objects.pred.count))
        numbers = ids[known].astype(np.intp)
        alone = owner[numbers] == 0
        owner[numbers[alone]] = known[alone] + 1
        if alone.any():
            quirks.add("collides")
    measured = np.zeros(objects.truth.count + 1, np.intp)
    measured[owner[owner > 0]] = 1
    numbers = (np.cumsum(measured) * measured).astype(owner.dtype)
    return Pairing(objects, numbers, numbers[owner], int(measured.sum()))
