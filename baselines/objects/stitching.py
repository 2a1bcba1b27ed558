"""Objects of a volume of any size: block by block, with the ids right across blocks.

1. pieces: every block is decoded with a margin and written with numbers of its own.
2. pairs: pieces of neighbouring blocks that are one object are found where the blocks meet.
3. Blocks are read again with a margin, given their objects' ids, widened and filled, and written.
4. Small objects are left out, and the others numbered without gaps.

Components, and so the seeds of watersheds, are exactly those of the whole volume.  Borders that a
watershed draws may differ from those of the whole volume where its way is longer than the margin.
Memory holds a block with its margin, and some bytes per piece.
"""

from __future__ import annotations

import math
import tempfile
from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import zarr

from baselines.box import Box, blocks_of, common_box
from baselines.objects.decoding import (
    Thresholds,
    decoded,
    filled,
    grown,
    mask_of,
    seeds_of,
)
from baselines.objects.heads import AFFINITY, BCD, Head
from baselines.objects.overlap import alike, numbered, pairs_of
from baselines.objects.watershed import SMALLEST_SEED, flood
from baselines.progress import Progress
from baselines.volumes.components import components
from evaluator.geometry import Shape

Read = Callable[[Box], np.ndarray]  # a box of the volume -> (channels, *box) uint8
BLOCK: Shape = (256, 256, 256)
BLOCK_OF_AFFINITIES: Shape = (128, 128, 128)  # they are many, and each is looked at
MARGIN = 32  # voxels of the finest axis


@dataclass
class Pieces:
    """Numbers of pieces in an array, while blocks are decoded, and which belong together."""

    array: zarr.Array[Any]
    most: int = 0
    pairs: list[np.ndarray] = field(default_factory=list)

    def take(self, count: int) -> int:
        """Reserve so many numbers; the one before the first."""
        first, self.most = self.most, self.most + count
        if self.most >= 2**32:
            raise OverflowError("there are more pieces of objects than 32 bits can number.")
        return first

    def write(self, box: Box, ids: np.ndarray) -> None:
        """Enter a block."""
        self.array[box.slices] = ids

    def before(self, box: Box, axis: int, thick: int = 1) -> Box | None:
        """The box of so many planes that lie before a block along an axis; None at the edge."""
        start, stop = list(box.start), list(box.stop)
        start[axis], stop[axis] = max(box.start[axis] - thick, 0), box.start[axis]
        if start[axis] == stop[axis]:
            return None
        return Box((start[0], start[1], start[2]), (stop[0], stop[1], stop[2]))

    def touching(self, box: Box, ids: np.ndarray, axis: int) -> tuple[np.ndarray, np.ndarray]:
        """Pairs of numbers, (n, 2), that share faces with the block before, and how many."""
        before = self.before(box, axis)
        if before is None:
            return np.zeros((0, 2), np.int64), np.zeros(0, np.int64)
        there = np.asarray(self.array[before.slices]).take(0, axis=axis)
        return pairs_of(there, ids.take(0, axis=axis))


@dataclass(frozen=True, slots=True)
class Work:
    """What is to be decoded: probabilities, how, and in which blocks of a volume."""

    read: Read
    head: Head
    thresholds: Thresholds
    shape: Shape
    block: Shape
    halo: Shape

    @property
    def blocks(self) -> list[Box]:
        """Blocks that cover the volume, each voxel once."""
        return list(blocks_of(self.shape, self.block))

    def wide(self, box: Box) -> Box:
        """A block with its margin, as far as the volume goes."""
        wide = common_box(box.grown(self.halo), Box((0, 0, 0), self.shape))
        return wide or box

    def array(self, path: Path) -> zarr.Array[Any]:
        """An array for ids."""
        chunks = tuple(map(min, self.block, self.shape))
        return zarr.create_array(
            path, shape=self.shape, dtype=np.uint32, chunks=chunks, fill_value=0
        )


def stitch(
    read: Read, out: zarr.Array[Any], head: Head, thresholds: Thresholds, *, smallest: int = 0,
    fill_holes: bool = True, block: Shape | None = None, margin: int = MARGIN,
    scratch: Path | None = None, progress: Progress = lambda _: None,
) -> int:  # fmt: skip
    """Write the objects of a label, numbered from 1; how many there are.

    read: gives the probabilities of a box, as `objects_of` wants them.
    out: uint32 (Z, Y, X).  smallest: objects of fewer voxels are left out.
    block: voxels; by default as much as memory for a block of this representation allows.
    margin: voxels of the finest axis by which blocks are decoded wider.
    scratch: where a folder for arrays as large as `out` is made, and removed at the end.
    Holes that reach farther than the margin from their block stay open.
    """
    z, y, x = out.shape
    block = block or (BLOCK_OF_AFFINITIES if head.representation == AFFINITY else BLOCK)
    fine = min(head.voxel_size)
    halo_z, halo_y, halo_x = (math.ceil(margin * fine / size) for size in head.voxel_size)
    work = Work(read, head, thresholds, (z, y, x), block, (halo_z, halo_y, halo_x))
    with tempfile.TemporaryDirectory(dir=scratch) as folder:
        pieces = Pieces(work.array(Path(folder) / "pieces"))
        if head.representation == AFFINITY:
            _mutex_pieces(work, pieces, progress)
        elif head.representation == BCD:
            seeds = Pieces(work.array(Path(folder) / "seeds"))
            _flooded_pieces(work, pieces, seeds, _seeds(work, seeds), progress)
        else:
            mask = thresholds.mask
            _components(lambda box: mask_of(read(box)[0], mask), pieces, work.blocks)
        table = numbered(pieces.most, pieces.pairs)
        sizes = np.zeros(int(table.max()) + 1, np.int64)
        for box in work.blocks:
            wide = work.wide(box)
            ids = grown(table[np.asarray(pieces.array[wide.slices])], head.shrink)
            ids = filled(ids, planar=head.planar) if fill_holes else ids
            out[box.slices] = here = ids[box.within(wide)]
            sizes += np.bincount(here.ravel(), minlength=len(sizes))
    return _renumber(out, sizes, work.blocks, smallest)


