"""How a training is doing, as anybody may ask at any time, from the files of its folder."""

from __future__ import annotations

import enum
import time
from collections.abc import Sequence
from dataclasses import dataclass

from baselines.progress import Progress
from baselines.runs.checkpoint import Run
from baselines.runs.diagnosis import diagnose
from baselines.runs.journal import Event, Noted, Trained, Validated, duration, sentence_of
from baselines.runs.lock import Holder, holder_of


class Stage(enum.StrEnum):
    """What became of a training."""

    NEW = "new"  # nothing happened yet
    RUNNING = "running"
    STOPPED = "stopped"  # somebody asked; goes on with the same command
    BROKEN = "broken"  # its process is gone without a word; goes on with the same command
    DONE = "done"


@dataclass(frozen=True)
class Status:
    """The latest of everything; None for what has not been told yet."""

    stage: Stage
    holder: Holder | None
    trained: Trained | None
    validated: Validated | None
    hints: tuple[str, ...]


def status_of(run: Run) -> Status:
    """How the training in a folder is doing.  Raises ConfigError if the folder holds no run."""
    run.config()
    holder, events = holder_of(run.lock), run.events()
    trained = [event for event in events if isinstance(event, Trained)]
    validated = [event for event in events if isinstance(event, Validated)]
    return Status(
        _stage(events, holder), holder, trained[-1] if trained else None,
        validated[-1] if validated else None, tuple(diagnose(events)),
    )  # fmt: skip


def describe(status: Status) -> str:
    """The status in a few lines."""
    holder, trained = status.holder, status.trained
    by = f" (pid {holder.pid} on {holder.host}, since {holder.started})" if holder else ""
    lines = [f"{status.stage}{by}"]
    if trained:
        lines.append(sentence_of(trained))
        lines.append(f"{duration(trained.seconds)} so far, peak memory {trained.memory_gb:.1f} GB")
    if status.validated:
        lines.append(sentence_of(status.validated))
        lines += [f"  {label}: {dice:.4f}" for label, dice in status.validated.dice.items()]
    return "\n".join([*lines, *status.hints])


def follow(run: Run, say: Progress, *, every: float = 1.0) -> None:
    """Tell what has happened, and what happens, until nobody trains in the folder."""
    told = 0
    while True:
        active = holder_of(run.lock)
        events = run.events()
        # A training that went back tells some of it again: only what is new is said.
        for event in events[min(told, len(events)) :]:
            say(sentence_of(event))
        told = len(events)
        if active is None:
            return
        time.sleep(every)


def _stage(events: Sequence[Event], holder: Holder | None) -> Stage:
    if holder:
        return Stage.RUNNING
    notes = [event.event for event in events if isinstance(event, Noted)]
    if notes and notes[-1] in ("done", "stopped"):
        return Stage.DONE if notes[-1] == "done" else Stage.STOPPED
    return Stage.BROKEN if events else Stage.NEW
