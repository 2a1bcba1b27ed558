"""The submission format, owned here: checked and opened.  `evaluator.packing` writes it.

A submission is a zip of Zarr v2 arrays, one per target, on the target's own grid or another one:

    crop557/mito/.zarray        crop folder, with or without the prefix `crop`; label
    crop557/mito/.zattrs        {"voxel_size": [1.74, 2, 2], "translation": [...]}: nm, (Z, Y, X)
    crop557/mito/0/0/0          chunks; those that are left out hold 0

One or two folders around the crops, Zarr v3, groups of levels in place of arrays and a plain folder
in place of the zip are accepted too.  Only what concerns the archive as a whole rejects it; a bad
array makes its own target unreadable, an absent one missing, and both count as worst.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from evaluator.alignment import align
from evaluator.archive import Archive, ArchiveError, open_archive
from evaluator.chunks import checked_store
from evaluator.errors import SubmissionError
from evaluator.geometry import VoxelGrid
from evaluator.manifest import Crop, Manifest, Target
from evaluator.metadata import ArrayMeta, Unfit
from evaluator.multiscale import describe
from evaluator.protocol import CRISTA_1, Protocol
from evaluator.report import IGNORED, MISSING, OK, REJECT, UNREADABLE, UNSCORED, Problem, Report
from evaluator.volume import Volume

MOST_NOTES = 50  # of what is ignored


@dataclass(frozen=True, slots=True)
class Submission:
    """An opened submission.  Its arrays are read where they lie, in a zip or a folder.

    path: as it was given.  root: the folder around the crops, "" or `results/`.  folders: the
    folder of each crop that is there, by the crop's own name (`crop557`).
    It holds no open file and survives the way to another process.
    """

    path: Path
    archive: Archive
    root: str
    folders: Mapping[str, str]

    def open(self, target: Target, protocol: Protocol) -> Volume | None:
        """The array sent for a target, as it is stored; None: missing.

        `evaluator.alignment.align` brings it onto the target's grid.  Raises Unreadable: damaged,
        or the protocol refuses it from what its metadata says.
        """
        if self.quirks(target, protocol):
            return None
        meta = self.describe(target, protocol)
        if meta is None:
            return None
        folder = self._folder(target) + (f"/{meta.folder}" if meta.folder else "")
        store = checked_store(self.archive, folder, meta)
        return Volume(meta, store, grid=meta.grid_beside(target.grid))

    def describe(self, target: Target, protocol: Protocol) -> ArrayMeta | None:
        """What the metadata of a target's array says; None: missing.

        Raises Unfit: it says nothing that can be scored, or the protocol refuses it.
        """
        folder = self._folder(target)
        if not self.archive.holds(folder):
            return None
        meta = describe(
            lambda name: self.archive.text(f"{folder}/{name}"), like=target.grid.voxel_size
        )  # fmt: skip
        if meta is None:
            raise Unfit(
                "bad_metadata",
                "the folder holds no Zarr array: neither .zarray nor zarr.json nor .zgroup.",
                "Zip whole arrays, hidden files included, or use `evaluator pack`.",
            )
        _check_fit(meta, target.grid, protocol)
        return meta

    def quirks(self, target: Target, protocol: Protocol) -> frozenset[str]:
        """Rules of a protocol, other than the sound ones, that make this target's array missing."""
        folder, crop = self._folder(target), target.crop.folder
        if not self.archive.holds(folder):
            return frozenset()
        bare = self.folders[crop] != crop and any(a == b for a, b in self.folders.items())
        found = {
            "reads_groups": not protocol.reads_groups and self._is_group(folder),
            "reads_v3": not protocol.reads_v3 and self.archive.has(f"{folder}/zarr.json"),
            "mixes_prefixes": not protocol.mixes_prefixes and bare,
        }
        return frozenset(rule for rule, matters in found.items() if matters)

    def read(self, target: Target) -> np.ndarray | None:
        """The prediction on the target's grid, in the dtype it is stored in; None: missing.

        It is aligned as `crista-1` does.  Raises Unreadable.
        """
        volume = self.open(target, CRISTA_1)
        if volume is None:
            return None
        planes = align(volume, target, CRISTA_1).planes
        return planes.planes(0, target.grid.shape[0])

    def _folder(self, target: Target) -> str:
        crop = self.folders.get(target.crop.folder, target.crop.folder)
        return f"{self.root}{crop}/{target.label.name}"

    def _is_group(self, folder: str) -> bool:
        """True if there is no array directly in the label's folder."""
        if self.archive.has(f"{folder}/.zarray"):
            return False
        try:
            found = describe(lambda name: self.archive.text(f"{folder}/{name}"))
        except Unfit:
            return True
        return found is None or bool(found.folder)


