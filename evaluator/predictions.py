"""A folder of predictions, as people have them: found, opened, packed into a submission.

    PREDICTIONS/crop557/mito            Zarr array or OME-NGFF group, also mito.zarr, mito.ome.zarr
    PREDICTIONS/557/er.tif              TIFF stack of many pages, also er.tiff, er.ome.tif
    PREDICTIONS/crop558/mito/z000.tif   single planes, in natural order

One or two folders around the crops are accepted, each alone, as in a submission.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from evaluator.alignment import align
from evaluator.archive import is_junk
from evaluator.errors import SubmissionError, Unreadable, meant
from evaluator.geometry import VoxelGrid
from evaluator.manifest import Manifest, Target
from evaluator.multiscale import describe
from evaluator.packing import SubmissionWriter
from evaluator.protocol import CRISTA_1
from evaluator.report import IGNORED, MISSING, OK, UNSCORED, Problem, Report
from evaluator.tiff import TiffStack, is_tiff, open_stack
from evaluator.volume import Planes, Volume, create_volume

SUFFIX = re.compile(r"(\.ome)?\.(zarr|tiff?)$", re.IGNORECASE)
COPIED = 64  # planes at once


@dataclass(frozen=True, slots=True)
class Found:
    """What a folder holds for a manifest.  paths: by target path.  notes: on what is ignored."""

    paths: dict[str, Path]
    notes: tuple[Problem, ...]


def pack_folder(folder: Path, manifest: Manifest, out: Path, *, resample: bool = False) -> Report:
    """Write the predictions in a folder as a submission; the report says what was left out.

    resample: put arrays on another grid onto their target's, by the sound rules of scoring;
    without it they are refused.
    Raises SubmissionError or Unreadable, naming file and target; nothing is written then.
    """
    try:
        return _pack(folder, manifest, out, resample=resample)
    except OSError as error:  # a full disk, a folder in the way, no permission
        place = error.filename or out
        raise SubmissionError(f"{place} cannot be read or written: {error.strerror}.") from error


def _pack(folder: Path, manifest: Manifest, out: Path, *, resample: bool) -> Report:
    found = find_predictions(folder, manifest)
    problems = list(found.notes)
    with SubmissionWriter(out, manifest) as writer:
        for target in manifest.targets:
            if (path := found.paths.get(target.path)) is None:
                problems.append(_missing(target))
                continue
            with tempfile.TemporaryDirectory(dir=out.parent) as scratch:
                planes, covered = _on_target(path, target, resample=resample, scratch=Path(scratch))
                _write(writer, target, planes, path)
            if not covered:
                problems.append(_partial(target))
    missing = {t.path: OK if t.path in found.paths else MISSING for t in manifest.targets}
    return Report(tuple(problems), missing)


def find_predictions(folder: Path, manifest: Manifest) -> Found:
    """The prediction of each target in a folder, and what else lies there.

    Raises SubmissionError: there is none at all, or two for one target.
    """
    crops = {crop.name: crop.folder for crop in manifest.crops.values()}
    crops |= {name: name for name in manifest.crops}
    root = _root(folder, set(crops))
    paths: dict[str, Path] = {}
    notes: list[Problem] = []
    for place in _inside(root):
        if place.name in crops:
            notes += _add_crop(place, crops[place.name], manifest, paths)
        elif place.is_dir():
            notes.append(_unknown("crop", place.name, crops))
    if not paths:
        raise _nothing(folder, root, manifest)
    return Found(paths, tuple(notes))


def _add_crop(
    place: Path, crop: str, manifest: Manifest, paths: dict[str, Path]
) -> Iterator[Problem]:  # fmt: skip
    """Enter the arrays of one crop's folder; tell of those that no target asks for."""
    labels = [t.label.name for t in manifest.targets if t.crop.folder == crop]
    for node in _inside(place):
        label = SUFFIX.sub("", node.name)
        if label not in labels:
            yield _unknown("label", label, labels, place.name)
        elif (twin := paths.setdefault(f"{crop}/{label}", node)) != node:
            raise SubmissionError(
                f"{crop}/{label} is there twice: {twin} and {node}. Keep one of them."
            )


def open_prediction(path: Path, target: Target) -> Volume | TiffStack:
    """The array for a target at a path: a TIFF stack, or of an OME-NGFF group the nearest level.

    Raises Unreadable, naming the path.
    """
    if is_tiff(path) or (path.is_dir() and any(map(is_tiff, path.iterdir()))):
        return open_stack(path)
    try:
        meta = describe(lambda name: _text(path / name), like=target.grid.voxel_size)
        if meta is None:
            raise Unreadable("it holds no Zarr array and no TIFF file.")
        grid, store = meta.grid_beside(target.grid), (path / meta.folder).resolve()
        return Volume(meta, {"driver": "file", "path": f"{store}/"}, grid=grid)
    except Unreadable as error:
        raise Unreadable(f"{path}: {error}") from error


