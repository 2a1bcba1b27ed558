"""The task: one sigmoid per label; what nobody annotated teaches nothing."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

THRESHOLDS = np.round(np.arange(0.1, 0.91, 0.05), 2)


def foreground(ids: np.ndarray, *, shrink: int = 0) -> np.ndarray:
    """Where a label is, bool (Z, Y, X); voxels between two touching objects are left out.

    Without the gap, connected components could never tell the two apart again.  shrink: so many
    voxels are taken off within the plane, which makes narrow gaps wide enough to be learnt.
    """
    inside = ids > 0
    keep = inside.copy()
    for axis in range(ids.ndim):
        low, high = _pair(ids.ndim, axis)
        touching = inside[low] & inside[high] & (ids[low] != ids[high])
        keep[low] &= ~touching
        keep[high] &= ~touching
    for _ in range(shrink):
        whole = keep.copy()
        for axis in (1, 2):
            low, high = _pair(ids.ndim, axis)
            keep[low] &= whole[high]
            keep[high] &= whole[low]
    return keep


def _pair(ndim: int, axis: int) -> tuple[tuple[slice, ...], tuple[slice, ...]]:
    low, high = [slice(None)] * ndim, [slice(None)] * ndim
    low[axis], high[axis] = slice(None, -1), slice(1, None)
    return tuple(low), tuple(high)


def masked_loss(logits: Tensor, target: Tensor, weight: Tensor) -> Tensor:
    """Cross-entropy plus soft Dice, mean over the labels that have any weight.

    logits, target (0 or 1), weight: (N, L, Z, Y, X).  A label without weight has loss 0 and no
    gradient; so has a batch without any.
    """
    axes = (0, 2, 3, 4)
    total = weight.sum(axes)
    known = total > 0
    safe = total.clamp(min=1)
    entropy = functional.binary_cross_entropy_with_logits(logits, target, reduction="none")
    entropy = (entropy * weight).sum(axes) / safe
    probability = logits.sigmoid() * weight
    overlap = (probability * target).sum(axes)
    both = probability.sum(axes) + (target * weight).sum(axes)
    # Thousandths of the voxels: keeps Dice calm for labels that are hardly there.
    dice = 1 - (2 * overlap + 1e-3 * safe) / (both + 1e-3 * safe)
    per_label = torch.where(known, entropy + dice, torch.zeros_like(entropy))
    return per_label.sum() / known.sum().clamp(min=1)


def panoptic_quality(truth: np.ndarray, pred: np.ndarray) -> float:
    """Quality of objects, 0 to 1: summed IoU of pairs above 0.5, over the mean number of objects.

    truth, pred: ids of the same shape, 0 for none.  Nothing on either side is 1.0.
    """
    shift = np.int64(int(pred.max()) + 1)
    pairs, both = np.unique(truth.astype(np.int64) * shift + pred, return_counts=True)
    sizes_truth, sizes_pred = (dict(zip(*np.unique(a, return_counts=True), strict=True))
                               for a in (truth, pred))  # fmt: skip
    quality = 0.0
    for pair, overlap in zip(pairs.tolist(), both.tolist(), strict=True):
        t, p = divmod(pair, int(shift))
        iou = overlap / (sizes_truth[t] + sizes_pred[p] - overlap)
        quality += iou if t and p and iou > 0.5 else 0.0
    objects = sum(len(set(sizes) - {0}) for sizes in (sizes_truth, sizes_pred))
    return 2 * quality / objects if objects else 1.0


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
