"""What is done of a long piece of work: a line per part, added when the part is on disk."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass
class Ledger:
    """Which parts are done, as long as the work is the same.

    path: JSON lines, the first with the mark of the work.  mark: what a part depends on; parts that
    were done under another mark do not count, and are forgotten with the first new one.
    A line that cannot be read counts for nothing: its part is done again.
    """

    path: Path
    mark: str
    done: set[tuple[int | str, ...]] = field(init=False)

    def __post_init__(self) -> None:
        first, *rest = self._lines()
        self._begun = first == {"mark": self.mark}
        parts = map(_part, rest) if self._begun else ()
        self.done = {part for part in parts if part is not None}

    def enter(self, *part: int | str) -> None:
        """Note a finished part, named by numbers or words."""
        if not self._begun:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self.path.write_text(json.dumps({"mark": self.mark}), "utf-8")
            self._begun = True
        with self.path.open("a", encoding="utf-8") as file:
            # The newline stands before, so that a line cut off by a crash spoils no other.
            file.write("\n" + json.dumps({"done": part}))
        self.done.add(part)

    def _lines(self) -> list[Any]:
        if not self.path.is_file():
            return [None]
        return [_read(line) for line in self.path.read_bytes().split(b"\n")]


def _read(line: bytes) -> Any:
    """What a line says, None for one that was cut off or damaged."""
    try:
        return json.loads(line)
    except ValueError:
        return None


def _part(line: Any) -> tuple[int | str, ...] | None:
    """The part that a line tells of, if it does."""
    match line:
        case {"done": [*names]} if all(isinstance(name, (int, str)) for name in names):
            return tuple(names)
    return None
