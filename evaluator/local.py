"""Scoring on one's own machine: progress on the terminal, taking up an interrupted run, timings."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TimeElapsedColumn
from rich.progress import TimeRemainingColumn as TimeRemaining

from evaluator.archive import archive_digest
from evaluator.errors import EvaluatorError
from evaluator.journal import Journal, Making, is_plain
from evaluator.manifest import Manifest
from evaluator.protocol import Protocol
from evaluator.results.tables import counted
from evaluator.runner import Scorer, score_submission
from evaluator.scores import Result, TargetScore
from evaluator.version import __version__


@dataclass(frozen=True, slots=True)
class Run:
    """What is scored, and how.  jobs: processes, 0 for one per processor.

    kept: file of the result, beside which finished targets are kept; None: they are not.
    """

    submission: Path
    truth: Path
    manifest: Manifest
    protocol: Protocol
    jobs: int = 1
    kept: Path | None = None
    verbose: bool = False
    seconds: dict[str, float] = field(default_factory=dict)

    def score(self) -> Result:
        """The result.  Finished targets of an interrupted run of the same are taken over.

        Ctrl-C passes through; what is finished is kept.  Raises EvaluatorError.
        """
        need_truth(self.truth)
        scorer = Scorer.open(self.submission, self.manifest, self.truth, self.protocol)
        journal = self._journal(scorer.submission.path)  # none of what is rejected
        known = self.manifest.by_path
        done = tuple(score for score in journal.done if score.path in known) if journal else ()
        try:
            with _bar(self.manifest, done) as bar:
                return score_submission(
                    self.submission, truth=self.truth, manifest=self.manifest,
                    protocol=self.protocol, jobs=self.jobs or processors(), done=done,
                    progress=lambda score, took: self._tell(score, took, bar, journal),
                )  # fmt: skip
        finally:
            if journal:
                journal.close()

    def finished(self) -> None:
        """The result is written: what was kept of it is removed."""
        if self.kept and is_plain(self.kept):
            Journal.path_beside(self.kept).unlink(missing_ok=True)

    def _journal(self, opened: Path) -> Journal | None:
        if self.kept is None or not is_plain(self.kept):
            return None
        making = Making(
            protocol=self.protocol.name,
            evaluator=__version__,
            manifest=self.manifest.digest,
            submission=archive_digest(opened),
            truth=str(self.truth.resolve()),
        )
        journal = Journal(self.kept, making)
        if journal.other:
            say(f"{journal.path} is of another run (other files, rules or version); starting anew.")
        if journal.done:
            say(f"Took over {len(journal.done)} of {len(self.manifest.targets)} targets that an "
                f"interrupted run had scored ({journal.path}).")  # fmt: skip
        return journal

    def _tell(self, score: TargetScore, took: float, bar: Bar, journal: Journal | None) -> None:
        if journal:
            journal.add(score)
        self.seconds[score.path] = took
        bar.advance(score)
        if self.verbose:
            bar.line(f"{score.path}: {score.status}, {took:.1f} s")


def need_truth(folder: Path) -> None:
    """Raises EvaluatorError if there is no folder of the truth."""
    if not folder.is_dir():
        raise EvaluatorError(f"There is no folder {folder}; --truth is the folder of the truth.")


def processors() -> int:
    """How many processors this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def timings(seconds: Mapping[str, float]) -> str:
    """A line on how long targets took."""
    if not seconds:
        return "Every target was taken over from an interrupted run."
    slowest = max(seconds, key=lambda path: seconds[path])
    return (
        f"{counted(len(seconds), 'target')} in {sum(seconds.values()):.1f} s of work; "
        f"slowest {slowest}, {seconds[slowest]:.1f} s."
    )


def say(line: str) -> None:
    """A line for the person at the terminal, beside the output."""
    print(line, file=sys.stderr)


class Bar:
    """A bar that fills by voxels, since targets differ a thousandfold."""

    def __init__(self, progress: Progress, manifest: Manifest, done: tuple[TargetScore, ...]):
        self._progress = progress
        self._left = len(manifest.targets) - len(done)
        voxels = sum(score.voxels for score in done)
        self._task = progress.add_task(self._title(), total=manifest.voxels, completed=voxels)

    def advance(self, score: TargetScore) -> None:
        """One more target is scored."""
        self._left -= 1
        self._progress.update(self._task, advance=score.voxels, description=self._title())

    def line(self, text: str) -> None:
        """A line above the bar, or on its own where there is no terminal."""
        self._progress.console.print(text, markup=False, highlight=False, soft_wrap=True)

    def _title(self) -> str:
        return f"{counted(self._left, 'target')} left"


@contextmanager
def _bar(manifest: Manifest, done: tuple[TargetScore, ...]) -> Iterator[Bar]:
    """A bar on the error stream, which stays empty where that is no terminal."""
    console = Console(stderr=True)
    columns = ("{task.description}", BarColumn(), TaskProgressColumn(), TimeElapsedColumn(), "ETA")
    with Progress(
        *columns, TimeRemaining(), console=console, transient=True,
        disable=not console.is_terminal,
        speed_estimate_period=7 * 24 * 3600.0,  # large targets are minutes apart
    ) as progress:  # fmt: skip
        yield Bar(progress, manifest, done)
