"""Made-up objects with their ids, and what a good network would say of them."""

import numpy as np
import torch
from scipy.ndimage import gaussian_filter
from scipy.spatial import cKDTree

from baselines.objects.heads import AFFINITY, Head, Heads, affinity_offsets
from baselines.objects.targets import make_targets

CUBE = (8.0, 8.0, 8.0)


def head_of(representation, voxel_size=CUBE, *, planar=False) -> Head:
    offsets = affinity_offsets(voxel_size, planar=planar) if representation == AFFINITY else ()
    return Head("cell", representation, voxel_size, planar=planar, offsets=offsets)


def cells(shape, count, *, radius=np.inf, seed=0) -> np.ndarray:
    """Ids of the nearest of so many random points, uint32; 0 farther than radius from it."""
    points = np.random.default_rng(seed).uniform(0, shape, (count, 3))
    grid = np.stack(np.meshgrid(*map(np.arange, shape), indexing="ij"), -1).reshape(-1, 3)
    distance, nearest = cKDTree(points).query(grid)
    return np.where(distance <= radius, nearest + 1, 0).reshape(shape).astype(np.uint32)


def seen(ids, head, *, noise=0.08, blur=0.0, seed=0) -> np.ndarray:
    """Probabilities (channels, Z, Y, X) uint8 of a network that errs by some noise."""
    tensor = torch.from_numpy(ids.astype(np.int32))[None, None]
    target, _ = make_targets(tensor, torch.ones_like(tensor, dtype=torch.bool), Heads((head,)))
    random = np.random.default_rng(seed)
    field = random.normal(size=target.shape[1:])
    sigma = (0, blur, blur, blur)
    field = gaussian_filter(field, sigma) if blur else field
    value = 0.1 + 0.8 * gaussian_filter(target[0].numpy(), sigma) + noise * field / field.std()
    return np.round(255 * value.clip(0, 1)).astype(np.uint8)
