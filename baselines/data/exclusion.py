"""Labels of which but one can be at a voxel: where one was seen, the others are absent.

An annotation that is missing weighs nothing; `data.exclusive` lets those of others stand in for it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from baselines.box import Box, box_around, common_box
from baselines.layout import DataError
from baselines.volumes.readers import Reader
from evaluator.errors import meant
from evaluator.geometry import Shape


@dataclass(frozen=True)
class Known:
    """Ids of a label, and where they are known; -1 there where nobody looked."""

    reader: Reader
    box: Box

    def read(self, asked: Box) -> np.ndarray:
        """int32 of a box that may reach beyond what is known: -1 there."""
        out = np.full(asked.shape, -1, np.int32)
        inner = common_box(asked, self.box)
        if inner is not None:
            out[inner.within(asked)] = self.reader.read(inner.start, inner.stop)
        return out


@dataclass(frozen=True)
class Excluded:
    """A label's own ids; where it has none, 0 where any of the others is, and else -1."""

    own: Known | None
    others: tuple[Known, ...]
    shape: Shape

    def read(self, start: Shape, stop: Shape) -> np.ndarray:
        """int32."""
        asked = Box(start, stop)
        ids = np.full(asked.shape, -1, np.int32) if self.own is None else self.own.read(asked)
        for other in self.others:
            ids[(ids < 0) & (other.read(asked) > 0)] = 0
        return ids


def exclusive_groups(texts: Iterable[str], known: Sequence[str]) -> list[tuple[str, ...]]:
    """The groups that data.exclusive gives.  Raises DataError for a label that is none."""
    groups = [tuple(name.strip() for name in text.split(",")) for text in texts]
    if unknown := [name for group in groups for name in group if name not in known]:
        raise DataError(
            f"data.exclusive names {unknown[0]}{meant(unknown[0], known)}; labels of the data are "
            f"{', '.join(known)}."
        )
    return groups


def exclude(
    found: dict[str, Known], labels: Sequence[str], groups: Iterable[Sequence[str]], shape: Shape
) -> dict[str, Known]:
    """Labels with what the others of their groups tell of them, those that have only that, too.

    found: what is annotated.  labels: those that are learnt.  shape: of the volume they lie in.
    """
    told = dict(found)
    for name in labels:
        near = {n for group in groups if name in group for n in group} - {name}
        others = tuple(found[other] for other in sorted(near) if other in found)
        if others:
            own = found.get(name)
            boxes = [known.box for known in (*others, *([own] if own else []))]
            told[name] = Known(Excluded(own, others, shape), box_around(boxes))
    return told
