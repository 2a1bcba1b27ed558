"""Which pieces are one object: pairs of ids, and the groups they make."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

ALIKE = 0.5  # IoU from which two pieces of the same place are one


def pairs_of(one: np.ndarray, other: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Pairs of ids above 0 that lie on the same voxels, (n, 2) int64, and on how many.

    one, other: ids of the same shape.
    """
    both = (one > 0) & (other > 0)
    shift = np.uint64(2**32)
    keys, counts = np.unique(
        one[both].astype(np.uint64) * shift + other[both].astype(np.uint64), return_counts=True
    )
    return np.stack([keys // shift, keys % shift], axis=1).astype(np.int64), counts


def alike(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Pairs of ids, (n, 2), that two segmentations of the same voxels agree on: IoU of a half."""
    pairs, both = pairs_of(one, other)
    sizes = [_sizes_of(ids, pairs[:, k]) for k, ids in enumerate((one, other))]
    same: np.ndarray = pairs[both >= ALIKE * (sizes[0] + sizes[1] - both)]
    return same


def _sizes_of(ids: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    known, counts = np.unique(ids, return_counts=True)
    sizes: np.ndarray = counts[np.searchsorted(known, wanted)]
    return sizes


def numbered(most: int, pairs: Sequence[np.ndarray]) -> np.ndarray:
    """New ids for 0 .. most, uint32 (most + 1,): one for each group of paired ids, 0 for 0.

    pairs: arrays (n, 2).  The groups are numbered 1, 2, … in the order of their least ids.
    """
    joined = np.concatenate([np.zeros((0, 2), np.int64), *pairs])
    size = most + 1
    graph = coo_array((np.ones(len(joined), bool), (joined[:, 0], joined[:, 1])), (size, size))
    _, groups = connected_components(graph, directed=False)
    _, first, inverse = np.unique(groups, return_index=True, return_inverse=True)
    table: np.ndarray = np.argsort(np.argsort(first))[inverse].astype(np.uint32)
    return table
