"""A small challenge made from a seed: manifest, truth, and predictions of any quality.

`mito` (instance) are ellipsoids of few voxels, `nucleus` (instance) one or two large balls, and
`membrane` (semantic) is a thin wavy sheet.  Voxels are 8 x 4 x 4 nm.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from scipy.ndimage import binary_erosion

from evaluator import (
    Crop,
    Kind,
    Label,
    Manifest,
    SubmissionWriter,
    Target,
    VoxelGrid,
    create_volume,
    format_labels,
    format_manifest,
    load_manifest,
    open_volume,
)

VOXEL_SIZE = (8.0, 4.0, 4.0)
LABELS = (
    Label("membrane", 1, Kind.SEMANTIC),
    Label("mito", 2, Kind.INSTANCE),
    Label("nucleus", 3, Kind.INSTANCE),
)


def write_challenge(folder: Path, *, crops: int = 2, size: int = 48, seed: int = 0) -> Manifest:
    """Write manifest.csv, labels.toml and truth.zarr/<crop>/<label> into a folder.

    Crops have (size / 2, size, size) voxels and are called crop1, crop2, …; size: at least 32.
    """
    rng = np.random.default_rng(seed)
    targets = []
    for number in range(1, crops + 1):
        grid = VoxelGrid((size // 2, size, size), VOXEL_SIZE, (800.0 * number, 40.0, 60.0))
        for label in LABELS:
            target = Target(Crop(str(number), "made-up"), label, grid)
            truth = draw(label.name, grid.shape, rng)
            path = folder / "truth.zarr" / target.path
            create_volume(path, grid, truth.dtype, chunks=(32, 32, 32))[:] = truth
            targets.append(target)
    (folder / "manifest.csv").write_text(format_manifest(targets))
    (folder / "labels.toml").write_text(format_labels(LABELS))
    return load_manifest(folder)


def draw(label: str, shape: tuple[int, int, int], rng: np.random.Generator) -> np.ndarray:
    """The truth of one label: uint16 ids, or a uint8 mask of the membrane."""
    z, y, x = np.ogrid[tuple(map(slice, shape))]
    if label == "membrane":
        height = shape[1] / 2 + shape[1] / 6 * np.sin(x / 6 + rng.uniform(0, 6)) + z / 4
        return (np.abs(y - height) <= 2).astype(np.uint8)
    count, radius = (6, shape[1] / 12) if label == "mito" else (2, shape[1] / 5)
    ids = np.zeros(shape, np.uint16)
    for number in range(1, count + 1):
        centre = [rng.uniform(0.2, 0.8) * n for n in shape]
        radii = radius * rng.uniform(0.8, 1.3, 3) * (0.5, 1.0, 1.0)
        offsets = ((axis - c) / r for axis, c, r in zip((z, y, x), centre, radii, strict=True))
        inside = sum(offset**2 for offset in offsets) <= 1
        ids[inside & (ids == 0)] = number
    return ids


def predict(folder: Path, *, quality: float = 0.9, seed: int = 1) -> dict[str, np.ndarray]:
    """A prediction for every target by path, made from the truth.

    quality: 1.0 is the truth with other ids; less leaves out objects, shrinks others, adds specks.
    """
    rng = np.random.default_rng(seed)
    truth = folder / "truth.zarr"
    return {
        target.path: _worsen(target, open_volume(truth / target.path).read(), quality, rng)
        for target in load_manifest(folder).targets
    }


def write_submission(path: Path, folder: Path, *, quality: float = 0.9) -> None:
    """Pack the prediction of all targets of a challenge folder into a zip."""
    manifest = load_manifest(folder)
    with SubmissionWriter(path, manifest) as writer:
        for name, array in predict(folder, quality=quality).items():
            writer.write(manifest.by_path[name], array)


def _worsen(
    target: Target, truth: np.ndarray, quality: float, rng: np.random.Generator
) -> np.ndarray:
    if target.label.kind == Kind.SEMANTIC:
        wrong = rng.random(truth.shape) > quality
        return np.where(wrong, 0, truth).astype(truth.dtype)
    pred = np.zeros_like(truth)
    for number in np.unique(truth[truth > 0]).tolist():
        mask = truth == number
        fate = rng.random()
        if fate > quality:
            mask = binary_erosion(mask) if fate < (1 + quality) / 2 else mask & False
        pred[mask] = number + 100
    if quality < 1:
        specks = np.argwhere(truth == 0)[:: max(1, truth.size // 3)]
        pred[tuple(specks.T)] = np.arange(len(specks)) + 900
    return pred
