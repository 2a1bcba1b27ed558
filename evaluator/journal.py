"""Finished targets of a run, kept beside its result until that is written.

    .result.json.partial.jsonl
    {"evaluator": "0.1.0", "manifest": sha256, "protocol": "crista-1", "submission": sha256, …}
    {"crop": "crop557", "label": "mito", "status": "scored", "sums": {…}, …}

The first line says what the scores were made of; a run of the same takes the others over.  Each
line is written at once and whole, so a run may be killed at any time.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO

from evaluator.digest import canonical_json
from evaluator.errors import EvaluatorError
from evaluator.scores import TargetScore


@dataclass(frozen=True, slots=True)
class Making:
    """What scores are made of: a score of one making is a score of an equal one.

    manifest, submission: digests.  truth: the path of its folder, whose content is trusted to stay.
    """

    protocol: str
    evaluator: str
    manifest: str
    submission: str
    truth: str


class Journal:
    """The finished targets of one run.

    done: what an earlier run of the same making left.  other: there was a journal of another one,
    which is dropped.
    """

    def __init__(self, result: Path, making: Making) -> None:
        """A journal beside the file of a result.  Raises EvaluatorError if it cannot be written."""
        self.path = self.path_beside(result)
        self.done, self.other = _take_over(self.path, making)
        part = self.path.with_name(f"{self.path.name}.part")
        try:
            # Written anew: a torn last line must not swallow the next one.
            lines = [asdict(making), *(score.to_json() for score in self.done)]
            part.write_text("".join(map(canonical_json, lines)), "ascii")
            part.replace(self.path)
            self._file: IO[str] = self.path.open("a", encoding="ascii")
        except OSError as error:
            raise _unwritable(result, error.strerror) from error

    @staticmethod
    def path_beside(result: Path) -> Path:
        """Where the journal of a result lies."""
        return result.with_name(f".{result.name}.partial.jsonl")

    def add(self, score: TargetScore) -> None:
        """Keep a finished target."""
        self._file.write(canonical_json(score.to_json()))
        self._file.flush()

    def close(self) -> None:
        """Leave it to a later run."""
        self._file.close()


def write_whole(path: Path, text: str) -> None:
    """Write a file so that it is there whole or not at all.  Raises EvaluatorError.

    What is no plain file, such as /dev/stdout, is written to and stays what it is.
    """
    place = path.resolve()
    part = place.with_name(f".{place.name}.{os.getpid()}.part") if is_plain(path) else place
    try:
        part.write_text(text, "utf-8")
        if part != place:
            part.replace(place)
    except OSError as error:
        if part != place:
            with contextlib.suppress(OSError):
                part.unlink(missing_ok=True)
        raise _unwritable(path, error.strerror) from error


def is_plain(path: Path) -> bool:
    """True for a plain file, and where one may come to be.  Raises EvaluatorError for a folder."""
    if path.is_dir():
        raise _unwritable(path, "it is a folder")
    return path.is_file() or not path.exists()


def _unwritable(path: Path, reason: str | None) -> EvaluatorError:
    return EvaluatorError(
        f"{path} cannot be written: {reason}. Name a file in a folder that you can write to."
    )


def _take_over(path: Path, making: Making) -> tuple[tuple[TargetScore, ...], bool]:
    """Scores of an equal making; and whether there was a journal of another one."""
    try:
        lines = path.read_text("utf-8", errors="replace").splitlines()
    except OSError:
        return (), False
    if not lines or lines[0] + "\n" != canonical_json(asdict(making)):
        return (), bool(lines)
    return tuple({score.path: score for score in _scores(lines[1:])}.values()), False


def _scores(lines: list[str]) -> Iterator[TargetScore]:
    """The scores of lines, up to the first that is torn."""
    for line in lines:
        try:
            yield TargetScore.from_json(json.loads(line))
        except (AttributeError, KeyError, TypeError, ValueError):
            return
