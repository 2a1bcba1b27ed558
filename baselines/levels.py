"""The level of a volume that a model can see."""

from __future__ import annotations

import json
from pathlib import Path

from baselines.layout import DataError
from evaluator.volume import Volume, open_volume


def open_level(path: Path, voxel_size: tuple[float, ...]) -> Volume:
    """The level of a volume whose voxels are those of the model, to a tenth.

    An empty voxel_size, or a volume that does not know its own, takes the finest level.
    Raises DataError if no level fits.
    """
    finest = open_volume(path)
    if not voxel_size or finest.grid is None or _alike(finest.grid.voxel_size, voxel_size):
        return finest
    for level in _level_paths(path):
        volume = open_volume(level)
        if volume.grid is not None and _alike(volume.grid.voxel_size, voxel_size):
            return volume
    raise DataError(
        f"{path} has voxels of {finest.grid.voxel_size} nm, and no level of it fits the model, "
        f"which sees {tuple(voxel_size)} nm (Z, Y, X): resample the volume, or train a model at "
        "its voxel size."
    )


def _level_paths(path: Path) -> list[Path]:
    attributes = path / ".zattrs"
    if not attributes.is_file():
        return []
    scales = json.loads(attributes.read_text("utf-8")).get("multiscales") or [{}]
    return [path / level["path"] for level in scales[0].get("datasets", [])[1:]]


def _alike(one: tuple[float, ...], other: tuple[float, ...]) -> bool:
    return all(abs(a - b) <= 0.1 * b for a, b in zip(one, other, strict=True))
