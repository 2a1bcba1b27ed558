"""A prediction on the grid of its target."""

from __future__ import annotations

from dataclasses import dataclass

from evaluator.manifest import Target
from evaluator.protocol import Protocol
from evaluator.volume import ArrayPlanes, Planes, Volume


@dataclass(frozen=True, slots=True)
class Aligned:
    """A prediction on its target's grid.

    planes: of the target's shape; bool where a semantic prediction was resampled.
    quirks: rules of the protocol that are not the sound ones and had an effect here.
    resampled: False if every voxel is one that was sent.
    """

    planes: Planes
    quirks: frozenset[str]
    resampled: bool


def align(volume: Volume, target: Target, protocol: Protocol) -> Aligned:
    """The prediction on the target's grid.  Raises Unreadable."""
    if volume.shape == target.grid.shape and volume.grid in (None, target.grid):
        return Aligned(volume, frozenset(), resampled=False)
    return Aligned(ArrayPlanes(volume.read_on(target.grid)), frozenset(), resampled=False)
