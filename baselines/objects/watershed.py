"""Objects from mask, contour and distance: seeds in the middles, then floods that meet at borders.

Lin et al., NucMM (2021), describe the representation; this decoding is our own.
"""

from __future__ import annotations

import bioimage_cpp.segmentation
import cc3d
import numpy as np

SMALLEST_SEED = 10  # voxels; what is smaller is noise, or an object of its own if nothing is near


def seed_mask(
    probabilities: np.ndarray, *, mask: float, contour: float, distance: float
) -> np.ndarray:
    """Where seeds are, bool (Z, Y, X): mask and distance above, contour below these, 0 to 1.

    probabilities: (3, Z, Y, X) uint8, 255 is 1.0: mask, contour, distance.
    """
    inside: np.ndarray = probabilities[0] > round(mask * 255)
    inside &= probabilities[1] < round(contour * 255)
    inside &= probabilities[2] > round(distance * 255)
    return inside


def flood(probabilities: np.ndarray, seeds: np.ndarray, *, mask: float) -> tuple[np.ndarray, int]:
    """Ids of all voxels whose mask is above a threshold, uint32, and the largest seed's id.

    probabilities: as above.  seeds: ids (Z, Y, X), 0 for none.  Water rises from the seeds, where
    contour is low and distance high first, and does not cross where two waters meet.  A piece of
    the mask without a seed is an object of its own, numbered after the seeds.
    """
    inside = probabilities[0] > round(mask * 255)
    height = probabilities[1].astype(np.float32) - probabilities[2]
    ids: np.ndarray = bioimage_cpp.segmentation.watershed(
        height, np.ascontiguousarray(seeds, np.uint32), mask=inside
    )
    most = int(seeds.max(initial=0))
    rest = cc3d.connected_components(inside & (ids == 0), connectivity=6)
    return np.where(rest > 0, rest.astype(np.uint32) + np.uint32(most), ids), most