def _on_target(
    path: Path, target: Target, *, resample: bool, scratch: Path
) -> tuple[Planes, bool]:  # fmt: skip
    """The prediction on its target's grid, and whether it covers all of it."""
    array = open_prediction(path, target)
    grid = _grid_of(array, target.grid)
    if grid is None or _same(grid, target.grid):
        if array.shape != target.grid.shape:
            raise Unreadable(
                f"{target.path}: the shape of {path} is {array.shape}, without a voxel size; "
                f"expected {target.grid.shape}. Store voxel size and offset with it, or cut it."
            )
        return array, True
    if not resample:
        raise SubmissionError(
            f"{target.path}: {path} lies on another grid than the target.\n"
            f"  came:     {_shown(grid)}\n  expected: {_shown(target.grid)}\n"
            "Pack it with --resample to take it onto the target's grid."
        )
    axes = target.grid.nearest(grid)
    if any(axis.max() < 0 for axis in axes):
        raise Unreadable(
            f"{target.path}: {path} lies outside the crop: {_shown(grid)}; "
            f"expected {_shown(target.grid)}. Correct its offset; axes are Z, Y, X in nm."
        )
    if isinstance(array, TiffStack):
        array = _as_volume(array, grid, scratch / "stack")
    try:
        planes = align(array, target, CRISTA_1).planes
    except Unreadable as error:
        raise Unreadable(f"{target.path}: {path}: {error}") from error
    return planes, all((axis >= 0).all() for axis in axes)


def _grid_of(array: Volume | TiffStack, target: VoxelGrid) -> VoxelGrid | None:
    """Where an array lies; a TIFF begins at the corner of the crop.  None: it does not say."""
    if isinstance(array, Volume):
        return array.grid
    if array.voxel_size is None:
        return None
    pairs = zip(target.offset, target.voxel_size, array.voxel_size, strict=True)
    z, y, x = (start - theirs / 2 + ours / 2 for start, theirs, ours in pairs)
    return VoxelGrid(array.shape, array.voxel_size, (z, y, x))


def _same(grid: VoxelGrid, target: VoxelGrid) -> bool:
    """True if both are one grid but for what is lost in writing a length: a hundredth voxel."""
    size = np.asarray(target.voxel_size)
    last = np.asarray(target.shape) * (np.asarray(grid.voxel_size) - size)
    shift = np.asarray(grid.offset) - np.asarray(target.offset)
    drift = np.maximum(abs(shift), abs(shift + last)) / size
    return grid.shape == target.shape and bool((drift < 0.01).all())


def _as_volume(stack: TiffStack, grid: VoxelGrid, path: Path) -> Volume:
    """A stack laid down as a Zarr array, which can be read in boxes."""
    array = create_volume(path, grid, stack.dtype)
    for z in range(0, grid.shape[0], COPIED):
        stop = min(z + COPIED, grid.shape[0])
        array[z:stop] = stack.planes(z, stop)
    meta = describe(lambda name: _text(path / name))
    assert meta is not None, "it was written a moment ago"
    return Volume(meta, {"driver": "file", "path": f"{path.resolve()}/"}, grid=grid)


def _write(writer: SubmissionWriter, target: Target, planes: Planes, path: Path) -> None:
    try:
        writer.write(target, planes)
    except Unreadable as error:
        raise Unreadable(f"{target.path}: {path}: {error}") from error
    except SubmissionError as error:
        raise SubmissionError(f"{error} File: {path}.") from error


def _root(folder: Path, crops: set[str]) -> Path:
    """The folder that holds the crops: this one, or one of two around them that are alone."""
    root = folder
    for _ in range(3):
        inside = [path for path in _inside(root) if path.is_dir()]
        if len(inside) != 1 or inside[0].name in crops:
            break
        root = inside[0]
    return root if any(path.name in crops for path in _inside(root)) else folder


def _inside(folder: Path) -> Iterator[Path]:
    """What lies in a folder and is not hidden, junk or metadata of a group, by name."""
    for path in sorted(folder.iterdir()):
        if not (path.name.startswith(".") or path.name == "zarr.json" or is_junk(path.name)):
            yield path


def _nothing(folder: Path, root: Path, manifest: Manifest) -> SubmissionError:
    came = ", ".join(path.name for path in _inside(root)) or "nothing"
    return SubmissionError(
        f"{folder} holds none of the {len(manifest.targets)} targets: found {came[:200]}; expected "
        f"arrays such as {manifest.targets[0].path}. Name folders after crops, arrays after labels."
    )


def _unknown(kind: str, name: str, known: Iterable[str], crop: str | None = None) -> Problem:
    where = name if crop is None else f"{crop}/{name}"
    return Problem(
        f"unknown_{kind}", IGNORED, f"{where} is not in the manifest; it is ignored.",
        f"Name it after a {kind} of the manifest{meant(name, known)}.",
        crop or name, None if crop is None else name,
    )  # fmt: skip


def _missing(target: Target) -> Problem:
    return Problem(
        "missing_array", UNSCORED, f"{target.path} is missing and will count as worst.",
        "Predict it; an array without any object may be all zeros.",
        target.crop.folder, target.label.name,
    )  # fmt: skip


def _partial(target: Target) -> Problem:
    return Problem(
        "partial_cover", IGNORED,
        f"{target.path} covers only a part of the crop; the rest counts as background.",
        "Predict the whole crop.", target.crop.folder, target.label.name,
    )  # fmt: skip


def _shown(grid: VoxelGrid) -> str:
    return f"shape {grid.shape}, voxels {grid.voxel_size} nm, offset {grid.offset} nm"


def _text(path: Path) -> bytes | None:
    return path.read_bytes() if path.is_file() else None
