"""Challenges of one target, made to measure, and what a process looks like from outside."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import zarr

from evaluator import (
    Crop,
    Kind,
    Label,
    Manifest,
    Target,
    VoxelGrid,
    create_volume,
    format_labels,
    format_manifest,
)
from server import scoring
from server.stages import asking

TARGET = "crop1/mito"
SLOW = 128  # voxels along an edge of what takes about a second to decode


def made(folder: Path, truth: np.ndarray, *, protocol: str = "crista-1") -> scoring.Rules:
    """A challenge with one target, `crop1/mito` of voxels of 4 nm."""
    grid = VoxelGrid(truth.shape, (4.0, 4.0, 4.0))
    target = Target(Crop("1", "made-up"), Label("mito", 1, Kind.INSTANCE), grid)
    create_volume(folder / "truth" / TARGET, grid, truth.dtype)[:] = truth
    manifest = Manifest((target,))
    return scoring.Rules(
        format_manifest(manifest.targets), format_labels(manifest.labels.values()), protocol,
        folder / "truth",
    )  # fmt: skip


def sent(folder: Path, pred: np.ndarray, **how) -> Path:
    """A submission, unpacked, of one array that is stored as it is said."""
    how = {"chunks": pred.shape, "zarr_format": 2} | how
    array = zarr.create_array(
        folder / "sent" / TARGET, shape=pred.shape, dtype=pred.dtype, overwrite=True, **how
    )
    array[:] = pred
    return folder / "sent"


def slow(folder: Path) -> tuple[scoring.Rules, Path]:
    """A target whose reading takes about a second: noise in a codec that is slow."""
    noise = np.random.default_rng(0).integers(0, 255, (SLOW,) * 3).astype("u1")
    rules = made(folder, np.ones((SLOW,) * 3, "u1"))
    return rules, sent(folder, noise, compressors=[{"id": "bz2", "level": 9}])


def nursery() -> int:
    """The process that this one's stages are forked from."""
    asking.start()
    return asking._here.nursery.process.pid


def children(process: int) -> list[int]:
    """The processes that one has started and not yet buried."""
    return [
        int(pid) for pid in Path(f"/proc/{process}/task/{process}/children").read_text().split()
    ]


def until(true: Callable[[], object], *, seconds: float = 20.0) -> object:
    """Wait until something is true; its value."""
    deadline = time.monotonic() + seconds
    while not (value := true()):
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.002)
    return value


def is_confined(process: int) -> bool:
    """True once the limits of a stage hold in a process."""
    try:
        limits = Path(f"/proc/{process}/limits").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False
    return "Max open files            256" in limits


def open_files(process: int) -> Iterator[str]:
    """What a process has open."""
    for file in Path(f"/proc/{process}/fd").iterdir():
        yield os.readlink(file)


def is_gone(process: int) -> bool:
    """True if there is no such process, or only what is left of it until it is waited for."""
    try:
        state = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return True
    return state in "ZX"
