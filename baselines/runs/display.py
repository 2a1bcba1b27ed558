"""A training as people watch it: a bar with the time that is left, or plain lines."""

from __future__ import annotations

import contextlib
from collections.abc import Generator

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from baselines.runs.journal import Event, Sink, Trained, duration, sentence_of


def silent(_: str) -> None:
    """For who watches the events themselves."""


@contextlib.contextmanager
def shown(console: Console | None = None) -> Generator[Sink, None, None]:
    """A sink of events: a bar in a terminal, elsewhere a line each.  On stderr by default."""
    console = console or Console(stderr=True)
    if not console.is_terminal:
        yield lambda event: console.print(
            escape(sentence_of(event)), soft_wrap=True, highlight=False
        )
        return
    columns = (
        TextColumn("epoch {task.fields[epoch]}"), BarColumn(), MofNCompleteColumn(),
        TextColumn("{task.fields[numbers]}"),
    )  # fmt: skip
    with Progress(*columns, console=console) as progress:
        task = progress.add_task("", total=None, epoch="", numbers="")

        def show(event: Event) -> None:
            if not isinstance(event, Trained):
                console.print(escape(sentence_of(event)), soft_wrap=True, highlight=False)
                return
            progress.update(
                task, total=event.iterations, completed=event.iteration,
                epoch=f"{event.epoch}/{event.epochs}", numbers=numbers_of(event),
            )  # fmt: skip

        yield show


def numbers_of(event: Trained) -> str:
    """What stands beside the bar."""
    dice = list(event.dice.values())
    shown_dice = f"Dice {sum(dice) / len(dice):.3f}  " if dice else ""
    return f"loss {event.loss:.4f}  {shown_dice}{event.speed:.1f}/s  {duration(event.left)} left"
