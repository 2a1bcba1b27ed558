"""Which objects overlap, and by how many voxels: the one primitive every overlap metric needs."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

DENSE = 1 << 16  # entries of a table that is counted without sorting
Triples = tuple[np.ndarray, np.ndarray, np.ndarray]  # truth, pred, voxels they share


@dataclass(frozen=True, slots=True)
class Overlap:
    """The contingency table of two label arrays whose objects are numbered 1 … n, 0 background.

    truth, pred: int64 (k,), the pairs of a truth object and what shares a voxel with it, ascending;
    0 in `pred` is the background.  voxels: int64 (k,), how many they share.
    truth_sizes, pred_sizes: voxels of each object, (n + 1,) and (m + 1,); 0 at 0.
    """

    truth: np.ndarray
    pred: np.ndarray
    voxels: np.ndarray
    truth_sizes: np.ndarray
    pred_sizes: np.ndarray

    def foreground(self) -> tuple[int, int, int]:
        """Voxels that are an object's in both, in pred alone, in truth alone."""
        both = int(self.voxels[self.pred > 0].sum())
        truth, pred = (
            int(sizes.sum(dtype=np.int64)) for sizes in (self.truth_sizes, self.pred_sizes)
        )
        return both, pred - both, truth - both

    def pairs(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Truth object, predicted object and IoU of all pairs that share a voxel, in this order."""
        both = self.pred > 0
        truth, pred, shared = self.truth[both], self.pred[both], self.voxels[both]
        return truth, pred, shared / (self.truth_sizes[truth] + self.pred_sizes[pred] - shared)


def gather(parts: Iterable[Triples], *, truths: int, preds: int) -> Overlap:
    """The table of objects that were counted in parts.

    parts: numbers of truth and predicted objects, and how many voxels they share; a pair may occur
    again in another part, 0 is background.  truths, preds: how many objects there are.
    """
    truth_sizes, pred_sizes = (np.zeros(objects + 1, np.int64) for objects in (truths, preds))
    kept = [(np.zeros(0, np.int64),) * 3]
    for truth, pred, voxels in parts:
        np.add.at(truth_sizes, truth, voxels)
        np.add.at(pred_sizes, pred, voxels)
        rows = np.flatnonzero(truth)  # of false objects the size is enough, and they may be many
        kept.append((truth[rows], pred[rows], voxels[rows]))
    truth_sizes[0] = pred_sizes[0] = 0
    columns = (np.concatenate(column) for column in zip(*kept, strict=True))
    return Overlap(*count_pairs(*columns), truth_sizes, pred_sizes)


def count_pairs(truth: np.ndarray, pred: np.ndarray, voxels: np.ndarray) -> Triples:
    """Pairs of numbers that may occur several times, once each, ascending, with summed voxels.

    truth, pred, voxels: (k,), unsigned or not negative.  Returns int64.
    """
    width = int(pred.max(initial=0)) + 1
    entries = (int(truth.max(initial=0)) + 1) * width
    key = truth.astype(np.int64)
    key *= width
    key += pred
    if entries <= max(DENSE, len(key)):
        counts = np.bincount(key, voxels, minlength=1).astype(np.int64)  # exact below 2 ** 53
        keys = np.flatnonzero(counts)
        counts = counts[keys]
    else:
        keys, counts = _add_equal(key, voxels)
    return keys // width, keys % width, counts


def _add_equal(keys: np.ndarray, counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Distinct keys, ascending, with the counts of equal ones added."""
    order = np.argsort(keys, kind="stable")
    keys, counts = keys[order], counts[order].astype(np.int64, copy=False)
    starts = np.flatnonzero(np.concatenate(([True], keys[1:] != keys[:-1])))
    return keys[starts], np.add.reduceat(counts, starts)
