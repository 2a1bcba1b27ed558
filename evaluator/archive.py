"""A submission as a read-only tree of files: a zip read in place, or a folder of the same layout.

Nothing is ever extracted, and no name from an archive becomes a path of ours.  A zip's directory
is checked whole before any entry is opened.
"""

from __future__ import annotations

import contextlib
import os
import re
import stat
import struct
import zipfile
import zlib
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from evaluator.digest import file_digest, json_digest
from evaluator.errors import Explained, SubmissionError, Unreadable
from evaluator.metadata import LARGEST_TEXT, bad_metadata

LARGEST_RATIO = 1100  # deflate cannot do better than 1032 : 1
LONGEST_NAME = 512
DEEPEST_NAME = 32
METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
LOCAL_HEADER = 30  # bytes before the name
DAMAGE = (  # what the zip library raises for bytes that make no sense
    zipfile.BadZipFile,
    zlib.error,
    struct.error,
    EOFError,
    OSError,
    RuntimeError,
    ValueError,
    IndexError,
)
BLOCK = 1 << 20
REZIP = "Zip the folder again, or use `evaluator pack`."


class ArchiveError(Explained, SubmissionError):
    """The archive as a whole is refused."""

    def __init__(self, code: str, message: str, remedy: str = REZIP) -> None:
        super().__init__(code, message, remedy)


@dataclass(frozen=True, slots=True)
class Entry:
    """Where a zip keeps a file, and what it must unfold to."""

    name: str
    start: int
    packed: int
    size: int
    crc: int
    deflated: bool


class Archive:
    """The files of a submission by name (`crop557/mito/.zarray`), sorted; folders have no entry."""

    names: tuple[str, ...]

    def text(self, name: str) -> bytes | None:
        """The content of a small file; None if there is none.  Raises Unfit: damaged or large."""
        raise NotImplementedError

    def store(self, folder: str) -> dict[str, Any]:
        """A tensorstore key-value store of what lies below a folder (`crop557/mito`)."""
        raise NotImplementedError

    def entries(self, folder: str) -> tuple[Entry, ...]:
        """The entries of a zip below a folder, for `verify`; none for files that lie free."""
        return ()

    def close(self) -> None:
        """Let go of open files; `store` remains usable."""


class FolderArchive(Archive):
    """A folder.  Symbolic links are refused: they could point anywhere."""

    def __init__(self, path: Path) -> None:
        self._path = path.resolve()
        self.names = tuple(sorted(_files(self._path)))
        self._known = frozenset(self.names)

    def text(self, name: str) -> bytes | None:
        if name not in self._known:
            return None
        with (self._path / name).open("rb") as file:
            return file.read(LARGEST_TEXT + 1)

    def store(self, folder: str) -> dict[str, Any]:
        return {"driver": "file", "path": f"{self._path / folder}/"}


class ZipArchive(Archive):
    """A zip of stored or deflated entries, checked against bombs and tricks when it is opened.

    most_entries, most_bytes: how many entries and declared bytes, after inflation, are accepted.
    """

    def __init__(self, path: Path, *, most_entries: int, most_bytes: int) -> None:
        self._path = path.resolve()
        with contextlib.ExitStack() as opened:
            self._file = opened.enter_context(_open_zip(path))
            infos = self._file.infolist()
            _check_sizes(infos, most_entries=most_entries, most_bytes=most_bytes)
            for info in infos:
                _check_entry(info)
            self._infos = _by_name(infos)
            _check_places(infos, end=self._file.start_dir)
            opened.pop_all()  # nothing is wrong with it: it stays open
        self.names = tuple(sorted(self._infos))

    def text(self, name: str) -> bytes | None:
        if name not in self._infos:
            return None
        try:
            with self._file.open(self._infos[name]) as file:
                return file.read(LARGEST_TEXT + 1)
        except DAMAGE as error:
            raise bad_metadata("its metadata file is damaged inside the zip.") from error

    def store(self, folder: str) -> dict[str, Any]:
        base = {"driver": "file", "path": str(self._path)}
        return {"driver": "zip", "base": base, "path": f"{folder}/"}

    def entries(self, folder: str) -> tuple[Entry, ...]:
        first = bisect_left(self.names, f"{folder}/")
        last = bisect_left(self.names, f"{folder}0")  # 0 follows / in the order of characters
        infos = (self._infos[name] for name in self.names[first:last])
        return tuple(
            Entry(
                name=info.filename,
                start=info.header_offset,
                packed=info.compress_size,
                size=info.file_size,
                crc=info.CRC,
                deflated=info.compress_type == zipfile.ZIP_DEFLATED,
            )
            for info in infos
        )

    def close(self) -> None:
        self._file.close()


