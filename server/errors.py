"""How the site says no."""

from __future__ import annotations


class Refused(Exception):
    """A rule says no.  Carries a sentence for the person who asked: what is so, what to do next.

    code: a word that scripts can rely on.  status: the HTTP status that fits.
    """

    def __init__(self, code: str, sentence: str, *, status: int = 409) -> None:
        super().__init__(sentence)
        self.code = code
        self.sentence = sentence
        self.status = status


class IllegalTransition(Exception):
    """Code asked for a step that the table of steps does not know: a mistake of ours."""
