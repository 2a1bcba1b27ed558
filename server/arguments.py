"""Numbers on command lines: each refuses, in words, what could only fail later."""

from __future__ import annotations

import math
from argparse import ArgumentTypeError


def seconds(text: str) -> float:
    """A time to wait, above 0 and at most a day.  Raises ArgumentTypeError."""
    found = _number(text)
    if not 0 < found <= 24 * 3600:
        raise ArgumentTypeError(f"{text!r} is no time: give seconds, above 0 and at most 86400")
    return found


def whole_seconds(text: str) -> int:
    """The same of whole seconds, 1 at least."""
    found = seconds(text)
    if found != int(found):
        raise ArgumentTypeError(f"{text!r} is no whole number of seconds: give 60, for example")
    return int(found)


def port(text: str) -> int:
    """A port that can be listened on, 1 to 65535."""
    return _between(text, 1, 65535)


def workers(text: str) -> int:
    """How many processes, 1 to 1000."""
    return _between(text, 1, 1000)


def _between(text: str, least: int, most: int) -> int:
    if not (text.isascii() and text.isdigit() and least <= int(text) <= most):
        raise ArgumentTypeError(f"{text!r} is no whole number from {least} to {most}")
    return int(text)


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan
