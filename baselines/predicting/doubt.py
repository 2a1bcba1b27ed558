"""How sure networks are of what they find in an image, and whether that is usual for them.

A vote is the probability p of a voxel by one network that sees it one way round; P is their mean.

    uncertainty   4 (mean of p² - P²)       how far the votes disagree: their variance
    doubt         4 (mean of p (1 - p))     how far each vote by itself is from sure

Both lie in 0 .. 1 and add up to 4 P (1 - P), the variance of a coin that falls as P says: the
epistemic and the aleatoric part of Kwon et al. (2020), whose sum deepflash2 (Griebel et al. 2023)
takes over the predicted foreground to find images unlike those that a network has learnt from.

The doubt that is usual is known of each network from its own validation images, which it has not
learnt from.  The uncertainty is not: no two of an ensemble validate on one image.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import stdtrit

SHARE = 0.95  # of usual images that are to lie below the limit
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
class Usual:
    """limit: the doubt that 95 % of usual images stay below.  images: known to be usual."""

    limit: float
    images: int


def usual_doubt(members: Sequence[Sequence[float]]) -> Usual | None:
    """What is usual for networks that predict together.

    members: per network, the doubt of each image that it has not learnt from.  None: too few.

    The limit is the 95th percentile of the doubt of one more such image: Student's distribution,
    which knows how few there are, around the mean of the networks' means.  One network is surer
    than another, so that each has its images spread around its own mean; those that have a single
    image share one.
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
    wide = float(stdtrit(freedom, SHARE)) * deviation * math.sqrt(1 + 1 / images)
    return Usual(middle + wide, images)
