"""What stain shows of a specimen, and what each voxel is: block by block, in any order.

A block is painted from the outside in: cells, reticulum, then nuclei, mitochondria and vesicles,
each over what was there.  `grey` runs from 0 (black) to 1; `dark` is the membrane's share.
"""

from __future__ import annotations

import enum
import itertools
from dataclasses import dataclass, fields

import numpy as np
from scipy.spatial import cKDTree

from baselines.phantoms.noise import Positions, hash_uniform, smooth_noise
from baselines.phantoms.specimen import GAP, MEMBRANE, Mitochondrion, Nucleus, Specimen, Vesicle

_BEND = 42.0  # nm by which the specimen is bent
_BEND_PERIOD = 260.0
_STAIN = 0.15  # grey of a fully stained membrane
_HALF = MEMBRANE / 2


class Part(enum.IntEnum):
    """What a voxel is made of; the numbers are the label ids of the CellMap challenge."""

    ECS = 1
    PM = 2
    MITO_MEM = 3
    MITO_LUM = 4
    VES_MEM = 8
    VES_LUM = 9
    ER_MEM = 16
    ER_LUM = 17
    NE_MEM = 20
    NE_LUM = 21
    HCHROM = 24
    NUCPL = 28
    CYTO = 35


@dataclass
class Painted:
    """A block: what each voxel shows and what it is.

    grey, dark: float32.  part: uint8.  depth: float32, nm under the surface of its cell.
    cell, nuc, mito, ves: int64 numbers of objects, 0 for none.
    """

    grey: np.ndarray
    dark: np.ndarray
    part: np.ndarray
    depth: np.ndarray
    cell: np.ndarray
    nuc: np.ndarray
    mito: np.ndarray
    ves: np.ndarray

    def inner(self, box: tuple[slice, ...]) -> Painted:
        """A part of the block."""
        return Painted(*(getattr(self, f.name)[box] for f in fields(self)))


def paint(specimen: Specimen, at: Positions) -> Painted:
    """The block at the given positions."""
    points = _bent(specimen, at)
    texture = _Texture(specimen.seed, at)
    block, keys = _paint_cells(specimen, at, points, texture)
    _paint_reticulum(block, specimen.seed, at)
    space = _Space.of(points)
    for key in keys:
        cell = specimen.cell(key)
        if cell.nucleus is not None:
            _paint_nucleus(block, cell.nucleus, space, texture)
        for mito in cell.mitochondria:
            _paint_mitochondrion(block, mito, space, texture)
        for vesicle in cell.vesicles:
            _paint_vesicle(block, vesicle, space)
    block.grey += texture.fine * np.where(block.part == Part.ECS, 0.02, 0.055)
    block.grey -= np.clip(block.dark, 0, 1) * (block.grey - _STAIN)
    return block


@dataclass(frozen=True)
class _Space:
    """Bent positions of a block, and per axis the range that each plane of it spans."""

    points: np.ndarray
    spans: tuple[tuple[np.ndarray, np.ndarray], ...]

    @classmethod
    def of(cls, points: np.ndarray) -> _Space:
        rest = ((1, 2), (0, 2), (0, 1))
        values = [(points[..., k], rest[k]) for k in range(3)]
        return cls(points, tuple((v.min(axis=r), v.max(axis=r)) for v, r in values))

    def window(self, low: np.ndarray, high: np.ndarray) -> tuple[slice, ...] | None:
        """The box of voxels whose points can lie between low and high; None if there is none."""
        box = []
        for axis, (least, most) in enumerate(self.spans):
            hit = (most >= low[axis]) & (least <= high[axis])
            if not hit.any():
                return None
            box.append(slice(int(hit.argmax()), len(hit) - int(hit[::-1].argmax())))
        return tuple(box)


class _Texture:
    """Noise at several scales, made once per block."""

    def __init__(self, seed: int, at: Positions) -> None:
        def field(k: int, period: float) -> np.ndarray:
            return smooth_noise(at, seed=seed + 100 + k, period=period)

        self.coarse, self.patchy, self.grain = field(0, 110), field(1, 46), field(2, 24)
        self.speck = field(3, 12)
        self.fine = 0.55 * self.grain + 0.65 * self.speck + 0.3 * self.patchy


