"""How a volume is cut for prediction: tiles on one lattice, blocks that are written at once.

Tiles overlap and count less towards their faces, by a Gaussian.  The lattice depends on the volume
alone, and the weights of the tiles over a voxel add up to 1, so a voxel's value does not depend on
the block it is computed in.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from baselines.box import Box, blocks_of
from baselines.config import PredictionConfig
from evaluator.geometry import Shape

CHUNK = 64  # voxels: blocks longer than this along an axis are multiples of it
LEAST_WEIGHT = 1e-3  # of a tile's middle: where a voxel has only a tile's rim, the rim must count


@dataclass(frozen=True, slots=True)
class Tiling:
    """Sizes (Z, Y, X) of a volume, its tiles, their overlap and its blocks.

    context: planes that the network sees on each side of a tile.  core: what of the volume is to be
    predicted; None: all of it.
    """

    shape: Shape
    tile: Shape
    overlap: Shape
    block: Shape
    context: int = 0
    core: Box | None = None

    @property
    def predicted(self) -> Box:
        """What is to be predicted: the core, or the whole volume."""
        return self.core or Box((0, 0, 0), self.shape)

    def blocks(self) -> Iterator[Box]:
        """Blocks that cover what is to be predicted, each voxel once."""
        for block in blocks_of(self.predicted.shape, self.block):
            yield block.moved(self.predicted.start)

    def parts(self, box: Box) -> Iterator[Box]:
        """A box cut into the depth of blocks, from its first plane on."""
        for part in blocks_of(box.shape, (self.block[0], *box.shape[1:])):
            yield part.moved(box.start)

    def tiles(self, box: Box) -> Iterator[Box]:
        """All tiles of the volume's lattice that touch a box, plane by plane of it."""
        axes = (
            [s for s in self.weights(axis) if s < stop and s + self.tile[axis] > start]
            for axis, (start, stop) in enumerate(zip(box.start, box.stop, strict=True))
        )
        depth, height, width = self.tile
        for z, y, x in itertools.product(*axes):
            yield Box((z, y, x), (z + depth, y + height, x + width))

    def weights(self, axis: int) -> dict[int, np.ndarray]:
        """Per start of a tile along an axis, how much its voxels count."""
        return axis_weights(self.shape[axis], self.tile[axis], self.overlap[axis])

    def chunks(self) -> Shape:
        """Chunks of arrays that hold whole numbers of them per block: nothing is written twice."""
        z, y, x = (min(CHUNK, n) for n in self.block)
        return (z, y, x)


def plan_tiling(
    shape: Shape, config: PredictionConfig, multiple: Shape, *, context: int = 0,
    channels: int = 0, core: Box | None = None,
) -> Tiling:  # fmt: skip
    """The tiling of a volume.  A tile is no larger than the volume needs.

    multiple: what the network wants tile sizes to be multiples of.
    channels: of the prediction; blocks then grow within the plane as far as memory allows, so that
    fewer tiles reach into two of them and are computed twice.  0: they stay as the settings say.
    """
    sizes = zip(config.tile, shape, multiple, strict=True)
    depth, height, width = (min(t - t % m or m, -(-n // m) * m) for t, n, m in sizes)
    over_z, over_y, over_x = (
        min(o, t // 2) for o, t in zip(config.overlap, (depth, height, width), strict=True)
    )
    block_z, block_y, block_x = map(whole_chunks, config.block)
    if channels:  # bytes per pixel of float32 sums, which reach a tile below their block
        most = config.memory_gb * 1e9 / (4 * channels * (block_z + depth))
        block_y, block_x = widened((block_y, block_x), (core.shape if core else shape)[1:], most)
    return Tiling(
        shape, (depth, height, width), (over_z, over_y, over_x), (block_z, block_y, block_x),
        context, core,
    )  # fmt: skip


def whole_chunks(n: int) -> int:
    """The next length that is a whole number of chunks, or one shorter chunk."""
    return n if n <= CHUNK else -(-n // CHUNK) * CHUNK


def widened(block: tuple[int, int], plane: tuple[int, int], most: float) -> tuple[int, int]:
    """A block (Y, X) doubled, its shorter side first, while it has at most so many pixels."""
    while True:
        sides = [k for k in (0, 1) if block[k] < plane[k]]
        if not sides:
            return block
        side = min(sides, key=lambda k: block[k])
        longer = whole_chunks(2 * block[side])
        wider = (longer, block[1]) if side == 0 else (block[0], longer)
        if wider[0] * wider[1] > most:
            return block
        block = wider


def tile_starts(n: int, tile: int, overlap: int) -> list[int]:
    """Where tiles begin along an axis of n voxels; the last is moved inside.

    A tile larger than the axis begins at 0 and reaches beyond it.
    """
    if n <= tile:
        return [0]
    return [*range(0, n - tile, tile - overlap), n - tile]


@lru_cache(maxsize=64)
def axis_weights(n: int, tile: int, overlap: int) -> dict[int, np.ndarray]:
    """Per start of a tile along an axis, the weight of its voxels (tile,) float32, above 0.

    A Gaussian with a deviation of an eighth of the tile, and at every voxel divided by the sum over
    the tiles there.
    """
    distance = np.arange(tile) - (tile - 1) / 2
    bell = np.maximum(np.exp(-0.5 * np.square(distance * 8 / tile)), LEAST_WEIGHT)
    starts = tile_starts(n, tile, overlap)
    total = np.zeros(starts[-1] + tile)
    for start in starts:
        total[start : start + tile] += bell
    return {s: (bell / total[s : s + tile]).astype(np.float32) for s in starts}


def columns(blocks: Sequence[Box], most: int | None = None) -> Iterator[Box]:
    """Blocks that follow each other along Z as one box, of so many blocks at most."""
    held: list[Box] = []
    for block in blocks:
        follows = held and (
            block.start == (held[-1].stop[0], *held[-1].start[1:]) and len(held) != most
        )
        if held and not follows:
            yield Box(held[0].start, held[-1].stop)
            held = []
        held.append(block)
    if held:
        yield Box(held[0].start, held[-1].stop)
