"""Smooth random fields that have a value everywhere: the same wherever a block is cut.

Nothing is stored and no generator is stepped.  A value is a hash of (seed, lattice point), so two
blocks of a phantom agree on their common border whatever their size and order.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

_SPLINE_SPREAD = 0.334  # standard deviation of a cubic B-spline sum of unit normals, in 3D


@dataclass(frozen=True, slots=True)
class Positions:
    """Where the voxels of a block lie, in nm: z (nz,), y (nz, ny), x (nz, nx).

    y and x depend on the plane because sections may be shifted against each other.
    """

    z: np.ndarray
    y: np.ndarray
    x: np.ndarray

    @property
    def shape(self) -> tuple[int, int, int]:
        """Voxels along (Z, Y, X)."""
        return len(self.z), self.y.shape[1], self.x.shape[1]


def hash_uniform(seed: int, *integers: np.ndarray | int) -> np.ndarray:
    """Uniform values in [0, 1) that depend only on the seed and the integers (broadcast)."""
    with np.errstate(over="ignore"):
        start = np.uint64(seed & 0xFFFFFFFFFFFFFFFF) + np.uint64(0x9E3779B97F4A7C15)
        # Mixed before the first integer comes in, or neighbouring seeds would give the same values
        # in another order.
        state = _mix(np.asarray(start))
        for part in integers:
            state = _mix(state ^ np.asarray(part).astype(np.int64).view(np.uint64))
    uniform: np.ndarray = (state >> np.uint64(11)) / float(1 << 53)
    return uniform


def smooth_noise(at: Positions, *, seed: int, period: float) -> np.ndarray:
    """A field of mean 0 and standard deviation near 1, smooth over `period` nm.

    Returns float32 of shape at.shape.
    """
    first, weights = zip(*(_spline(axis, period) for axis in (at.z, at.y, at.x)), strict=True)
    ranges = [np.arange(f, f + w.shape[-1]) for f, w in zip(first, weights, strict=True)]
    lattice = _normal(seed, *np.meshgrid(*ranges, indexing="ij"))
    planes = np.tensordot(weights[0], lattice, axes=1)
    field: np.ndarray = weights[1] @ planes @ weights[2].transpose(0, 2, 1)
    return field / np.float32(_SPLINE_SPREAD)


def _mix(value: np.ndarray) -> np.ndarray:
    # The finaliser of splitmix64: every input bit reaches every output bit.
    value = (value ^ (value >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    value = (value ^ (value >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    mixed: np.ndarray = value ^ (value >> np.uint64(31))
    return mixed


def _normal(seed: int, *integers: np.ndarray) -> np.ndarray:
    parts = [hash_uniform(seed + 7919 * k, *integers) for k in range(4)]
    normal: np.ndarray = (sum(parts) - 2.0) * np.sqrt(3.0)  # the sum of 4 has variance 1/3
    return normal.astype(np.float32)


def _spline(axis: np.ndarray, period: float) -> tuple[int, np.ndarray]:
    """The first lattice point needed, and cubic B-spline weights (*axis.shape, lattice points)."""
    position = axis / period
    below = np.floor(position).astype(np.int64)
    t = position - below
    taps = ((1 - t) ** 3, 3 * t**3 - 6 * t**2 + 4, -3 * t**3 + 3 * t**2 + 3 * t + 1, t**3)
    first = int(below.min()) - 1
    weights = np.zeros((*axis.shape, int(below.max()) + 3 - first), np.float32)
    for k, tap in enumerate(taps):
        np.put_along_axis(weights, (below - 1 + k - first)[..., None], tap[..., None] / 6, axis=-1)
    return first, weights
