"""TIFF stacks as planes: one file of many pages, or a folder of single planes in natural order.

Axes are (Z, Y, X).  The spacing that ImageJ and OME-TIFF write is read; where a stack lies in the
specimen no TIFF says.
"""

from __future__ import annotations

import re
import xml.etree.ElementTree as ElementTree
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tifffile

from evaluator.errors import Unreadable
from evaluator.geometry import Nanometres, Shape

SUFFIXES = (".tif", ".tiff")
UNITS = {  # nanometres
    "nm": 1.0, "nanometer": 1.0, "nanometre": 1.0, "å": 0.1, "angstrom": 0.1,
    "um": 1e3, "µm": 1e3, "μm": 1e3, "\\u00b5m": 1e3, "micron": 1e3, "microns": 1e3,
    "micrometer": 1e3, "micrometre": 1e3, "mm": 1e6, "cm": 1e7,
}  # fmt: skip
DAMAGE = (
    tifffile.TiffFileError, OSError, ValueError, KeyError, IndexError, TypeError, RuntimeError,
    ImportError, zlib.error, ElementTree.ParseError,
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class TiffStack:
    """A stack of planes in one file, or in one file each; `Planes`, read where it lies.

    files: the one file of all planes, or one file for each plane.
    voxel_size: nm along (Z, Y, X); None if the file does not say it of all axes.
    """

    files: tuple[Path, ...]
    shape: Shape
    dtype: np.dtype[Any]
    voxel_size: Nanometres | None
    order: str = "C"

    def planes(self, start: int, stop: int) -> np.ndarray:
        """Planes `start` up to, but without, `stop`: (stop - start, Y, X).  Raises Unreadable."""
        if len(self.files) == 1:
            return self._native(_read(self.files[0], start, stop))
        parts = [self._plane(path) for path in self.files[start:stop]]
        return self._native(np.concatenate(parts))

    def _plane(self, path: Path) -> np.ndarray:
        planes = _read(path, 0, 2)
        expected = (1, *self.shape[1:])
        if planes.shape != expected or planes.dtype.newbyteorder("=") != self.dtype:
            raise Unreadable(
                f"{path}: it holds {planes.shape} of {planes.dtype.name}; "
                f"expected {expected} of {self.dtype.name} like {self.files[0].name}."
            )
        return planes

    def _native(self, planes: np.ndarray) -> np.ndarray:
        return np.ascontiguousarray(planes, dtype=self.dtype)


def is_tiff(path: Path) -> bool:
    """True for the name of a TIFF file."""
    return path.suffix.lower() in SUFFIXES


def natural(paths: Iterable[Path]) -> list[Path]:
    """Paths by name, numbers in it by value: z2.tif before z10.tif."""
    return sorted(paths, key=lambda path: (_parts(path.name), path.name))


def open_stack(path: Path) -> TiffStack:
    """The stack in a file, or in a folder of single planes.  Raises Unreadable, naming the file."""
    if path.is_file():
        return _describe(path)
    files = tuple(natural(file for file in path.iterdir() if is_tiff(file)))
    if not files:
        raise Unreadable(f"{path}: there is no TIFF file in this folder.")
    first = _describe(files[0])
    if len(files) == 1:
        return first
    if first.shape[0] != 1:
        raise Unreadable(
            f"{files[0]}: it holds {first.shape[0]} planes; "
            "expected one, as the folder has several files."
        )
    return TiffStack(files, (len(files), *first.shape[1:]), first.dtype, first.voxel_size)


def _describe(path: Path) -> TiffStack:
    try:
        with tifffile.TiffFile(path) as file:
            series = _series(file, path)
            shape, size = _shape(series, path), _voxel_size(file)
            return TiffStack((path,), shape, np.dtype(series.dtype).newbyteorder("="), size)
    except DAMAGE as error:
        raise _damaged(path, error) from error


def _read(path: Path, start: int, stop: int) -> np.ndarray:
    """Some planes of one file, fewer where it ends before, in its own byte order."""
    try:
        with tifffile.TiffFile(path) as file:
            series = _series(file, path)
            shape = _shape(series, path)
            if (place := series.dataoffset) is not None:
                dtype = np.dtype(series.dtype).newbyteorder(file.byteorder)
                whole = np.memmap(path, dtype, "r", place, shape)
                return np.array(whole[start:stop])
            if len(series.pages) != shape[0]:
                raise Unreadable(
                    f"{path}: its planes are not stored one by one; save it as a plain stack."
                )
            parts = [
                series.pages[z].asarray().reshape(shape[1:])
                for z in range(start, min(stop, shape[0]))
            ]
            return np.stack(parts)
    except DAMAGE as error:
        raise _damaged(path, error) from error


def _series(file: tifffile.TiffFile, path: Path) -> Any:
    if not file.series:
        raise Unreadable(f"{path}: it is no TIFF stack, or damaged: it holds no image.")
    if len(file.series) != 1:
        raise Unreadable(
            f"{path}: it holds {len(file.series)} images of different kinds; "
            "expected one stack of planes of one shape."
        )
    return file.series[0]


def _shape(series: Any, path: Path) -> Shape:
    """(Z, Y, X) of a series.  Raises Unreadable for other axes; those of length 1 do not count.

    ImageJ users often keep slices as frames or channels, so any one axis of planes is taken as Z.
    """
    found = {axis: n for axis, n in zip(series.axes, series.shape, strict=True) if n > 1}
    if not re.fullmatch("[ZIQCT]?Y?X?", "".join(found)):
        raise Unreadable(
            f"{path}: its axes are {series.axes} with lengths {tuple(series.shape)}; expected "
            "Z, Y, X alone. Save it as a stack of slices, without channels or colours."
        )
    height, width = found.pop("Y", 1), found.pop("X", 1)
    return (next(iter(found.values()), 1), height, width)


def _voxel_size(file: tifffile.TiffFile) -> Nanometres | None:
    if file.is_ome:
        return _ome_size(file.ome_metadata or "")
    if file.is_imagej:
        return _imagej_size(file.imagej_metadata or {}, file.pages.first.tags)
    return None


def _ome_size(text: str) -> Nanometres | None:
    pixels = ElementTree.fromstring(text).find(".//{*}Pixels")
    given = {} if pixels is None else pixels.attrib
    sizes = [
        _nanometres(given.get(f"PhysicalSize{axis}"), given.get(f"PhysicalSize{axis}Unit", "µm"))
        for axis in "ZYX"
    ]
    return _all(sizes)


def _imagej_size(notes: Mapping[str, Any], tags: Any) -> Nanometres | None:
    unit = str(notes.get("unit", ""))
    sizes = [_nanometres(notes.get("spacing"), unit)]
    for name in ("YResolution", "XResolution"):
        pixels, units = tags[name].value if name in tags else (0, 1)
        sizes.append(_nanometres(units / pixels if pixels else None, unit))
    return _all(sizes)


def _nanometres(value: Any, unit: str) -> float | None:
    """A length in nm; None if it or its unit is not known (ImageJ calls uncalibrated "pixel")."""
    if value is None or unit.lower() not in UNITS:
        return None
    length = float(value) * UNITS[unit.lower()]
    return length if 1e-6 <= length <= 1e9 else None


def _all(sizes: list[float | None]) -> Nanometres | None:
    match sizes:
        case [float(z), float(y), float(x)]:
            return (z, y, x)
    return None


def _parts(name: str) -> list[tuple[int, str]]:
    found = re.findall(r"(\d+)|(\D+)", name)
    return [(int(number), "") if number else (-1, text) for number, text in found]


def _damaged(path: Path, error: Exception) -> Unreadable:
    return Unreadable(
        f"{path}: it cannot be read as a TIFF stack ({str(error)[:160]}). "
        "Save it again, uncompressed or with deflate."
    )