def check_submission(path: Path, manifest: Manifest, protocol: Protocol = CRISTA_1) -> Report:
    """Every problem at once, from metadata alone.  Never raises for what a participant sends."""
    try:
        submission = _opened(path, manifest)
    except ArchiveError as error:
        problem = Problem(
            error.code, REJECT, str(error), error.remedy, expected=error.expected, got=error.got
        )
        return Report((problem,), dict.fromkeys(manifest.by_path, MISSING))
    problems, states = [], {}
    for target in manifest.targets:
        states[target.path], problem_of_it = _examined(submission, target, protocol)
        problems += [problem_of_it] if problem_of_it else []
    return Report((*problems, *_notes(submission, manifest)), states)


def open_submission(path: Path, manifest: Manifest) -> Submission:
    """A submission ready to be read.  Raises SubmissionError if it must be rejected."""
    try:
        return _opened(path, manifest)
    except ArchiveError as error:
        raise SubmissionError(f"{error} {error.remedy}") from error


def _opened(path: Path, manifest: Manifest) -> Submission:
    """Finds the crops; looks at no array.  Raises ArchiveError."""
    archive = open_archive(
        path,
        most_entries=10_000 + 8 * len(manifest.targets) + manifest.voxels // 512,
        most_bytes=(256 << 20) + 64 * manifest.voxels,
    )
    root = _root(archive, manifest)
    found = {name for name, is_folder in archive.children(root.removesuffix("/")) if is_folder}
    folders = _crop_folders(found, manifest)
    submission = Submission(path, archive, root, folders)
    if not any(archive.holds(submission._folder(target)) for target in manifest.targets):
        raise _no_targets(found, manifest)
    return submission


def _root(archive: Archive, manifest: Manifest) -> str:
    """The folders around the crops, "" or `results/` or `a/b/`: at most two, each alone."""
    root = ""
    wanted = {name for crop in manifest.crops.values() for name in _aliases(crop)}
    for _ in range(3):
        children = archive.children(root.removesuffix("/"))
        folders = {name for name, is_folder in children if is_folder}
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


def _check_fit(meta: ArrayMeta, target: VoxelGrid, protocol: Protocol) -> None:
    """Raise Unfit if an array makes no sense for a target, by the rules of a protocol."""
    grid = meta.grid_beside(target)
    if math.prod(meta.shape) > protocol.most_finer * target.voxels:
        raise Unfit(
            "wrong_shape",
            f"its shape {meta.shape} holds over {protocol.most_finer} times the voxels of "
            f"{target.shape}.",
            "Send it at the voxel size of the crop.",
            expected=f"about {target.shape}",
            got=f"{meta.shape}",
        )
    if grid is None:
        if meta.shape != target.shape and not protocol.centres_unplaced:
            raise _misfit(meta, target)
        return
    if not protocol.refuses_misfits:
        return
    same_place = grid.has_voxels_of(target) and np.allclose(grid.offset, target.offset)
    too_small = any(n < m for n, m in zip(grid.shape, target.shape, strict=True))
    if same_place and too_small:
        raise _misfit(meta, target)
    if any(axis.max() < 0 for axis in target.nearest(grid)):
        raise Unfit(
            "bad_metadata",
            f"it lies outside the crop: translation {grid.offset} nm; expected {target.offset}.",
            "Correct the translation; axes are Z, Y, X and lengths nanometres.",
            expected=f"translation {target.offset} nm",
            got=f"translation {grid.offset} nm",
        )


def _misfit(meta: ArrayMeta, target: VoxelGrid) -> Unfit:
    return Unfit(
        "wrong_shape", f"its shape is {meta.shape}; expected {target.shape}.",
        f"Write it with shape {target.shape}, or give voxel_size and translation in nm.",
        expected=f"{target.shape}", got=f"{meta.shape}",
    )  # fmt: skip