def verify(path: Path, entries: Iterable[Entry]) -> None:
    """Raise Unreadable unless each entry of a zip unfolds to the bytes its directory promises.

    The library that decodes chunks trusts a zip's directory and does not look at checksums.
    """
    with path.open("rb") as file:
        for entry in entries:
            if not _is_whole(file, entry):
                raise Unreadable(
                    f"a chunk is damaged: {entry.name.split('/', 1)[-1]!a} in the zip."
                )


def _is_whole(file: BinaryIO, entry: Entry) -> bool:
    """True if an entry's own header and content agree with the directory."""
    file.seek(entry.start)
    header = file.read(LOCAL_HEADER)
    if len(header) < LOCAL_HEADER or not header.startswith(b"PK\x03\x04"):
        return False
    name_length, extra_length = struct.unpack_from("<HH", header, LOCAL_HEADER - 4)
    if file.read(name_length).decode("utf-8", "replace") != entry.name:
        return False
    file.seek(extra_length, os.SEEK_CUR)
    size = crc = 0
    for block in _unfolded(file, entry):
        size += len(block)
        crc = zlib.crc32(block, crc)
    return (size, crc) == (entry.size, entry.crc)


def _unfolded(file: BinaryIO, entry: Entry) -> Iterator[bytes]:
    """The content of an entry, block by block, and never much more than its declared size."""
    inflate = zlib.decompressobj(-zlib.MAX_WBITS) if entry.deflated else None
    left, promised = entry.packed, entry.size
    while left > 0 and promised >= 0:
        block = file.read(min(BLOCK, left))
        left = left - len(block) if block else 0
        while block:
            try:
                content = inflate.decompress(block, BLOCK) if inflate else block
            except zlib.error:
                return
            block = inflate.unconsumed_tail if inflate else b""
            promised -= len(content)
            yield content
            if promised < 0:
                return


def open_archive(path: Path, *, most_entries: int, most_bytes: int) -> Archive:
    """The archive at a path.  Raises ArchiveError."""
    if path.is_dir():
        return FolderArchive(path)
    if not path.is_file():
        raise ArchiveError("not_a_zip", f"{path.name} does not exist.", "Check the path.")
    return ZipArchive(path, most_entries=most_entries, most_bytes=most_bytes)


def archive_digest(path: Path) -> str:
    """SHA-256 in hex: of a zip's bytes; of a folder's names and contents."""
    if path.is_file():
        return file_digest(path)
    return json_digest({name: file_digest(path / name) for name in _files(path)})


def is_junk(name: str) -> bool:
    """True for files that operating systems add on their own."""
    parts = name.split("/")
    last = parts[-1]
    return "__MACOSX" in parts or last in (".DS_Store", "Thumbs.db") or last.startswith("._")


def _files(root: Path) -> Iterator[str]:
    for folder, folders, files in os.walk(root):
        for name in (*folders, *files):
            path = Path(folder, name)
            if path.is_symlink():
                shown = path.relative_to(root).as_posix()
                raise ArchiveError("bad_archive", f"{shown} is a symbolic link.", "Copy the files.")
        for name in files:
            yield Path(folder, name).relative_to(root).as_posix()


