"""The truth of a target, read slab by slab; what is wrong with it is the organiser's to mend."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from evaluator.digest import ArrayDigest, json_digest
from evaluator.errors import ManifestError, Unreadable
from evaluator.geometry import Shape
from evaluator.manifest import Kind, Target
from evaluator.scores import MASK
from evaluator.volume import Planes, Volume, open_volume

SLAB_VOXELS = 1 << 24  # read at once where nobody else reads


class DigestedPlanes:
    """`Planes` whose digest grows while they are read.

    Whoever reads in ascending order pays for one reading; planes that are read again are not fed
    again, and `digest` reads what nobody did.
    """

    def __init__(self, planes: Planes) -> None:
        self._source = planes
        self._sha = ArrayDigest(planes.shape, planes.dtype)
        self._fed = 0
        self.shape: Shape = planes.shape
        self.dtype = planes.dtype
        self.order = planes.order
        self.depth: int = getattr(planes, "depth", 1)

    def planes(self, start: int, stop: int) -> np.ndarray:
        """Planes `start` up to `stop` of the source."""
        slab = self._source.planes(start, stop)
        if start <= self._fed < stop:
            self._sha.update(slab[self._fed - start :])
            self._fed = stop
        return slab

    def digest(self) -> str:
        """The `ArrayDigest` of the whole."""
        depth, height, width = self.shape
        step = max(1, SLAB_VOXELS // (height * width))
        while self._fed < depth:
            self.planes(self._fed, min(depth, self._fed + step))
        return self._sha.hexdigest()


class TruthPlanes(DigestedPlanes):
    """One array of the truth.  Raises ManifestError where it cannot be read."""

    def __init__(self, path: str, volume: Volume) -> None:
        super().__init__(volume)
        self.path = path

    def planes(self, start: int, stop: int) -> np.ndarray:
        """Planes `start` up to `stop`, as `Planes` has them."""
        try:
            return super().planes(start, stop)
        except Unreadable as error:
            raise ManifestError(f"The truth of {self.path} cannot be read: {error}") from error


class WholeNumbers(TruthPlanes):
    """Object ids that were stored as floats, as 64-bit integers.

    Raises ManifestError where they are no whole numbers, too.
    """

    def __init__(self, path: str, volume: Volume) -> None:
        super().__init__(path, volume)
        self.dtype = np.dtype(np.int64)

    def planes(self, start: int, stop: int) -> np.ndarray:
        slab = super().planes(start, stop)
        if not (abs(slab) < 2.0**63).all() or (slab != np.rint(slab)).any():
            raise ManifestError(
                f"The truth {self.path} is {slab.dtype} and holds fractions; expected object ids."
            )
        return slab.astype(np.int64)


@dataclass(frozen=True)
class Truth:
    """The truth of a target: ids or a 0/1 mask, and where it counts.

    planes: of shape `target.grid.shape`.  mask: 0 where a voxel does not count, else None.
    """

    planes: TruthPlanes
    mask: TruthPlanes | None

    @property
    def digest(self) -> str:
        """SHA-256 of the content of both."""
        if self.mask is None:
            return self.planes.digest()
        return json_digest([self.planes.digest(), self.mask.digest()])


def open_truth(target: Target, folder: Path) -> Truth:
    """The truth of a target in a folder of Zarr arrays laid out `crop557/mito`, masks beside them
    as `crop557/mito_mask`.

    Raises ManifestError, naming what is wrong, if there is none or its shape is not the target's.
    """
    place = folder / target.crop.folder
    planes = _opened(target, place / target.label.name, ids=target.label.kind == Kind.INSTANCE)
    masked = place / f"{target.label.name}{MASK}"
    return Truth(planes, _opened(target, masked, ids=False) if masked.is_dir() else None)


def _opened(target: Target, path: Path, *, ids: bool) -> TruthPlanes:
    name = f"{path.parent.name}/{path.name}"
    try:
        volume = open_volume(path)
    except Unreadable as error:
        reason = error.__cause__ or error  # without the path, which is nobody's business but ours
        raise ManifestError(
            f"The truth of {name} cannot be read: {reason} "
            f"Expected it at {name} in the folder of the truth."
        ) from error
    if volume.shape != target.grid.shape:
        raise ManifestError(
            f"The truth {name} has the shape {volume.shape}; the manifest says {target.grid.shape}."
        )
    return (WholeNumbers if ids and volume.dtype.kind == "f" else TruthPlanes)(name, volume)
