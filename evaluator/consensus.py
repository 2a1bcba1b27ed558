"""One truth from several experts' masks: majority vote and STAPLE.

What a consensus says of a voxel depends only on how the experts voted there, and J experts with K
labels can vote in at most K^J ways.  So voxels are counted once by their pattern of votes, and all
that follows works on the few patterns that occur: exact, and as cheap for a volume as for a plane.

STAPLE is S. K. Warfield, K. H. Zou, W. M. Wells 2004, "Simultaneous truth and performance level
estimation (STAPLE)", IEEE Transactions on Medical Imaging 23(7), 903-921: expectation maximisation
over the hidden truth and each expert's sensitivity and specificity.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import fastremap
import numpy as np

from evaluator.errors import EvaluatorError
from evaluator.volume import Planes

TOLERANCE = 1e-12  # largest change of a sensitivity or specificity at which STAPLE has converged
MOST_ROUNDS = 10_000
SAME = 1e-9  # difference of two probabilities that rounding may make
MOST_LABELS = 100
LARGEST_LABEL = 65_535
SLAB_VOXELS = 1 << 24  # read at once of all experts together


class ConsensusError(EvaluatorError):
    """Masks that cannot be brought together.  expert: the place of the one at fault, from 0."""

    def __init__(self, message: str, expert: int = 0) -> None:
        super().__init__(message)
        self.expert = expert


@dataclass(frozen=True, slots=True)
class Staple:
    """What STAPLE estimates for one label.

    probability: that the label is true where the experts voted so, one for each pattern.
    sensitivity, specificity: of each expert against the hidden truth, 0 … 1.
    rounds: of expectation and maximisation.  converged: False if they were cut off.
    """

    probability: np.ndarray
    sensitivity: np.ndarray
    specificity: np.ndarray
    rounds: int
    converged: bool


@dataclass(frozen=True)
class Votes:
    """How often the experts voted in which way.

    values: the labels that occur, ascending, 0 (background) first; at least one beside it.
    patterns: (patterns, experts), what each expert said.  counts: voxels of each pattern, int64.
    """

    values: tuple[int, ...]
    patterns: np.ndarray
    counts: np.ndarray

    @property
    def labels(self) -> tuple[int, ...]:
        """The labels without the background."""
        return self.values[1:]

    @cached_property
    def staple(self) -> dict[int, Staple]:
        """STAPLE for each label by itself; with two or more also for the background."""
        asked = self.labels if len(self.labels) == 1 else self.values
        return {label: staple(self.patterns == label, self.counts) for label in asked}

    def by_majority(self, *, undecided: int = 0) -> np.ndarray:
        """For each pattern the label with most votes; `undecided` where several have as many."""
        return _largest(
            np.stack([(self.patterns == value).sum(axis=1) for value in self.values]),
            self.values,
            undecided,
        )

    def by_staple(self, *, undecided: int = 0) -> np.ndarray:
        """For each pattern the most probable label; `undecided` where several are as probable.

        With one label this is: where its probability exceeds one half.
        """
        found = self.staple
        chances = [found[label].probability for label in self.labels]
        ground = found[0].probability if 0 in found else 1 - chances[0]
        return _largest(np.stack([ground, *chances]), self.values, undecided)


def count_votes(masks: Sequence[Planes]) -> Votes:
    """The votes of experts, whose masks have one shape (Z, Y, X) and hold labels from 0 up.

    Where nothing but 0, 1 and 255 occurs, 255 means 1, as in a mask that was saved as a picture.
    A mask without any label votes for the background everywhere.  Raises ConsensusError: no mask,
    another shape, values that are no labels.
    """
    values = _values(masks)
    base = len(values)
    if not base ** len(masks) < 1 << 62:
        raise ConsensusError(f"{len(masks)} experts with {base} labels are too many to count.")
    totals: dict[int, int] = {}
    for codes in _codes(masks, values):
        for code, count in zip(*fastremap.unique(codes, return_counts=True), strict=True):
            totals[int(code)] = totals.get(int(code), 0) + int(count)
    order = sorted(totals)
    digits = _unfold(np.array(order, np.int64), base, len(masks))
    counts = np.array([totals[code] for code in order], np.int64)
    return Votes(values, np.array(values, np.int64)[digits], counts)


def fuse(masks: Sequence[Planes], votes: Votes, labels: np.ndarray) -> Iterator[np.ndarray]:
    """Slabs (planes, Y, X) of the consensus, in the smallest unsigned dtype.

    masks: those that `votes` were counted from.  labels: one for each pattern.
    """
    weights = _weights(len(votes.values), len(masks))
    known = _digits(votes.values)[votes.patterns] @ weights  # ascending, as they were counted
    smallest = labels.astype(np.min_scalar_type(int(labels.max())))
    for codes in _codes(masks, votes.values):
        yield smallest[np.searchsorted(known, codes)]


def staple(votes: np.ndarray, counts: np.ndarray) -> Staple:
    """STAPLE of a yes-or-no question.

    votes: bool (patterns, experts).  counts: voxels that were voted on in each way.
    The prior is the share of yes among all votes, the first guess of the truth the share of experts
    who said so.  Where nobody ever says yes (or no), no one can miss it: sensitivity (specificity)
    is 1.  A single expert is their own consensus.
    """
    experts = votes.shape[1]
    chance = votes.mean(axis=1)
    prior = float(counts @ votes.sum(axis=1)) / (float(counts.sum()) * experts)
    skill, rounds, change = np.zeros((2, experts)), 0, math.inf
    while change > TOLERANCE and rounds < MOST_ROUNDS:
        before, rounds = skill, rounds + 1
        skill = np.stack([_share(counts * chance, votes), _share(counts * (1 - chance), ~votes)])
        change = float(abs(skill - before).max())
        chance = _expected(votes, prior, *skill)
    return Staple(chance, skill[0], skill[1], rounds, change <= TOLERANCE)


def _expected(
    votes: np.ndarray, prior: float, sensitivity: np.ndarray, specificity: np.ndarray
) -> np.ndarray:
    """Expectation: the probability of yes for each pattern, by Bayes' rule."""
    yes = prior * _product(np.where(votes, sensitivity, 1 - sensitivity))
    no = (1 - prior) * _product(np.where(votes, 1 - specificity, specificity))
    both = yes + no
    chance = np.full(len(votes), prior)
    np.divide(yes, both, out=chance, where=both > 0)
    return chance


