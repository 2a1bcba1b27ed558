"""Probabilities to masks and objects.  A volume of any size goes through `stitching`."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass

import cc3d
import numpy as np
from scipy.ndimage import grey_dilation

from baselines.config import ObjectsConfig
from baselines.objects.heads import AFFINITY, BCD, Head
from baselines.objects.mutex import mutex_watershed
from baselines.objects.overlap import pairs_of
from baselines.objects.watershed import SMALLEST_SEED, flood, seed_mask
from baselines.volumes.components import components, without_small


@dataclass(frozen=True, slots=True)
class Thresholds:
    """What makes objects of the probabilities of a label, each 0 to 1; see ObjectsConfig."""

    mask: float = 0.5
    seed_mask: float = 0.9
    seed_contour: float = 0.8
    seed_distance: float = 0.5
    bias: float = 0.5

    @classmethod
    def of(cls, config: ObjectsConfig, *, found: Mapping[str, float] | None = None) -> Thresholds:
        """Those of the settings, and in their place those found on validation voxels."""
        names = [known.name for known in dataclasses.fields(cls) if known.name != "mask"]
        return cls(**{name: getattr(config, name) for name in names} | dict(found or {}))

    def to_json(self) -> dict[str, float]:
        """By name."""
        return dataclasses.asdict(self)


def objects_of(
    probabilities: np.ndarray, head: Head, thresholds: Thresholds, *, smallest: int = 0,
    fill_holes: bool = True,
) -> np.ndarray:  # fmt: skip
    """Objects of a label, numbered from 1, uint32 (Z, Y, X).

    probabilities: (channels of the head, Z, Y, X) uint8, 255 is 1.0.
    smallest: objects of fewer voxels are left out.
    """
    ids = grown(decoded(probabilities, head, thresholds), head.shrink)
    return without_small(filled(ids, planar=head.planar) if fill_holes else ids, smallest)


def decoded(probabilities: np.ndarray, head: Head, thresholds: Thresholds) -> np.ndarray:
    """Objects as the representation gives them, uint32: with holes, and small ones, too."""
    if head.representation == AFFINITY:
        return mutex_watershed(
            probabilities, head.offsets, head.voxel_size,
            mask=thresholds.mask, bias=thresholds.bias, planar=head.planar,
        )  # fmt: skip
    if head.representation == BCD:
        seeds = components(seeds_of(probabilities, thresholds), smallest=SMALLEST_SEED)
        return flood(probabilities, seeds, mask=thresholds.mask)[0]
    return components(mask_of(probabilities[0], thresholds.mask), smallest=1)


def seeds_of(probabilities: np.ndarray, thresholds: Thresholds) -> np.ndarray:
    """Where the seeds of a label learnt as mask, contour and distance are, bool (Z, Y, X)."""
    return seed_mask(
        probabilities, mask=thresholds.seed_mask, contour=thresholds.seed_contour,
        distance=thresholds.seed_distance,
    )  # fmt: skip


def filled(ids: np.ndarray, *, planar: bool = False) -> np.ndarray:
    """Objects without holes: background that one object alone encloses becomes part of it.

    What reaches the array's faces is open, and no hole.  planar, or a single plane: holes within
    planes.
    """
    planar = planar or len(ids) == 1
    background = ids == 0
    holes = (
        components(background, smallest=1, planar=True) if planar
        else cc3d.connected_components(background, connectivity=6)
    )  # fmt: skip
    closed = np.ones(int(holes.max(initial=0)) + 1, bool)
    closed[0] = False
    axes = (1, 2) if planar else (0, 1, 2)
    for axis in axes:
        for end in (0, -1):
            closed[holes.take(end, axis=axis)] = False
    if not closed.any():
        return ids
    holes = np.where(closed[holes], holes, 0)
    owners = np.concatenate([_across(holes, ids, axis) for axis in axes])
    hole, owner = np.unique(owners, axis=0).T
    alone = np.bincount(hole, minlength=len(closed)) == 1
    table = np.zeros(len(closed), ids.dtype)
    table[hole[alone[hole]]] = owner[alone[hole]]
    return np.where(holes > 0, table[holes], ids)


def _across(one: np.ndarray, other: np.ndarray, axis: int) -> np.ndarray:
    """Pairs (n, 2) of values above 0 that lie side by side along an axis, either way round."""
    one, other = np.moveaxis(one, axis, 0), np.moveaxis(other, axis, 0)
    return np.concatenate([
        pairs_of(one[:-1], other[1:])[0], pairs_of(one[1:], other[:-1])[0]
    ])  # fmt: skip


def mask_of(probability: np.ndarray, threshold: float) -> np.ndarray:
    """1 where a stored probability (uint8, 255 is 1.0) is above the threshold, else 0."""
    return (probability > round(threshold * 255)).astype(np.uint8)


def grown(ids: np.ndarray, by: int) -> np.ndarray:
    """Objects widened by so many voxels within the plane; where two would meet, neither yields."""
    cross = np.array([[[0, 1, 0], [1, 1, 1], [0, 1, 0]]], bool)
    for _ in range(by):
        ids = np.where(ids == 0, grey_dilation(ids, footprint=cross), ids)
    return ids