def _open_zip(path: Path) -> zipfile.ZipFile:
    try:
        return zipfile.ZipFile(path)
    except DAMAGE as error:
        with path.open("rb") as file:
            begins_well = file.read(4) == b"PK\x03\x04"
        if begins_well:
            raise ArchiveError(
                "not_a_zip",
                f"{path.name} begins like a zip but its end is missing or damaged, "
                f"after {path.stat().st_size} bytes.",
                "Make sure the file is complete, then send it again.",
            ) from error
        raise ArchiveError(
            "not_a_zip",
            f"{path.name} is not a zip file; expected a zip of Zarr arrays.",
            "Pack the predictions with `evaluator pack`.",
        ) from error


def _check_sizes(infos: list[zipfile.ZipInfo], *, most_entries: int, most_bytes: int) -> None:
    if len(infos) > most_entries:
        raise ArchiveError(
            "bad_archive",
            f"The zip has {len(infos)} entries; at most {most_entries} are accepted here.",
            "Use chunks of 64 voxels and leave out empty ones.",
        )
    declared = sum(info.file_size for info in infos)
    if declared > most_bytes:
        raise ArchiveError(
            "bad_archive",
            f"The zip unfolds to {declared} bytes; at most {most_bytes} are accepted here.",
            "Send only the arrays that are asked for.",
        )


def _check_entry(info: zipfile.ZipInfo) -> None:
    """Raise ArchiveError for an entry that an honest packer does not write."""
    shown = ascii(info.orig_filename)[:120]
    if info.flag_bits & 0x1:
        raise ArchiveError(
            "bad_archive", f"The entry {shown} is encrypted.", "Zip it without a password."
        )
    if info.compress_type not in METHODS:
        raise ArchiveError(
            "bad_archive",
            f"The entry {shown} uses compression method {info.compress_type}.",
            "Zip with Store or Deflate.",
        )
    if not _is_plain_name(info):
        raise ArchiveError(
            "bad_archive",
            f"The entry {shown} is not a plain relative path such as crop1/mito/0.0.0.",
        )
    kind = stat.S_IFMT(info.external_attr >> 16)
    if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
        raise ArchiveError("bad_archive", f"The entry {shown} is a link or a device, not a file.")
    if info.file_size > LARGEST_RATIO * info.compress_size + 4096:
        raise ArchiveError(
            "bad_archive",
            f"The entry {shown} claims to unfold {info.compress_size} bytes to {info.file_size}.",
        )


def _is_plain_name(info: zipfile.ZipInfo) -> bool:
    name = info.filename
    parts = name.removesuffix("/").split("/")
    return (
        name == info.orig_filename
        and len(name) <= LONGEST_NAME
        and len(parts) <= DEEPEST_NAME
        and not re.search(r"[\x00-\x1f\x7f\\:\ufffd]", name)
        and not any(part in ("", ".", "..") for part in parts)
    )


def _by_name(infos: list[zipfile.ZipInfo]) -> Mapping[str, zipfile.ZipInfo]:
    """The files by name.  Raises ArchiveError if readers could disagree on what a name means."""
    names: dict[str, zipfile.ZipInfo] = {}
    folders: set[str] = set()
    for info in infos:
        if info.filename in names:
            raise ArchiveError("bad_archive", f"The entry {info.filename!a} is there twice.")
        names[info.filename] = info
        parts = info.filename.removesuffix("/").split("/")
        folders.update("/".join(parts[:depth]) for depth in range(1, len(parts)))
    files = {name: info for name, info in names.items() if not name.endswith("/")}
    if both := sorted(folders & set(files)):
        raise ArchiveError("bad_archive", f"{both[0]!a} is both a file and a folder.")
    return files


def _check_places(infos: list[zipfile.ZipInfo], *, end: int) -> None:
    """Raise ArchiveError if entries overlap, or if something stands before the first one."""
    position = 0
    for info in sorted(infos, key=lambda info: info.header_offset):
        if position == 0 < info.header_offset:
            raise ArchiveError("bad_archive", "There are bytes before the zip's first entry.")
        if info.header_offset < position:
            raise ArchiveError("bad_archive", f"The entry {info.filename!a} overlaps another one.")
        name = info.orig_filename.encode("utf-8", "replace")
        position = info.header_offset + LOCAL_HEADER + len(name) + info.compress_size
    if position > end:
        raise ArchiveError("bad_archive", "The last entry reaches into the zip's directory.")
