"""Whoever hears, sentence by sentence, how far some work is."""

from __future__ import annotations

from collections.abc import Callable

Progress = Callable[[str], None]
