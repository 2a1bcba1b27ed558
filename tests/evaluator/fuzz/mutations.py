"""Submissions changed where it hurts: in the zip's records, in its bytes, in the metadata's fields.

A mutation is made by drawing from a `Draw`, so that the same draws give the same bytes: hypothesis
draws at random and shrinks, atheris draws what leads to new branches.
"""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any, Protocol

from tests.evaluator.fuzz.seeds import ARRAYS, Files, submission
from tests.evaluator.made_zips import File, described, zip_of

VALUES: list[Any] = [
    None, True, False, 0, 1, -1, 2, 3, 7, 255, 1 << 20, 1 << 31, 1 << 32, 1 << 63, 1 << 64, 10**19,
    0.5, -0.0, 1e-9, 1e308, -1e308, "", "0", "NaN", "Infinity", "..", "/", "a" * 300, "\u202e",
    [], {}, [[]], [0], [1, 1, 1], [6, 7, 8], [0, 0, 0], [-1, 7, 8], [6, 7], [6, 7, 8, 1], [1e9] * 3,
    [1 << 20] * 3, [1 << 40] * 3, ["x", 1, 2], "|O", "<U9", "<f8", ">u8", "|b1", "<c8", "<M8[s]",
    "uint8", "float16", "r16", {"id": "pickle"}, {"id": "blosc"}, {"id": "zstd", "level": 10**9},
    {"id": "lz4"}, [{"id": "delta"}], {"name": "regular"}, {"name": "v2"}, "zlib", "start", "end",
    [{"name": "bytes"}], [{"name": "bytes"}, {"name": "zstd"}, {"name": "gzip"}], "F", "s0/..",
]  # fmt: skip
INTEGERS = [0, 1, 2, 3, 4, 8, 0x20, 0x41, 0x7F, 0xFF, 0x800, 0xFFFE, 0xFFFF]
SIZES = [0, 1, 30, 46, 0xFFFF, 0x7FFFFFFF, 0xFFFFFFFE, 0xFFFFFFFF]
NAMES = [
    b"", b"/", b"..", b"../x", b"a//b", b"\xff", b"crop1", b"crop1/mito", b"CROP1/mito/.zarray",
    b"__MACOSX/._x", b"crop1/mito/0.0.0/", b"crop1\\mito", b"x" * 300, b"a/" * 40, b"a\x00b",
    b"crop9/er/.zarray", b"1/mito/.zarray", b"crop1/mito/zarr.json", b"crop1/mito/.zarray",
]  # fmt: skip


class Draw(Protocol):
    """Where choices come from."""

    def below(self, stop: int) -> int:
        """A whole number from 0 up to, but without, `stop`."""

    def bytes(self, most: int) -> bytes:
        """Some bytes, at most so many."""


def pick(draw: Draw, values: Any) -> Any:
    return values[draw.below(len(values))]


def hostile(draw: Draw) -> bytes:
    """The bytes of a submission after some mutations of each kind."""
    arrays = list(ARRAYS)
    files = submission(
        pick(draw, arrays), pick(draw, ["", "", "r/", "a/b/"]), pick(draw, ["crop", ""])
    )
    if draw.below(4) == 0:
        files |= submission(pick(draw, arrays))
    for _ in range(draw.below(3)):
        files = changed_metadata(draw, files)
    for _ in range(draw.below(2)):
        files = changed_content(draw, files)
    entries = [File(name.encode(), content, deflated=draw.below(2) == 1)
               for name, content in files.items()]  # fmt: skip
    for _ in range(draw.below(3)):
        entries = changed_entries(draw, entries)
    content = zip_of(*entries, **changed_end(draw))
    for _ in range(draw.below(3)):
        content = changed_bytes(draw, content)
    return content


