"""What was fetched into a folder: a ledger, one line of JSON for each thing as it is done.

    {"path": "train/a/raw/s0/0/0/0", "bytes": 1234, "sha256": "…"}    a file that is there, whole
    {"path": "train/a/raw/s0/0/0/1", "absent": true}                  the store has none: fill value
    {"array": "train/a/raw/s0", "box": [[0, 0, 0], [64, 64, 64]]}     voxels that are known

A line that was cut off by a crash counts for nothing; the file it speaks of is fetched again.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

from baselines.box import Box

LEDGER = "fetched.jsonl"


@dataclass
class FetchedFolder:
    """files: (bytes, SHA-256) by path; absent: paths that the store does not have."""

    root: Path
    files: dict[str, tuple[int, str]] = field(default_factory=dict)
    absent: set[str] = field(default_factory=set)
    boxes: dict[str, list[Box]] = field(default_factory=dict)

    @classmethod
    def load(cls, root: Path) -> FetchedFolder:
        """The ledger of a folder; an empty one if nothing was fetched there."""
        ledger = cls(root)
        for entry in _entries(root / LEDGER):
            ledger._take(entry)
        return ledger

    def has(self, path: str) -> bool:
        """True if a file is there with the size that was fetched, or the store has none."""
        if path in self.absent:
            return True
        if path not in self.files:
            return False
        file = self.root / path
        return file.is_file() and file.stat().st_size == self.files[path][0]

    def damaged(self) -> list[str]:
        """Files that are gone or whose content changed since they were fetched; all are read."""
        return [
            path for path, (_, digest) in sorted(self.files.items())
            if not (file := self.root / path).is_file() or _digest(file) != digest
        ]  # fmt: skip

    def forget(self, paths: list[str]) -> None:
        """Files that are to be fetched again; they are removed."""
        for path in paths:
            del self.files[path]
            (self.root / path).unlink(missing_ok=True)

    def keep(self, path: str, content: bytes | None) -> None:
        """Write a file, whole or not at all, and enter it; None: the store has none."""
        if content is None:
            self._enter({"path": path, "absent": True})
            return
        file = self.root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        part = file.with_name(f".{file.name}.part{os.getpid()}")
        part.write_bytes(content)
        part.replace(file)
        digest = hashlib.sha256(content).hexdigest()
        self._enter({"path": path, "bytes": len(content), "sha256": digest})

    def keep_box(self, array: str, box: Box) -> None:
        """Enter that all voxels of a box of an array are there."""
        if box not in self.boxes.get(array, []):
            self._enter({"array": array, "box": [list(box.start), list(box.stop)]})

    def _enter(self, entry: dict[str, Any]) -> None:
        self.root.mkdir(parents=True, exist_ok=True)
        with (self.root / LEDGER).open("ab") as file:
            # The newline stands before, so that a line cut off by a crash spoils no other.
            file.write(b"\n" + json.dumps(entry).encode())
        self._take(entry)

    def _take(self, entry: dict[str, Any]) -> None:
        match entry:
            case {"path": path, "absent": True}:
                self.absent.add(path)
            case {"path": path, "bytes": int(size), "sha256": digest}:
                self.files[path] = (size, digest)
                self.absent.discard(path)
            case {"array": array, "box": [[z, y, x], [end_z, end_y, end_x]]}:
                self.boxes.setdefault(array, []).append(Box((z, y, x), (end_z, end_y, end_x)))


def was_fetched(root: Path) -> bool:
    """True if a folder has a ledger: what it does not name is not there."""
    return (root / LEDGER).is_file()


def fetched_boxes(root: Path, array: str) -> list[Box]:
    """Boxes of an array, by its path below `root`, whose voxels were all fetched.

    Empty: nothing is known of the array, as in a folder that was not fetched, or files of it are
    gone since: then a chunk without a file need not be one that the store does not have.
    """
    return list(_boxes(root, array, (root / LEDGER).stat().st_size)) if was_fetched(root) else []


@lru_cache(maxsize=256)
def _boxes(root: Path, array: str, size: int) -> tuple[Box, ...]:
    """size: of the ledger, which only ever grows."""
    fetched = _loaded(root, size)
    files = (path for path in fetched.files if path.startswith(f"{array}/"))
    return tuple(fetched.boxes.get(array, ())) if all(map(fetched.has, files)) else ()


@lru_cache(maxsize=4)
def _loaded(root: Path, size: int) -> FetchedFolder:
    return FetchedFolder.load(root)


def _entries(ledger: Path) -> Iterator[dict[str, Any]]:
    if not ledger.is_file():
        return
    with ledger.open(encoding="utf-8", errors="replace") as lines:
        for line in lines:
            try:
                entry = json.loads(line)
            except ValueError:
                continue  # cut off by a crash
            if isinstance(entry, dict):
                yield entry


def _digest(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
