"""The key that signs sessions, made on first start and kept from then on."""

from __future__ import annotations

import contextlib
import os
import secrets
import tempfile
from pathlib import Path


def secret_key(path: Path) -> str:
    """The key in a file; a missing file is made, readable by its owner only.

    Processes that start at the same moment get the same key: the first to link its file wins.
    """
    if not path.exists():
        # mkstemp makes the file 0600; a link appears whole or not at all.
        handle, draft = tempfile.mkstemp(dir=path.parent, prefix=".secret")
        with os.fdopen(handle, "w") as file:
            file.write(secrets.token_urlsafe(50))
        with contextlib.suppress(FileExistsError):
            os.link(draft, path)
        os.unlink(draft)
    return path.read_text("ascii")
