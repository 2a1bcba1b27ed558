"""A submission as a read-only tree of files: a zip read in place, or a folder of the same layout.

Nothing is ever extracted, and no name from an archive becomes a path of ours.  A zip's directory
is checked whole before any entry is opened (`evaluator.archive.directory`).  Archives hold no open
file, may be pickled, and are read by any number of processes at once.
"""

from __future__ import annotations

import os
import zlib
from abc import ABC, abstractmethod
from bisect import bisect_left
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

from evaluator.archive.directory import Directory, read_directory
from evaluator.archive.records import ArchiveError
from evaluator.digest import file_digest, json_digest
from evaluator.metadata import LARGEST_TEXT, Unfit, too_large

__all__ = ["Archive", "ArchiveError", "archive_digest", "is_junk", "open_archive"]

BLOCK = 1 << 20


class Archive(ABC):
    """The files of a submission by name (`crop557/mito/.zarray`), sorted; folders have no entry.

    path: of the zip or folder itself.
    """

    path: Path
    names: tuple[str, ...]

    @abstractmethod
    def size(self, name: str) -> int:
        """Bytes of a file."""

    @abstractmethod
    def content(self, name: str) -> Iterator[bytes]:
        """A file block by block.  Raises Unfit, at the latest after the last one: damaged."""

    @abstractmethod
    def store(self, folder: str) -> dict[str, Any]:
        """A tensorstore key-value store of what lies below a folder (`crop557/mito`)."""

    def text(self, name: str) -> bytes | None:
        """The content of a small file; None if there is none.  Raises Unfit: damaged or large."""
        if not self.has(name):
            return None
        if self.size(name) > LARGEST_TEXT:
            raise too_large(f"a metadata file is larger than {LARGEST_TEXT} bytes.")
        return b"".join(self.content(name))

    def has(self, name: str) -> bool:
        """True if there is a file of this name."""
        place = bisect_left(self.names, name)
        return place < len(self.names) and self.names[place] == name

    def below(self, folder: str) -> tuple[str, ...]:
        """The names of all files below a folder (`crop557/mito`); "": all there are."""
        if not folder:
            return self.names
        first = bisect_left(self.names, f"{folder}/")
        return self.names[first : bisect_left(self.names, f"{folder}0", first)]  # 0 follows /

    def holds(self, folder: str) -> bool:
        """True if there is a file below a folder."""
        place = bisect_left(self.names, f"{folder}/")
        return place < len(self.names) and self.names[place].startswith(f"{folder}/")

    def children(self, folder: str) -> Iterator[tuple[str, bool]]:
        """What lies directly in a folder ("": the archive): name, and True if it is a folder.

        What operating systems add is left out.  The time follows the number of children.
        """
        prefix = f"{folder}/" if folder else ""
        place = bisect_left(self.names, prefix)
        while place < len(self.names) and self.names[place].startswith(prefix):
            child, slash, _ = self.names[place][len(prefix) :].partition("/")
            if not is_junk(child):
                yield child, bool(slash)
            place = bisect_left(self.names, f"{prefix}{child}0", place) if slash else place + 1


class FolderArchive(Archive):
    """A folder.  Symbolic links and what is no plain file are refused: they lead anywhere."""

    def __init__(self, path: Path) -> None:
        self.path = path.resolve()
        self.names = tuple(sorted(_files(str(self.path))))

    def size(self, name: str) -> int:
        return (self.path / name).stat().st_size

    def content(self, name: str) -> Iterator[bytes]:
        with (self.path / name).open("rb") as file:
            while block := file.read(BLOCK):
                yield block

    def store(self, folder: str) -> dict[str, Any]:
        return {"driver": "file", "path": f"{self.path / folder}/"}


