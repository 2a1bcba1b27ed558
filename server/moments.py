"""Moments in words, for sentences; pages have the filter `when`."""

from __future__ import annotations

from datetime import UTC, datetime


def in_words(at: datetime) -> str:
    """`5 March 2026 at 09:00 UTC`.  at: with its zone."""
    return at.astimezone(UTC).strftime("%d %B %Y at %H:%M UTC").lstrip("0")
