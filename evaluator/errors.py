"""What can go wrong, as one tree.

    EvaluatorError
    ├── ManifestError      a manifest or its label definitions cannot be understood (organiser)
    ├── SubmissionError    the archive as a whole cannot be scored (participant)
    ├── Unreadable         one array cannot be read; its target counts as worst (participant)
    └── ServerError        a server said no, or could not be reached (commands towards a server)

Every message is a sentence for the person who can mend it: what was found where, what was
expected, what to do.
"""


class EvaluatorError(Exception):
    """Base of all errors that carry a sentence for the user."""


class ManifestError(EvaluatorError):
    """The manifest, or the label definitions beside it, cannot be understood."""


class SubmissionError(EvaluatorError):
    """The archive as a whole cannot be scored."""


class Unreadable(EvaluatorError):
    """One array cannot be read.  The evaluation goes on; the target counts as worst."""


class ServerError(EvaluatorError):
    """A Crista server refused a request or could not be reached."""