def _examined(
    submission: Submission, target: Target, protocol: Protocol
) -> tuple[str, Problem | None]:
    """The state of a target, and what is wrong with it."""
    crop, label = target.crop.folder, target.label.name
    try:
        missing = submission.quirks(target, protocol)
        meta = None if missing else submission.describe(target, protocol)
    except Unfit as error:
        message = f"{target.path}: {error}"
        return UNREADABLE, Problem(
            error.code, UNSCORED, message, error.remedy, crop, label, error.expected, error.got
        )
    if meta is None:
        why = f"counts as missing by the rule {min(missing, default='')} of {protocol.name}"
        return MISSING, Problem(
            "missing_array", UNSCORED, f"{target.path} {why if missing else 'is missing'}.",
            "Send an array for every target; one without any object may be all zeros.", crop, label,
            f"an array of shape {target.grid.shape}", why if missing else "none",
        )  # fmt: skip
    return OK, _doubtful_place(meta, target, protocol)


def _doubtful_place(meta: ArrayMeta, target: Target, protocol: Protocol) -> Problem | None:
    """A hint if the array can be scored but hardly lies where it was meant to."""
    crop, label, grid = target.crop.folder, target.label.name, meta.grid_beside(target.grid)
    if grid is None:
        return None
    if meta.voxel_size and meta.offset and not protocol.snaps_offsets:
        corner = replace(meta, offset=None).grid_beside(target.grid)
        same_offset = np.allclose(grid.offset, target.grid.offset)
        if corner and same_offset and not grid.has_voxels_of(target.grid):
            return Problem(
                "corner_offset", IGNORED,
                f"{target.path} repeats the offset of its crop at another voxel size: offsets are "
                "those of voxel centres, so it lies a part of a voxel off.",
                f"If both begin at the same corner write the translation {list(corner.offset)}.",
                crop, label, f"translation {list(corner.offset)} nm",
                f"translation {list(grid.offset)} nm",
            )  # fmt: skip
    if any((axis < 0).any() for axis in target.grid.nearest(grid)):
        return Problem(
            "partial_cover", IGNORED,
            f"{target.path} covers only a part of the crop; the rest counts as background.",
            "Predict the whole crop.", crop, label, f"the whole of {target.grid.shape}",
            f"shape {grid.shape}, offset {grid.offset} nm",
        )  # fmt: skip
    return None


def _no_targets(found: set[str], manifest: Manifest) -> ArchiveError:
    came = ", ".join(ascii(name)[1:-1][:40] for name in sorted(found)[:5]) or "no folder"
    example = manifest.targets[0].path
    return ArchiveError(
        "no_targets",
        f"The archive holds none of the {len(manifest.targets)} targets: found {came}; "
        f"expected arrays such as {example}.",
        "Name the folders after crops and labels of the manifest.",
        expected=f"arrays such as {example}",
        got=came,
    )


def _notes(submission: Submission, manifest: Manifest) -> list[Problem]:
    """What the archive holds beyond the targets, which is ignored."""
    crops = {found: crop for crop, found in submission.folders.items()}
    notes = []
    for name, is_folder in submission.archive.children(submission.root.removesuffix("/")):
        if is_folder and name not in crops:
            notes.append(_unknown("crop", name, name, None))
        elif is_folder:
            notes += [
                _unknown("label", f"{name}/{label}", name, label)
                for label, inner in submission.archive.children(f"{submission.root}{name}")
                if inner and f"{crops[name]}/{label}" not in manifest.by_path
            ]
        if len(notes) >= MOST_NOTES:
            break
    return notes[:MOST_NOTES]


def _unknown(kind: str, shown: str, crop: str, label: str | None) -> Problem:
    return Problem(
        f"unknown_{kind}", IGNORED,
        f"{ascii(shown)[1:-1][:120]} is not in the manifest; it is ignored.",
        f"If it was meant to be scored, name it after a {kind} of the manifest.",
        crop[:120], None if label is None else label[:120], got=ascii(shown)[1:-1][:120],
    )  # fmt: skip
