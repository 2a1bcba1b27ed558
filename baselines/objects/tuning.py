"""Thresholds that suit a network, chosen on voxels that it has not learnt from."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from baselines.objects.agreement import THRESHOLDS, panoptic_quality
from baselines.objects.decoding import Thresholds, objects_of
from baselines.objects.heads import AFFINITY, BCD, Head

_COARSE = (0.05, 0.1, 0.25, 0.4, 0.5, 0.6, 0.75, 0.9)
# What is tried, one after the other; names in a group have one value.
_TRIED = {
    BCD: (("mask", "seed_mask"), ("seed_distance",), ("seed_contour",)),
    AFFINITY: (("mask",), ("bias",)),
}
_ROUNDS = 2
_NEAR = 0.98  # of the best quality: as good


@dataclass(frozen=True, slots=True)
class Volume:
    """What was predicted, (channels of the head, Z, Y, X) uint8, and the true ids (Z, Y, X).

    known: bool (Z, Y, X), where ids were annotated; None: everywhere.
    """

    probabilities: np.ndarray
    ids: np.ndarray
    known: np.ndarray | None = None

    def quality(self, found: np.ndarray) -> float:
        """Panoptic quality of found objects (Z, Y, X), on the voxels that were annotated."""
        seen = slice(None) if self.known is None else self.known
        return panoptic_quality(self.ids[seen], found[seen])

    def central(self, most: int) -> Volume:
        """At most so many voxels of it, from its middle."""
        part = [slice(0, n) for n in self.ids.shape]
        while np.prod([s.stop - s.start for s in part]) > most:
            axis = int(np.argmax([s.stop - s.start for s in part]))
            n = part[axis].stop - part[axis].start
            part[axis] = slice(part[axis].start + n // 4, part[axis].start + n // 4 + n // 2)
        known = None if self.known is None else self.known[tuple(part)]
        return Volume(self.probabilities[(slice(None), *part)], self.ids[tuple(part)], known)


def tune(
    volumes: Sequence[Volume], head: Head, base: Thresholds, *, smallest: int = 0,
    fill_holes: bool = True, most: int = 2**21,
) -> tuple[Thresholds, float]:  # fmt: skip
    """The thresholds of the best panoptic quality, and that quality: the mean over volumes.

    One threshold after the other is tried at several values, twice around; of values that are
    nearly the best, the middle one is less of an accident than the best itself.
    smallest: as for `objects_of`.  most: voxels that are looked at, of all volumes together.
    Without volumes, or without any object in them, the base and 0.
    """
    if not any(volume.ids.any() for volume in volumes):
        return base, 0.0
    parts = [volume.central(most // len(volumes)) for volume in volumes]
    known: dict[Thresholds, float] = {}

    def quality(thresholds: Thresholds) -> float:
        if thresholds not in known:
            known[thresholds] = float(np.mean([
                part.quality(objects_of(
                    part.probabilities, head, thresholds, smallest=smallest, fill_holes=fill_holes
                ))
                for part in parts
            ]))  # fmt: skip
        return known[thresholds]

    groups = _TRIED.get(head.representation, (("mask",),))
    values = THRESHOLDS.tolist() if len(groups) == 1 else _COARSE
    for _ in range(_ROUNDS if len(groups) > 1 else 1):
        for names in groups:
            tried = [dataclasses.replace(base, **dict.fromkeys(names, v)) for v in values]
            base = tried[_middle([quality(one) for one in tried])]
    return base, quality(base)


def _middle(qualities: Sequence[float]) -> int:
    """Of the values around the best that come near it, the middle one."""
    best = int(np.argmax(qualities))
    near = [q >= _NEAR * qualities[best] for q in qualities]
    low, high = best, best
    while low > 0 and near[low - 1]:
        low -= 1
    while high + 1 < len(near) and near[high + 1]:
        high += 1
    return (low + high) // 2