def _bent(specimen: Specimen, at: Positions) -> np.ndarray:
    """Positions in the specimen's undistorted space, (nz, ny, nx, 3) float32."""
    points = np.empty((*at.shape, 3), np.float32)
    straight = (at.z[:, None, None], at.y[:, :, None], at.x[:, None, :])
    for axis, values in enumerate(straight):
        noise = smooth_noise(at, seed=specimen.seed + axis, period=_BEND_PERIOD)
        ripple = smooth_noise(at, seed=specimen.seed + 50 + axis, period=_BEND_PERIOD / 3)
        points[..., axis] = values + _BEND * (noise + 0.16 * ripple)
    return points


def _paint_cells(
    specimen: Specimen, at: Positions, points: np.ndarray, texture: _Texture
) -> tuple[Painted, list[tuple[int, int, int]]]:
    """The block with nothing but cells in it, and the lattice points of those it shows."""
    seed = specimen.seed
    keys, centres = specimen.centres(points.min(axis=(0, 1, 2)), points.max(axis=(0, 1, 2)))
    owner, depth = _territory(points, centres)
    depth -= GAP / 2
    inside = depth > 0
    part = np.full(owner.shape, Part.CYTO, np.uint8)
    part[~inside] = Part.ECS
    part[inside & (depth < MEMBRANE)] = Part.PM
    tint = (0.56 + 0.12 * hash_uniform(seed, *keys.T)).astype(np.float32)
    # Ribosomes: dark specks, thick in some places and rare in others.
    ribosomes = np.clip(texture.speck - 0.9 - 0.6 * texture.coarse, 0, 1.2) * 0.24
    grey = np.where(inside, tint[owner] - ribosomes, 0.73) + 0.025 * texture.coarse
    none = np.zeros(owner.shape, np.int64)
    cell = np.where(inside, specimen.numbers(keys)[owner], 0)
    block = Painted(
        grey=grey.astype(np.float32), dark=_band(depth, _HALF) * _upright(depth, at), part=part,
        depth=depth, cell=cell, nuc=none, mito=none.copy(), ves=none.copy(),
    )  # fmt: skip
    return block, [_key(keys[n]) for n in np.unique(owner)]


def _key(point: np.ndarray) -> tuple[int, int, int]:
    z, y, x = point.tolist()
    return (z, y, x)


def _upright(depth: np.ndarray, at: Positions) -> np.ndarray:
    """1 where a membrane stands upright in the section, less where it lies flat and looks pale."""
    across = np.hypot(_slope(depth, 1, at.y[0]), _slope(depth, 2, at.x[0]))
    upright: np.ndarray = np.clip(0.4 + 0.7 * across, 0.4, 1)
    return upright