def _product(factors: np.ndarray) -> np.ndarray:
    """Products over the experts, to the bit the same in whatever order these come.

    Between experts who look alike, the smallest rounding would grow until one of them is believed
    and the other is not.  Sums are exact for the same reason.
    """
    product: np.ndarray = np.sort(factors, axis=1).prod(axis=1)
    return product


def _share(weights: np.ndarray, said: np.ndarray) -> np.ndarray:
    """Maximisation: the share of the weight on which each expert said so."""
    whole = math.fsum(weights)
    if whole == 0:
        return np.ones(said.shape[1])
    return np.array([min(math.fsum(weights[column]) / whole, 1.0) for column in said.T])


def _largest(scores: np.ndarray, values: Sequence[int], undecided: int) -> np.ndarray:
    """For each pattern the value whose score is the largest.  scores: (values, patterns).

    Scores that differ by rounding alone are tied, so the order of the experts decides nothing.
    """
    best = scores >= scores.max(axis=0) - SAME
    chosen = np.asarray(values, np.int64)[best.argmax(axis=0)]
    return np.where(best.sum(axis=0) == 1, chosen, undecided)


def _values(masks: Sequence[Planes]) -> tuple[int, ...]:
    """The values that occur, ascending, from 0; 0 and 1 if there is nothing but these and 255."""
    if not masks:
        raise ConsensusError("there is no mask; a consensus needs at least one.")
    found = {0}
    for expert, mask in enumerate(masks):
        if mask.shape != masks[0].shape:
            raise ConsensusError(f"its shape is {mask.shape}; expected {masks[0].shape}.", expert)
        if mask.dtype.kind not in "bui":
            raise ConsensusError(
                f"its values are {mask.dtype.name}; expected whole numbers, 0 for background.",
                expert,
            )
        found |= _values_of(mask, expert)
    return (0, 1) if found <= {0, 1, 255} else tuple(sorted(found))


def _digits(values: tuple[int, ...]) -> np.ndarray:
    """For each value from 0 up the digit that stands for it; in plain masks 255 has that of 1."""
    table = np.zeros(LARGEST_LABEL + 1, np.int64)
    table[list(values)] = np.arange(len(values))
    if values == (0, 1):
        table[255] = 1
    return table


def _values_of(mask: Planes, expert: int) -> set[int]:
    found: set[int] = set()
    for slab in _slabs([mask]):
        found |= set(fastremap.unique(slab[0]).tolist())
        if min(found) < 0 or max(found) > LARGEST_LABEL or len(found) > MOST_LABELS:
            raise ConsensusError(
                f"it holds {len(found)} values from {min(found)} to {max(found)}; expected at most "
                f"{MOST_LABELS} labels of 0 to {LARGEST_LABEL}, 0 for background.",
                expert,
            )
    return found


def _codes(masks: Sequence[Planes], values: tuple[int, ...]) -> Iterator[np.ndarray]:
    """Slab by slab the votes on each voxel as one number, an expert's being a digit of it."""
    table, weights = _digits(values), _weights(len(values), len(masks)).tolist()
    for slabs in _slabs(masks):
        codes = np.zeros(slabs[0].shape, np.int64)
        for slab, weight in zip(slabs, weights, strict=True):
            codes += table[slab] * weight
        yield codes


def _slabs(masks: Sequence[Planes]) -> Iterator[list[np.ndarray]]:
    """The same planes of all masks, as unsigned or signed integers."""
    depth, height, width = masks[0].shape
    step = max(1, SLAB_VOXELS // (height * width * len(masks)))
    for start in range(0, depth, step):
        slabs = [mask.planes(start, min(start + step, depth)) for mask in masks]
        yield [slab.view(np.uint8) if slab.dtype == bool else slab for slab in slabs]


def _weights(base: int, experts: int) -> np.ndarray:
    return np.array([base**place for place in reversed(range(experts))], np.int64)


def _unfold(codes: np.ndarray, base: int, experts: int) -> np.ndarray:
    """The digits (patterns, experts) of codes."""
    digits: np.ndarray = codes[:, None] // _weights(base, experts) % base
    return digits
