"""How a training is asked to stop: a signal, or a file named STOP in its folder."""

from __future__ import annotations

import signal
import threading
from pathlib import Path
from types import FrameType
from typing import Any


class Interruption:
    """Within `with`, SIGINT and SIGTERM are remembered instead of obeyed, so a step can be ended.

    A second signal does what signals do.
    """

    def __init__(self, stop: Path) -> None:
        self.stop = stop
        self.reason = ""
        self._before: dict[int, Any] = {}

    @property
    def wanted(self) -> bool:
        """Whether somebody asked; the file is taken away when it has been seen."""
        if not self.reason and self.stop.exists():
            self.stop.unlink(missing_ok=True)
            self.reason = "a STOP file"
        return bool(self.reason)

    def __enter__(self) -> Interruption:
        self.stop.unlink(missing_ok=True)  # of a training that had ended before it was seen
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self._before[number] = signal.signal(number, self._remember)
        return self

    def __exit__(self, *_: object) -> None:
        self._restore()

    def _remember(self, number: int, _: FrameType | None) -> None:
        self.reason = signal.Signals(number).name
        self._restore()

    def _restore(self) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before = {}
