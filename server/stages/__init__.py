"""Rule zero: the process that reads a participant's bytes cannot open the truth, and the process
that opens the truth never reads a participant's format.

    check, ingest    a child that gets the submission, and neither truth nor database nor queue
    score            a child that gets the truth, and of the submission only canonical blocks

Both are forks of a clean process (`server.stages.nursery`), bounded in memory, CPU and time
(`server.stages.confinement`).  Nothing here knows a database: the caller alone writes.
"""

from __future__ import annotations

import json
import os
import shutil
import uuid
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from server import scoring
from server.stages.asking import ask, start, stop
from server.stages.errors import LOST, StageDied, StageRefused
from server.stages.limits import Limits, limits_for
from server.stages.scratch import remove_leftovers, scratch

__all__ = [
    "LOST", "Ingested", "Limits", "StageDied", "StageRefused", "check", "ingest", "limits_for",
    "remove_leftovers", "score", "scratch", "start", "stop",
]  # fmt: skip

CHECKING = Limits(memory=4 << 30, cpu=300.0, seconds=600.0)
LARGEST_VOXEL = 8  # bytes
NEW = os.O_RDWR | os.O_CREAT | os.O_EXCL
FACTS = "facts.json"


@dataclass(frozen=True, slots=True)
class Ingested:
    """What was read of a target: canonical blocks in a folder.

    content: SHA-256 in hex of everything from the participant that the score depends on.
    size: bytes of the blocks; 0 if there is no array, or none that can be read.
    """

    content: str
    folder: Path
    size: int


def check(
    submission: Path, rules: scoring.Rules, *, called: str, limits: Limits = CHECKING
) -> tuple[bool, dict[str, Any]]:
    """Can the archive be scored, and everything found in it, as `scoring.check` tells it.

    called: what the participant calls the file.  Raises StageDied, StageRefused.
    """
    _need("check", submission)
    asked = {"submission": str(submission), "called": called, "rules": _texts(rules)}
    value = ask("check", asked, limits)
    if not _is_report(value):
        raise StageDied("check", "result")
    accepted, report = value
    return accepted, report


def _is_report(value: Any) -> bool:
    if not (isinstance(value, list) and len(value) == 2 and isinstance(value[1], dict)):
        return False
    accepted, report = value
    problems, targets = report.get("problems"), report.get("targets")
    return (
        type(accepted) is bool
        and report.get("accepted") is accepted
        and isinstance(problems, list)
        and all(isinstance(problem, dict) for problem in problems)
        and isinstance(targets, dict)
        and all(isinstance(state, str) for state in targets.values())
    )


def ingest(
    target: str,
    submission: Path,
    rules: scoring.Rules,
    *,
    into: Path,
    limits: Limits | None = None,
) -> Ingested:
    """Read a target's prediction into blocks in a new folder, without any truth.

    into: a folder of ours on a disk with room; who owns it removes it (`scratch`).
    Raises StageDied, StageRefused.
    """
    _need("ingest", submission)
    folder = into / uuid.uuid4().hex
    folder.mkdir(mode=0o700)
    with ExitStack() as undo:
        undo.callback(shutil.rmtree, folder, ignore_errors=True)
        with _blocks(folder, scoring.most_blocks(rules), NEW) as files:
            done = _ingested(target, submission, rules, folder, files, limits)
        undo.pop_all()  # all went well
    return done


def _ingested(
    target: str,
    submission: Path,
    rules: scoring.Rules,
    folder: Path,
    files: Sequence[int],
    limits: Limits | None,
) -> Ingested:
    voxels = scoring.voxels(target, rules)
    asked = {"submission": str(submission), "target": target, "rules": _texts(rules)}
    facts = ask(
        "ingest", asked, limits or limits_for(voxels), files=files, writes=LARGEST_VOXEL * voxels
    )
    try:
        sealed = scoring.seal(target, facts, rules, files)
    except scoring.BlockError as error:
        raise StageDied("ingest", "result", str(error)) from error
    text = {"facts": sealed.facts, "digests": sealed.digests, "content": sealed.content}
    (folder / FACTS).write_text(json.dumps(text), "utf-8")
    return Ingested(sealed.content, folder, sum(os.fstat(file).st_size for file in files))


def score(
    target: str, ingested: Ingested, rules: scoring.Rules, *, limits: Limits | None = None
) -> dict[str, Any]:
    """The score of a target as JSON, as `scoring.score_item` gives it.

    Raises StageDied, StageRefused: the truth is wrong (blame "organiser").
    """
    sealed = scoring.Sealed(**json.loads((ingested.folder / FACTS).read_text("utf-8")))
    asked = {
        "target": target, "facts": sealed.facts, "rules": _texts(rules), "truth": str(rules.truth),
    }  # fmt: skip
    limits = limits or limits_for(scoring.voxels(target, rules))
    with _blocks(ingested.folder, scoring.most_blocks(rules), os.O_RDONLY) as files:
        value = ask("score", asked, limits, files=files)
    try:
        return scoring.checked_score(target, sealed, value, rules)
    except scoring.BlockError as error:
        raise StageDied("score", "result", str(error)) from error


@contextmanager
def _blocks(folder: Path, count: int, flags: int) -> Iterator[list[int]]:
    """The files of blocks, open.  A stage gets these descriptors and no path to them."""
    files: list[int] = []
    try:
        for number in range(count):
            place = str(folder / f"{number}.raw")
            files.append(os.open(place, flags | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600))
        yield files
    finally:
        for file in files:
            os.close(file)


def _texts(rules: scoring.Rules) -> list[str]:
    """The rules without the truth's place."""
    return [rules.manifest_csv, rules.labels_toml, rules.protocol]


def _need(stage: str, submission: Path) -> None:
    if not submission.exists():
        raise StageRefused(stage, "system", "The file of the submission is not in the storage.")