def changed_metadata(draw: Draw, files: Files) -> Files:
    """Another value, or none, or one more, somewhere in a JSON file."""
    names = [name for name in files if name.endswith((".json", ".zarray", ".zattrs", ".zgroup"))]
    name = pick(draw, names)
    try:
        root = json.loads(files[name])
    except ValueError:
        return files
    node, path = root, []
    while isinstance(node, dict | list) and node and (not path or draw.below(3)):
        keys = list(node) if isinstance(node, dict) else list(range(len(node)))
        path.append((node, pick(draw, keys)))
        node = node[path[-1][1]]
    if not path:
        return files
    inside, key = path[-1]
    match draw.below(6):
        case 0:
            del inside[key]
        case 1 if isinstance(inside, list):
            inside.append(pick(draw, VALUES))
        case 2:
            inside[key] = [inside[key]] * (1 + draw.below(4))
        case 3 if isinstance(inside, dict):
            inside[pick(draw, ["x", "filters", "shape", "multiscales", "scale", "offset"])] = pick(
                draw, VALUES
            )
        case _:
            inside[key] = pick(draw, VALUES)
    return files | {name: json.dumps(root).encode()}


def changed_content(draw: Draw, files: Files) -> Files:
    """A file cut, doubled, renamed, swapped with another one, or with other bytes in it."""
    name, other = pick(draw, list(files)), pick(draw, list(files))
    content = files[name]
    match draw.below(6):
        case 0:
            return files | {name: content[: draw.below(len(content) + 1)]}
        case 1:
            return files | {name: content + content}
        case 2:
            return files | {name: files[other]}
        case 3:
            return {k: v for k, v in files.items() if k != name}
        case 4:
            return files | {name: draw.bytes(64)}
    return files | {name: changed_bytes(draw, content)}


def changed_entries(draw: Draw, entries: list[File]) -> list[File]:
    """An entry that lies, or is there twice, or among others in another order."""
    at = draw.below(len(entries))
    entry = entries[at]
    match draw.below(12):
        case 0:
            return [*entries, entry]
        case 1:
            return entries[:at] + entries[at + 1 :] if len(entries) > 1 else entries
        case 2:
            return [*entries[at:], *entries[:at]]
        case 3:
            changes: dict[str, Any] = {"name": pick(draw, NAMES)}
        case 4:
            changes = {"flags": pick(draw, INTEGERS)}
        case 5:
            changes = {"method": pick(draw, INTEGERS)}
        case 6:
            changes = {pick(draw, ["size", "packed", "start", "crc"]): pick(draw, SIZES)}
        case 7:
            changes = {"own_sizes": (pick(draw, SIZES), pick(draw, SIZES), pick(draw, SIZES))}
        case 8:
            changes = {pick(draw, ["extra", "own_extra"]): draw.bytes(40)}
        case 9:
            changes = {pick(draw, ["before", "after"]): draw.bytes(30)}
        case 10:
            changes = {"external": draw.below(1 << 16) << 16}
        case _:
            signed, wide = draw.below(2) == 1, draw.below(2) == 1
            return [*entries[:at], described(entry, signed=signed, wide=wide), *entries[at + 1 :]]
    return [*entries[:at], replace(entry, **changes), *entries[at + 1 :]]


def changed_end(draw: Draw) -> dict[str, Any]:
    """What the end of the zip says that is not so; mostly nothing."""
    match draw.below(16):
        case 0:
            return {pick(draw, ["disk", "first", "here", "entries"]): pick(draw, INTEGERS)}
        case 1:
            return {pick(draw, ["length", "start"]): pick(draw, SIZES)}
        case 2:
            return {"zip64": {}}
        case 3:
            field = pick(draw, ["record", "entries", "here", "length", "start", "place", "disks"])
            return {"zip64": {field: pick(draw, [*SIZES, 1 << 63, (1 << 64) - 1][:8])}}
        case 4:
            return {pick(draw, ["comment", "prefix", "suffix", "between"]): draw.bytes(40)}
    return {}


def changed_bytes(draw: Draw, content: bytes) -> bytes:
    """Bytes flipped, cut, doubled, spliced or written over."""
    if not content:
        return content
    at, length = draw.below(len(content)), 1 + draw.below(16)
    match draw.below(6):
        case 0:
            return content[:at]
        case 1:
            return content[:at] + content[at + length :]
        case 2:
            return content[:at] + content[at : at + length] + content[at:]
        case 3:
            other = draw.below(len(content))
            return content[:at] + content[other : other + length] + content[at + length :]
        case 4:
            return content[:at] + draw.bytes(8) + content[at:]
    flipped = content[at] ^ (1 << draw.below(8))
    return content[:at] + bytes([flipped]) + content[at + 1 :]