class ZipArchive(Archive):
    """A zip of stored or deflated entries, checked against bombs and tricks when it is opened.

    most_entries, most_bytes: how many entries and declared bytes, after inflation, are accepted.
    """

    def __init__(self, path: Path, *, most_entries: int, most_bytes: int) -> None:
        self.path = path.resolve()
        found = self.path.stat()
        version = (found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns)
        self._directory = _directory(self.path, version, most_entries, most_bytes)
        self.names = self._directory.names

    def size(self, name: str) -> int:
        return int(self._row(name)["size"])

    def content(self, name: str) -> Iterator[bytes]:
        # What decodes chunks trusts a zip's directory and does not look at checksums.
        row = self._row(name)
        left, crc = int(row["size"]), 0
        for block in self._unfolded(row):
            left -= len(block)
            crc = zlib.crc32(block, crc)
            if left < 0:
                break
            yield block
        if left or crc != row["crc"]:
            raise Unfit(
                "damaged",
                f"a file is damaged: {name.split('/', 1)[-1]!a} does not hold what the zip says.",
                "Write the array again and zip it anew.",
            )

    def store(self, folder: str) -> dict[str, Any]:
        base = {"driver": "file", "path": str(self.path)}
        return {"driver": "zip", "base": base, "path": f"{folder}/"}

    def _row(self, name: str) -> Any:
        return self._directory.table[bisect_left(self.names, name)]

    def _unfolded(self, row: Any) -> Iterator[bytes]:
        """What an entry unfolds to, in blocks of at most BLOCK; it ends where nothing makes sense.

        The caller stops once it has more than it was promised.
        """
        inflate = zlib.decompressobj(-zlib.MAX_WBITS) if row["deflated"] else None
        place, left = int(row["start"]), int(row["packed"])
        with self.path.open("rb") as file:
            file.seek(place)
            while left > 0 and (block := file.read(min(BLOCK, left))):
                left -= len(block)
                if inflate is None:
                    yield block
                    continue
                while block:
                    try:
                        content = inflate.decompress(block, BLOCK)
                    except zlib.error:
                        return
                    if inflate.eof and (inflate.unused_data or left):
                        return  # hidden behind the end
                    block = inflate.unconsumed_tail
                    yield content
        if inflate is not None:
            yield inflate.flush()  # a few bytes of a copy that met the end of a block


@lru_cache(maxsize=2)
def _directory(
    path: Path, version: tuple[int, ...], most_entries: int, most_bytes: int
) -> Directory:
    """The directory of a zip, kept while the file stays what it was: many targets are opened."""
    return read_directory(path, most_entries=most_entries, most_bytes=most_bytes)


def open_archive(path: Path, *, most_entries: int, most_bytes: int) -> Archive:
    """The archive at a path: a zip, a folder, or a folder that holds nothing but one zip.

    Raises ArchiveError.
    """
    path = _the_zip(path)
    if path.is_dir():
        return FolderArchive(path)
    if not path.is_file():
        raise ArchiveError("not_a_zip", f"{path.name} does not exist.", "Check the path.")
    return ZipArchive(path, most_entries=most_entries, most_bytes=most_bytes)


def _the_zip(path: Path) -> Path:
    """The one zip in a folder without any other folder; else the path itself."""
    if not path.is_dir():
        return path
    inside = [entry for entry in os.scandir(path) if not is_junk(entry.name)]
    zips = [entry.name for entry in inside if entry.name.lower().endswith(".zip")]
    if not zips or any(entry.is_dir() for entry in inside):
        return path
    if len(zips) > 1:
        raise ArchiveError(
            "not_a_zip", f"{path.name} holds {len(zips)} zips; expected one.", "Name one of them."
        )
    return path / zips[0]


def archive_digest(path: Path) -> str:
    """SHA-256 in hex: of a zip's bytes; of a folder's names and contents."""
    path = _the_zip(path)
    if path.is_file():
        return file_digest(path)
    return json_digest({name: file_digest(path / name) for name in _files(str(path))})


def is_junk(name: str) -> bool:
    """True for files that operating systems add on their own."""
    parts = name.split("/")
    last = parts[-1]
    return "__MACOSX" in parts or last in (".DS_Store", "Thumbs.db") or last.startswith("._")


def _files(folder: str, prefix: str = "") -> Iterator[str]:
    with os.scandir(folder) as found:
        for entry in found:
            name = prefix + entry.name
            if entry.is_dir(follow_symlinks=False):
                yield from _files(entry.path, f"{name}/")
            elif entry.is_file(follow_symlinks=False):
                yield name
            else:
                kind = "a symbolic link" if entry.is_symlink() else "not a plain file"
                raise ArchiveError("bad_archive", f"{name!a} is {kind}.", "Copy the files.")
