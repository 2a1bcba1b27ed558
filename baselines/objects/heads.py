"""What a network puts out: the channels of each label, in order.

The first channel of a label is its mask, whatever follows: one rule for Dice and for thresholds.

semantic     mask
components   mask with gaps between objects that touch; connected components make the objects
bcd          mask, contour, distance; a watershed from seeds makes the objects
affinity     mask, and whether a voxel and the one at an offset belong together; the mutex
             watershed makes the objects
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from baselines.config import ObjectsConfig
from evaluator.geometry import Nanometres, Shape
from evaluator.manifest import Kind

SEMANTIC, COMPONENTS, BCD, AFFINITY = "semantic", "components", "bcd", "affinity"
_REACH = (4, 10)  # of long affinities, in voxels of the finest axis
_DIAGONAL = 7


@dataclass(frozen=True, slots=True)
class Head:
    """The channels of one label.

    shrink: voxels taken off objects within the plane (components).
    planar: contours, gaps and distances are those within the plane, as a 2D network sees them.
    offsets: (Z, Y, X) of the affinity channels, which follow the mask.
    """

    label: str
    representation: str
    voxel_size: Nanometres
    shrink: int = 0
    planar: bool = False
    offsets: tuple[Shape, ...] = ()

    @property
    def channels(self) -> tuple[str, ...]:
        """Names of the channels, as in mask, contour, distance."""
        if self.representation == BCD:
            return ("mask", "contour", "distance")
        return ("mask", *("join" + "".join(f"{n:+d}" for n in offset) for offset in self.offsets))

    @property
    def axes(self) -> tuple[int, ...]:
        """Axes of (Z, Y, X) along which neighbours count."""
        return (1, 2) if self.planar else (0, 1, 2)

    def to_json(self) -> dict[str, Any]:
        """To be kept beside stored probabilities."""
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> Head:
        """What `to_json` gave.  Raises KeyError or TypeError for anything else."""
        z, y, x = stored["voxel_size"]
        offsets = tuple((int(a), int(b), int(c)) for a, b, c in stored["offsets"])
        return cls(**{**stored, "voxel_size": (z, y, x), "offsets": offsets})


@dataclass(frozen=True, slots=True)
class Heads:
    """All labels, in the order of the channels."""

    heads: tuple[Head, ...]

    def __iter__(self) -> Iterator[Head]:
        return iter(self.heads)

    def __len__(self) -> int:
        return len(self.heads)

    @property
    def channels(self) -> int:
        """Channels of the network's output."""
        return len(self.names)

    @property
    def names(self) -> tuple[str, ...]:
        """One per channel: mito, or mito/contour."""
        return tuple(
            head.label if channel == "mask" else f"{head.label}/{channel}"
            for head in self.heads for channel in head.channels
        )  # fmt: skip

    @property
    def masks(self) -> tuple[int, ...]:
        """The mask's channel of each label."""
        counts = [0, *(len(head.channels) for head in self.heads)]
        return tuple(itertools.accumulate(counts))[:-1]

    @property
    def graded(self) -> tuple[int, ...]:
        """The channels that are no masks but go from 0 to 1 by degrees: distances."""
        return tuple(k for k, name in enumerate(self.names) if name.endswith("/distance"))

    def of(self, label: str) -> slice:
        """The channels of a label.  Raises KeyError for one that the network does not know."""
        for head, first in zip(self.heads, self.masks, strict=True):
            if head.label == label:
                return slice(first, first + len(head.channels))
        raise KeyError(label)


def heads_of(
    labels: Sequence[str], kinds: Mapping[str, Kind], config: ObjectsConfig,
    voxel_size: Nanometres, *, planar: bool = False,
) -> Heads:  # fmt: skip
    """The channels for some labels; one without a kind is semantic.

    planar: for networks that see planes.
    """
    return Heads(tuple(
        _head(label, kinds.get(label, Kind.SEMANTIC), config, voxel_size, planar)
        for label in labels
    ))  # fmt: skip


def _head(
    label: str, kind: Kind, config: ObjectsConfig, voxel_size: Nanometres, planar: bool
) -> Head:
    if kind is not Kind.INSTANCE:
        return Head(label, SEMANTIC, voxel_size, planar=planar)
    way = config.representation
    return Head(
        label, way, voxel_size, planar=planar,
        shrink=config.shrink.get(label, 0) if way == COMPONENTS else 0,
        offsets=affinity_offsets(voxel_size, planar=planar) if way == AFFINITY else (),
    )  # fmt: skip


def affinity_offsets(voxel_size: Nanometres, *, planar: bool = False) -> tuple[Shape, ...]:
    """To the next voxel along each axis, then to farther ones: as far in nm along every axis.

    An axis so coarse that a farther voxel would be the next one has fewer.
    """
    axes = (1, 2) if planar else (0, 1, 2)
    fine = min(voxel_size[axis] for axis in axes)
    near = [_along(axis, 1) for axis in axes]
    far = [
        _along(axis, round(reach * fine / voxel_size[axis])) for reach in _REACH for axis in axes
    ]
    y, x = (round(_DIAGONAL * fine / size) for size in voxel_size[1:])
    known = dict.fromkeys((*near, *far, (0, -y, -x), (0, -y, x)))
    return tuple(offset for offset in known if any(offset))


def _along(axis: int, steps: int) -> Shape:
    z, y, x = (-steps if axis == k else 0 for k in range(3))
    return (z, y, x)
