"""A submission followed until it has ended: a live table of its labels, or a line per change.

A server that cannot be reached is asked again for as long as PATIENCE_S.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Iterator
from typing import Any

from rich.console import Console, Group
from rich.live import Live
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from evaluator.client import Client
from evaluator.errors import ServerError, ServerRefusal

DONE = frozenset({"scored", "rejected", "failed", "cancelled"})
PATIENCE_S = 900.0
SHORTEST_S, LONGEST_S = 1.0, 5.0  # between two questions

Row = dict[str, Any]
Show = Callable[[Row, str], None]


def watch(client: Client, number: str, *, as_json: bool) -> Row:
    """Show a submission until it has ended; how it ended.

    A terminal gets a table that changes, anything else a line per change; as_json: the whole
    answer as a line of JSON per change, on stdout.  Raises ServerRefusal if it may not be seen,
    ServerError if the server stays away.
    """
    console = Console(stderr=True)
    if as_json:
        return _follow(client, number, lambda row, _: print(json.dumps(row), flush=True))
    if not console.is_terminal:
        return _follow(client, number, _Lines().show)
    with Live(console=console, auto_refresh=False, transient=True) as live:
        return _follow(client, number, lambda row, s: live.update(picture(row, s), refresh=True))


def picture(row: Row, trouble: str = "") -> Group:
    """What a terminal shows of a submission.  trouble: why this may be out of date."""
    table = Table("label", "kind", "targets", "score")
    for label in row.get("labels") or []:
        first = "" if label["done"] == label["total"] else " so far"
        score = "–" if label["score"] is None else f"{label['score']:.4f}{first}"
        done = f"{label['done']}/{label['total']}"
        table.add_row(escape(label["label"]), escape(label["kind"]), done, score)
    lines = [Text(headline(row))]
    lines += [Text(trouble, style="yellow")] if trouble else []
    return Group(*lines, *([table] if table.row_count else []))


def headline(row: Row) -> str:
    """`Submission 12: scoring, 3/6 targets, about 4 min left`."""
    parts = [f"Submission {row['id']}: {row['status']}"]
    if row["total"]:
        parts.append(f"{row['done']}/{row['total']} targets")
    if before := row.get("queue_position"):
        parts.append(f"{before} targets of others first")
    if (seconds := row.get("eta_seconds")) is not None and row["status"] not in DONE:
        parts.append(f"about {duration(seconds)} left")
    return ", ".join(parts)


def duration(seconds: float) -> str:
    """A time that is only known roughly: `40 s`, `3 min`, `2 h 10 min`; never below a second."""
    if seconds < 60:
        return f"{max(1, round(seconds))} s"
    minutes = math.ceil(seconds / 60)
    hours, rest = divmod(minutes, 60)
    return f"{hours} h {rest} min" if hours else f"{minutes} min"


class _Lines:
    """A line whenever status or number of targets changes, and one for each label's first value."""

    def __init__(self) -> None:
        self.said: set[str] = set()
        self.console = Console(stderr=True, highlight=False, markup=False, soft_wrap=True)

    def show(self, row: Row, trouble: str) -> None:
        for line in [trouble] if trouble else self._lines(row):
            if line not in self.said:
                self.console.print(line)
        self.said = {trouble} if trouble else self.said | set(self._lines(row))

    def _lines(self, row: Row) -> Iterator[str]:
        state = f"Submission {row['id']}: {row['status']}"
        yield f"{state}, {row['done']}/{row['total']} targets" if row["total"] else state
        for label in row.get("labels") or []:
            if label["score"] is not None and label["done"] == 1:
                yield f"  {label['label']}: a first value, {label['score']:.4f}"


def _follow(client: Client, number: str, show: Show) -> Row:
    row, etag = client.news(number, "")
    assert row is not None  # without a mark there is always news
    show(row, "")
    wait, lost = SHORTEST_S, False
    while row["status"] not in DONE:
        time.sleep(wait)
        wait = min(wait * 1.3, LONGEST_S)
        try:
            news, etag = client.news(number, etag)
        except ServerRefusal:
            raise
        except ServerError as error:
            lost = True
            show(row, f"{error} Trying again.")
            news, etag = _come_back(client, number, etag)
        if news is not None:
            row, wait = news, SHORTEST_S
        if news is not None or lost:
            show(row, "")
        lost = False
    return row


def _come_back(client: Client, number: str, etag: str) -> tuple[Row | None, str]:
    """What a server that went away says when it is there again.  ServerError: it stays away."""
    deadline = time.monotonic() + PATIENCE_S
    while True:
        time.sleep(LONGEST_S)
        try:
            return client.news(number, etag)
        except ServerError as error:
            if isinstance(error, ServerRefusal) or time.monotonic() > deadline:
                raise
