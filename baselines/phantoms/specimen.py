"""An endless piece of tissue: where cells and what is in them lie, from a seed.

Lengths are nm, points (Z, Y, X).  Cells are Voronoi regions of a jittered lattice; nuclei are
ellipsoids, mitochondria bent tubes, vesicles balls.  All of it lives in an undistorted space; the
painter bends that space, which bends every shape and keeps what is inside, inside.

Membranes, vesicles and mitochondria have their natural size.  Cells are as large as asked for:
the default is far smaller than life, so that a small volume holds several, nuclei included.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field

import numpy as np

from baselines.phantoms.noise import hash_uniform

GAP = 13.0  # nm between the membranes of neighbouring cells
MEMBRANE = 9.0  # nm, thickness of a membrane as stain shows it
_AROUND = [step for step in itertools.product((-2, -1, 0, 1, 2), repeat=3) if any(step)]
_PER_CELL = 2**16  # no cell holds more organelles of a kind
_CLEARANCE = GAP / 2 + MEMBRANE + 4.0  # no organelle comes nearer to the border of its cell


@dataclass(frozen=True)
class Nucleus:
    """An ellipsoid: centre, semi-axes along (Z, Y, X), centre and radius of its nucleolus."""

    id: int
    centre: np.ndarray
    axes: np.ndarray
    nucleolus: tuple[np.ndarray, float]

    def distance(self, points: np.ndarray) -> np.ndarray:
        """Approximate signed distance to the surface of points (..., 3), negative inside."""
        scaled = (points - self.centre) / self.axes
        length = np.linalg.norm(scaled, axis=-1)
        slope = np.linalg.norm(scaled / self.axes, axis=-1)
        distance: np.ndarray = length * (length - 1) / np.maximum(slope, 1e-6)
        return distance


@dataclass(frozen=True)
class Mitochondrion:
    """A bent tube: its axis as points (n, 3) and its radius; seed of its cristae."""

    id: int
    axis: np.ndarray
    radius: float
    seed: int


@dataclass(frozen=True)
class Vesicle:
    """A ball; dense ones have a dark core."""

    id: int
    centre: np.ndarray
    radius: float
    dense: bool


@dataclass(frozen=True)
class Cell:
    """One cell: its lattice point, the seed point of its region, and what lies in it."""

    key: tuple[int, int, int]
    centre: np.ndarray
    nucleus: Nucleus | None
    mitochondria: tuple[Mitochondrion, ...]
    vesicles: tuple[Vesicle, ...]


@dataclass(frozen=True)
class Specimen:
    """Tissue grown from a seed, `cell_nm` from cell to cell."""

    seed: int
    cell_nm: float = 560.0
    _cells: dict[tuple[int, int, int], Cell] = field(default_factory=dict, compare=False)

    def centres(self, low: np.ndarray, high: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Lattice points (n, 3) and centres (n, 3) of all cells that have a say in the box."""
        # A region may own points of the next lattice cell but one; its wall is one further away.
        first = np.floor(low / self.cell_nm).astype(int) - 3
        last = np.floor(high / self.cell_nm).astype(int) + 4
        axes = np.meshgrid(*map(np.arange, first, last), indexing="ij")
        keys = np.stack([axis.ravel() for axis in axes], axis=1)
        return keys, self._centres(keys)

    def numbers(self, keys: np.ndarray) -> np.ndarray:
        """A number of 46 bits for each lattice point (n, 3), 1 or more."""
        return 1 + (hash_uniform(self.seed + 5, *keys.T) * 2**46).astype(np.int64)

    def cell(self, key: tuple[int, int, int]) -> Cell:
        """The cell at a lattice point, with everything in it."""
        if key not in self._cells:
            self._cells[key] = self._grow(key)
        return self._cells[key]

    def _centres(self, keys: np.ndarray) -> np.ndarray:
        jitter = [hash_uniform(self.seed + axis, *keys.T) for axis in range(3)]
        return (keys + 0.12 + 0.76 * np.stack(jitter, axis=1)) * self.cell_nm

    def _grow(self, key: tuple[int, int, int]) -> Cell:
        # Generators take no negative numbers, lattice points may have them.
        random = np.random.default_rng([self.seed, *(k + 2**31 for k in key)])
        own, around = np.array(key), np.array(_AROUND)
        room = _Room(self._centres(own[None])[0], self._centres(own + around))
        number = int(self.numbers(own[None])[0]) * _PER_CELL
        volume = (self.cell_nm / 1000) ** 3
        nucleus = _nucleus(room, random, number) if random.random() < 0.6 else None
        room.nucleus = nucleus
        for n in range(random.poisson(60 * volume) + 1):
            room.add_mitochondrion(random, number + n)
        for _ in range(random.poisson(30 * volume) + 1):
            room.add_vesicles(random, number)
        return Cell(key, room.centre, nucleus, tuple(room.mitochondria), tuple(room.vesicles))


