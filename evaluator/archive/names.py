"""Names in a zip: plain relative paths, each of which every reader takes for the same file."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Sequence
from itertools import pairwise

LONGEST_NAME = 512  # bytes
LONGEST_PART = 255
DEEPEST_NAME = 32
# Control characters, what separates paths elsewhere, and marks that turn the direction of writing.
ODD = re.compile(
    "[\x00-\x09\x0b-\x1f\x7f-\x9f\\\\:\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufffd]"
)
ODD_PARTS = (
    "//",
    "/./",
    "/../",
    "\n/",
    "\n./",
    "\n../",
    "/.\n",
    "/..\n",
    "\n.\n",
    "\n..\n",
    "\n\n",
)


def odd_name(names: Sequence[bytes]) -> str | None:
    """A sentence about a name of a zip's entry that may not be there; None if all are fine.

    Names must be UTF-8, relative, without `.` and `..`, and differ in more than case or spelling of
    the same letters; no file may also be a folder.
    """
    blob = b"\n".join(names)
    try:
        text = blob.decode("utf-8")
    except UnicodeDecodeError:
        text = ""
    lines = f"\n{text}\n".replace("/\n", "\n")
    if (
        blob.count(b"\n") != max(0, len(names) - 1)
        or (names and not text)
        or ODD.search(text)
        or any(part in lines for part in ODD_PARTS)
        or max(map(len, names), default=0) > LONGEST_PART
        or max((name.count(b"/") for name in names), default=0) >= DEEPEST_NAME
    ):
        for name in names:
            if not _is_plain(name):
                return (
                    f"The entry {_shown(name)} is not a plain relative path such as "
                    "crop1/mito/0.0.0."
                )
    return _ambiguous(names, text)


def _is_plain(name: bytes) -> bool:
    try:
        text = name.decode("utf-8")
    except UnicodeDecodeError:
        return False
    parts = text.removesuffix("/").split("/")
    return (
        len(name) <= LONGEST_NAME
        and len(parts) <= DEEPEST_NAME
        and "\n" not in text
        and not ODD.search(text)
        and all(part not in ("", ".", "..") for part in parts)
        and all(len(part.encode()) <= LONGEST_PART for part in parts)
    )


def _ambiguous(names: Sequence[bytes], text: str) -> str | None:
    """A sentence about names that readers could take for each other.  text: their lines."""
    if not names:
        return None
    if len(set(names)) != len(names):
        return f"The entry {_shown(_twin(names))} is there twice."
    folded = unicodedata.normalize("NFC", text).casefold()
    if folded != text and len(set(folded.split("\n"))) != len(names):
        twin = _twin(folded.split("\n"))
        return f"The entry {twin!a} is there twice, but for upper and lower case."
    if both := _file_and_folder(text):
        return f"{both!a} is both a file and a folder."
    return None


def _file_and_folder(text: str) -> str | None:
    """A name among lines that is a file and lies around another entry.

    Sorted with the least of all letters for the slash, such an entry follows its file at once: no
    set of all the folders is needed, which may be many times as many as entries.
    """
    lines = sorted(text.replace("/", "\0").split("\n"))
    for name, following in pairwise(lines):
        if following.startswith(f"{name}\0") and not name.endswith("\0"):
            return name.replace("\0", "/")
    return None


def _twin(names: Sequence[bytes] | Sequence[str]) -> bytes | str:
    """A name that is there twice, of names that are not all different."""
    times: Counter[bytes | str] = Counter(names)
    return next(name for name in times if times[name] > 1)


def _shown(name: bytes | str) -> str:
    text = name.decode("utf-8", "replace") if isinstance(name, bytes) else name
    return ascii(text)[:120]
