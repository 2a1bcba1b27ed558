"""How well two partitions into objects agree: information, Rand, objects split and merged."""

from __future__ import annotations

import math
from decimal import Decimal, localcontext
from typing import Any

import numpy as np

from evaluator.overlap import Overlap

SHARE = 10  # one in so many voxels of an object makes another one its holder
NODES = 64  # of the table of logarithms, between 1/2 and 1
TERMS = 9  # of the series between two nodes: |r| < 1/64, so the rest is below 1e-17


def agreement(overlap: Overlap) -> dict[str, Any]:
    """The sums for VI, Rand error, splits and merges, by their names in `Sums`.

    VI looks at voxels that are an object's in both, as gala does (Nunez-Iglesias et al. 2013).
    Rand looks at voxels of truth objects, the predicted background being one more object there
    (Arganda-Carreras et al. 2015).  No object at all: all sums are 0.
    """
    both = (overlap.truth > 0) & (overlap.pred > 0)
    truth, pred, voxels = overlap.truth[both], overlap.pred[both], overlap.voxels[both]
    annotated = overlap.truth > 0
    pairs = overlap.voxels[annotated]
    return {
        "vi_voxels": int(voxels.sum()),
        "vi_overlap": n_log_n(voxels),
        "vi_truth": n_log_n(_sizes(truth, voxels)),
        "vi_pred": n_log_n(_sizes(pred, voxels)),
        "rand_overlap": pairs_within(pairs),
        "rand_truth": pairs_within(_sizes(overlap.truth[annotated], pairs)),
        "rand_pred": pairs_within(_sizes(overlap.pred[annotated], pairs)),
        "splits": _held_by_several(truth, voxels, overlap.truth_sizes),
        "merges": _held_by_several(pred, voxels, overlap.pred_sizes),
    }


def n_log_n(sizes: np.ndarray) -> float:
    """Sum of n * log2(n) of counts (int64, any order); 0.0 for none.

    Worked out by additions and multiplications alone: the logarithms of C and of vector units
    differ in the last bit between machines.
    """
    sizes, times = np.unique(sizes[sizes > 1], return_counts=True)
    fraction, exponent = np.frexp(sizes.astype(np.float64))  # fraction in [1/2, 1)
    node = ((fraction - 0.5) * (2 * NODES)).astype(np.intp)
    centre = 0.5 + node / (2 * NODES)
    r = (fraction - centre) / centre
    series = np.zeros_like(r)
    for term in range(TERMS, 0, -1):
        series = r * ((-1) ** (term + 1) / term + series)
    logarithm = exponent + (_LOG2[node] + series * _PER_LN)
    return math.fsum(times * (sizes * logarithm))


def pairs_within(sizes: np.ndarray) -> int:
    """Sum of n * (n - 1) of counts: ordered pairs of voxels that share an object.  Exact."""
    sizes, times = np.unique(sizes, return_counts=True)
    return sum(k * n * (n - 1) for n, k in zip(sizes.tolist(), times.tolist(), strict=True))


def _sizes(objects: np.ndarray, voxels: np.ndarray) -> np.ndarray:
    """Voxels per object, in no particular order."""
    found, index = np.unique(objects, return_inverse=True)
    sizes = np.zeros(len(found), np.int64)
    np.add.at(sizes, index, voxels)
    return sizes


def _held_by_several(objects: np.ndarray, voxels: np.ndarray, sizes: np.ndarray) -> int:
    """How many objects share more than a tenth of their voxels with two others or more each."""
    holders = objects[voxels * SHARE > sizes[objects]]
    return int(np.count_nonzero(np.bincount(holders) > 1))


def _table() -> tuple[np.ndarray, float]:
    with localcontext(prec=30):
        ln2 = Decimal(2).ln()
        nodes = [(Decimal(NODES + k) / (2 * NODES)).ln() / ln2 for k in range(NODES)]
        return np.array([float(node) for node in nodes]), float(1 / ln2)


_LOG2, _PER_LN = _table()