def _territory(points: np.ndarray, centres: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Per voxel: which centre is nearest, and the distance to the border of its region."""
    _, owner = cKDTree(centres).query(points.reshape(-1, 3))
    flat = points.reshape(-1, 3)
    depth = np.empty(len(flat), np.float32)
    for own in np.unique(owner):
        mine = owner == own
        others = np.delete(centres, own, axis=0).astype(np.float32)
        depth[mine] = _to_wall(flat[mine], centres[own].astype(np.float32), others)
    return owner.reshape(points.shape[:3]), depth.reshape(points.shape[:3])


def _to_wall(voxels: np.ndarray, own: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Distance (n,) to the nearest of the planes half way to other centres, corners rounded."""
    span = others - own
    length = np.linalg.norm(span, axis=1)
    near = np.argsort(length)[:24]  # a region has about 15 faces
    walls = length[near] / 2 - (voxels - own) @ (span[near] / length[near, None]).T
    nearest = walls.min(axis=1)
    rounded: np.ndarray = nearest - 6.0 * np.log(
        np.exp((nearest[:, None] - walls) / 6.0).sum(axis=1)
    )
    return rounded


def _band(distance: np.ndarray, centre: float, width: float = 3.6) -> np.ndarray:
    """How dark a membrane is at a signed distance from it, 0 to 1."""
    return np.exp(-0.5 * np.square((distance - centre) / width)).astype(np.float32)


def _paint_reticulum(block: Painted, seed: int, at: Positions) -> None:
    """Sheets where a smooth field is zero, in some places only, away from the cell's border."""
    # Each cell has its own level of the field, or sheets would run on from cell to cell.
    sheet = smooth_noise(at, seed=seed + 20, period=170)
    own = 2.4 * hash_uniform(seed + 9, block.cell) - 1.2
    where = smooth_noise(at, seed=seed + 21, period=330)
    steps = [_slope(sheet, axis, along) for axis, along in enumerate((at.z, at.y[0], at.x[0]))]
    distance = np.abs(sheet - own) / np.maximum(np.sqrt(sum(s**2 for s in steps)), 2e-3)
    # Moving the sheet away where it may not be ends it in a rounded rim, not in a cut.
    distance = distance + np.maximum(0, 12 * (0.35 - where)) + np.maximum(0, 36 - block.depth)
    body = distance < 8 + MEMBRANE
    block.part[body] = np.where(distance < 8, Part.ER_LUM, Part.ER_MEM)[body]
    block.grey += np.clip((9 - distance) / 4, 0, 1) * (0.7 - block.grey)
    block.dark = np.maximum(block.dark, 0.85 * _band(distance, 8 + _HALF))


def _slope(field: np.ndarray, axis: int, along: np.ndarray) -> np.ndarray:
    if field.shape[axis] < 2:
        return np.zeros_like(field)
    slope: np.ndarray = np.gradient(field, float(along[1] - along[0]), axis=axis)
    return slope


def _cover(block: Painted, box: tuple[slice, ...], distance: np.ndarray) -> None:
    """Clear a little space around a body, so that nothing shines through its membrane."""
    block.dark[box] *= np.clip(distance / 8, 0, 1)
    near = (distance < 6) & (block.part[box] != Part.PM) & (block.part[box] != Part.ECS)
    block.part[box][near] = Part.CYTO


def _paint_nucleus(block: Painted, nucleus: Nucleus, space: _Space, texture: _Texture) -> None:
    margin = nucleus.axes + 10
    box = space.window(nucleus.centre - margin, nucleus.centre + margin)
    if box is None:
        return
    distance = nucleus.distance(space.points[box])
    inside = distance < 0
    _cover(block, box, distance)
    depth = -distance
    envelope = 2 * MEMBRANE + 14
    centre, radius = nucleus.nucleolus
    ball = radius - np.linalg.norm(space.points[box] - centre, axis=-1)
    chromatin = 0.9 * texture.coarse[box] + 0.7 * texture.patchy[box] + 0.35 * texture.grain[box]
    chromatin = chromatin + 1.9 * np.exp(-np.maximum(depth - envelope, 0) / 26) - 0.9
    chromatin = np.maximum(chromatin, np.clip(ball / 8, -9, 2) - 0.3)
    dense = 1 / (1 + np.exp(-4 * chromatin))
    grey = 0.63 - 0.25 * dense + 0.035 * texture.patchy[box]
    block.grey[box][inside] = np.where(depth < envelope, 0.68, grey)[inside]
    shells = np.maximum(_band(depth, _HALF), _band(depth, envelope - _HALF))
    block.dark[box] = np.maximum(block.dark[box], 0.92 * shells)
    part = np.where(chromatin > 0, Part.HCHROM, Part.NUCPL)
    part[depth < envelope] = Part.NE_MEM
    part[(depth >= MEMBRANE) & (depth < envelope - MEMBRANE)] = Part.NE_LUM
    block.part[box][inside] = part[inside]
    block.nuc[box][inside] = nucleus.id


def _paint_mitochondrion(
    block: Painted, mito: Mitochondrion, space: _Space, texture: _Texture
) -> None:
    margin = mito.radius * 1.2 + 10
    box = space.window(mito.axis.min(axis=0) - margin, mito.axis.max(axis=0) + margin)
    if box is None:
        return
    away, along = _from_axis(space.points[box], mito.axis)
    swell = 1 + 0.1 * np.sin(along / 70 + mito.seed % 7) + 0.04 * texture.coarse[box].clip(-1, 1)
    depth = mito.radius * swell - np.linalg.norm(away, axis=-1)
    inside = depth > 0
    _cover(block, box, -depth)
    shell = 2 * MEMBRANE + 3
    crista = _cristae(mito, away, along + 9 * texture.coarse[box] + 4 * texture.patchy[box])
    crista = np.maximum(crista, shell - 4 - depth)  # they begin at the inner membrane
    matrix = 0.41 + 0.03 * texture.patchy[box] + 0.08 * hash_uniform(mito.seed)
    grey = np.where((depth < shell - _HALF) | (crista < 4), 0.6, matrix)
    block.grey[box][inside] = grey[inside]
    dark = np.maximum(_band(depth, _HALF), _band(depth, shell - _HALF))
    dark = np.maximum(dark, 0.75 * _band(crista, 6.5, 3.0) * (depth > shell - _HALF))
    block.dark[box] = np.maximum(block.dark[box], 0.95 * dark)
    wall = (depth < shell) | (crista < 10)
    block.part[box][inside] = np.where(wall, Part.MITO_MEM, Part.MITO_LUM)[inside]
    block.mito[box][inside] = mito.id


def _from_axis(points: np.ndarray, axis: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Vector from the nearest point of a polyline (..., 3), and the length along it there."""
    best = np.full(points.shape[:-1], np.inf, np.float32)
    away, along = np.zeros_like(points), np.zeros_like(best)
    walked = 0.0
    for start, end in itertools.pairwise(axis):
        step = (end - start).astype(np.float32)
        length = float(np.linalg.norm(step))
        t = np.clip((points - start.astype(np.float32)) @ step / length**2, 0, 1)
        vector = points - start.astype(np.float32) - t[..., None] * step
        square = np.square(vector).sum(axis=-1)
        nearer = square < best
        best[nearer], away[nearer] = square[nearer], vector[nearer]
        along[nearer] = walked + t[nearer] * length
        walked += length
    return away, along


def _cristae(mito: Mitochondrion, away: np.ndarray, along: np.ndarray) -> np.ndarray:
    """Distance to the middle of the nearest crista: sheets across the tube that end inside it."""
    random = np.random.default_rng(mito.seed)
    spacing = random.uniform(38, 56)
    sides = random.normal(size=(64, 3))
    sides = (sides / np.linalg.norm(sides, axis=1, keepdims=True)).astype(np.float32)
    ends = random.uniform(-0.75, 0.45, 64)
    tilt = away @ (random.normal(size=3) * 0.28).astype(np.float32)
    phase = (along + tilt) / spacing
    number = np.round(phase).astype(np.int64)
    across = np.abs(phase - number) * spacing
    reach = np.einsum("...k,...k->...", away, sides[number % 64]) / mito.radius
    beyond = np.maximum(0, ends[number % 64] - reach) * mito.radius
    distance: np.ndarray = np.hypot(across, beyond)
    return distance


def _paint_vesicle(block: Painted, vesicle: Vesicle, space: _Space) -> None:
    margin = vesicle.radius + 8
    box = space.window(vesicle.centre - margin, vesicle.centre + margin)
    if box is None:
        return
    depth = vesicle.radius - np.linalg.norm(space.points[box] - vesicle.centre, axis=-1)
    inside = depth > 0
    _cover(block, box, -depth)
    core = 0.3 if vesicle.dense else 0.72
    block.grey[box][inside] = np.where(depth > MEMBRANE + 1, core, 0.7)[inside]
    block.dark[box] = np.maximum(block.dark[box], 0.88 * _band(depth, _HALF, 3.2))
    block.part[box][inside] = np.where(depth < MEMBRANE, Part.VES_MEM, Part.VES_LUM)[inside]
    block.ves[box][inside] = vesicle.id
