"""The rules of `crista-1` written out a second time, in plain Python and without any shortcut, and
what must not change a score."""

import math
from itertools import permutations, product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evaluator import Sums, get_protocol, score_pair
from tests.evaluator.shapes import target

RULES = get_protocol("crista-1")
SIZES = [(1.0, 1.0, 1.0), (40.0, 4.0, 4.0), (1.74, 2.0, 2.0)]
Voxels = dict[int, set[tuple[int, ...]]]


def blobs(seed: int, shape: tuple[int, int, int] = (7, 8, 9), count: int = 4) -> np.ndarray:
    """Up to `count` random boxes with the ids 1 … count, some hidden by others; never just one."""
    rng = np.random.default_rng(seed)
    array = np.zeros(shape, np.uint16)
    for number in range(1, count + 1):
        start = [int(rng.integers(0, n - 1)) for n in shape]
        box = tuple(slice(s, s + int(rng.integers(1, 5))) for s in start)
        array[box] = number
    array[0, 0, 0], array[-1, -1, -1] = 1, 2
    return array


def objects(array: np.ndarray) -> Voxels:
    found: Voxels = {}
    for index in product(*map(range, array.shape)):
        if array[index]:
            found.setdefault(int(array[index]), set()).add(index)
    return found


def distance(a: set, b: set, size: tuple[float, ...]) -> float:
    def directed(points: set, others: set) -> float:
        return max(
            min(
                math.sqrt(sum(((p - q) * s) ** 2 for p, q, s in zip(x, y, size, strict=True)))
                for y in others
            )
            for x in points
        )

    return max(directed(a, b), directed(b, a))


def by_definition(truth: np.ndarray, pred: np.ndarray, size: tuple[float, ...]) -> dict[str, float]:
    """The best matching by trying all; its counts, summed IoU, and distances."""
    truths, preds = objects(truth), objects(pred)
    slots = [*preds, *[None] * len(truths)]
    best: tuple[float, dict[int, int]] = (-1.0, {})
    for choice in set(permutations(slots, len(truths))):
        chosen = {
            t: p
            for t, p in zip(truths, choice, strict=True)
            if p is not None and truths[t] & preds[p]
        }
        total = sum(
            len(truths[t] & preds[p]) / len(truths[t] | preds[p]) for t, p in chosen.items()
        )
        best = max(best, (total, chosen), key=lambda pair: pair[0])
    total, chosen = best
    cap = min(n * s for n, s in zip(truth.shape, size, strict=True)) / 2
    distances = [min(cap, distance(truths[t], preds[p], size)) for t, p in chosen.items()]
    distances += [cap] * (len(truths) + len(preds) - 2 * len(chosen))
    diagonal = math.sqrt(sum(s * s for s in size))
    return {
        "tp": len(chosen),
        "fp": len(preds) - len(chosen),
        "fn": len(truths) - len(chosen),
        "iou": total,
        "distances": len(distances),
        "distance_nm": sum(distances),
        "distance_score": sum(1.01 ** (-d / diagonal) for d in distances),
    }


def score(truth: np.ndarray, pred: np.ndarray, size: tuple[float, ...] = SIZES[0]) -> Sums:
    return score_pair(target(shape=truth.shape, voxel_size=size), truth, pred, RULES)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("seed", range(8))
def test_scores_follow_the_definition(seed, size):
    truth, pred = blobs(seed), blobs(seed + 100)
    expected, sums = by_definition(truth, pred, size), score(truth, pred, size)
    assert (sums.objects.tp, sums.objects.fp, sums.objects.fn) == (
        expected["tp"], expected["fp"], expected["fn"],
    )  # fmt: skip
    assert sums.distances == expected["distances"]
    assert sums.iou == pytest.approx(expected["iou"], rel=1e-12)
    assert sums.distance_nm == pytest.approx(expected["distance_nm"], rel=1e-12)
    assert sums.distance_score == pytest.approx(expected["distance_score"], rel=1e-12)


SEEDS = st.integers(0, 10_000)


@settings(max_examples=25, deadline=None)
@given(seed=SEEDS)
def test_names_of_objects_do_not_matter(seed):
    truth, pred = blobs(seed), blobs(seed + 1)
    names = np.random.default_rng(seed).permutation(60_000)[:10].astype(np.uint64)
    names[0] = 0
    assert score(names[truth], names[pred]) == score(truth, pred)


@settings(max_examples=25, deadline=None)
@given(seed=SEEDS)
def test_truth_and_prediction_mirror_each_other(seed):
    truth, pred = blobs(seed), blobs(seed + 1)
    one, other = score(truth, pred), score(pred, truth)
    assert (one.objects.tp, one.objects.fp, one.objects.fn) == (
        other.objects.tp, other.objects.fn, other.objects.fp,
    )  # fmt: skip
    assert one.iou == pytest.approx(other.iou, rel=1e-12)


@settings(max_examples=25, deadline=None)
@given(seed=SEEDS, axes=st.permutations(range(3)))
def test_turning_the_specimen_changes_nothing(seed, axes):
    truth, pred = blobs(seed), blobs(seed + 1)
    size = (8.0, 4.0, 2.0)
    turned = tuple(size[axis] for axis in axes)
    one = score(truth, pred, size)
    other = score(truth.transpose(axes), pred.transpose(axes), turned)
    assert one.objects == other.objects
    assert one.iou == pytest.approx(other.iou, rel=1e-12)


@settings(max_examples=25, deadline=None)
@given(seed=SEEDS)
def test_the_truth_itself_is_the_best_prediction(seed):
    truth = blobs(seed)
    best, other = score(truth, truth), score(truth, blobs(seed + 1))
    assert best.objects.f1 == best.voxels.iou == 1.0
    assert best.distance_score == best.distances
    assert other.objects.f1 <= 1.0
    assert other.distance_score <= other.distances


@settings(max_examples=25, deadline=None)
@given(seed=SEEDS)
def test_a_false_object_never_helps(seed):
    truth = blobs(seed)
    pred = blobs(seed + 1)
    free = np.argwhere((truth == 0) & (pred == 0))
    if len(free) == 0:
        return
    worse = pred.copy()
    worse[tuple(free[0])] = 999
    before, after = score(truth, pred), score(truth, worse)
    assert after.objects.f1 < before.objects.f1 or before.objects.f1 == 0.0
    mean = before.distance_score / before.distances
    assert after.distance_score / after.distances <= mean * (1 + 1e-12)
    assert after.objects.tp == before.objects.tp


@settings(max_examples=15, deadline=None)
@given(seed=SEEDS)
def test_voxels_ten_times_as_large_make_distances_ten_times_as_long(seed):
    truth, pred = blobs(seed), blobs(seed + 1)
    small, large = score(truth, pred, (8.0, 4.0, 4.0)), score(truth, pred, (80.0, 40.0, 40.0))
    assert large.distance_nm == pytest.approx(10 * small.distance_nm, rel=1e-12)
    assert large.distance_score == pytest.approx(small.distance_score, rel=1e-12)
