"""Made-up objects with their ids, and what a good network would say of them."""

from __future__ import annotations

import numpy as np
import torch
from scipy.ndimage import gaussian_filter
from scipy.spatial import cKDTree

from baselines.objects.heads import AFFINITY, Head, Heads, affinity_offsets
from baselines.objects.targets import make_targets
from evaluator.geometry import Nanometres, Shape

CUBE = (8.0, 8.0, 8.0)


def head_of(representation: str, voxel_size: Nanometres = CUBE, *, planar: bool = False) -> Head:
    """Channels for a label "cell", with the offsets that belong to the voxel size."""
    offsets = affinity_offsets(voxel_size, planar=planar) if representation == AFFINITY else ()
    return Head("cell", representation, voxel_size, planar=planar, offsets=offsets)


def cells(shape: Shape, count: int, *, radius: float = np.inf, seed: int = 0) -> np.ndarray:
    """Ids of the nearest of so many random points, uint32; 0 farther than radius from it."""
    points = np.random.default_rng(seed).uniform(0, shape, (count, 3))
    grid = np.stack(np.meshgrid(*map(np.arange, shape), indexing="ij"), -1).reshape(-1, 3)
    distance, nearest = cKDTree(points).query(grid)
    return np.where(distance <= radius, nearest + 1, 0).reshape(shape).astype(np.uint32)


def seen(
    ids: np.ndarray, head: Head, *, noise: float = 0.08, blur: float = 0.0, seed: int = 0
) -> np.ndarray:
    """Probabilities (channels, Z, Y, X) uint8 of a network that errs by some noise.

    blur: standard deviation in voxels, of what it says and of its errors.
    """
    tensor = torch.from_numpy(ids.astype(np.int32))[None, None]
    target, _ = make_targets(tensor, torch.ones_like(tensor, dtype=torch.bool), Heads((head,)))
    random = np.random.default_rng(seed)
    field = random.normal(size=target.shape[1:])
    sigma = (0, blur, blur, blur)
    field = gaussian_filter(field, sigma) if blur else field
    value = 0.1 + 0.8 * gaussian_filter(target[0].numpy(), sigma) + noise * field / field.std()
    return np.round(255 * value.clip(0, 1)).astype(np.uint8)
