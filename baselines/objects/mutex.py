"""Objects from affinities: the mutex watershed of Wolf et al. (2018).

The strongest affinities are looked at first: near ones join, far ones forbid to join.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import bioimage_cpp.segmentation
import numpy as np

from baselines.objects.overlap import alike, numbered
from evaluator.geometry import Nanometres, Shape

STRIDE = 2  # in voxels of the finest axis: one far affinity in 8 is enough, and 8 times as fast


def mutex_watershed(
    probabilities: np.ndarray, offsets: Sequence[Shape], voxel_size: Nanometres, *,
    mask: float, bias: float, planar: bool = False, stride: int = STRIDE,
) -> np.ndarray:  # fmt: skip
    """Ids of all voxels whose mask is above a threshold, uint32 (Z, Y, X).

    probabilities: (1 + offsets, Z, Y, X) uint8, 255 is 1.0: the mask, then how likely a voxel and
    the one at each offset belong together.  bias: 0.5 is neutral, more parts more, less joins more.
    planar: affinities lie within planes; what mostly overlaps from plane to plane is one object.
    """
    inside = probabilities[0] > round(mask * 255)
    if not inside.any():
        return np.zeros(inside.shape, np.uint32)
    near = 2 if planar else 3
    weights = probabilities[1:].astype(np.float32) / 255
    weights[near:] = 2 * bias - weights[near:]
    fine = min(voxel_size[1:]) if planar else min(voxel_size)
    strides = [max(1, round(stride * fine / size)) for size in voxel_size]
    strides[0] = 1 if planar else strides[0]  # every plane has its own
    ids = bioimage_cpp.segmentation.mutex_watershed(
        weights, offsets, near, strides=strides, mask=inside
    )
    found: np.ndarray = ids.astype(np.uint32)
    return planes_joined(found) if planar else found


def planes_joined(ids: np.ndarray) -> np.ndarray:
    """The same objects, those of neighbouring planes that mostly overlap under one id."""
    pairs = [alike(low, high) for low, high in itertools.pairwise(ids)]
    joined: np.ndarray = numbered(int(ids.max(initial=0)), pairs)[ids]
    return joined
