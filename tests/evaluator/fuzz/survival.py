"""What must hold for any bytes: checked and read, or refused with a code and a sentence."""

from __future__ import annotations

import faulthandler
import json
from collections import Counter
from pathlib import Path

from evaluator import (
    SubmissionError,
    Unreadable,
    check_submission,
    get_protocol,
    open_submission,
)
from evaluator import archive as archive_module
from evaluator.errors import Explained
from evaluator.report import CODES, MISSING, OK, UNREADABLE
from tests.evaluator.fuzz.seeds import MANIFEST

PROTOCOLS = [get_protocol("crista-1"), get_protocol("cellmap-2026.1")]
DEADLINE = 10  # seconds for one example; the process ends with a traceback beyond it
MEMORY = 128 << 20  # bytes that one example may take, and all that are drawn at random


def peak() -> int:
    """The most memory this process ever held, in bytes."""
    text = Path("/proc/self/status").read_text()
    return int(text.split("VmHWM:")[1].split()[0]) * 1024


def survive(path: Path, content: bytes, found: Counter[str]) -> None:
    """Check and read a submission in every way there is.  found: counts what became of it."""
    path.write_bytes(content)
    archive_module._directory.cache_clear()  # a clock may stand still between two examples
    faulthandler.dump_traceback_later(DEADLINE, exit=True)
    try:
        for protocol in PROTOCOLS:
            _survive(path, protocol, found)
    finally:
        faulthandler.cancel_dump_traceback_later()


def _survive(path, protocol, found) -> None:
    report = check_submission(path, MANIFEST, protocol)
    json.dumps(report.to_json(), allow_nan=False)
    for problem in report.problems:
        assert problem.code in CODES, problem
        assert problem.message.isprintable(), problem
        assert problem.message.endswith("."), problem
        assert len(problem.message) < 500, problem
        shown = problem.to_json()
        assert shown["expected"], problem
        assert shown["got"].isprintable(), problem
        assert not any(str(path.parent) in str(value) for value in shown.values()), problem
    found.update({problem.code for problem in report.problems})
    try:
        submission = open_submission(path, MANIFEST)
    except SubmissionError:
        assert not report.accepted
        return
    assert report.accepted
    for target in MANIFEST.targets:
        found[_read(submission, target, protocol, report.targets[target.path])] += 1


def _read(submission, target, protocol, state: str) -> str:
    """What became of a target, which a check said to be in a state."""
    try:
        volume = submission.open(target, protocol)
        assert (volume is None) == (state == MISSING)
        if volume is None:
            return "none"
        assert state == OK
        if len(volume.shape) == 3 and volume.shape[0] <= 64:
            assert volume.planes(0, volume.shape[0]).shape == volume.shape
        else:
            volume.planes(0, 1)
    except Unreadable as error:
        return _refused(error, state)
    try:
        array = submission.read(target)
        assert array is None or array.shape == target.grid.shape
    except Unreadable:
        pass
    return "read"


def _refused(error: Unreadable, state: str) -> str:
    assert isinstance(error, Explained), error
    assert error.code in CODES, error
    assert error.remedy.endswith(".")
    assert state in (OK, UNREADABLE)
    return f"then {error.code}" if state == OK else error.code
