"""A small tree in the challenge's layout, written with a library that is not ours to trust."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import zarr

from baselines.fetching.published import CELLMAP
from evaluator.geometry import VoxelGrid
from evaluator.manifest import Crop, Kind, Label, Target, format_labels, format_manifest

RAW = "{0}/{0}.zarr/recon-1/em/fibsem-uint8"
TRUTH = "{0}/{0}.zarr/recon-1/labels/groundtruth/{1}/{2}"
MITO, MEM = Label("mito", 50, Kind.INSTANCE), Label("mem", 75, Kind.SEMANTIC)


def pyramid(
    path: Path, levels: dict[float, np.ndarray], *, corner=(0.0, 0.0, 0.0), names="s{}",
    chunks=8, zarr_format=2,
) -> None:  # fmt: skip
    """An OME-Zarr group whose levels have voxels of the keys' edges; all begin at a corner, nm."""
    group = zarr.open_group(path, mode="w", zarr_format=zarr_format)
    datasets = []
    for k, (size, array) in enumerate(levels.items()):
        stored = zarr.create_array(
            path / names.format(k), shape=array.shape, dtype=array.dtype, chunks=(chunks,) * 3,
            zarr_format=zarr_format, fill_value=0,
        )  # fmt: skip
        stored[:] = array
        steps = [
            {"type": "scale", "scale": [size] * 3},
            {"type": "translation", "translation": [c + size / 2 for c in corner]},
        ]
        datasets.append({"path": names.format(k), "coordinateTransformations": steps})
    axes = [{"name": n, "type": "space", "unit": "nanometer"} for n in "zyx"]
    image = {"axes": axes, "datasets": datasets}
    if zarr_format == 2:
        group.attrs["multiscales"] = [{"version": "0.4", **image}]
    else:
        group.attrs["ome"] = {"version": "0.5", "multiscales": [image]}


def halved(array: np.ndarray) -> np.ndarray:
    """The mean of every 2 x 2 x 2 voxels."""
    z, y, x = (n // 2 for n in array.shape)
    return array.reshape(z, 2, y, 2, x, 2).mean(axis=(1, 3, 5)).round().astype(array.dtype)


def specimen(seed: int = 0, n: int = 64) -> np.ndarray:
    """Raw of n^3 voxels, none of them black."""
    return np.random.default_rng(seed).integers(40, 220, (n, n, n)).astype(np.uint8)


def block(shape=(16, 16, 16), *, at=(4, 4, 4), size=(4, 4, 4), value=1, dtype=np.uint8):
    """A label that is a box of one value."""
    array = np.zeros(shape, dtype)
    array[tuple(slice(a, a + n) for a, n in zip(at, size, strict=True))] = value
    return array


def tree(
    root: Path, *, dataset="jrc_a", crop="crop7", size=4.0, corner=(64.0,) * 3, raw=None, **labels
):
    """One dataset of 64^3 voxels of 4 nm with levels of 4 and 8 nm, and one annotated crop."""
    raw = specimen() if raw is None else raw
    where = root / RAW.format(dataset)
    if not where.exists():
        pyramid(where, {4.0: raw, 8.0: halved(raw)}, chunks=32)
    for label, array in labels.items():
        pyramid(root / TRUTH.format(dataset, crop, label), {size: array}, corner=corner)
    return root


def published(
    root: Path, crops: dict[str, VoxelGrid], *, raw: np.ndarray, chunks=16, labels=(MITO, MEM)
) -> Path:
    """A published tree: raw with levels of 4 and 8 nm, and test crops, each with all labels."""
    pyramid(root / RAW.format("jrc_a"), {4.0: raw, 8.0: halved(raw)}, chunks=chunks)
    rows = [Target(Crop(n, "jrc_a"), label, grid) for n, grid in crops.items() for label in labels]
    (root / CELLMAP.test_manifest).write_text(format_manifest(rows))
    (root / "labels.toml").write_text(format_labels(labels))
    return root
