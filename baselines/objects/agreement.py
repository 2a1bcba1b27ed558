"""How well masks and objects agree with the truth, while a network is being trained."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from baselines.objects.overlap import pairs_of

THRESHOLDS = np.round(np.arange(0.1, 0.91, 0.05), 2)


def panoptic_quality(truth: np.ndarray, pred: np.ndarray) -> float:
    """Quality of objects, 0 to 1: summed IoU of pairs above 0.5, over the mean number of objects.

    truth, pred: ids of the same shape, 0 for none.  Nothing on either side is 1.0.
    """
    _, iou, sizes = _fits(truth, pred)
    objects = sum(map(len, sizes))
    return float(2 * iou[iou > 0.5].sum() / objects) if objects else 1.0


def covering(truth: np.ndarray, pred: np.ndarray) -> float:
    """How well objects cover each other, 0 to 1: the IoU of each voxel's object with the object of
    the other side that fits it best, the mean over voxels of objects of truth and that of pred.

    It changes little where one object is split or joined, while panoptic quality jumps.
    truth, pred: ids of the same shape, 0 for none.  Nothing on either side is 1.0; on one, 0.0.
    Arbeláez et al. (2011), here both ways round.
    """
    places, iou, sizes = _fits(truth, pred)
    if not all(map(len, sizes)):
        return float(not any(map(len, sizes)))
    found = []
    for place, size in zip(places, sizes, strict=True):
        best = np.zeros(len(size))
        np.maximum.at(best, place, iou)
        found.append(float(np.average(best, weights=size)))
    return sum(found) / 2


def _fits(
    truth: np.ndarray, pred: np.ndarray
) -> tuple[list[np.ndarray], np.ndarray, list[np.ndarray]]:
    """Of objects that overlap, their places on both sides and their IoU; voxels of all objects."""
    pairs, both = pairs_of(truth, pred)
    known = [np.unique(ids[ids > 0], return_counts=True) for ids in (truth, pred)]
    places = [np.searchsorted(ids, pairs[:, k]) for k, (ids, _) in enumerate(known)]
    sizes = [counts for _, counts in known]
    return places, both / (sizes[0][places[0]] + sizes[1][places[1]] - both), sizes


@dataclass(frozen=True)
class Agreement:
    """Voxel counts per threshold and label, int64 (thresholds, labels), which add."""

    tp: np.ndarray
    fp: np.ndarray
    fn: np.ndarray

    def __add__(self, other: Agreement) -> Agreement:
        return Agreement(self.tp + other.tp, self.fp + other.fp, self.fn + other.fn)

    def dice(self) -> np.ndarray:
        """Dice per threshold and label; 1 where neither side has anything."""
        both = 2 * self.tp + self.fp + self.fn
        return np.where(both > 0, 2 * self.tp / np.maximum(both, 1), 1.0)

    def best(self) -> tuple[np.ndarray, np.ndarray]:
        """Per label, the best Dice and the threshold that reaches it, nearest to 0.5 of equals."""
        dice = self.dice()
        order = np.argsort(np.abs(THRESHOLDS - 0.5), kind="stable")
        pick = order[np.argmax(np.round(dice[order], 4), axis=0)]
        return dice[pick, np.arange(dice.shape[1])], THRESHOLDS[pick]


def agreement(probability: np.ndarray, target: np.ndarray, weight: np.ndarray) -> Agreement:
    """Counts of predictions at every threshold.

    probability, target (bool), weight (0 or 1): (L, Z, Y, X).
    """
    levels = np.clip(probability * 256, 0, 255).astype(np.uint8)
    cuts = np.ceil(THRESHOLDS * 256).astype(int)
    rows = []
    for level, wanted, known in zip(levels, target, weight > 0, strict=True):
        hits, misses = (_above(level[known & side], cuts) for side in (wanted, ~wanted))
        rows.append((hits, misses, np.count_nonzero(known & wanted) - hits))
    tp, fp, fn = (np.stack(column, axis=1) for column in zip(*rows, strict=True))
    return Agreement(tp, fp, fn)


def _above(levels: np.ndarray, cuts: np.ndarray) -> np.ndarray:
    """How many of the levels 0 .. 255 reach each cut."""
    counts: np.ndarray = np.bincount(levels, minlength=256)[::-1].cumsum()[::-1]
    above: np.ndarray = counts[cuts]
    return above
