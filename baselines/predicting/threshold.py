"""The reference entry without learning: smooth the raw, cut it at one grey value, keep the dark.

Stain makes structures dark, so every label is "darker than Otsu's threshold", looked at through a
blur; for objects the blur is wide, and what hangs together is an object.  It knows nothing about
labels beyond their kind, and its scores are poor: any method should beat it.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from scipy.ndimage import gaussian_filter

from baselines.layout import DataError, DataFolder, Purpose
from baselines.progress import Progress
from baselines.volumes.components import components
from evaluator.geometry import VoxelGrid
from evaluator.manifest import Kind
from evaluator.volume import Volume, create_volume, open_volume

_BLUR = {Kind.SEMANTIC: 3.0, Kind.INSTANCE: 14.0}  # nm
_SMALLEST_NM3 = 30_000.0  # a vesicle of 40 nm
_SLAB = 32  # planes


def threshold(data: DataFolder, out: Path, *, progress: Progress = print) -> None:
    """Write masks and objects for every hidden target.  Raises DataError if there is none."""
    manifest = data.manifest(Purpose.HIDDEN)
    for crop in manifest.crops:
        if not data.raw(Purpose.HIDDEN, crop).is_dir():
            raise DataError(f"the raw of {crop} is missing: {data.raw(Purpose.HIDDEN, crop)}.")
        raw = open_volume(data.raw(Purpose.HIDDEN, crop))
        grid = raw.grid or VoxelGrid(raw.shape, (1.0, 1.0, 1.0))
        dark = {kind: darker(raw, grid, blur) for kind, blur in _BLUR.items()}
        smallest = round(_SMALLEST_NM3 / float(np.prod(grid.voxel_size)))
        objects = components(dark[Kind.INSTANCE], smallest=smallest)
        for label in (t.label for t in manifest.targets if t.crop.folder == crop):
            values = objects if label.kind is Kind.INSTANCE else dark[Kind.SEMANTIC]
            array = create_volume(out / crop / label.name, grid, values.dtype, multiscale=False)
            array[:] = values
        progress(f"{crop}: {int(objects.max())} objects")


def darker(raw: Volume, grid: VoxelGrid, blur: float) -> np.ndarray:
    """Where the raw, seen through a blur of so many nm, is darker than Otsu's threshold; uint8."""
    sigma = [blur / size for size in grid.voxel_size]
    margin = int(np.ceil(4 * sigma[0]))
    depth, height, width = raw.shape
    smooth = np.empty(raw.shape, np.float32)
    for z in range(0, depth, _SLAB):
        low, high = max(z - margin, 0), min(z + _SLAB + margin, depth)
        slab = gaussian_filter(
            raw.read((low, 0, 0), (high, height, width)).astype(np.float32), sigma
        )
        smooth[z : z + _SLAB] = slab[z - low :][:_SLAB]
    return (smooth < otsu(smooth)).astype(np.uint8)


def otsu(values: np.ndarray) -> float:
    """The grey value that splits values into the two classes that are most alike inside.

    A uniform image gives its own value, so that nothing lies below it.
    """
    counts, edges = np.histogram(values, bins=256)
    middles = (edges[:-1] + edges[1:]) / 2
    low, high = counts.cumsum(), counts[::-1].cumsum()[::-1]
    if counts.max() == values.size:
        return float(values.min())
    low_mean = (counts * middles).cumsum() / np.maximum(low, 1)
    high_mean = (counts * middles)[::-1].cumsum()[::-1] / np.maximum(high, 1)
    between = low[:-1] * high[1:].astype(float) * np.square(low_mean[:-1] - high_mean[1:])
    return float(edges[1 + int(np.argmax(between))])
