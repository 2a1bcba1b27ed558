"""Objects one to one: who is whose counterpart."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.optimize import linear_sum_assignment
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components, min_weight_full_bipartite_matching

LARGEST_DENSE = 1 << 22  # entries of a cost matrix; larger groups are solved sparsely


@dataclass(frozen=True, slots=True)
class Pairs:
    """Pairs of a truth and a predicted object with their IoU, ascending by truth object."""

    truth: np.ndarray
    pred: np.ndarray
    iou: np.ndarray

    def __len__(self) -> int:
        return len(self.truth)

    def above(self, iou: float) -> Pairs:
        """The pairs with a larger IoU."""
        return self._rows(self.iou > iou)

    def _rows(self, rows: np.ndarray) -> Pairs:
        return Pairs(self.truth[rows], self.pred[rows], self.iou[rows])


def match(candidates: Pairs) -> Pairs:
    """The one-to-one choice of candidates whose IoUs have the largest sum.

    Objects fall into groups that share no overlap, most of them one against one; each group is
    solved by itself.  Between equally good choices the order of the objects' first voxels decides.
    """
    if len(candidates) == 0:
        return candidates
    chosen = [_match_group(candidates, rows) for rows in _groups(candidates)]
    return candidates._rows(np.sort(np.concatenate(chosen)))


def _groups(pairs: Pairs) -> list[np.ndarray]:
    """Row numbers of the pairs, by connected component of the graph of overlaps."""
    truths = int(pairs.truth.max()) + 1
    nodes = truths + int(pairs.pred.max()) + 1
    graph = coo_array((np.ones(len(pairs)), (pairs.truth, pairs.pred + truths)), (nodes, nodes))
    component = connected_components(graph, directed=False)[1][pairs.truth]
    order = np.argsort(component, kind="stable")
    return np.split(order, np.flatnonzero(np.diff(component[order])) + 1)


def _match_group(pairs: Pairs, rows: np.ndarray) -> np.ndarray:
    """The chosen ones of the given row numbers."""
    if len(rows) == 1:
        return rows
    truth, row = np.unique(pairs.truth[rows], return_inverse=True)
    pred, column = np.unique(pairs.pred[rows], return_inverse=True)
    if min(len(truth), len(pred)) == 1:
        return rows[[int(np.argmax(pairs.iou[rows]))]]
    shape = (len(truth), len(pred))
    solve = _solve_dense if shape[0] * shape[1] <= LARGEST_DENSE else _solve_sparse
    chosen = solve(pairs.iou[rows], row, column, shape)
    return np.asarray(rows[chosen])


def _solve_dense(
    iou: np.ndarray, row: np.ndarray, column: np.ndarray, shape: tuple[int, int]
) -> np.ndarray:
    gain = np.zeros(shape)
    gain[row, column] = iou
    partner = np.full(shape[0], -1)
    chosen_rows, chosen_columns = linear_sum_assignment(gain, maximize=True)
    partner[chosen_rows] = chosen_columns
    return np.flatnonzero(partner[row] == column)


def _solve_sparse(
    iou: np.ndarray, row: np.ndarray, column: np.ndarray, shape: tuple[int, int]
) -> np.ndarray:
    """Every row may also take a column of its own for nothing; 1 is added since 0 means no edge."""
    own = np.arange(shape[0])
    weight = np.concatenate((iou + 1.0, np.ones(shape[0])))
    rows, columns = np.concatenate((row, own)), np.concatenate((column, own + shape[1]))
    graph = coo_array((weight, (rows, columns)), (shape[0], shape[1] + shape[0])).tocsr()
    chosen_rows, chosen_columns = min_weight_full_bipartite_matching(graph, maximize=True)
    partner = np.full(shape[0], -1)
    partner[chosen_rows] = chosen_columns
    return np.flatnonzero(partner[row] == column)
