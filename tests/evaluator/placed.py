"""Predictions on disk that say much or little about their place, and targets to bring them onto."""

from __future__ import annotations

import numpy as np
import zarr

from evaluator import get_protocol, open_volume
from tests.evaluator.shapes import target

SOUND, OFFICIAL = get_protocol("crista-1"), get_protocol("cellmap-2026.1")
AT = (100.0, 200.0, 300.0)


def stored(tmp_path, array, *, size=None, offset=None, order="C"):
    """The array on disk, with as much about its place as is given."""
    made = zarr.create_array(
        tmp_path / "a", shape=array.shape, dtype=array.dtype, chunks=(8, 8, 8), zarr_format=2,
        order=order, overwrite=True,
    )  # fmt: skip
    made[:] = array
    if size is not None:
        made.attrs["voxel_size"] = list(map(float, np.broadcast_to(size, 3)))
    if offset is not None:
        made.attrs["translation"] = list(map(float, np.broadcast_to(offset, 3)))
    return open_volume(tmp_path / "a")


def whole(aligned):
    return aligned.planes.planes(0, aligned.planes.shape[0])


def mito(shape=(10, 10, 10), size=4.0, offset=AT):
    return target("instance", shape, (size,) * 3, label="mito", offset=offset)


def er(shape=(10, 10, 10), size=4.0, offset=AT):
    return target("semantic", shape, (size,) * 3, label="er", offset=offset)


def some_ids(shape=(10, 10, 10), dtype="u2"):
    return np.random.default_rng(0).integers(0, 9, shape).astype(dtype)


def some_mask(shape=(10, 10, 10)):
    return np.random.default_rng(0).random(shape) < 0.5


def repeated(array, times):
    return array.repeat(times, 0).repeat(times, 1).repeat(times, 2)
