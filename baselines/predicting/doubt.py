"""How sure networks are of what they find in an image, and whether that is usual for them.

A vote is the probability p of a voxel by one network that sees it one way round; P is their mean.

    uncertainty   4 (mean of p² - P²)       how far the votes disagree: their variance
    doubt         4 (mean of p (1 - p))     how far each vote by itself is from sure

Both lie in 0 .. 1 and add up to 4 P (1 - P), the variance of a coin that falls as P says: the
epistemic and the aleatoric part of Kwon et al. (2020), whose sum deepflash2 (Griebel et al. 2023)
takes over the predicted foreground to find images unlike those that a network has learnt from.

The doubt that is usual is known of each network from its own validation images, which it has not
learnt from.  The uncertainty is not: no two of an ensemble validate on one image.

An image is compared by its doubt over all labels together, and by the doubt of each label, which
counts the less the less of the label there is: of few objects, a mean varies more.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from scipy.special import stdtrit

ALARMS = 0.05  # share of usual images that may lie above a limit, whichever it is
_LEAST_FREEDOM = 2  # degrees of it: below, a spread is a guess
_LEVELS = np.arange(256) / 255
_SPREAD = 4 * _LEVELS * (1 - _LEVELS)


@dataclass(frozen=True, slots=True)
class Tally:
    """Over the predicted foreground of a label in an image: sums that add over blocks and labels.

    voxels: with a mean probability above one half, whatever threshold makes the mask.
    spread: of uncertainty and doubt together.
    """

    voxels: int = 0
    spread: float = 0.0
    uncertainty: float = 0.0

    def __add__(self, other: Tally) -> Tally:
        return Tally(
            self.voxels + other.voxels, self.spread + other.spread,
            self.uncertainty + other.uncertainty,
        )  # fmt: skip

    @property
    def mean_uncertainty(self) -> float | None:
        """0 .. 1; None without foreground."""
        return self.uncertainty / self.voxels if self.voxels else None

    @property
    def mean_doubt(self) -> float | None:
        """0 .. 1; None without foreground."""
        return max(self.spread - self.uncertainty, 0.0) / self.voxels if self.voxels else None


def tally(probability: np.ndarray, uncertainty: np.ndarray | None = None) -> Tally:
    """Of a part of an image.

    probability: the mean of the votes, uint8, 255 is 1.0.  uncertainty: its square root, twice the
    votes' standard deviation, in the same way; None: there is one vote, which agrees with itself.
    """
    there = probability > 127
    counts = np.bincount(probability[there], minlength=256)
    apart = 0.0
    if uncertainty is not None:
        apart = float(np.bincount(uncertainty[there], minlength=256) @ np.square(_LEVELS))
    return Tally(int(counts.sum()), float(counts @ _SPREAD), apart)


@dataclass(frozen=True, slots=True)
class Part:
    """Of a label in an image that has some.

    share: of the predicted foreground of all labels, above 0 .. 1.  doubt: its mean, 0 .. 1.
    """

    share: float
    doubt: float


def parts_of(labels: Mapping[str, Tally]) -> dict[str, Part]:
    """Of each label that an image has any of."""
    whole = sum(one.voxels for one in labels.values())
    return {
        label: Part(one.voxels / whole, doubt)
        for label, one in labels.items() if (doubt := one.mean_doubt) is not None
    }  # fmt: skip


@dataclass(frozen=True, slots=True)
class UsualPart:
    """Of a label in usual images.

    share: the mean of images that have some.  doubt: its mean over all its foreground.
    excess: weight x (doubt - usual doubt) that they stay below.
    """

    share: float
    doubt: float
    excess: float

    def limit(self, share: float) -> float:
        """Of the label's doubt, where it has such a share of an image's foreground: up to 1."""
        return min(self.doubt + self.excess / weight(share, self.share), 1.0)


def weight(share: float, usual: float) -> float:
    """How much the doubt of a label counts, 0 .. 1: less where there is less of it than usual."""
    return min(share / usual, 1.0)


@dataclass(frozen=True, slots=True)
class Usual:
    """Limits that 95 % of usual images stay below, below all of them.

    limit: of the doubt over all labels together.  images: known to be usual.
    labels: those of which enough is known; none if there is one label alone, which is all.
    """

    limit: float
    images: int
    labels: Mapping[str, UsualPart] = field(default_factory=dict)


def usual_doubt(
    members: Sequence[Sequence[float]], parts: Sequence[Sequence[Mapping[str, Part]]] = ()
) -> Usual | None:
    """What is usual for networks that predict together.

    members: per network, the doubt of each image that it has not learnt from.  parts: the same
    images' labels; empty: nobody knows.  None: too few images.

    Half of the false alarms are granted to the doubt over all labels, the other half, in equal
    parts, to the labels (Bonferroni: no matter how they depend on each other).
    """
    overall = _spread(members)
    if overall is None:
        return None
    labels = sorted({label for one in parts for image in one for label in image})
    found = {
        label: [[image[label] for image in one if label in image] for one in parts]
        for label in labels if len(labels) > 1
    }  # fmt: skip
    spreads = {
        label: spread for label, those in found.items()
        if (spread := _spread(_excess(those))) is not None
    }  # fmt: skip
    alarms = ALARMS / 2 if spreads else ALARMS
    return Usual(overall.limit(alarms), overall.images, {
        label: UsualPart(*_means(found[label]), spread.limit(alarms / len(spreads)))
        for label, spread in spreads.items()
    })  # fmt: skip


def _excess(members: Sequence[Sequence[Part]]) -> list[list[float]]:
    """Of each image how far a label's doubt lies above that of the others, weighted.

    Compared with a mean that it takes part in itself, an image would look too usual.
    """
    if sum(map(len, members)) < 2:
        return []
    usual, doubt = _means(members)
    whole = usual * sum(map(len, members))
    return [
        [
            weight(part.share, usual)
            * (part.doubt - (whole * doubt - part.share * part.doubt) / (whole - part.share))
            for part in one
        ]
        for one in members
    ]


def _means(members: Sequence[Sequence[Part]]) -> tuple[float, float]:
    """Of a label's share, and of its doubt, of which an image tells as much as it holds."""
    everywhere = [part for one in members for part in one]
    whole = sum(part.share for part in everywhere)
    doubt = sum(part.share * part.doubt for part in everywhere) / whole
    return whole / len(everywhere), doubt


@dataclass(frozen=True, slots=True)
class _Spread:
    """Of a number over images: its middle, its deviation and the degrees of freedom of that."""

    middle: float
    deviation: float
    freedom: int
    images: int

    def limit(self, alarms: float) -> float:
        """What one more image passes with such a chance, by Student's distribution.

        It knows how few images there are.
        """
        wide = float(stdtrit(self.freedom, 1 - alarms)) * math.sqrt(1 + 1 / self.images)
        return self.middle + wide * self.deviation


def _spread(members: Sequence[Sequence[float]]) -> _Spread | None:
    """Around the mean of the networks' means; None: too few images.

    One network is surer than another, so that each has its images spread around its own mean;
    those that have a single image share one.
    """
    groups = [np.array(one) for one in members if len(one) > 1]
    if alone := [one[0] for one in members if len(one) == 1]:
        groups.append(np.array(alone))
    images = sum(map(len, groups))
    freedom = images - len(groups)
    if freedom < _LEAST_FREEDOM:
        return None
    deviation = math.sqrt(sum(float(np.square(g - g.mean()).sum()) for g in groups) / freedom)
    middle = float(np.mean([np.mean(one) for one in members if len(one)]))
    return _Spread(middle, deviation, freedom, images)
