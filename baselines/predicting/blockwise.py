"""Predict a volume of any size, block by block from the first plane to the last.

Sums over the tiles are kept for one block and the depth of a tile, on the device where they are
made: memory does not depend on the volume, and along Z no tile is computed twice.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from baselines.box import Box
from baselines.predicting.tiling import CHUNK, Tiling
from baselines.volumes.light import Light
from baselines.volumes.readers import Reader, read_padded
from evaluator.geometry import Shape

Predictor = Callable[[Tensor], Tensor]


def predict_box(
    predictor: Predictor, raw: Reader, light: Light, *, box: Box, tiling: Tiling,
    channels: int, batch: int,
) -> np.ndarray:  # fmt: skip
    """Probabilities (channels, Z, Y, X) float32 of a box of the volume.

    predictor: normalised raw (N, 1, Z + 2 context, Y, X) of a tile -> probabilities
    (N, channels, *tile), on any device.
    """
    out = np.empty((channels, *box.shape), np.float32)
    blocks = stream(
        predictor, raw, light, box=box, tiling=tiling, channels=channels, batch=batch
    )  # fmt: skip
    for block, probability in blocks:
        out[(slice(None), *block.within(box))] = probability.cpu().numpy()
    return out


def stream(
    predictor: Predictor, raw: Reader, light: Light, *, box: Box, tiling: Tiling,
    channels: int, batch: int,
) -> Iterator[tuple[Box, Tensor]]:  # fmt: skip
    """The same in parts as deep as a block, in the order of Z: (part, its probabilities).

    The probabilities may be changed, and are overwritten when the next part is asked for.
    """
    blend: Blend | None = None
    for tile, probability in _predicted(predictor, raw, light, box, tiling, batch):
        if blend is None:
            blend = Blend(tiling, box, channels, probability.device)
        while tile.start[0] >= blend.part.stop[0]:  # no later tile reaches the part
            yield blend.part, blend.finished
            blend.advance()
        blend.add(tile, probability)
    while blend is not None and blend.part.start[0] < box.stop[0]:
        yield blend.part, blend.finished
        blend.advance()


@dataclass
class Blend:
    """Weighted sums over the tiles, of a part of a box and of what its tiles reach below it.

    low: the first plane of the part.
    """

    tiling: Tiling
    box: Box
    channels: int
    device: torch.device
    low: int = field(init=False)

    def __post_init__(self) -> None:
        self.low = self.box.start[0]
        # All at once: one small tensor after the other, between large ones, would tear memory up.
        self._weights = [self._of_axis(axis) for axis in range(3)]
        depth = min(self.tiling.block[0] + self.tiling.tile[0], self.box.shape[0])
        shape = (self.channels, depth, *self.box.shape[1:])
        self._sums = torch.zeros(shape, device=self.device)

    @property
    def part(self) -> Box:
        """The part that is being summed."""
        _, *end = self.box.stop
        _, *start = self.box.start
        last = min(self.low + self.tiling.block[0], self.box.stop[0])
        return Box((self.low, start[0], start[1]), (last, end[0], end[1]))

    def add(self, tile: Box, probability: Tensor) -> None:
        """Add the probabilities (channels, *tile) of a tile where it meets the box."""
        around = Box(
            (self.low, *self.box.start[1:]),
            (self.low + self._sums.shape[1], *self.box.stop[1:]),
        )  # fmt: skip
        here, inside = tile.within(around), around.within(tile)
        z, y, x = (
            self._weight(axis, tile.start[axis])[part] for axis, part in enumerate(inside)
        )  # fmt: skip
        weight = z[:, None, None] * y[:, None] * x
        self._sums[(slice(None), *here)].addcmul_(probability[(slice(None), *inside)], weight)

    @property
    def finished(self) -> Tensor:
        """The probabilities (channels, *part) of the part, once no tile is missing."""
        return self._sums[:, : self.part.shape[0]]

    def advance(self) -> None:
        """Go on to the next part: what the tiles left below this one moves to the top."""
        depth = self.part.shape[0]
        rest = self._sums[:, depth:].clone()
        self._sums[:, : rest.shape[1]] = rest
        self._sums[:, rest.shape[1] :] = 0
        self.low += depth

    def _of_axis(self, axis: int) -> tuple[dict[int, int], Tensor]:
        """Per start of a tile over the box its row, and rows of weights, on the device."""
        low, high = self.box.start[axis], self.box.stop[axis]
        size, weights = self.tiling.tile[axis], self.tiling.weights(axis)
        starts = [start for start in weights if start < high and start + size > low]
        rows = np.stack([weights[start] for start in starts])
        return {start: n for n, start in enumerate(starts)}, torch.from_numpy(rows).to(self.device)

    def _weight(self, axis: int, start: int) -> Tensor:
        rows, weights = self._weights[axis]
        return weights[rows[start]]


def _predicted(
    predictor: Predictor, raw: Reader, light: Light, box: Box, tiling: Tiling, batch: int
) -> Iterator[tuple[Box, Tensor]]:
    """Each tile over a box with its probabilities, in the order of Z; reading runs ahead."""
    tiles, raw = tiling.tiles(box), Sweep(raw, _plane(box, tiling))
    groups = iter(lambda: list(itertools.islice(tiles, batch)), [])
    with ThreadPoolExecutor(max_workers=1) as reader:
        ahead = reader.submit(_patches, raw, light, next(groups), tiling)
        for group in groups:
            coming = reader.submit(_patches, raw, light, group, tiling)
            yield from _through(predictor, *ahead.result())
            ahead = coming
        yield from _through(predictor, *ahead.result())


@dataclass
class Sweep:
    """A volume that is read from its first plane to its last, in boxes that overlap.

    Some planes are kept, up to the end of a layer of chunks, so that no chunk is decoded, and no
    voxel resampled, for every tile anew.  plane: the only rows and columns that are asked for.
    """

    source: Reader
    plane: tuple[slice, slice]

    def __post_init__(self) -> None:
        self._low = 0
        self._kept = np.empty((0, 0, 0), np.uint8)

    @property
    def shape(self) -> Shape:
        """Voxels (Z, Y, X) of the whole volume."""
        return self.source.shape

    def read(self, start: Shape, stop: Shape) -> np.ndarray:
        """A box within the plane."""
        y, x = self.plane
        if start[0] < self._low or stop[0] > self._low + len(self._kept):
            last = min(-(-stop[0] // CHUNK) * CHUNK, self.shape[0])
            self._low = start[0]
            self._kept = self.source.read((start[0], y.start, x.start), (last, y.stop, x.stop))
        return self._kept[
            start[0] - self._low : stop[0] - self._low,
            start[1] - y.start : stop[1] - y.start,
            start[2] - x.start : stop[2] - x.start,
        ]


def _plane(box: Box, tiling: Tiling) -> tuple[slice, slice]:
    """The rows and columns of the volume that the tiles over a box see, mirrored ones included."""
    tiles = list(tiling.tiles(Box(box.start, (box.start[0] + 1, *box.stop[1:]))))
    ends = []
    for axis in (1, 2):
        low = min(tile.start[axis] for tile in tiles)
        high = max(tile.stop[axis] for tile in tiles)
        n = tiling.shape[axis]
        ends.append(slice(low, high) if high <= n else slice(0, n))
    return ends[0], ends[1]


def _through(predictor: Predictor, tiles: list[Box], raw: Tensor) -> Iterator[tuple[Box, Tensor]]:
    return zip(tiles, predictor(raw).float(), strict=True)


def _patches(
    raw: Reader, light: Light, tiles: list[Box], tiling: Tiling
) -> tuple[list[Box], Tensor]:
    """The tiles, and normalised raw (N, 1, Z + 2 context, Y, X) of them."""
    wide = (tile.grown((tiling.context, 0, 0)) for tile in tiles)
    parts = np.stack([read_padded(raw, box.start, box.shape) for box in wide])
    return tiles, torch.from_numpy(light.normalise(parts)[:, None])
