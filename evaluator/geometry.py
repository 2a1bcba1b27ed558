"""Where voxels lie.  Axes are (Z, Y, X) everywhere; lengths are nanometres."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

Shape = tuple[int, int, int]
Nanometres = tuple[float, float, float]


@dataclass(frozen=True, slots=True)
class VoxelGrid:
    """A regular grid of voxels in the specimen.

    shape: voxels along (Z, Y, X), each at least 1.
    voxel_size: edge of a voxel in nm along (Z, Y, X), each above 0.
    offset: position of the centre of voxel (0, 0, 0) in nm.
    Raises ValueError for anything else.
    """

    shape: Shape
    voxel_size: Nanometres
    offset: Nanometres = (0.0, 0.0, 0.0)

    def __post_init__(self) -> None:
        if not len(self.shape) == len(self.voxel_size) == len(self.offset) == 3:
            raise ValueError(f"a grid has three axes (Z, Y, X); got {self}")
        if min(self.shape) < 1:
            raise ValueError(f"a grid has at least one voxel per axis; got shape {self.shape}")
        if not all(math.isfinite(v) and v > 0 for v in self.voxel_size):
            raise ValueError(f"a voxel size is above 0 nm; got {self.voxel_size}")
        if not all(map(math.isfinite, self.offset)):
            raise ValueError(f"an offset is finite; got {self.offset}")

    @property
    def voxels(self) -> int:
        """Number of voxels."""
        return math.prod(self.shape)

    @property
    def extent_nm(self) -> Nanometres:
        """Physical size in nm along (Z, Y, X)."""
        z, y, x = (n * v for n, v in zip(self.shape, self.voxel_size, strict=True))
        return (z, y, x)

    def has_voxels_of(self, other: VoxelGrid) -> bool:
        """True if both grids have the same voxel size, to a hundred-thousandth."""
        pairs = zip(self.voxel_size, other.voxel_size, strict=True)
        return all(math.isclose(a, b, rel_tol=1e-5) for a, b in pairs)

    def nearest(self, other: VoxelGrid) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Per axis, the index in `other` of the voxel nearest to each voxel centre of this grid.

        Returns three int64 vectors of lengths `self.shape`; -1 stands where the centre lies outside
        `other`.  A centre half way between two voxels takes the upper one.
        """
        axes = []
        for n, size, start, m, other_size, other_start in zip(
            self.shape, self.voxel_size, self.offset,
            other.shape, other.voxel_size, other.offset, strict=True,
        ):  # fmt: skip
            position = (start - other_start + np.arange(n) * size) / other_size
            # Offsets such as 23837.13 nm are not exact in binary: a millionth of a voxel is noise.
            index = np.floor(np.round(position, 6) + 0.5).astype(np.int64)
            axes.append(np.where((index >= 0) & (index < m), index, -1))
        return axes[0], axes[1], axes[2]
