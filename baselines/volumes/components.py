"""Objects of a mask: what hangs together."""

from __future__ import annotations

import cc3d
import numpy as np


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
    return without_small(found, smallest, offset)


def _planar(mask: np.ndarray, *, smallest: int) -> np.ndarray:
    out = np.zeros(mask.shape, np.uint32)
    count = 0
    for z, plane in enumerate(mask):
        out[z] = components(plane[None], smallest=smallest, offset=count)[0]
        count = max(count, int(out[z].max()))
    return out


def without_small(found: np.ndarray, smallest: int, offset: int = 0) -> np.ndarray:
    """Objects of at least so many voxels, numbered from offset + 1, uint32."""
    sizes = np.bincount(found.ravel())
    keep = sizes >= max(smallest, 1)
    keep[0] = False
    number = np.where(keep, np.cumsum(keep) + offset, 0).astype(np.uint32)
    ids: np.ndarray = number[found]
    return ids