def _components(read_mask: Callable[[Box], np.ndarray], pieces: Pieces, blocks: list[Box]) -> None:
    """Components of a mask: those of neighbouring blocks that share a face are one."""
    for box in blocks:
        ids = components(read_mask(box), smallest=1)
        first = pieces.take(int(ids.max(initial=0)))
        ids = np.where(ids > 0, ids + np.uint32(first), 0)
        pieces.write(box, ids)
        pieces.pairs += [pieces.touching(box, ids, axis)[0] for axis in range(3)]


def _seeds(work: Work, seeds: Pieces) -> np.ndarray:
    """Fill the array of seeds; the table that makes their numbers those of the whole volume."""
    _components(lambda box: seeds_of(work.read(box), work.thresholds), seeds, work.blocks)
    table = numbered(seeds.most, seeds.pairs)
    sizes = np.zeros(int(table.max()) + 1, np.int64)
    for box in work.blocks:
        found = table[np.asarray(seeds.array[box.slices])]
        sizes += np.bincount(found.ravel(), minlength=len(sizes))
    kept: np.ndarray = _kept(sizes, SMALLEST_SEED)[table]
    return kept


def _flooded_pieces(
    work: Work, pieces: Pieces, seeds: Pieces, table: np.ndarray, progress: Progress
) -> None:
    """Floods from the seeds of the whole volume, which carry the same ids into every block.

    What no seed reaches in its block is a stray; it belongs to what it touches most in the blocks
    beside.
    """
    pieces.take(int(table.max()))
    seeded = pieces.most
    contacts: list[tuple[np.ndarray, np.ndarray]] = []
    for n, box in enumerate(work.blocks, start=1):
        wide = work.wide(box)
        here = table[np.asarray(seeds.array[wide.slices])]
        ids, largest = flood(work.read(wide), here, mask=work.thresholds.mask)
        ids = ids[box.within(wide)]
        strays = np.where(ids > largest, ids - np.uint32(largest), 0)
        first = pieces.take(int(strays.max(initial=0)))
        ids = np.where(strays > 0, strays + np.uint32(first), ids)
        pieces.write(box, ids)
        contacts += [pieces.touching(box, ids, axis) for axis in range(3)]
        progress(f"{n} of {len(work.blocks)} blocks")
    pairs = np.concatenate([pairs for pairs, _ in contacts])
    pieces.pairs += joins(pairs, np.concatenate([n for _, n in contacts]), seeded, pieces.most)


def joins(pairs: np.ndarray, faces: np.ndarray, seeded: int, most: int) -> list[np.ndarray]:
    """Pairs that make strays one with the strays they touch, and each such group with one owner.

    pairs: (n, 2) ids that touch; faces: how many they share; ids above `seeded` are strays.
    Two ids up to `seeded` are never joined, however much they touch.
    """
    strays = pairs > seeded
    together = pairs[strays.all(axis=1)]
    groups = numbered(most, [together])
    contact: dict[int, Counter[int]] = defaultdict(Counter)
    mixed = strays.any(axis=1) & ~strays.all(axis=1)
    for pair, n in zip(pairs[mixed].tolist(), faces[mixed].tolist(), strict=True):
        contact[int(groups[max(pair)])][min(pair)] += n
    members = dict(zip(groups.tolist(), range(most + 1), strict=True))
    owned = [(members[group], max(c, key=lambda k: (c[k], -k))) for group, c in contact.items()]
    return [together, np.array(owned, np.int64).reshape(-1, 2)]


def _mutex_pieces(work: Work, pieces: Pieces, progress: Progress) -> None:
    """Each block by itself; its pieces are those of the block before which they mostly cover."""
    for n, box in enumerate(work.blocks, start=1):
        wide = work.wide(box)
        ids = decoded(work.read(wide), work.head, work.thresholds)
        first = pieces.take(int(ids.max(initial=0)))
        ids = np.where(ids > 0, ids + np.uint32(first), 0)
        for axis in range(3):
            before = pieces.before(box, axis, work.halo[axis])
            if before is not None:
                there = np.asarray(pieces.array[before.slices])
                pieces.pairs.append(alike(there, ids[before.within(wide)]))
        pieces.write(box, ids[box.within(wide)])
        progress(f"{n} of {len(work.blocks)} blocks")


def _kept(sizes: np.ndarray, smallest: int) -> np.ndarray:
    """New ids for 0 .. n, uint32: 1, 2, … for those that are large enough, 0 for the others."""
    keep = sizes >= max(smallest, 1)
    keep[0] = False
    table: np.ndarray = np.where(keep, np.cumsum(keep), 0).astype(np.uint32)
    return table


def _renumber(out: zarr.Array[Any], sizes: np.ndarray, blocks: list[Box], smallest: int) -> int:
    table = _kept(sizes, smallest)
    if not np.array_equal(table, np.arange(len(table))):
        for box in blocks:
            out[box.slices] = table[np.asarray(out[box.slices])]
    return int(table.max())
