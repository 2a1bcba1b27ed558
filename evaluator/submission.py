"""The submission format, owned here: checked and opened.  `evaluator.packing` writes it.

A submission is a zip of Zarr v2 arrays, one per target, on the target's own grid or another one:

    crop557/mito/.zarray        crop folder, with or without the prefix `crop`; label
    crop557/mito/.zattrs        {"voxel_size": [1.74, 2, 2], "translation": [...]}: nm, (Z, Y, X)
    crop557/mito/0/0/0          chunks; those that are left out hold 0

One or two folders around the crops, Zarr v3, OME-NGFF groups in place of arrays and a plain folder
in place of the zip are accepted too.  Only what concerns the archive as a whole rejects it; a bad
array makes its own target unreadable, an absent one missing, and both count as worst.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from evaluator.alignment import align
from evaluator.archive import Archive, ArchiveError, Entry, is_junk, open_archive, verify
from evaluator.errors import SubmissionError
from evaluator.geometry import VoxelGrid
from evaluator.manifest import Crop, Manifest, Target
from evaluator.metadata import ArrayMeta, Unfit
from evaluator.multiscale import describe
from evaluator.protocol import CRISTA_1, Protocol
from evaluator.report import IGNORED, MISSING, OK, REJECT, UNREADABLE, UNSCORED, Problem, Report
from evaluator.volume import Volume

MOST_FINER = 64  # source voxels per target voxel
MOST_NOTES = 50  # of what is ignored


@dataclass(frozen=True, slots=True)
class _Source:
    """An array of a submission that can be read.

    store: where the decoding library finds it.  grid: None if it is the target's.
    entries: what must be whole before the library may read it.
    """

    meta: ArrayMeta
    store: dict[str, Any]
    grid: VoxelGrid | None
    entries: tuple[Entry, ...]


@dataclass(frozen=True, slots=True)
class Submission:
    """An opened submission.  Its arrays are read where they lie, in a zip or a folder."""

    path: Path
    sources: Mapping[str, _Source | Unfit]

    def open(self, target: Target, protocol: Protocol) -> Volume | None:
        """The array sent for a target, as it is stored; None: missing.

        `evaluator.alignment.align` brings it onto the target's grid.  Raises Unreadable: damaged,
        or the protocol refuses it from what its metadata says.
        """
        source = self.sources.get(target.path)
        if source is None or self.quirks(target, protocol):
            return None
        if isinstance(source, Unfit):
            raise source
        if source.entries:
            verify(self.path, source.entries)
        return Volume(source.meta, source.store, grid=source.grid)

    def quirks(self, target: Target, protocol: Protocol) -> frozenset[str]:
        """Rules of a protocol, other than the sound ones, that make this target's array missing."""
        return frozenset()

    def read(self, target: Target) -> np.ndarray | None:
        """The prediction on the target's grid, in the dtype it is stored in; None: missing.

        It is aligned as `crista-1` does.  Raises Unreadable.
        """
        volume = self.open(target, CRISTA_1)
        if volume is None:
            return None
        planes = align(volume, target, CRISTA_1).planes
        return planes.planes(0, target.grid.shape[0])


def check_submission(path: Path, manifest: Manifest) -> Report:
    """Every problem at once, from metadata alone.  Never raises for what a participant sends."""
    try:
        sources, notes = _survey(path, manifest)
    except ArchiveError as error:
        problem = Problem(error.code, REJECT, str(error), error.remedy)
        return Report((problem,), dict.fromkeys(manifest.by_path, MISSING))
    problems = [_problem(target, sources.get(target.path)) for target in manifest.targets]
    return Report(
        (*(problem for problem in problems if problem), *notes),
        {path: _status(sources.get(path)) for path in manifest.by_path},
    )


def open_submission(path: Path, manifest: Manifest) -> Submission:
    """A submission ready to be read.  Raises SubmissionError if it must be rejected."""
    try:
        return Submission(path, _survey(path, manifest)[0])
    except ArchiveError as error:
        raise SubmissionError(f"{error} {error.remedy}") from error


def _survey(
    path: Path, manifest: Manifest
) -> tuple[dict[str, _Source | Unfit], list[Problem]]:  # fmt: skip
    """The arrays by target path, and notes on what is ignored.  Raises ArchiveError."""
    archive = open_archive(
        path,
        most_entries=10_000 + manifest.voxels // 512,
        most_bytes=(256 << 20) + 64 * manifest.voxels,
    )
    try:
        names = [name for name in archive.names if not is_junk(name)]
        root = _root(names, manifest)
        nodes = {tuple(name.removeprefix(root).split("/")[:2])
                 for name in names if name.startswith(root)}  # fmt: skip
        folders = _crop_folders({node[0] for node in nodes}, manifest)
        sources = {}
        for target in manifest.targets:
            node = (folders.get(target.crop.folder, ""), target.label.name)
            if node in nodes:
                sources[target.path] = _source(archive, root + "/".join(node), target)
        if not sources:
            raise _no_targets({node[0] for node in nodes if len(node) > 1}, manifest)
        return sources, _notes(nodes, folders, manifest)
    finally:
        archive.close()


