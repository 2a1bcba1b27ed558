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
    """

    path: Path
    mark: str
    done: set[tuple[Any, ...]] = field(init=False)

    def __post_init__(self) -> None:
        first, *rest = self._lines()
        self._begun = first == {"mark": self.mark}
        self.done = {tuple(line["done"]) for line in rest} if self._begun else set()

    def enter(self, *part: Any) -> None:
        """Note a finished part, named by numbers or words."""
        if not self._begun:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self.path.write_text(json.dumps({"mark": self.mark}) + "\n", "utf-8")
            self._begun = True
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps({"done": part}) + "\n")
        self.done.add(part)

    def _lines(self) -> list[Any]:
        if not self.path.is_file():
            return [None]
        # What was cut off by a crash ends without a newline, and is done again.
        whole = self.path.read_text("utf-8").split("\n")[:-1]
        return [json.loads(line) for line in whole] or [None]
