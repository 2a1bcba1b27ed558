"""How sure networks are of what they find in an image, and whether that is usual for them.

A vote is the probability p of a voxel by one network that sees it one way round; P is their mean.

    uncertainty   4 (mean of p² - P²)       how far the votes disagree: their variance
    doubt         4 (mean of p (1 - p))     how far each vote by itself is from sure

Both lie in 0 .. 1 and add up to 4 P (1 - P), the variance of a coin that falls as P says: the
epistemic and the aleatoric part of Kwon et al. (2020), whose sum deepflash2 (Griebel et al. 2023)
takes over the predicted foreground to find images unlike those that a network has learnt from.

The doubt that is usual is known of each network from its own validation images, which it has not
learnt from.  The uncertainty is not: no two of an ensemble validate on one image.

An image is compared with the doubt that is usual for as much of each label as it holds: one
comparison, however many labels there are.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

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
class Usual:
    """The doubt of usual images.

    overall: their mean, over all labels together.  labels: the mean of each label over all of its
    foreground; empty if nobody knows, or one label is all.  images: known to be usual.
    excess: 95 % of usual images are doubted by less than this more than their labels usually are.
    """

    overall: float
    excess: float
    images: int
    labels: Mapping[str, float] = field(default_factory=dict)

    def limit(self, parts: Mapping[str, Part]) -> float:
        """Of the doubt of an image that holds so much of each label."""
        return self.excess + sum(part.share * self.of(label) for label, part in parts.items())

    def of(self, label: str) -> float:
        """The mean doubt of a label; of one that no usual image has, that over all labels."""
        return self.labels.get(label, self.overall)


def usual_doubt(
    members: Sequence[Sequence[float]], parts: Sequence[Sequence[Mapping[str, Part]]] = ()
) -> Usual | None:
    """What is usual for networks that predict together.

    members: per network, the doubt of each image that it has not learnt from.  parts: the same
    images' labels; empty: nobody knows.  None: too few images.

    Some labels are doubted more than others.  Where they are known, an image is compared with what
    is usual for as much of each, so that it is not doubted for what there is to see in it.
    """
    images = [image for one in parts for image in one]
    labels = sorted({label for image in images for label in image})
    if len(labels) < 2 or len(images) < 2:
        found = _middle_and_excess(members)
        return None if found is None else Usual(*found, sum(map(len, members)))
    share, doubt = _arrays(images, labels)
    ends = np.cumsum([len(one) for one in parts])[:-1]
    found = _middle_and_excess([part.tolist() for part in np.split(_beyond(share, doubt), ends)])
    if found is None:
        return None
    means = dict(zip(labels, (doubt.sum(0) / share.sum(0)).tolist(), strict=True))
    return Usual(float(doubt.sum() / len(images)), sum(found), len(images), means)


def _arrays(
    images: Sequence[Mapping[str, Part]], labels: Sequence[str]
) -> tuple[np.ndarray, np.ndarray]:
    """Shares, and shares x doubts: (images, labels), 0 where an image has none of a label."""
    none = Part(0.0, 0.0)
    parts = [[image.get(label, none) for label in labels] for image in images]
    share = np.array([[part.share for part in row] for row in parts])
    return share, share * np.array([[part.doubt for part in row] for row in parts])


def _beyond(share: np.ndarray, doubt: np.ndarray) -> np.ndarray:
    """Of each image how much more it is doubted than as much of each label is in the others.

    Compared with a mean that it takes part in itself, an image would look too usual.
    share, doubt: of `_arrays`, of two images or more.
    """
    left = share.sum(0) - share
    overall = (doubt.sum() - doubt.sum(1, keepdims=True)) / (len(doubt) - 1)
    known = (doubt.sum(0) - doubt) / np.where(left > 0, left, 1)
    beyond: np.ndarray = (doubt - share * np.where(left > 0, known, overall)).sum(1)
    return beyond


def _middle_and_excess(members: Sequence[Sequence[float]]) -> tuple[float, float] | None:
    """The middle of a number over images, and how far above it 95 % of them stay; None: too few.

    The limit is the 95th percentile of one more image: Student's distribution, which knows how few
    there are, around the mean of the networks' means.  One network is surer than another, so that
    each has its images spread around its own mean; those that have a single image share one.
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
    return middle, float(stdtrit(freedom, SHARE)) * deviation * math.sqrt(1 + 1 / images)
