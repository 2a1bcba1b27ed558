"""Images of any kind with all their levels: OME-Zarr v2 or v3, TIFF, PNG, folders of planes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import tifffile
from PIL import Image as Picture

from baselines.box import Box
from baselines.layout import DataError
from baselines.volumes.image_files import IMAGES
from baselines.volumes.presence import Everywhere, Stored
from baselines.volumes.readers import InMemory, Reader, Stacked
from baselines.volumes.stack import read_stack
from evaluator.errors import Unreadable
from evaluator.geometry import Nanometres, Shape, VoxelGrid
from evaluator.tiff import DAMAGE, is_tiff, natural, open_stack
from evaluator.volume import Volume, open_levels

UNSIZED: Nanometres = (1.0, 1.0, 1.0)


@dataclass(frozen=True)
class Named:
    """An array whose damage is told with its path."""

    source: Volume
    where: Path

    @property
    def shape(self) -> Shape:
        """Voxels (Z, Y, X)."""
        return self.source.shape

    def read(self, start: Shape, stop: Shape) -> np.ndarray:
        """A box of it.  Raises Unreadable if a chunk is damaged."""
        try:
            return self.source.read(start, stop)
        except Unreadable as error:
            raise Unreadable(f"{self.where}: {error} Fetch or write it again.") from error


@dataclass(frozen=True)
class Level:
    """One resolution.  data: where it has any."""

    reader: Reader
    grid: VoxelGrid
    data: Everywhere = field(default_factory=Everywhere)


@dataclass(frozen=True)
class Image:
    """An image at all its resolutions, finest first.  where: for messages."""

    where: str
    levels: tuple[Level, ...]

    @property
    def finest(self) -> VoxelGrid:
        """The grid of the finest level."""
        return self.levels[0].grid


def open_image(
    path: Path, *, voxel_size: tuple[float, ...] = (), channel: int = -1,
    fetched: Callable[[Path], Sequence[Box]] | None = None, black: bool = True,
) -> Image:  # fmt: skip
    """The image at a path, of which nothing but metadata is read where that is possible.

    voxel_size: nm (Z, Y, X), of an image that does not say its own; empty: 1 nm.
    channel: which one to take of an image with several; -1: such an image is refused.
    fetched: which boxes of an array were fetched, where somebody knows.
    black: whether a chunk of an array that has no file is black; else it is not there.
    Raises DataError or Unreadable, naming the path.
    """
    if not path.exists():
        raise DataError(f"{path} is missing: put an image, a folder of planes or a Zarr there.")
    z, y, x = voxel_size or UNSIZED
    if path.is_dir() and not _is_folder_of_planes(path):
        return Image(str(path), _zarr_levels(path, (z, y, x), fetched, black))
    reader, size = _open_planes(path, channel)
    return Image(str(path), (Level(reader, VoxelGrid(reader.shape, size or (z, y, x))),))


def is_image(path: Path) -> bool:
    """True for what `open_image` may be able to open, by name and kind alone."""
    if path.name.startswith("."):
        return False
    return path.suffix.lower() in IMAGES or (
        path.is_dir() and (path.suffix.lower() == ".zarr" or _is_folder_of_planes(path))
    )


def _is_folder_of_planes(path: Path) -> bool:
    return path.is_dir() and any(file.suffix.lower() in IMAGES for file in path.iterdir())


def _zarr_levels(
    path: Path, size: Nanometres, fetched: Callable[[Path], Sequence[Box]] | None, black: bool
) -> tuple[Level, ...]:
    volumes = open_levels(path)
    # Of a level that nobody fetched, there may be the metadata alone.
    with_chunks = [volume for volume in volumes if _has_chunks(path / volume.meta.folder)]
    levels = []
    for volume in with_chunks or volumes:
        folder = path / volume.meta.folder
        known = tuple(fetched(folder)) if fetched else ()
        grid = volume.grid or VoxelGrid(volume.shape, size)
        data = Stored(volume.meta, folder, known, black)
        levels.append(Level(Named(volume, folder), grid, data))
    return tuple(levels)


def _has_chunks(folder: Path) -> bool:
    return any(not p.name.startswith(".") and p.name != "zarr.json" for p in folder.iterdir())


def _open_planes(path: Path, channel: int) -> tuple[Reader, Nanometres | None]:
    files = natural(path.iterdir()) if path.is_dir() else [path]
    if channel >= 0:
        images = [file for file in files if file.suffix.lower() in IMAGES]
        return InMemory(np.concatenate([_one_channel(file, channel) for file in images])), None
    if not any(is_tiff(file) for file in files):
        return InMemory(read_stack(path)), None
    try:
        stack = open_stack(path)
    except Unreadable as error:
        if "channels" not in str(error):
            raise
        raise DataError(f"{error} Or choose a channel of it with data.channel.") from error
    if stack.dtype.kind not in "buif":
        raise DataError(
            f"{path} holds {stack.dtype.name}; expected grey values, whole or of type float. Save "
            "its magnitude."
        )
    return Stacked(stack), stack.voxel_size


def _one_channel(path: Path, channel: int) -> np.ndarray:
    """One channel of a file in colour or with several channels; a grey file has but channel 0."""
    try:
        if is_tiff(path):
            with tifffile.TiffFile(path) as file:
                array, axes = file.asarray(), file.series[0].axes
        else:
            Picture.MAX_IMAGE_PIXELS = None  # a large section is no attack
            with Picture.open(path) as picture:
                array = np.asarray(picture)
                axes = "YXS" if array.ndim == 3 else "YX"
    except DAMAGE as error:
        raise DataError(f"{path} cannot be read as an image: {error}. Save it again.") from error
    which = next((axes.index(name) for name in "CS" if name in axes), None)
    channels = 1 if which is None else array.shape[which]
    if channel >= channels:
        raise DataError(
            f"{path} has {channels} channels, numbered from 0; data.channel is {channel}. "
            "Choose one of them."
        )
    grey = array if which is None else array.take(channel, axis=which)
    height, width = grey.shape[-2:]
    return grey.reshape(-1, height, width)
