"""Whoever hears, sentence by sentence, how far some work is."""

from __future__ import annotations

from collections.abc import Callable

Progress = Callable[[str], None]


def counted(n: int, what: str) -> str:
    """As in "1 prediction" and "2 predictions"."""
    return f"{n} {what}" if n == 1 else f"{n} {what}s"
