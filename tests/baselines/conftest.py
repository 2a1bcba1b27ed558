"""A small phantom, made once, and settings that train in seconds."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from baselines.config import Config, build
from baselines.layout import DataFolder
from baselines.phantoms.phantom import PhantomPlan, write_phantom

PLAN = PhantomPlan(shape=(12, 64, 64), voxel_size=(8.0, 8.0, 8.0), seed=2, train=2, cell_nm=300.0)


@pytest.fixture(scope="session", autouse=True)
def _one_thread():
    # Tests run beside each other; threads that wait for each other would only slow them down.
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def phantom(tmp_path_factory) -> DataFolder:
    """Two training crops and a hidden one of 12 x 64 x 64 voxels.  Tests only read it."""
    folder: Path = tmp_path_factory.mktemp("phantom") / "data"
    write_phantom(folder, PLAN, progress=lambda _: None)
    return DataFolder(folder)


def tiny(**training) -> Config:
    """A planar network of two levels with a schedule of a few steps."""
    return build(
        Config,
        {
            "data": {"labels": ["cell", "mem"]},
            "split": {"fraction": 0.2},
            "model": {"width": 8, "levels": 2, "stem": 1},
            "training": {"iterations": 6, "batch": 2, "patch": [1, 32, 32], **training},
            "prediction": {
                "tile": [1, 32, 32], "overlap": [0, 8, 8], "block": [5, 40, 40], "batch": 4,
            },
        },
        where="",
    )  # fmt: skip


def tiny_volume() -> Config:
    """The same for volumes."""
    return build(
        Config,
        {
            "data": {"labels": ["cell", "mem"]},
            "split": {"fraction": 0.2},
            "model": {"dims": 3, "width": 8, "levels": 2, "stem": 2},
            "training": {"iterations": 3, "batch": 1, "patch": [8, 32, 32]},
            "prediction": {
                "tile": [8, 32, 32], "overlap": [2, 8, 8], "block": [8, 64, 64], "batch": 2,
            },
        },
        where="",
    )  # fmt: skip
