"""Thresholds that suit a network, chosen on voxels that it has not learnt from."""

from __future__ import annotations

import dataclasses
import functools
import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from baselines.objects.agreement import THRESHOLDS, covering, panoptic_quality
from baselines.objects.decoding import Thresholds, objects_of
from baselines.objects.heads import AFFINITY, BCD, Head

_COARSE = (0.05, 0.1, 0.25, 0.4, 0.6, 0.8)
# What is tried, one step after the other; groups of a step together, as one makes up for the other.
# Names in a group have one value.
_TRIED = {
    BCD: ((("mask", "seed_mask"),), (("seed_distance",), ("seed_contour",))),
    AFFINITY: ((("mask",),), (("bias",),)),
}
_ROUNDS = 2
_NEAR = 0.995  # of the best: as good


@dataclass(frozen=True, slots=True)
class Volume:
    """What was predicted, (channels of the head, Z, Y, X) uint8, and the true ids (Z, Y, X).

    known: bool (Z, Y, X), where ids were annotated; None: everywhere.
    """

    probabilities: np.ndarray
    ids: np.ndarray
    known: np.ndarray | None = None

    def seen(self, found: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """True ids, and those of found objects (Z, Y, X), on the voxels that were annotated."""
        known = slice(None) if self.known is None else self.known
        return self.ids[known], found[known]

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
    """The thresholds of the best objects, and their panoptic quality: the mean over volumes.

    The best cover the true ones best: with panoptic quality, a single object that is split within a
    few planes would decide.  One step after the other is tried at several values, twice around; of
    values that are nearly the best, the middle one is less of an accident than the best itself.
    smallest: as for `objects_of`.  most: voxels that are looked at, of all volumes together.
    Without volumes, or without any object in them, the base and 0.
    """
    if not any(volume.ids.any() for volume in volumes):
        return base, 0.0
    parts = [volume.central(most // len(volumes)) for volume in volumes]

    def mean(measure: Callable[[np.ndarray, np.ndarray], float], thresholds: Thresholds) -> float:
        found = (
            objects_of(p.probabilities, head, thresholds, smallest=smallest, fill_holes=fill_holes)
            for p in parts
        )
        return float(np.mean([measure(*p.seen(f)) for p, f in zip(parts, found, strict=True)]))

    cover = functools.cache(functools.partial(mean, covering))
    steps = _TRIED.get(head.representation, ((("mask",),),))
    values = THRESHOLDS.tolist() if len(steps) == 1 else _COARSE
    for _ in range(_ROUNDS if len(steps) > 1 else 1):
        for groups in steps:
            tried = [
                _with(base, groups, some) for some in itertools.product(values, repeat=len(groups))
            ]
            covered = np.array([cover(one) for one in tried])
            base = tried[_middle(covered.reshape((len(values),) * len(groups)))]
    return base, mean(panoptic_quality, base)


def _with(base: Thresholds, groups: Sequence[Sequence[str]], values: Sequence[float]) -> Thresholds:
    """A value for each group of names."""
    pairs = zip(groups, values, strict=True)
    return dataclasses.replace(base, **{name: value for names, value in pairs for name in names})


def _middle(grid: np.ndarray) -> int:
    """Along each axis through the best, the middle of the values around it that come near it; its
    place in the flattened grid."""
    at = [int(n) for n in np.unravel_index(int(np.argmax(grid)), grid.shape)]
    for axis in range(grid.ndim):
        through: list[int | slice] = [*at]
        through[axis] = slice(None)
        line = grid[tuple(through)]
        near = line >= _NEAR * line[at[axis]]
        low = high = at[axis]
        while low > 0 and near[low - 1]:
            low -= 1
        while high + 1 < len(near) and near[high + 1]:
            high += 1
        at[axis] = (low + high) // 2
    return int(np.ravel_multi_index(at, grid.shape))
