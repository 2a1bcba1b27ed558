"""What a submission holds for a target, as each protocol reads it: the half of scoring that needs
no truth.  The other half, `evaluator.runner.score_prediction`, needs no submission.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from evaluator.alignment import align
from evaluator.errors import Unreadable
from evaluator.manifest import Manifest, Target
from evaluator.protocol import Protocol, get_protocol
from evaluator.report import MISSING, OK, UNREADABLE
from evaluator.submission import Submission, open_submission
from evaluator.volume import Planes


@dataclass(frozen=True, slots=True)
class Prediction:
    """A target's prediction on the target's grid, as one protocol reads it.

    status: "ok", "missing" or "unreadable".  planes: of the target's shape, if it is "ok".
    quirks: rules of the protocol, by name, that are not the sound ones and had an effect on it.
    opening: those that decided which archive was opened; they hold whatever comes of reading it.
    resampled: False if every voxel is one that was sent.
    beside: the same as the protocol beside this one reads it; None if there is none.
    """

    protocol: Protocol
    status: str
    planes: Planes | None = None
    quirks: frozenset[str] = frozenset()
    opening: frozenset[str] = frozenset()
    resampled: bool = False
    beside: Prediction | None = None

    def readings(self) -> list[Prediction]:
        """This one, then those of the protocols beside it."""
        return [self, *(self.beside.readings() if self.beside else ())]


@dataclass(frozen=True)
class Reader:
    """Reads the predictions of one opened submission under a protocol and the one beside it."""

    submission: Submission
    protocol: Protocol
    opening: frozenset[str]
    beside: Reader | None

    @classmethod
    def open(cls, submission: Path, manifest: Manifest, protocol: Protocol) -> Reader:
        """A reader of the submission at a path.  Raises SubmissionError if it is rejected."""
        opened, opening, beside = open_submission(submission, manifest), frozenset[str](), None
        unpacked = submission.with_suffix(".zarr")
        if protocol.reads_unpacked and submission.is_file() and unpacked.is_dir():
            opened, opening = open_submission(unpacked, manifest), frozenset({"reads_unpacked"})
        if protocol.beside:
            beside = cls.open(submission, manifest, get_protocol(protocol.beside))
        return cls(opened, protocol, opening, beside)

    def read(self, target: Target) -> Prediction:
        """The prediction of a target.  Its planes are decoded when somebody asks for them, and
        raise Unreadable then if they are damaged.
        """
        rules, opening = self.protocol, self.opening
        beside = self.beside.read(target) if self.beside else None
        try:
            volume = self.submission.open(target, rules)
            if volume is None:
                quirks = self.submission.quirks(target, rules)
                return Prediction(rules, MISSING, None, quirks, opening, beside=beside)
            aligned = align(volume, target, rules)
        except Unreadable:
            return Prediction(rules, UNREADABLE, opening=opening, beside=beside)
        return Prediction(
            rules, OK, aligned.planes, aligned.quirks, opening, aligned.resampled, beside
        )
