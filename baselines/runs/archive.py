"""Runs, predictions and data as one zip, and back: every file is listed with its checksum.

runs/<name>/…  predictions/<name>/…  data/<name>/…  MANIFEST.json

What comes from elsewhere is not trusted: only plain files that the manifest lists, under the
target alone, no larger than the manifest says, and nothing is touched before all of it is checked.
"""

from __future__ import annotations

import hashlib
import json
import stat
import tempfile
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO

from evaluator.errors import EvaluatorError

MANIFEST = "MANIFEST.json"
KINDS = ("runs", "predictions", "data")
SKIPPED_FOLDERS = {"cache", "__pycache__"}
SKIPPED_FILES = {"lock", "STOP", ".DS_Store"}
STATE = ("last.pt", "checkpoints")  # to go on training; large, and of no use for predicting
MOST_BYTES = 64 * 2**30
_PIECE = 2**20
_MOST_MANIFEST = 64 * 2**20


class ArchiveError(EvaluatorError):
    """An archive cannot be written, or must not be unpacked."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A file of an archive: its path within, its size, its checksum."""

    path: str
    bytes: int
    sha256: str


def export(sources: Mapping[str, list[Path]], out: Path, *, state: bool = False) -> list[Entry]:
    """Write folders into a zip; returns what is in it.

    sources: folders by kind: runs, predictions, data.  state: with what training goes on from.
    Raises ArchiveError for a folder that is missing or empty, two of one name, a file in the way.
    """
    if out.exists():
        raise ArchiveError(f"{out} exists: choose another name, or remove it first.")
    files = dict(_files(sources, state=state))
    out.parent.mkdir(parents=True, exist_ok=True)
    part = out.with_name(out.name + ".part")
    try:
        with zipfile.ZipFile(part, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
            entries = [_add(archive, path, name) for name, path in files.items()]
            content = {"format": 1, "files": [asdict(entry) for entry in entries]}
            archive.writestr(MANIFEST, json.dumps(content, indent=1) + "\n")
        part.replace(out)
    finally:
        part.unlink(missing_ok=True)
    return entries


def verify(archive: Path, *, most_bytes: int = MOST_BYTES) -> list[Entry]:
    """What is in an archive, after reading all of it.  Raises ArchiveError if it does not fit."""
    with _opened(archive) as file:
        entries = _checked(file, archive, most_bytes)
        for entry in entries:
            _copy(file, entry, None)
    return entries


def unpack(
    archive: Path, target: Path, *, replace: bool = False, most_bytes: int = MOST_BYTES
) -> list[Entry]:
    """Unpack an archive into a folder; returns what came.  All of it arrives, or nothing.

    replace: what lies in the folder is deleted; without it, only an empty or new folder will do.
    """
    if target.exists() and not target.is_dir():
        raise ArchiveError(f"{target} is a file; give a folder.")
    if target.is_dir() and any(target.iterdir()) and not replace:
        raise ArchiveError(f"{target} is not empty: choose another folder, or give --replace.")
    target.parent.mkdir(parents=True, exist_ok=True)
    with (
        _opened(archive) as file,
        tempfile.TemporaryDirectory(prefix=f".{target.name}-", dir=target.parent) as beside,
    ):
        entries = _checked(file, archive, most_bytes)
        fresh = Path(beside) / "new"
        fresh.mkdir()
        for entry in entries:
            place = fresh / entry.path
            place.parent.mkdir(parents=True, exist_ok=True)
            with place.open("xb") as content:
                _copy(file, entry, content)
        _put(fresh, target, Path(beside) / "old")  # the old one goes with the temporary folder
    return entries


def _put(fresh: Path, target: Path, old: Path) -> None:
    """Move a folder to its place; what lies there moves aside, and back if that fails."""
    if target.exists():
        target.rename(old)
    try:
        fresh.rename(target)
    except OSError:
        if old.exists():
            old.rename(target)
        raise


def _files(sources: Mapping[str, list[Path]], *, state: bool) -> Iterator[tuple[str, Path]]:
    """Names within the archive, and the files they stand for."""
    taken: dict[str, Path] = {}
    for kind in KINDS:
        for folder in sources.get(kind, []):
            if not folder.is_dir():
                raise ArchiveError(
                    f"{folder} is no folder: give that of a run, of predictions or of data."
                )
            inside = f"{kind}/{folder.resolve().name}"
            if inside in taken:
                raise ArchiveError(
                    f"{folder} and {taken[inside]} have one name: export both apart."
                )
            taken[inside] = folder
            found = [p for p in sorted(folder.rglob("*")) if _kept(p, folder, state=state)]
            if not found:
                raise ArchiveError(
                    f"{folder} holds no files, so there is nothing to export: train first."
                )
            for path in found:
                yield f"{inside}/{path.relative_to(folder).as_posix()}", path


def _kept(path: Path, folder: Path, *, state: bool) -> bool:
    parts = path.relative_to(folder).parts
    if path.is_symlink() or not path.is_file() or SKIPPED_FOLDERS & set(parts):
        return False
    if path.name in SKIPPED_FILES or path.suffix in (".new", ".part"):
        return False
    return state or not set(STATE) & set(parts)


def _add(archive: zipfile.ZipFile, path: Path, name: str) -> Entry:
    digest, size = hashlib.sha256(), 0
    info = zipfile.ZipInfo.from_file(path, name, strict_timestamps=False)
    info.compress_type = zipfile.ZIP_DEFLATED
    with path.open("rb") as source, archive.open(info, "w", force_zip64=True) as sink:
        while piece := source.read(_PIECE):
            digest.update(piece)
            size += len(piece)
            sink.write(piece)
    return Entry(name, size, digest.hexdigest())


def _opened(archive: Path) -> zipfile.ZipFile:
    if not archive.is_file():
        raise ArchiveError(f"{archive} is missing: give a zip that `baselines export` wrote.")
    try:
        return zipfile.ZipFile(archive)
    except zipfile.BadZipFile as error:
        raise _spoilt(archive, "it is no zip, or only a part of one") from error


def _checked(file: zipfile.ZipFile, archive: Path, most_bytes: int) -> list[Entry]:
    """The manifest's entries, after comparing it with the zip's own list and with the rules."""
    entries = _manifest(file, archive)
    infos = {info.filename: info for info in file.infolist() if info.filename != MANIFEST}
    if len(infos) + 1 != len(file.infolist()):
        raise _spoilt(archive, "it names a file twice")
    for entry in entries:
        _check_name(entry.path, archive)
    listed = {entry.path for entry in entries}
    if extra := sorted(set(infos) - listed):
        raise _spoilt(archive, f"it holds {extra[0]}, which its {MANIFEST} does not list")
    if missing := sorted(listed - set(infos)):
        raise _spoilt(archive, f"it lacks {missing[0]}, which its {MANIFEST} lists")
    folders = {str(parent) for path in listed for parent in PurePosixPath(path).parents}
    if len({path.casefold() for path in listed}) < len(entries) or folders & listed:
        raise _spoilt(archive, "it lists a file twice, or one as a folder, too")
    for info in infos.values():
        kind = stat.S_IFMT(info.external_attr >> 16)
        if info.flag_bits & 1 or info.is_dir() or kind not in (0, stat.S_IFREG):
            raise _spoilt(archive, f"{info.filename} is not a plain file")
    total = sum(max(entry.bytes, infos[entry.path].file_size) for entry in entries)
    if total > most_bytes:
        raise ArchiveError(
            f"{archive} would take {total / 2**30:.1f} GiB; at most {most_bytes / 2**30:.1f} GiB "
            "are unpacked. If it is to be trusted, allow more with --max-gb."
        )
    return entries


def _manifest(file: zipfile.ZipFile, archive: Path) -> list[Entry]:
    try:
        info = file.getinfo(MANIFEST)
        if info.file_size > _MOST_MANIFEST:
            raise _spoilt(archive, f"its {MANIFEST} is too large to be one")
        content: Any = json.loads(file.read(info))
        return [
            Entry(str(item["path"]), int(item["bytes"]), str(item["sha256"]))
            for item in content["files"]
        ]
    except KeyError as error:
        raise _spoilt(archive, f"it has no usable {MANIFEST}") from error
    except (ValueError, TypeError, zipfile.BadZipFile, zlib.error) as error:
        raise _spoilt(archive, f"its {MANIFEST} cannot be read ({error})") from error


def _spoilt(place: Path | str, why: str) -> ArchiveError:
    """What is said of an archive, or a file in it, that is not what `export` wrote."""
    return ArchiveError(
        f"{place}: {why}. Copy the archive again, or write it anew with `baselines export`."
    )


def _check_name(name: str, archive: Path) -> None:
    """Raise ArchiveError unless a name leads to a place below the target, on every system."""
    parts = PurePosixPath(name).parts
    plain = name == "/".join(parts) and not {"..", "."} & set(parts) and not name.startswith("/")
    if (
        not parts
        or not plain
        or "\\" in name
        or ":" in name
        or "\0" in name
        or parts[0] not in KINDS
    ):
        raise _spoilt(archive, f"{name!r} does not lie in {', '.join(KINDS)}; it is not unpacked")


def _copy(file: zipfile.ZipFile, entry: Entry, sink: BinaryIO | None) -> None:
    """Read a file of an archive, into a sink if there is one, and compare it with its entry."""
    digest, size = hashlib.sha256(), 0
    try:
        with file.open(entry.path) as source:
            while piece := source.read(_PIECE):
                size += len(piece)
                if size > entry.bytes:
                    break
                digest.update(piece)
                if sink is not None:
                    sink.write(piece)
    # NotImplementedError is zipfile's word for a way of packing that it does not know.
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError) as error:
        raise _spoilt(entry.path, f"it is damaged ({error})") from error
    if size != entry.bytes or digest.hexdigest() != entry.sha256:
        raise _spoilt(entry.path, f"it is damaged: it differs from its entry in {MANIFEST}")
