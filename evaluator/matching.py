"""Objects one to one: who is whose counterpart."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy.optimize import linear_sum_assignment
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

LARGEST_DENSE = 1 << 22  # entries of a cost matrix; larger groups are solved sparsely
LARGEST_FULL = 1 << 12  # pairs of a group; larger groups are thinned out first
COST = 1_000_000  # of a pair without overlap; to leave an object alone costs one more
LARGEST_ID = 1 << 24  # of a truth object that the flow's graph has nodes up to


@dataclass(frozen=True, slots=True, eq=False)
class Pairs:
    """Pairs of a truth and a predicted object with their IoU, ascending by truth object."""

    truth: np.ndarray
    pred: np.ndarray
    iou: np.ndarray

    def __len__(self) -> int:
        return len(self.truth)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Pairs) and all(
            np.array_equal(getattr(self, name), getattr(other, name)) for name in self.__slots__
        )

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
    single, groups = _groups(candidates)
    rows = [_best(candidates, group, candidates.iou[group]) for group in groups]
    return candidates._rows(np.sort(np.concatenate([single, *rows])))


def match_by_flow(candidates: Pairs, ids: np.ndarray, preds: int) -> Pairs:
    """The choice a minimum-cost flow makes whose costs are IoUs in whole millionths.

    ids: of truth object 1, 2, …  preds: how many predicted objects there are.  Between equally good
    choices the inner workings of OR-Tools' solver decide, given the whole graph in this order:
    source to truth, truth to sink, pairs by id and number, predictions to sink.  It is asked only
    where there is more than one best choice.
    """
    cost = ((1.0 - candidates.iou.astype(np.float32).astype(np.float64)) * COST).astype(np.int64)
    gain = (COST + 1 - cost).astype(np.float64)
    single, groups = _groups(candidates)
    rows = [single]
    for group in groups:
        best = _best(candidates, group, gain[group])
        if _is_tied(candidates, group, gain[group], np.isin(group, best)):
            return candidates._rows(_solve_flow(candidates, cost, ids, preds))
        rows.append(best)
    return candidates._rows(np.sort(np.concatenate(rows)))


def _is_tied(pairs: Pairs, group: np.ndarray, gain: np.ndarray, chosen: np.ndarray) -> bool:
    """True if another choice has the same sum of gains, which are whole numbers.

    Each chosen pair is made worse by less than all of them together can be, so that an equal
    choice, if there is one, wins now.
    """
    worse = gain * (np.count_nonzero(chosen) + 1) - chosen
    return not np.array_equal(np.isin(group, _best(pairs, group, worse)), chosen)


def _solve_flow(pairs: Pairs, cost: np.ndarray, ids: np.ndarray, preds: int) -> np.ndarray:
    """The chosen row numbers, ascending.  One unit flows through each id up to the largest."""
    if ids.min() < 1 or ids.max() > LARGEST_ID:  # no graph of the original has such ids
        ids = np.argsort(np.argsort(ids)) + 1
    ids = ids.astype(np.int64)
    order = np.lexsort((pairs.pred, ids[pairs.truth - 1]))
    truth, pred = ids[pairs.truth[order] - 1], pairs.pred[order]
    used = _flow(truth, pred, cost[order], sides=(int(ids.max()), preds), alone=COST + 1)
    return np.sort(order[used])


def _flow(
    truth: np.ndarray, pred: np.ndarray, cost: np.ndarray, *, sides: tuple[int, int], alone: int
) -> np.ndarray:
    """The pairs, as indices, that a flow of least cost uses: at most one of each object.

    truth, pred, cost: of the pairs; objects are numbered from 1, costs are whole.
    sides: how many objects there are of both kinds.  alone: cost of a truth object without a pair.
    """
    from ortools.graph.python import min_cost_flow  # large, and hardly ever needed

    truths, preds = sides
    sink = truths + preds + 1
    of_truth, of_pred = np.arange(1, truths + 1), np.arange(truths + 1, sink)
    arcs = (  # the order decides between equal costs: tails, heads, costs
        (np.zeros(truths), of_truth, np.zeros(truths)),
        (of_truth, np.full(truths, sink), np.full(truths, alone)),
        (truth, pred + truths, cost),
        (of_pred, np.full(preds, sink), np.zeros(preds)),
    )
    tails, heads, costs = (
        np.concatenate([np.asarray(part, np.int64) for part in column])
        for column in zip(*arcs, strict=True)
    )
    flow = min_cost_flow.SimpleMinCostFlow()
    flow.add_arcs_with_capacity_and_unit_cost(
        tails.astype(np.int32), heads.astype(np.int32), np.ones(len(tails), np.int64), costs
    )
    flow.set_nodes_supplies(np.array([0, sink], np.int32), np.array([truths, -truths], np.int64))
    if flow.solve() != flow.OPTIMAL:
        raise RuntimeError("the flow between objects has no best solution, which cannot be")
    used = flow.flows(np.arange(2 * truths, 2 * truths + len(truth), dtype=np.int32))
    return np.flatnonzero(used)


def _groups(pairs: Pairs) -> tuple[np.ndarray, list[np.ndarray]]:
    """Row numbers of the pairs by connected component of the graph of overlaps, ascending.

    First those that are alone in theirs, all together; then one array for each of the others.
    """
    if len(pairs) == 0:
        return np.zeros(0, np.intp), []
    truths, row = np.unique(pairs.truth, return_inverse=True)
    preds, column = np.unique(pairs.pred, return_inverse=True)
    nodes = len(truths) + len(preds)  # of a flood of objects, those that overlap one
    ends = (row, column + len(truths))
    graph = coo_array((np.ones(len(pairs), bool), ends), (nodes, nodes))
    component = connected_components(graph, directed=False)[1][row]
    alone = np.bincount(component)[component] == 1
    rows = np.flatnonzero(~alone)
    rows = rows[np.argsort(component[rows], kind="stable")]
    groups = np.split(rows, np.flatnonzero(np.diff(component[rows])) + 1)
    return np.flatnonzero(alone), groups if len(rows) else []


def _best(pairs: Pairs, rows: np.ndarray, gain: np.ndarray) -> np.ndarray:
    """The one-to-one choice of some rows with the largest sum of gains, which are above 0."""
    truth, row = np.unique(pairs.truth[rows], return_inverse=True)
    pred, column = np.unique(pairs.pred[rows], return_inverse=True)
    if min(len(truth), len(pred)) == 1:
        return rows[[int(np.argmax(gain))]]
    if len(rows) > LARGEST_FULL:
        few = _few_enough(gain, row, column)
        rows, gain, row, column = rows[few], gain[few], row[few], column[few]
    shape = (len(truth), len(pred))
    solve = _solve_dense if shape[0] * shape[1] <= LARGEST_DENSE else _solve_sparse
    return np.asarray(rows[solve(gain, row, column, shape)])


def _few_enough(gain: np.ndarray, row: np.ndarray, column: np.ndarray) -> np.ndarray:
    """The pairs of a group that a best choice can do with.

    An object needs as many partners to choose from, the best ones, as there are objects of its own
    side: one of them is always free.
    """
    mine, other = (row, column) if row.max() <= column.max() else (column, row)
    order = np.lexsort((other, -gain, mine))
    starts = np.searchsorted(mine[order], np.arange(mine.max() + 1))
    rank = np.arange(len(order)) - starts[mine[order]]
    return np.sort(order[rank <= mine.max()])


def _solve_dense(
    gain: np.ndarray, row: np.ndarray, column: np.ndarray, shape: tuple[int, int]
) -> np.ndarray:
    table = np.zeros(shape)
    table[row, column] = gain
    partner = np.full(shape[0], -1)
    chosen_rows, chosen_columns = linear_sum_assignment(table, maximize=True)
    partner[chosen_rows] = chosen_columns
    return np.flatnonzero(partner[row] == column)


def _solve_sparse(
    gain: np.ndarray, row: np.ndarray, column: np.ndarray, shape: tuple[int, int]
) -> np.ndarray:
    """Costs are whole, so gains are scaled by a power of two: to a trillionth, but for more than
    a hundred thousand objects, or exactly if they are whole themselves."""
    bits = 58 - sum(shape).bit_length() - math.ceil(math.log2(float(gain.max())))
    cost = -np.rint(np.ldexp(gain, max(0, bits))).astype(np.int64)
    return _flow(row + 1, column + 1, cost, sides=shape, alone=0)
