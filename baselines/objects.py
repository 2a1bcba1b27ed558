"""Probabilities to masks and objects."""

from __future__ import annotations

import math

import cc3d
import numpy as np
from scipy.ndimage import grey_dilation

from baselines.config import ObjectsConfig
from evaluator.geometry import Nanometres


def mask_of(probability: np.ndarray, threshold: float) -> np.ndarray:
    """1 where a stored probability (uint8, 255 is 1.0) is above the threshold, else 0."""
    return (probability > round(threshold * 255)).astype(np.uint8)


def smallest_voxels(config: ObjectsConfig, label: str, voxel_size: Nanometres) -> int:
    """The least number of voxels of an object of a label."""
    volume = config.smallest.get(label, config.smallest_nm3)
    return round(volume / math.prod(voxel_size))


def components(
    mask: np.ndarray, *, smallest: int, planar: bool = False, offset: int = 0
) -> np.ndarray:
    """Connected components of a mask (Z, Y, X), numbered from offset + 1, uint32.

    Neighbours share a face, so objects that touch at an edge only stay apart.  Components below
    `smallest` voxels become 0.  planar: neighbours lie in the same plane only.
    """
    if planar:
        return _planar(mask, smallest=smallest)
    found = cc3d.connected_components(np.ascontiguousarray(mask > 0), connectivity=6)
    return _without_small(found, smallest, offset)


def grown(ids: np.ndarray, by: int) -> np.ndarray:
    """Objects widened by so many voxels within the plane; where two would meet, neither yields."""
    cross = np.array([[[0, 1, 0], [1, 1, 1], [0, 1, 0]]], bool)
    for _ in range(by):
        ids = np.where(ids == 0, grey_dilation(ids, footprint=cross), ids)
    return ids


def _planar(mask: np.ndarray, *, smallest: int) -> np.ndarray:
    out = np.zeros(mask.shape, np.uint32)
    count = 0
    for z, plane in enumerate(mask):
        out[z] = components(plane[None], smallest=smallest, offset=count)[0]
        count = max(count, int(out[z].max()))
    return out


def _without_small(found: np.ndarray, smallest: int, offset: int) -> np.ndarray:
    sizes = np.bincount(found.ravel())
    keep = sizes >= max(smallest, 1)
    keep[0] = False
    number = np.where(keep, np.cumsum(keep) + offset, 0).astype(np.uint32)
    ids: np.ndarray = number[found]
    return ids
