"""What can go wrong, as one tree.

    EvaluatorError
    ├── ManifestError      a manifest or its label definitions cannot be understood (organiser)
    ├── SubmissionError    the archive as a whole cannot be scored (participant)
    ├── Unreadable         one array cannot be read; its target counts as worst (participant)
    ├── NotScored          a submission ended without a score
    ├── NotLoggedIn        there is no token for a server
    └── ServerError        a server could not be reached, or is broken
        └── ServerRefusal  a server said no

An error that is also `Explained` carries a code for programs and the next step.

Every message is a sentence for the person who can mend it: what was found where, what was
expected, what to do.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import ClassVar


class EvaluatorError(Exception):
    """Base of all errors that carry a sentence for the user.

    exit_code: what a command ends with: 1 if something was refused, 2 if it cannot be done as it
    was asked for, 3 if a server is away or broken.
    """

    exit_code: ClassVar[int] = 2


class ManifestError(EvaluatorError):
    """The manifest, or the label definitions beside it, cannot be understood."""


class SubmissionError(EvaluatorError):
    """The archive as a whole cannot be scored."""

    exit_code = 1


class Unreadable(EvaluatorError):
    """One array cannot be read.  The evaluation goes on; the target counts as worst."""


class NotScored(EvaluatorError):
    """A submission was rejected or cancelled."""

    exit_code = 1


class NotLoggedIn(EvaluatorError):
    """There is no token for a server."""


class ServerError(EvaluatorError):
    """A Crista server could not be reached, or did something wrong."""

    exit_code = 3


class ServerRefusal(ServerError):
    """A Crista server said no, in a sentence of its own."""

    exit_code = 1


class Explained(EvaluatorError):
    """Mixed into an error that programs tell apart and that names the next step.

    code: one of the codes of `evaluator.report.Problem`.  remedy: a sentence.
    expected, got: the two sides of the message in a few words; "" if it says them best.
    """

    def __init__(
        self, code: str, message: str, remedy: str, expected: str = "", got: str = ""
    ) -> None:
        super().__init__(message)
        self.code = code
        self.remedy = remedy
        self.expected = expected
        self.got = got

    def __reduce__(self) -> tuple[type[Explained], tuple[str, ...]]:
        """Survives the way to another process."""
        return type(self), (self.code, str(self), self.remedy, self.expected, self.got)


def meant(name: str, known: Iterable[str]) -> str:
    """A hint at the known name that is nearest, such as " (did you mean mito?)", or ""."""
    nearest = difflib.get_close_matches(name, list(known), n=1)
    return f" (did you mean {nearest[0]}?)" if nearest else ""
