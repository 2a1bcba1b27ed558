"""What happens during a training, as values: told to people, kept in progress.jsonl.

One line of JSON each; "event" says which: training, validation, or the word of a note (begun,
resumed, rolled-back, out-of-memory, stopped, done).
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from baselines.progress import Progress


@dataclass(frozen=True)
class Trained:
    """Some iterations.  losses: of each of them.  dice: of the masks of the patches, per label.

    lr: the present rate.  seconds, cpu_seconds: since the training began; left: to its end.
    waited: share of the time in which the network waited for patches.  speed: patches per second.
    """

    iteration: int
    iterations: int
    epoch: int
    epochs: int
    losses: tuple[float, ...]
    lr: float
    dice: dict[str, float] = field(default_factory=dict)
    seconds: float = 0.0
    cpu_seconds: float = 0.0
    left: float = 0.0
    waited: float = 0.0
    speed: float = 0.0
    memory_gb: float = 0.0

    @property
    def loss(self) -> float:
        """Mean of the losses; nan for none."""
        return sum(self.losses) / len(self.losses) if self.losses else float("nan")


@dataclass(frozen=True)
class Validated:
    """The averaged weights on the validation voxels.  best: they were kept."""

    iteration: int
    loss: float
    dice: dict[str, float]
    mean: float
    best: bool


@dataclass(frozen=True)
class Noted:
    """Something else, in a word for machines and a sentence for people."""

    iteration: int
    event: str
    text: str


Event = Trained | Validated | Noted
Sink = Callable[[Event], None]
_KINDS: dict[str, type[Trained] | type[Validated]] = {"training": Trained, "validation": Validated}


def line_of(event: Event) -> str:
    """An event as a line of progress.jsonl, without its end."""
    names = {kind: name for name, kind in _KINDS.items()}
    name = event.event if isinstance(event, Noted) else names[type(event)]
    return json.dumps({"event": name, **dataclasses.asdict(event)})


def events_of(text: str) -> list[Event]:
    """The events of progress.jsonl; a last line that was cut off by a crash is left out."""
    lines = text.splitlines(keepends=True)
    return [_event(json.loads(line)) for line in lines if line.endswith("\n") and line.strip()]


def up_to(events: Iterable[Event], iteration: int) -> list[Event]:
    """The events that are not after an iteration."""
    return [event for event in events if event.iteration <= iteration]


def sentence_of(event: Event) -> str:
    """An event in words."""
    if isinstance(event, Noted):
        return event.text
    if isinstance(event, Validated):
        best = ", the best so far" if event.best else ""
        return (
            f"iteration {event.iteration}  validation loss {event.loss:.4f}  "
            f"Dice {event.mean:.4f}{best}"
        )
    dice = list(event.dice.values())
    shown = f"  Dice {sum(dice) / len(dice):.4f}" if dice else ""
    return (
        f"iteration {event.iteration}/{event.iterations}  epoch {event.epoch}/{event.epochs}  "
        f"loss {event.loss:.4f}{shown}  {event.speed:.1f} patches/s  "
        f"waited {event.waited:.0%}  {duration(event.left)} left"
    )


def sentences(say: Progress) -> Sink:
    """A sink that puts events into words."""
    return lambda event: say(sentence_of(event))


def duration(seconds: float) -> str:
    """As in 42 s, 7:05 or 3:07:05."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    minutes, rest = divmod(whole, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def _event(line: dict[str, Any]) -> Event:
    name = line["event"]
    if name not in _KINDS:
        return Noted(**line)
    values = {key: value for key, value in line.items() if key != "event"}
    if name == "training":
        values["losses"] = tuple(values["losses"])
    return _KINDS[name](**values)
