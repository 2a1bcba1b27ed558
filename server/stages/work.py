"""What the process of a stage does.  It runs confined, in a fork that ends with the answer.

Its parent imports this module once, before any fork.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from server import scoring

NO_TRUTH = Path(os.devnull)
LONGEST_SENTENCE = 2000


def do(role: str, asked: dict[str, Any], files: Sequence[int]) -> dict[str, Any]:
    """{"value": …}, or {"blame", "refused"} if the stage says no in words.

    asked: as `server.stages` wrote it; there is no truth in it but for the role "score".
    """
    try:
        return {"value": ROLES[role](asked, files)}
    except scoring.SubmissionError as error:
        return _refused("participant", str(error))
    except scoring.ManifestError as error:
        return _refused("organiser", str(error))
    except OSError as error:  # a disk that is full or gone; its text alone names no path
        if error.errno == errno.ENOMEM:  # a call to the system met the limit, not one of Python's
            raise MemoryError from error
        return _refused("system", f"The storage failed: {os.strerror(error.errno or 0)}.")


def _refused(blame: str, sentence: str) -> dict[str, Any]:
    return {"blame": blame, "refused": sentence[:LONGEST_SENTENCE]}


def _check(asked: dict[str, Any], files: Sequence[int]) -> Any:
    return scoring.check(Path(asked["submission"]), _rules(asked), called=asked["called"])


def _ingest(asked: dict[str, Any], files: Sequence[int]) -> Any:
    submission = Path(asked["submission"])
    return scoring.read_target(asked["target"], submission, _rules(asked), files)


def _score(asked: dict[str, Any], files: Sequence[int]) -> Any:
    return scoring.score_blocks(asked["target"], asked["facts"], _rules(asked), files)


def _rules(asked: dict[str, Any]) -> scoring.Rules:
    manifest, labels, protocol = asked["rules"]
    truth = Path(asked["truth"]) if "truth" in asked else NO_TRUTH
    return scoring.Rules(manifest, labels, protocol, truth)


ROLES = {"check": _check, "ingest": _ingest, "score": _score}