class _Room:
    """The free space of one cell while organelles are being placed in it."""

    def __init__(self, centre: np.ndarray, others: np.ndarray) -> None:
        self.centre = centre
        self._normals = (others - centre) / np.linalg.norm(others - centre, axis=1)[:, None]
        self._walls = np.linalg.norm(others - centre, axis=1) / 2
        self.nucleus: Nucleus | None = None
        self.mitochondria: list[Mitochondrion] = []
        self.vesicles: list[Vesicle] = []

    @property
    def size(self) -> float:
        """Distance from the centre to the nearest wall."""
        return float(self._walls.min())

    def fit(self, axes: np.ndarray) -> np.ndarray:
        """How much ellipsoids around the centre, semi-axes (n, 3), may grow to touch a wall."""
        reach = np.linalg.norm(axes[:, None] * self._normals[None], axis=-1)
        room: np.ndarray = (self._walls - _CLEARANCE) / reach
        least: np.ndarray = room.min(axis=1)
        return least

    def clearance(self, points: np.ndarray) -> np.ndarray:
        """How far points (n, 3) lie from the nearest wall, nucleus or mitochondrion."""
        free: np.ndarray = (self._walls - (points - self.centre) @ self._normals.T).min(
            axis=1
        ) - _CLEARANCE
        if self.nucleus is not None:
            free = np.minimum(free, self.nucleus.distance(points) - 14)
        for other in self.mitochondria:
            gaps = np.linalg.norm(points[:, None] - other.axis[None], axis=-1).min(axis=1)
            free = np.minimum(free, gaps - other.radius * 1.15 - 14)
        return free

    def add_mitochondrion(self, random: np.random.Generator, number: int) -> None:
        """Place one where there is room; after some tries, none."""
        for _ in range(15):
            radius = random.uniform(42, 74)
            spot = self._spot(random, margin=radius)
            axis = _bent_axis(random, spot, length=random.uniform(90, 380))
            if (self.clearance(axis) > radius * 1.15).all():
                seed = int(random.integers(2**31))
                self.mitochondria.append(Mitochondrion(number, axis, radius, seed))
                return

    def add_vesicles(self, random: np.random.Generator, number: int) -> None:
        """Place a loose cluster; balls that would touch anything are left out."""
        scatter = random.normal(0, 75, (int(random.integers(14, 60)), 3))
        spots = self._spot(random, margin=35) + scatter
        radii = random.uniform(17, 25, len(spots))
        free = self.clearance(spots) > radii
        for spot, radius in zip(spots[free], radii[free], strict=True):
            near = (np.linalg.norm(spot - v.centre) - v.radius for v in self.vesicles)
            if all(gap > radius + 7 for gap in near):
                dense = bool(random.random() < 0.12)
                self.vesicles.append(Vesicle(number + len(self.vesicles), spot, radius, dense))

    def _spot(self, random: np.random.Generator, *, margin: float) -> np.ndarray:
        """A random point with some room around it, or the roomiest that was found."""
        spots: np.ndarray = self.centre + random.uniform(-1.9, 1.9, (40, 3)) * self.size
        free = self.clearance(spots)
        roomy = np.flatnonzero(free > margin)
        spot: np.ndarray = spots[roomy[0] if len(roomy) else int(free.argmax())]
        return spot


def _nucleus(room: _Room, random: np.random.Generator, number: int) -> Nucleus | None:
    """The largest of a few random ellipsoids around the centre that stay off the walls."""
    shapes = random.uniform(0.6, 1.0, (8, 3))
    axes = shapes * room.fit(shapes)[:, None]
    largest = axes[np.argmax(axes.prod(axis=1))] * random.uniform(0.82, 1.0)
    if largest.min() < 75:
        return None
    inside = room.centre + random.uniform(-0.3, 0.3, 3) * largest
    return Nucleus(
        number, room.centre, largest, (inside, random.uniform(0.25, 0.4) * largest.min())
    )


def _bent_axis(random: np.random.Generator, start: np.ndarray, *, length: float) -> np.ndarray:
    """Points along a quadratic curve through `start`, (n, 3), about 25 nm apart."""
    forward, bend = random.normal(size=(2, 3))
    forward /= np.linalg.norm(forward)
    t = np.linspace(-0.5, 0.5, max(4, round(length / 25)))[:, None]
    points: np.ndarray = start + length * (t * forward + 0.35 * (t**2 - 0.08) * bend)
    return points
