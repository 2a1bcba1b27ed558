"""Grey values of an image at a glance: range, contrast, and how sharp its planes are."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from baselines.volumes.readers import Reader

_SLAB = 1 << 25  # voxels read at once
_FOCUS_PLANES = 24  # of which sharpness is measured
_FOCUS_WIDTH = 768  # voxels along Y and X of the window in the middle of each


@dataclass(frozen=True, slots=True)
class Grey:
    """low, high: of all voxels; mean: of those that are finite; spread: standard deviation.

    finite: False if there is a NaN or an infinity.  focus: median over planes of the variance of
    the Laplacian, divided by the variance of the plane, so that neither contrast nor brightness
    counts; 0 for a flat image.
    """

    dtype: str
    low: float
    high: float
    mean: float
    spread: float
    focus: float
    finite: bool = True


def measure_grey(reader: Reader) -> Grey:
    """One pass over an image (Z, Y, X); the spread is measured on every second voxel in Y and X."""
    planes, height, width = reader.shape
    thick = max(1, _SLAB // (height * width))
    step = max(1, planes // _FOCUS_PLANES)
    low, high, finite, dtype = math.inf, -math.inf, True, ""
    total, thin, squares, count = 0.0, 0.0, 0.0, 0
    focus: list[float] = []
    for z in range(0, planes, thick):
        slab = reader.read((z, 0, 0), (min(z + thick, planes), height, width))
        dtype = slab.dtype.name
        if slab.dtype.kind == "f" and not np.isfinite(slab).all():
            finite, slab = False, np.nan_to_num(slab, nan=0.0, posinf=0.0, neginf=0.0)
        low, high = min(low, float(slab.min())), max(high, float(slab.max()))
        total += float(slab.sum(dtype=np.float64 if slab.dtype.kind == "f" else np.uint64))
        some = slab[:, ::2, ::2].astype(np.float32)
        thin += float(some.sum(dtype=np.float64))
        squares += float(np.square(some, out=some).sum(dtype=np.float64))
        count += some.size
        focus += [sharpness(slab[k]) for k in range(-z % step, len(slab), step)]
    spread = math.sqrt(max(0.0, squares / count - (thin / count) ** 2))
    mean = total / math.prod(reader.shape)
    return Grey(dtype, low, high, mean, spread, float(np.median(focus)), finite)


def sharpness(plane: np.ndarray) -> float:
    """Variance of the Laplacian of a plane (Y, X), over that of the plane; 0 if it is flat."""
    y, x = (max(0, (n - _FOCUS_WIDTH) // 2) for n in plane.shape)
    part = plane[y : y + _FOCUS_WIDTH, x : x + _FOCUS_WIDTH].astype(np.float32)
    if min(part.shape) < 3 or not (variance := float(part.var())):
        return 0.0
    inner = part[1:-1, 1:-1]
    laplacian = part[:-2, 1:-1] + part[2:, 1:-1] + part[1:-1, :-2] + part[1:-1, 2:] - 4 * inner
    return float(laplacian.var()) / variance


def outliers(values: Sequence[float], *, most: float = 3.0) -> list[int]:
    """Which values lie further than so many robust standard deviations from the median.

    The robust deviation is 1.4826 times the median distance from the median, but at least a
    twentieth of the median itself: among images that are all alike none stands out.  None of fewer
    than four values does.
    """
    if len(values) < 4:
        return []
    found = np.asarray(values, np.float64)
    middle = float(np.median(found))
    deviation = max(1.4826 * float(np.median(np.abs(found - middle))), abs(middle) / 20, 1e-12)
    return [int(k) for k in np.flatnonzero(np.abs(found - middle) > most * deviation)]
