"""Objects as rows: where each lies, how large it is, and how bright its raw.

Everything about brightness follows from how often each grey value occurs in each object, which
adds up over blocks: medians are exact, and memory holds one number per object and grey value.
"""

from __future__ import annotations

import csv
import dataclasses
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from baselines.box import Box, blocks_of
from baselines.layout import DataError
from baselines.volumes.readers import Reader
from evaluator.geometry import Nanometres, Shape, VoxelGrid

_BLOCK: Shape = (64, 512, 512)
_VALUES = 2**16  # grey values that raw may have


@dataclass(frozen=True, slots=True)
class Brightness:
    """Grey values of an object's voxels; sd is that of all of them."""

    min: float
    max: float
    mean: float
    median: float
    sd: float
    sum: float


@dataclass(frozen=True, slots=True)
class Row:
    """One object.  All (Z, Y, X): the centroid in nm, the box of its voxels in voxels.

    brightness: None where raw is not known.
    """

    id: int
    voxels: int
    volume_nm3: float
    centroid_nm: Nanometres
    box: Box
    brightness: Brightness | None


BRIGHTNESS = tuple(field.name for field in dataclasses.fields(Brightness))


def object_table(ids: Reader, grid: VoxelGrid, raw: Reader | None = None) -> list[Row]:
    """A row per object in the order of ids; none for a volume without objects.

    ids: (Z, Y, X), 0 for none.  raw: whole numbers of at most 16 bits, as large as ids.
    Raises DataError for other raw.
    """
    if raw is not None and raw.shape != ids.shape:
        raise DataError(f"raw has shape {raw.shape}, the objects have {ids.shape}.")
    places: dict[int, np.ndarray] = {}
    levels = np.zeros((0, 2), np.int64)
    for box in blocks_of(ids.shape, _BLOCK):
        here = np.asarray(ids.read(box.start, box.stop))
        if not here.any():
            continue
        _add_places(places, here, box)
        if raw is not None:
            levels = _added(levels, here, raw.read(box.start, box.stop))
    bright = {number: _brightness(part) for number, part in _by_object(levels)}
    return [_row(number, places[number], grid, bright.get(number)) for number in sorted(places)]


def _add_places(places: dict[int, np.ndarray], ids: np.ndarray, box: Box) -> None:
    """Add voxels, sums of positions (3), starts (3) and stops (3) of a block's objects."""
    index = np.nonzero(ids)
    numbers, which = np.unique(ids[index], return_inverse=True)
    found = np.zeros((len(numbers), 10), np.int64)
    found[:, 0] = np.bincount(which)
    for axis, (positions, first) in enumerate(zip(index, box.start, strict=True)):
        here = positions + first
        found[:, 1 + axis] = np.bincount(which, here)
        low, high = np.full(len(numbers), np.iinfo(np.int64).max), np.zeros(len(numbers), np.int64)
        np.minimum.at(low, which, here)
        np.maximum.at(high, which, here + 1)
        found[:, 4 + axis], found[:, 7 + axis] = low, high
    for number, new in zip(numbers.tolist(), found, strict=True):
        if (old := places.get(number)) is not None:
            new[:4] += old[:4]
            new[4:7] = np.minimum(new[4:7], old[4:7])
            new[7:] = np.maximum(new[7:], old[7:])
        places[number] = new


def _added(levels: np.ndarray, ids: np.ndarray, raw: np.ndarray) -> np.ndarray:
    """Rows (key, how often) with a block's added; a key is id * 65536 + grey value."""
    if raw.dtype.kind not in "ui" or raw.dtype.itemsize > 2 or int(raw.min(initial=0)) < 0:
        raise DataError(
            f"raw holds {raw.dtype}; grey values of objects need whole numbers from 0 to 65535: "
            "convert it, or leave it out."
        )
    inside = ids > 0
    keys, counts = np.unique(
        ids[inside].astype(np.int64) * _VALUES + raw[inside], return_counts=True
    )
    keys, where = np.unique(np.concatenate([levels[:, 0], keys]), return_inverse=True)
    counts = np.bincount(where, np.concatenate([levels[:, 1], counts])).astype(np.int64)
    return np.stack([keys, counts], axis=1)


def _by_object(levels: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
    """Per object its grey values and how often each occurs, (n, 2)."""
    numbers, first = np.unique(levels[:, 0] // _VALUES, return_index=True)
    ends = np.append(first[1:], len(levels))
    for number, start, end in zip(numbers.tolist(), first, ends[: len(first)], strict=True):
        yield number, np.stack([levels[start:end, 0] % _VALUES, levels[start:end, 1]], axis=1)


def _brightness(levels: np.ndarray) -> Brightness:
    values, counts = levels.T
    n, total = int(counts.sum()), int((values * counts).sum())
    mean = total / n
    upto = counts.cumsum()
    middle = [values[np.searchsorted(upto, k, side="right")] for k in ((n - 1) // 2, n // 2)]
    return Brightness(
        min=float(values[0]), max=float(values[-1]), mean=mean, median=float(np.mean(middle)),
        sd=math.sqrt(float((counts * (values - mean) ** 2).sum()) / n), sum=float(total),
    )  # fmt: skip


def _row(number: int, place: np.ndarray, grid: VoxelGrid, brightness: Brightness | None) -> Row:
    voxels, *numbers = map(int, place)
    z, y, x = (
        round(total / voxels * size + offset, 3)
        for total, size, offset in zip(numbers[:3], grid.voxel_size, grid.offset, strict=True)
    )
    box = Box((numbers[3], numbers[4], numbers[5]), (numbers[6], numbers[7], numbers[8]))
    volume = voxels * math.prod(grid.voxel_size)
    return Row(number, voxels, volume, (z, y, x), box, brightness)


def write_table(rows: Iterable[Row], path: Path) -> None:
    """Rows as CSV, with a heading even where there is none.  What is not known stays empty."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow([
            "id", "voxels", "volume_nm3",
            *(f"centroid_{axis}_nm" for axis in "zyx"),
            *(f"{end}_{axis}" for end in ("start", "stop") for axis in "zyx"),
            *BRIGHTNESS,
        ])  # fmt: skip
        for row in rows:
            bright = dataclasses.astuple(row.brightness) if row.brightness else ()
            bright = bright or ("",) * len(BRIGHTNESS)
            place = (*row.centroid_nm, *row.box.start, *row.box.stop)
            writer.writerow((row.id, row.voxels, row.volume_nm3, *place, *bright))
