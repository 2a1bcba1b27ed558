"""Predict a volume of any size: blocks that are written once, tiles that overlap and blend.

Tiles lie on one lattice for the whole volume, so a voxel's value does not depend on the block it
is computed in.  Memory holds one block and one batch of tiles.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from baselines.box import Box, blocks_of
from baselines.config import PredictionConfig
from baselines.light import Light
from baselines.readers import Reader, read_padded
from evaluator.geometry import Shape

Predictor = Callable[[Tensor], Tensor]


@dataclass(frozen=True, slots=True)
class Tiling:
    """How a volume is cut: tile size, overlap, and block size, all (Z, Y, X)."""

    shape: Shape
    tile: Shape
    overlap: Shape
    block: Shape

    def blocks(self) -> Iterator[Box]:
        """Blocks that cover the volume, each voxel once."""
        return blocks_of(self.shape, self.block)

    def tiles(self, block: Box) -> Iterator[Box]:
        """All tiles of the volume's lattice that touch a block."""
        axes = (
            [s for s in tile_starts(n, tile, overlap) if s < b and s + tile > a]
            for n, tile, overlap, a, b in zip(
                self.shape, self.tile, self.overlap, block.start, block.stop, strict=True
            )
        )
        for z, y, x in itertools.product(*axes):
            ends = (a + size for a, size in zip((z, y, x), self.tile, strict=True))
            yield Box((z, y, x), (next(ends), next(ends), next(ends)))


def plan_tiling(shape: Shape, config: PredictionConfig, multiple: Shape) -> Tiling:
    """The tiling of a volume.  A tile is no larger than the volume needs.

    multiple: what the network wants tile sizes to be multiples of.
    """
    sizes = zip(config.tile, shape, multiple, strict=True)
    tile = tuple(min(t - t % m or m, -(-n // m) * m) for t, n, m in sizes)
    overlap = tuple(min(o, t // 2) for o, t in zip(config.overlap, tile, strict=True))
    block = config.block
    return Tiling(
        shape, (tile[0], tile[1], tile[2]), (overlap[0], overlap[1], overlap[2]),
        (block[0], block[1], block[2]),
    )  # fmt: skip


def tile_starts(n: int, tile: int, overlap: int) -> list[int]:
    """Where tiles begin along an axis of n voxels; the last is moved inside.

    A tile larger than the axis begins at 0 and reaches beyond it.
    """
    if n <= tile:
        return [0]
    return [*range(0, n - tile, tile - overlap), n - tile]


def blend_weight(tile: Shape, overlap: Shape) -> np.ndarray:
    """How much each voxel of a tile counts, float32, above 0 everywhere: less near its faces."""
    ramps = []
    for size, width in zip(tile, overlap, strict=True):
        distance = np.minimum(np.arange(size), np.arange(size)[::-1]) + 1
        ramps.append(np.minimum(distance / (width + 1), 1.0).astype(np.float32))
    return ramps[0][:, None, None] * ramps[1][:, None] * ramps[2]


def predict_box(
    predictor: Predictor, raw: Reader, light: Light, *, box: Box, tiling: Tiling,
    labels: int, batch: int,
) -> np.ndarray:  # fmt: skip
    """Probabilities (labels, Z, Y, X) float32 of a box of the volume.

    predictor: normalised raw (N, 1, *tile) -> probabilities (N, labels, *tile).
    """
    total = np.zeros((labels, *box.shape), np.float32)
    weights = np.zeros(box.shape, np.float32)
    blend = blend_weight(tiling.tile, tiling.overlap)
    todo = list(tiling.tiles(box))
    for tiles in (todo[k : k + batch] for k in range(0, len(todo), batch)):
        patches = [light.normalise(read_padded(raw, tile.start, tiling.tile)) for tile in tiles]
        found = predictor(torch.from_numpy(np.stack(patches)[:, None])).numpy()
        for tile, probability in zip(tiles, found, strict=True):
            here, part = tile.within(box), box.within(tile)
            total[(slice(None), *here)] += probability[(slice(None), *part)] * blend[part]
            weights[here] += blend[part]
    if not weights.all():
        raise AssertionError(f"some voxels of {box} lie in no tile")
    return np.divide(total, weights, out=total)


def predictor_of(model: nn.Module, *, device: torch.device, bf16: bool) -> Predictor:
    """A function from normalised raw to probabilities, both on the CPU."""
    model = model.eval()

    def predict(raw: Tensor) -> Tensor:
        with torch.inference_mode(), torch.autocast(device.type, torch.bfloat16, enabled=bf16):
            logits: Tensor = model(raw.to(device))
            return logits.float().sigmoid().cpu()

    return predict
