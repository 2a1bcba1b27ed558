"""How many objects an annotation has, how large they are, and how far they reach."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import cc3d
import fastremap
import numpy as np

from baselines.box import blocks_of
from baselines.volumes.readers import Reader
from evaluator.geometry import Shape

_SLAB = 1 << 25  # voxels counted at once
_MOST = 1 << 27  # voxels in which objects are measured


@dataclass(frozen=True)
class Extents:
    """voxels: annotated as the label.  objects: how many were looked at.

    sizes: objects by size, {power of two: how many have at least so many voxels, and less than
    twice as many}.  reach: voxels (Z, Y, X) within which 95 % of the objects fit.
    whole: False if the annotation is so large that only planes in its middle were looked at.
    """

    voxels: int = 0
    objects: int = 0
    sizes: Mapping[int, int] = field(default_factory=dict)
    reach: Shape = (0, 0, 0)
    whole: bool = True


def count_voxels(reader: Reader) -> Extents:
    """Without a look at objects."""
    _, height, width = reader.shape
    slabs = blocks_of(reader.shape, (max(1, _SLAB // (height * width)), height, width))
    return Extents(sum(int(np.count_nonzero(reader.read(s.start, s.stop) > 0)) for s in slabs))


def measure_extents(reader: Reader, *, instances: bool) -> Extents:
    """Objects are ids where instances are annotated, else what hangs together by faces."""
    planes, height, width = reader.shape
    voxels = count_voxels(reader).voxels
    thick = min(planes, max(1, _MOST // (height * width)))
    first = (planes - thick) // 2
    ids = reader.read((first, 0, 0), (first + thick, height, width))
    objects = _objects(np.maximum(ids, 0), instances=instances)
    if not objects.any():
        return Extents(voxels, whole=thick == planes)
    found = cc3d.statistics(objects, no_slice_conversion=True)
    sizes = found["voxel_counts"][1:].astype(np.int64)
    boxes = found["bounding_boxes"][1:].astype(np.int64)
    reach = np.percentile(boxes[:, 1::2] - boxes[:, ::2] + 1, 95, axis=0, method="higher")
    powers, counts = np.unique(np.floor(np.log2(sizes)).astype(int), return_counts=True)
    z, y, x = (math.ceil(n) for n in reach)
    return Extents(
        voxels, len(sizes), {2 ** int(p): int(n) for p, n in zip(powers, counts, strict=True)},
        (z, y, x), thick == planes,
    )  # fmt: skip


def _objects(ids: np.ndarray, *, instances: bool) -> np.ndarray:
    """uint32, numbered from 1 without gaps.  A single id may be a mask of all objects."""
    if instances and len(fastremap.unique(ids)) > 2:
        numbered, _ = fastremap.renumber(ids.astype(np.uint64), preserve_zero=True)
    else:
        numbered = cc3d.connected_components((ids > 0).astype(np.uint8), connectivity=6)
    found: np.ndarray = numbered.astype(np.uint32)
    return found