def _root(names: Iterable[str], manifest: Manifest) -> str:
    """The folders around the crops, "" or `results/` or `a/b/`: at most two, each alone."""
    root = ""
    wanted = {name for crop in manifest.crops.values() for name in _aliases(crop)}
    for _ in range(3):
        inside = [name.removeprefix(root) for name in names if name.startswith(root)]
        folders = {name.split("/")[0] for name in inside if "/" in name}
        if folders & wanted or len(folders) != 1:
            return root if folders & wanted else ""
        root += folders.pop() + "/"
    return ""


def _aliases(crop: Crop) -> tuple[str, str]:
    return crop.folder, crop.name


def _crop_folders(found: set[str], manifest: Manifest) -> dict[str, str]:
    """The folder of the archive that holds each crop, `crop557` before `557`."""
    folders = {}
    for crop in manifest.crops.values():
        if present := [name for name in _aliases(crop) if name in found]:
            folders[crop.folder] = present[0]
    return folders


def _source(archive: Archive, folder: str, target: Target) -> _Source | Unfit:
    try:
        meta = describe(
            lambda name: archive.text(f"{folder}/{name}"), like=target.grid.voxel_size
        )  # fmt: skip
        if meta is None:
            raise Unfit(
                "bad_metadata",
                "the folder holds no Zarr array: neither .zarray nor zarr.json nor .zgroup.",
                "Zip whole arrays, hidden files included, or use `evaluator pack`.",
            )
        grid = _placed(meta, target.grid)
    except Unfit as error:
        return error
    inner = f"{folder}/{meta.folder}" if meta.folder else folder
    return _Source(meta, archive.store(inner), grid, archive.entries(inner))


def _placed(meta: ArrayMeta, target: VoxelGrid) -> VoxelGrid | None:
    """The grid of an array meant for a target.  Raises Unfit: it makes no sense there."""
    remedy = f"Write it with shape {target.shape}, or give voxel_size and translation in nm."
    grid = meta.grid_beside(target)
    if grid is None:
        if meta.shape != target.shape:
            raise Unfit("wrong_shape", _shapes(meta, target), remedy)
        return None
    if grid.voxels > MOST_FINER * target.voxels:
        raise Unfit(
            "wrong_shape",
            f"its shape {meta.shape} holds over {MOST_FINER} times the voxels of {target.shape}.",
            "Send it at the voxel size of the crop.",
        )
    same_place = grid.has_voxels_of(target) and np.allclose(grid.offset, target.offset)
    too_small = any(n < m for n, m in zip(grid.shape, target.shape, strict=True))
    if same_place and too_small:
        raise Unfit("wrong_shape", _shapes(meta, target), remedy)
    if any(axis.max() < 0 for axis in target.nearest(grid)):
        raise Unfit(
            "bad_metadata",
            f"it lies outside the crop: translation {grid.offset} nm; expected {target.offset}.",
            "Correct the translation; axes are Z, Y, X and lengths nanometres.",
        )
    return grid


def _shapes(meta: ArrayMeta, target: VoxelGrid) -> str:
    return f"its shape is {meta.shape}; expected {target.shape}."


def _problem(target: Target, source: _Source | Unfit | None) -> Problem | None:
    crop, label = target.crop.folder, target.label.name
    if source is None:
        return Problem(
            "missing_array", UNSCORED, f"{target.path} is missing.",
            "Send an array for every target; one without any object may be all zeros.", crop, label,
        )  # fmt: skip
    if isinstance(source, Unfit):
        message = f"{target.path}: {source}"
        return Problem(source.code, UNSCORED, message, source.remedy, crop, label)
    if source.grid and any((axis < 0).any() for axis in target.grid.nearest(source.grid)):
        return Problem(
            "partial_cover", IGNORED,
            f"{target.path} covers only a part of the crop; the rest counts as background.",
            "Predict the whole crop.", crop, label,
        )  # fmt: skip
    return None


def _status(source: _Source | Unfit | None) -> str:
    if source is None:
        return MISSING
    return UNREADABLE if isinstance(source, Unfit) else OK


def _no_targets(found: set[str], manifest: Manifest) -> ArchiveError:
    came = ", ".join(ascii(name)[1:-1][:40] for name in sorted(found)[:5]) or "no folder"
    example = manifest.targets[0].path
    return ArchiveError(
        "no_targets",
        f"The archive holds none of the {len(manifest.targets)} targets: found {came}; "
        f"expected arrays such as {example}.",
        "Name the folders after crops and labels of the manifest.",
    )


def _notes(
    nodes: set[tuple[str, ...]], folders: Mapping[str, str], manifest: Manifest
) -> list[Problem]:
    """What the archive holds beyond the targets, which is ignored."""
    crops = {found: crop for crop, found in folders.items()}
    inner = sorted(node for node in nodes if len(node) > 1)
    notes = [
        _unknown("crop", name, name, None)
        for name in sorted({node[0] for node in inner} - set(crops))
    ]
    notes += [
        _unknown("label", f"{name}/{label}", name, label)
        for name, label in inner
        if name in crops and f"{crops[name]}/{label}" not in manifest.by_path
        if not label.startswith((".", "zarr.json"))
    ]
    return notes[:MOST_NOTES]


def _unknown(kind: str, shown: str, crop: str, label: str | None) -> Problem:
    return Problem(
        f"unknown_{kind}", IGNORED,
        f"{ascii(shown)[1:-1][:120]} is not in the manifest; it is ignored.",
        f"If it was meant to be scored, name it after a {kind} of the manifest.",
        crop[:120], None if label is None else label[:120],
    )  # fmt: skip
