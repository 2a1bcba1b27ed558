"""How a prediction gets on, block by block."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from baselines.box import Box
from baselines.predicting.tiling import Tiling
from baselines.progress import counted
from baselines.runs.journal import duration


@dataclass
class Pace:
    """Counts what is done of a volume.

    blocks, voxels, depth: of all that is to be predicted; depth in planes.  begun: seconds, when
    the first of the blocks that were left was begun.  before: voxels that were done then.
    """

    blocks: int
    voxels: int
    depth: int
    begun: float
    done: int
    before: int
    since: int = 0

    @classmethod
    def of(cls, tiling: Tiling, left: Sequence[Box], now: float) -> Pace:
        """Of a volume in which some blocks are left."""
        blocks, core = sum(1 for _ in tiling.blocks()), tiling.predicted
        before = core.voxels - sum(block.voxels for block in left)
        return cls(blocks, core.voxels, core.shape[0], now, blocks - len(left), before)

    def after(self, block: Box, now: float) -> str:
        """What is told when a block is done: how far it is, how fast, how long it will take.

        Planes are voxels that are done by those of a plane: blocks may be done in any order.
        """
        self.done += 1
        self.since += block.voxels
        there = self.before + self.since
        speed = self.since / max(now - self.begun, 1e-9)
        left = duration((self.voxels - there) / speed)
        return (
            f"block {self.done} of {self.blocks}, {there * self.depth // self.voxels} of "
            f"{counted(self.depth, 'plane')}, {speed / 1e6:.3g} million voxels/s, {left} left"
        )
