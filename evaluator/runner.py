"""From files to scores: read truth and prediction of each target, score it, pool the whole.

The result does not depend on the number of processes nor on the order they finish in.
"""

from __future__ import annotations

import multiprocessing
import multiprocessing.context
import os
import signal
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from evaluator.errors import EvaluatorError, Unreadable
from evaluator.manifest import Manifest, Target
from evaluator.protocol import Protocol
from evaluator.reading import Prediction, Reader
from evaluator.report import MISSING
from evaluator.scores import Result, Status, Sums, TargetScore, pool
from evaluator.scoring import Scored, score_planes, worst_sums
from evaluator.submission import Submission, open_submission
from evaluator.truth import DigestedPlanes, Truth, open_truth

Opening = tuple[Path, Manifest, Path, Protocol]
Progress = Callable[[TargetScore, float], None]  # a target's score and the seconds it took


@dataclass(frozen=True)
class Scorer:
    """Scores targets of one opened submission, whose truth lies in a folder."""

    reader: Reader
    truth: Path

    @classmethod
    def open(cls, submission: Path, manifest: Manifest, truth: Path, protocol: Protocol) -> Scorer:
        """A scorer of the submission at a path.  Raises SubmissionError if it is rejected."""
        return cls(Reader.open(submission, manifest, protocol), truth)

    @property
    def submission(self) -> Submission:
        """What was opened."""
        return self.reader.submission

    @property
    def protocol(self) -> Protocol:
        """What it is scored under."""
        return self.reader.protocol

    def score(self, target: Target) -> TargetScore:
        """Read and score one target.  Raises ManifestError if its truth does not fit it."""
        truth = open_truth(target, self.truth)
        return score_prediction(target, truth, self.reader.read(target))

    def timed(self, target: Target) -> tuple[TargetScore, float]:
        """The score of a target and the seconds it took."""
        start = time.perf_counter()
        return self.score(target), time.perf_counter() - start


def score_prediction(target: Target, truth: Truth, pred: Prediction) -> TargetScore:
    """The score of a prediction, and beside it that under the protocol beside its own.

    Raises ManifestError if the truth cannot be read.
    """
    try:
        scored, digest = _scored(target, truth, pred)
    except Unreadable:
        scored, digest = Scored(Status.UNREADABLE, _worst(target, truth, pred)), ""
    return TargetScore(
        crop=target.crop.folder,
        label=target.label.name,
        status=scored.status,
        voxels=target.grid.voxels,
        sums=scored.sums,
        truth_digest=truth.digest,
        pred_digest=digest,
        quirks=tuple(sorted(scored.quirks | pred.opening)),
        beside=score_prediction(target, truth, pred.beside) if pred.beside else None,
        masked=truth.mask is not None,
    )


def _scored(target: Target, truth: Truth, pred: Prediction) -> tuple[Scored, str]:
    """How a target is scored, and the digest of its prediction.  Raises Unreadable."""
    if pred.planes is None:
        status = Status.MISSING if pred.status == MISSING else Status.UNREADABLE
        return Scored(status, _worst(target, truth, pred), pred.quirks), ""
    planes = DigestedPlanes(pred.planes)
    scored = score_planes(
        target, truth.planes, planes, pred.protocol, mask=truth.mask, resampled=pred.resampled
    )
    return replace(scored, quirks=scored.quirks | pred.quirks), planes.digest()


def _worst(target: Target, truth: Truth, pred: Prediction) -> Sums:
    return worst_sums(target, truth.planes, pred.protocol, mask=truth.mask)


def score_target(
    target: Target, *, truth: Path, submission: Path, manifest: Manifest, protocol: Protocol
) -> TargetScore:
    """The score of one target.  truth: folder of Zarr arrays laid out `crop557/mito`.

    Raises SubmissionError if the submission must be rejected, ManifestError if the truth is wrong.
    """
    return Scorer.open(submission, manifest, truth, protocol).score(target)


def score_submission(
    submission: Path,
    *,
    truth: Path,
    manifest: Manifest,
    protocol: Protocol,
    jobs: int = 1,
    progress: Progress = lambda score, seconds: None,
    done: Iterable[TargetScore] = (),
) -> Result:
    """The result of a submission, scored target by target, the smallest first.

    jobs: processes; 1 scores in this one.  progress: told about each target as it is done.
    done: scores of an earlier run of the same, which are taken over.
    Raises EvaluatorError as `score_target` does, and if a process dies.
    """
    scores = list(done)
    taken = {score.path for score in scores}
    targets = [target for target in manifest.targets if target.path not in taken]
    targets.sort(key=lambda target: (target.grid.voxels, target.path))
    opening = (submission, manifest, truth, protocol)
    open_submission(submission, manifest)  # what is rejected must not start a process
    for score, seconds in _all_scored(targets, opening, jobs=min(jobs, len(targets))):
        progress(score, seconds)
        scores.append(score)
    return pool(manifest, scores, protocol=protocol)


def _all_scored(
    targets: Iterable[Target], opening: Opening, *, jobs: int
) -> Iterator[tuple[TargetScore, float]]:
    if jobs <= 1:
        yield from map(Scorer.open(*opening).timed, targets)
        return
    with ProcessPoolExecutor(
        jobs, mp_context=_context(), initializer=_open_here, initargs=opening
    ) as processes:
        try:
            for done in as_completed([processes.submit(_score_here, t) for t in targets]):
                yield done.result()
        except BrokenProcessPool as error:
            raise EvaluatorError(
                "A scoring process was ended from outside, most likely because memory ran out. "
                "Try again with --jobs 1."
            ) from error
        except KeyboardInterrupt:
            for child in multiprocessing.active_children():
                child.terminate()  # its target may take minutes more
            raise
        finally:
            processes.shutdown(cancel_futures=True)


def _context() -> multiprocessing.context.BaseContext:
    """Processes that do not inherit our threads' locks, as plain forks would.

    Where there is a fork server, it imports the package once for all of them.
    """
    if "forkserver" not in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__])
    return context


_here: list[Scorer] = []  # of a scoring process: the one scorer it works with


def _open_here(*opening: Any) -> None:
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # Ctrl-C ends it without a word
    threading.Thread(target=_end_with_parent, daemon=True).start()
    _here[:] = [Scorer.open(*opening)]


def _end_with_parent() -> None:
    """A parent that was killed cannot stop its processes."""
    if parent := multiprocessing.parent_process():
        parent.join()
        os._exit(1)


def _score_here(target: Target) -> tuple[TargetScore, float]:
    return _here[0].timed(target)
