"""What predicting the challenge's test crops would take, from the time that a tile took."""

from __future__ import annotations

import csv
import math
from pathlib import Path
from typing import Any

from baselines.config import PredictionConfig
from baselines.predicting.tiling import Tiling, plan_tiling
from evaluator.geometry import Shape

CROPS = Path(__file__).resolve().parents[2] / "shared/data/cellmap/test_crop_manifest.csv"
VOXEL = 8.0  # nm


def tiles_of(tiling: Tiling) -> int:
    """How many tiles go through the network for a volume.

    A column of blocks is predicted by itself: tiles over two columns go through twice.
    """
    along = [len(tiling.weights(0))]
    for axis in (1, 2):
        n, block, tile = tiling.shape[axis], tiling.block[axis], tiling.tile[axis]
        along.append(sum(
            start < min(first + block, n) and start + tile > first
            for first in range(0, n, block) for start in tiling.weights(axis)
        ))  # fmt: skip
    return math.prod(along)


def shapes_at(table: Path, voxel: float) -> dict[str, Shape]:
    """The size of every crop in a manifest of the challenge, in voxels so many nm long."""
    if not table.is_file():
        raise FileNotFoundError(
            f"{table} is missing: name the table of test crops with --crops, or keep the JSON and "
            "run again with --from where it lies"
        )
    shapes = {}
    with table.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            size, shape = (
                [float(n) for n in row[key].strip("[]").split(";")]
                for key in ("voxel_size", "shape")
            )
            z, y, x = (math.ceil(n * s / voxel) for n, s in zip(shape, size, strict=True))
            shapes[row["crop_name"]] = (z, y, x)
    return shapes


def hours_of(measured: dict[str, Any], table: Path) -> dict[str, Any]:
    """Hours for the boxes of the test crops at 8 nm, from the measured time of a tile.

    measured: of `benchmarks.gpu`'s prediction: settings, multiple, channels, seconds_per_tile.
    """
    shapes = shapes_at(table, VOXEL)
    settings = PredictionConfig(**measured["settings"])
    tiles = sum(
        tiles_of(plan_tiling(
            shape, settings, tuple(measured["multiple"]), channels=measured["channels"]
        ))
        for shape in shapes.values()
    )  # fmt: skip
    return {
        "crops": len(shapes), "gvoxel": sum(map(math.prod, shapes.values())) / 1e9,
        "tiles": tiles, "hours": tiles * measured["seconds_per_tile"] / 3600,
    }  # fmt: skip
