"""How much of an annotation a label is; how many objects it has, how large, how far they reach."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import cc3d
import fastremap
import numpy as np

from baselines.box import blocks_of
from baselines.volumes.readers import Reader
from evaluator.geometry import Shape

_SLAB = 1 << 25  # voxels counted at once
_MOST = 1 << 27  # voxels in which objects are measured


@dataclass(frozen=True)
class Objects:
    """Of an instance label.

    count: how many were looked at.
    sizes: objects by size, {power of two: how many have at least so many voxels, and less than
    twice as many}.  reach: voxels (Z, Y, X) within which 95 % of the objects fit.
    whole: False if the annotation is so large that only planes in its middle were looked at.
    """

    count: int = 0
    sizes: Mapping[int, int] = field(default_factory=dict)
    reach: Shape = (0, 0, 0)
    whole: bool = True


@dataclass(frozen=True)
class Extents:
    """voxels: of the label.  annotated: all where somebody looked.

    objects: None for a semantic label, which has none, and where nobody asked for them.
    """

    voxels: int = 0
    annotated: int = 0
    objects: Objects | None = None

    @property
    def share(self) -> float:
        """Of what was annotated, 0 to 1; 0 if nothing was."""
        return self.voxels / self.annotated if self.annotated else 0.0

    def to_json(self) -> dict[str, Any]:
        """As plain values."""
        return {**dataclasses.asdict(self), "share": self.share}


def count_voxels(reader: Reader) -> Extents:
    """Without a look at objects."""
    _, height, width = reader.shape
    voxels = annotated = 0
    for slab in blocks_of(reader.shape, (max(1, _SLAB // (height * width)), height, width)):
        ids = reader.read(slab.start, slab.stop)
        voxels += int(np.count_nonzero(ids > 0))
        annotated += int(np.count_nonzero(ids >= 0))
    return Extents(voxels, annotated)


def measure_objects(reader: Reader, *, masks: bool) -> Objects:
    """Objects are ids.  masks: if the only id is 1 it is a mask, and its objects are what hangs
    together by faces, as in training."""
    planes, height, width = reader.shape
    thick = min(planes, max(1, _MOST // (height * width)))
    first = (planes - thick) // 2
    ids = np.maximum(reader.read((first, 0, 0), (first + thick, height, width)), 0)
    if not ids.any():
        return Objects(whole=thick == planes)
    found = cc3d.statistics(_numbered(ids, masks=masks), no_slice_conversion=True)
    sizes = found["voxel_counts"][1:].astype(np.int64)
    boxes = found["bounding_boxes"][1:].astype(np.int64)
    reach = np.percentile(boxes[:, 1::2] - boxes[:, ::2] + 1, 95, axis=0, method="higher")
    powers, counts = np.unique(np.floor(np.log2(sizes)).astype(int), return_counts=True)
    z, y, x = (math.ceil(n) for n in reach)
    return Objects(
        len(sizes), {2 ** int(p): int(n) for p, n in zip(powers, counts, strict=True)},
        (z, y, x), thick == planes,
    )  # fmt: skip


def _numbered(ids: np.ndarray, *, masks: bool) -> np.ndarray:
    """uint32, numbered from 1 without gaps."""
    if masks and ids.max() == 1:
        numbered = cc3d.connected_components(ids.astype(np.uint8), connectivity=6)
    else:
        numbered, _ = fastremap.renumber(ids.astype(np.uint64), preserve_zero=True)
    found: np.ndarray = numbered.astype(np.uint32)
    return found
