"""Volumes as OME-TIFF stacks that know their voxel size."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import tifffile

from evaluator.geometry import Nanometres, Shape


def write_tiff(path: Path, planes: Iterable[np.ndarray], *, shape: Shape, dtype: Any,
               voxel_size: Nanometres) -> None:  # fmt: skip
    """Planes (Y, X) as an OME-TIFF, BigTIFF where it must be, that knows its voxel size."""
    about: dict[str, Any] = {"axes": "ZYX"}
    for axis, size in zip("ZYX", voxel_size, strict=True):
        about |= {f"PhysicalSize{axis}": size, f"PhysicalSize{axis}Unit": "nm"}
    temporary = path.with_name(f".{path.name}.part")
    tifffile.imwrite(
        temporary, iter(planes), shape=shape, dtype=dtype, metadata=about, ome=True,
        compression="zlib", photometric="minisblack",
    )  # fmt: skip
    temporary.replace(path)
