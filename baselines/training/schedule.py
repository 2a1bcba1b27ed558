"""How long a training takes, in iterations and epochs, and the learning rate along the way."""

from __future__ import annotations

import math
from dataclasses import dataclass

from baselines.config import Config, TrainingConfig, check_saves


@dataclass(frozen=True, slots=True)
class Schedule:
    """Iterations in all, of an epoch, between validations (0: only the last), between saves.

    An epoch need not be a whole number of iterations.
    """

    iterations: int
    epoch: float
    validate_every: int
    save_every: int

    @property
    def epochs(self) -> int:
        """Epochs in all: iterations / (patches of an epoch / batch), the last one counted whole."""
        return self.epoch_of(self.iterations)

    def epoch_of(self, iteration: int) -> int:
        """In which epoch, from 1, an iteration lies, which is counted from 1, too."""
        return math.ceil(round(iteration / self.epoch, 6))


def plan_schedule(config: Config, images: int) -> Schedule:
    """The schedule of a training on so many images (crops).

    An epoch is patches_per_image patches of each image.  epochs, if given, decide on the
    iterations, and on validating once per epoch if nothing else is asked for.  Raises ConfigError
    if save_every does not divide the iterations.
    """
    settings = config.training
    epoch = images * config.sampling.patches_per_image / settings.batch
    total = max(1, int(settings.epochs * epoch)) if settings.epochs else settings.iterations
    check_saves(total, settings.save_every)
    validate_every = settings.validate_every or (max(1, round(epoch)) if settings.epochs else 0)
    return Schedule(total, epoch, validate_every, settings.save_every or max(1, total // 10))


def learning_rate(settings: TrainingConfig, done: float, *, falls: int = 0) -> float:
    """The rate at a share of the schedule: a straight climb, then down to 1 %.

    Down as half a cosine, as a power of 0.9 of what is left (poly), by half at each of so many
    falls (plateau), or not at all (constant).
    """
    if done < settings.warmup:
        return settings.lr * (done + 0.1 * settings.warmup) / (1.1 * settings.warmup)
    if settings.schedule == "plateau":
        return settings.lr * max(0.5**falls, 0.01)
    way = min((done - settings.warmup) / max(1 - settings.warmup, 1e-9), 1.0)
    left: float = {
        "cosine": 0.5 * (1 + math.cos(math.pi * way)), "poly": (1 - way) ** 0.9, "constant": 1.0,
    }[settings.schedule]  # fmt: skip
    return settings.lr * (0.01 + 0.99 * left)
