"""Where labels are: a sample of their voxels, and how many they have, in one pass over a crop."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from baselines.box import Box, blocks_of, common_box
from baselines.volumes.readers import Reader

MOST_POINTS = 20_000  # remembered per label and crop
SLAB = 16  # planes looked at together


@dataclass(frozen=True)
class Foreground:
    """points: voxels (n, 3) of each label, a sample; count: how many voxels it has.

    highest: the largest id of each.
    negatives: voxels (n, 3) that are annotated and have none of the labels, a sample.
    """

    points: dict[str, np.ndarray] = field(default_factory=dict)
    count: dict[str, int] = field(default_factory=dict)
    highest: dict[str, int] = field(default_factory=dict)
    negatives: np.ndarray = field(default_factory=lambda: np.zeros((0, 3), np.int64))


def find_foreground(
    labels: Mapping[str, Reader], known: Mapping[str, Box], boxes: Sequence[Box]
) -> Foreground:
    """What lies in some boxes that share no voxel.  Same input, same sample."""
    random = np.random.default_rng(0)
    slabs = [slab for box in boxes for slab in _slabs(box)]
    share = MOST_POINTS // max(len(slabs), 1) + 1
    count, highest = dict.fromkeys(labels, 0), dict.fromkeys(labels, 0)
    points: dict[str, list[np.ndarray]] = {label: [] for label in labels}
    negatives: list[np.ndarray] = []
    for slab in slabs:
        empty = np.zeros(slab.shape, bool)
        parts = {n: p for n in labels if (p := common_box(known[n], slab)) is not None}
        for part in parts.values():
            empty[part.within(slab)] = True
        for label, part in parts.items():
            ids = labels[label].read(part.start, part.stop)
            inside = ids > 0
            count[label] += int(np.count_nonzero(inside))
            highest[label] = max(highest[label], int(ids.max()))
            points[label].append(_sample(inside, part, share, random))
            empty[part.within(slab)] &= ids == 0
        negatives.append(_sample(empty, slab, share, random))
    found = {label: _joined(parts) for label, parts in points.items()}
    return Foreground(found, count, highest, _joined(negatives))


def _slabs(box: Box) -> list[Box]:
    z, y, x = box.start
    parts = blocks_of(box.shape, (SLAB, *box.shape[1:]))
    return [
        Box((z + p.start[0], y, x), (z + p.stop[0], box.stop[1], box.stop[2])) for p in parts
    ]  # fmt: skip


def _sample(inside: np.ndarray, box: Box, most: int, random: np.random.Generator) -> np.ndarray:
    """At most so many of the true voxels of a box, (n, 3) in the volume's coordinates."""
    found = np.flatnonzero(inside)
    pick = found if len(found) <= most else found[random.integers(0, len(found), most)]
    points: np.ndarray = np.stack(np.unravel_index(pick, box.shape), axis=1) + np.array(box.start)
    return points


def _joined(parts: list[np.ndarray]) -> np.ndarray:
    return np.concatenate(parts) if parts else np.zeros((0, 3), np.int64)
