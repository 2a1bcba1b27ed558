"""Which objects overlap, and by how many voxels: the one primitive every overlap metric needs."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

import cc3d
import fastremap
import numpy as np

from evaluator.runs import find_runs

SLAB_VOXELS = 1 << 22  # looked at together; bounds the working memory, changes no result
DENSE = 1 << 16  # entries of a table that is counted without sorting


@dataclass(frozen=True)
class Overlap:
    """The contingency table of two label arrays whose objects are numbered 1 … n, 0 background.

    truth, pred: int64 (k,), the pairs that share a voxel, ascending; 0 pairs with background.
    voxels: int64 (k,), how many they share.  Voxels that are background in both are left out.
    """

    truth: np.ndarray
    pred: np.ndarray
    voxels: np.ndarray

    @classmethod
    def total(cls, parts: Iterable[Overlap]) -> Overlap:
        """One table of several parts of the arrays, at least one."""
        truth, pred, voxels = (
            np.concatenate(columns)
            for columns in zip(*((p.truth, p.pred, p.voxels) for p in parts), strict=True)
        )
        return count_pairs(truth, pred, voxels)

    @cached_property
    def truth_sizes(self) -> np.ndarray:
        """Voxels of each truth object, int64 (n + 1,); at 0 those of predicted objects alone."""
        return _sums(self.truth, self.voxels)

    @cached_property
    def pred_sizes(self) -> np.ndarray:
        """Voxels of each predicted object, int64 (m + 1,); at 0 those of truth objects alone."""
        return _sums(self.pred, self.voxels)

    def foreground(self) -> tuple[int, int, int]:
        """Voxels that are an object's in both, in pred alone, in truth alone."""
        t, p = self.truth > 0, self.pred > 0
        both, pred_alone, truth_alone = t & p, ~t & p, t & ~p
        both_n, pred_n, truth_n = (
            self.voxels[rows].sum() for rows in (both, pred_alone, truth_alone)
        )
        return int(both_n), int(pred_n), int(truth_n)

    def pairs(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Truth object, predicted object and IoU of all pairs that share a voxel, in this order."""
        both = (self.truth > 0) & (self.pred > 0)
        truth, pred, shared = self.truth[both], self.pred[both], self.voxels[both]
        return truth, pred, shared / (self.truth_sizes[truth] + self.pred_sizes[pred] - shared)


def number_objects(labels: np.ndarray) -> np.ndarray:
    """The same objects numbered 1 … n in the order of their first voxel; 0 stays background.

    labels: bool or integers of any width (Z, Y, X); every value but 0 is an object's id.
    Returns the smallest unsigned dtype that holds n, so that later passes stay small.
    """
    if labels.dtype == bool:
        return labels.astype(np.uint8)
    unsigned = np.ascontiguousarray(labels).view(f"u{labels.dtype.itemsize}")
    numbered, ids = fastremap.renumber(unsigned, preserve_zero=True, in_place=False)
    count = max(ids.values(), default=0)
    return np.asarray(numbered).astype(np.min_scalar_type(count), copy=False)


def split_mask(mask: np.ndarray) -> np.ndarray:
    """The parts of a bool mask that hang together, corners included, numbered like objects."""
    if not mask.any():
        return np.zeros(mask.shape, np.uint8)
    parts, count = cc3d.connected_components(mask, connectivity=26, return_N=True)
    return np.asarray(parts).astype(np.min_scalar_type(count), copy=False)


def count_overlaps(truth: np.ndarray, pred: np.ndarray) -> Overlap:
    """The contingency table of two arrays of equal shape, as `number_objects` makes them.

    Voxels along X come in runs, so runs are counted, not voxels; one slab is in work at a time.
    """
    planes = max(1, SLAB_VOXELS // max(1, math.prod(truth.shape[1:])))
    return Overlap.total(
        _count_slab(*(np.ascontiguousarray(array[z : z + planes]) for array in (truth, pred)))
        for z in range(0, truth.shape[0], planes)
    )


def _count_slab(truth: np.ndarray, pred: np.ndarray) -> Overlap:
    start, length = find_runs(truth, pred)
    return count_pairs(truth.reshape(-1)[start], pred.reshape(-1)[start], length)


def count_pairs(truth: np.ndarray, pred: np.ndarray, voxels: np.ndarray) -> Overlap:
    """The table of pairs that may occur several times: their voxels are added.

    truth, pred, voxels: (k,), unsigned or not negative.
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
    return Overlap(keys // width, keys % width, counts)


def _add_equal(keys: np.ndarray, counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Distinct keys, ascending, with the counts of equal ones added."""
    order = np.argsort(keys, kind="stable")
    keys, counts = keys[order], counts[order].astype(np.int64, copy=False)
    starts = np.flatnonzero(np.concatenate(([True], keys[1:] != keys[:-1])))
    return keys[starts], np.add.reduceat(counts, starts)


def _sums(index: np.ndarray, voxels: np.ndarray) -> np.ndarray:
    sums = np.zeros(int(index.max(initial=0)) + 1, np.int64)
    np.add.at(sums, index, voxels)
    return sums
