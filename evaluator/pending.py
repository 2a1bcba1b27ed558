"""Submissions that were asked for and whose answer was not seen.

A command that is killed in that moment cannot know whether its submission was made.  So it notes
what it asks for beforehand; the next run of the same command asks for the very same again, which
the server answers as it did the first time.
"""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path


def key(*parts: str) -> str:
    """A name for what is asked for: server, challenge, phase, team, file, method, description."""
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def noted(name: str) -> str:
    """The upload that was being submitted; "" if none was."""
    try:
        return _file(name).read_text("utf-8").strip()
    except (OSError, ValueError):
        return ""


def note(name: str, upload: str) -> None:
    """Remember it; a folder that cannot be written costs only this safety."""
    try:
        _file(name).parent.mkdir(parents=True, exist_ok=True)
        _file(name).write_text(upload, "utf-8")
    except OSError:
        return


def forget(name: str) -> None:
    """The answer was seen."""
    _file(name).unlink(missing_ok=True)


def _file(name: str) -> Path:
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "crista" / "pending" / name
