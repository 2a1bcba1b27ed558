"""The training loop, written out: draw, update, average; now and then tell, validate, save.

Everything an iteration depends on is its number and what `state` holds, so that a run which was
interrupted goes on as if nothing had happened: on a CPU, to the last digit.
"""

from __future__ import annotations

import contextlib
import copy
import time
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
import torch
from torch import Tensor

from baselines.config import Config, ConfigError
from baselines.data.crops import TrainingCrop
from baselines.models import Network
from baselines.runs.checkpoint import Run, heads_in
from baselines.runs.curves import draw_curves
from baselines.runs.devices import Pace, compiled, is_out_of_memory, peak_memory_gb
from baselines.runs.diagnosis import memory_hints
from baselines.runs.journal import Event, Noted, Sink, Trained, Validated
from baselines.runs.weights import load_weights
from baselines.training.augment import augment
from baselines.training.interruption import Interruption
from baselines.training.outcome import results_of
from baselines.training.ranks import Ranks
from baselines.training.sampling import Batch, Patches
from baselines.training.schedule import Schedule, learning_rate
from baselines.training.standing import Due, Standing, Untold, on_cpu
from baselines.training.updates import (
    follow,
    gradients,
    learns_in_bf16,
    make_optimizer,
    step,
)
from baselines.training.validation import Tuned, Validation, tune_objects, validate

TELL_EVERY = 20  # iterations
COUNT_EVERY = 5  # iterations: the Dice of patches is a by-product that costs a little
AGREE_EVERY = 10  # iterations between questions to other processes, which must be waited for
DRAW_EVERY = 60.0  # seconds
MOST_HALVINGS = 8  # of the learning rate


class Trainer:
    """A network on its way through the schedule."""

    def __init__(
        self, config: Config, run: Run, model: Network, crops: list[TrainingCrop], *,
        schedule: Schedule, device: torch.device, interruption: Interruption, ranks: Ranks,
        sinks: Sequence[Sink], begins: Sequence[str] = (),
    ) -> None:  # fmt: skip
        """begins: what there is to say of weights that come from another run."""
        self.config, self.run, self.crops, self.schedule = config, run, crops, schedule
        self.device, self.interruption, self.ranks = device, interruption, ranks
        self.sinks: tuple[Sink, ...] = (run.log, *sinks) if ranks.first else ()
        self.heads, self.begins = heads_in(config), begins
        model.place(device, trains=True)
        self.model = model
        self.forward = compiled(ranks.wrap(model), config.training.compile, device)
        self.pace = Pace(device)
        self.bf16 = learns_in_bf16(config, model, device)
        self.optimizer = make_optimizer(model, config)
        self.average = {k: v.detach().clone() for k, v in model.state_dict().items()}
        self.patches = Patches(
            crops, config.data.labels, config, ranks.rank, pin=device.type == "cuda"
        )
        self.at = Standing(parts=config.training.accumulate)
        self.untold = Untold()
        self.validated = -1  # the iteration of the last validation
        self.drawn = time.monotonic()
        self.good = self.state()

    def loop(self) -> None:
        """Iterations until the schedule ends, from where the folder's run stopped if it did."""
        saved = self.run.load_last()
        if saved is None:
            self.tell(Noted(0, "begun", f"{self.schedule.iterations} iterations on {self.device}"))
            for text in self.begins:
                self.tell(Noted(0, "start", text))
            if self.begins and self.ranks.first:
                self.run.save_last(self.good)  # from here on it does without the other run
        else:
            self.good = saved
            self.go_back()
            done = self.at.iteration
            self.tell(Noted(done, "resumed", f"going on from iteration {done}"))
        while not self.ended:
            self.stretch()

    def stretch(self) -> None:
        """Iterations until the schedule ends, or a loss makes it necessary to go back."""
        batches = self.patches.batches(self.at.iteration, self.schedule.iterations)
        with contextlib.closing(batches):
            clock, cpu = time.monotonic(), time.process_time()
            for batch in batches:
                arrived = time.monotonic()
                self.iterate(batch)
                due = self.due()
                sound = self.sound(due)
                done = time.monotonic()
                self.untold.waited += arrived - clock
                self.untold.seconds += done - clock
                if not sound:
                    self.roll_back()
                    return
                self.after(due)
                now, cpu_now = time.monotonic(), time.process_time()
                self.at.seconds = self.agreed(self.at.seconds + now - clock)
                self.at.cpu_seconds += cpu_now - cpu
                clock, cpu = now, cpu_now
                if self.ended:
                    return

    def agreed(self, seconds: float) -> float:
        """The clock of the first process, where the clock decides on rate and end."""
        together = self.ranks.size > 1 and self.config.training.seconds > 0
        first: float = self.ranks.gathered(seconds)[0] if together else seconds
        return first

    def iterate(self, batch: Batch) -> None:
        """One update.  A batch nobody annotated changes nothing."""
        # Numpy ends at the first annotated voxel, torch would count them all.
        if self.ranks.size == 1 and not batch.known.numpy().any():
            self.at.iteration += 1
            self.untold.add(torch.zeros((), device=self.device), None)
            return
        self.update(batch.to(self.device))

    def update(self, batch: Batch) -> None:
        """One update from a batch on the device, which may be overwritten.

        Nothing in it waits for a GPU.
        """
        settings, n = self.config.training, self.at.iteration
        self.at.iteration += 1
        rate = self.rate
        random = torch.Generator().manual_seed(_seed(settings.seed, n, self.ranks.rank))
        batch = augment(batch, self.config.augment, random, self.config.data.voxel_size)
        loss, counts = self.backward(batch, counted=n % COUNT_EVERY == 0)
        norm = step(self.optimizer, rate=rate, clip=settings.clip)
        follow(
            self.average, self.model.state_dict(), decay=settings.ema, iteration=self.at.iteration
        )
        # A gradient that is not finite makes the loss so, too: 0 * inf is no number.
        self.untold.add(loss + 0 * norm, counts)

    def backward(self, batch: Batch, *, counted: bool) -> tuple[Tensor, Tensor | None]:
        """Gradients of a batch, in more and smaller parts if memory does not suffice."""
        while True:
            try:
                return gradients(
                    self.forward, batch.parts(self.at.parts), self.heads, self.config,
                    bf16=self.bf16, counted=counted, across=self.ranks.total,
                )  # fmt: skip
            except (RuntimeError, MemoryError) as error:
                if not is_out_of_memory(error):
                    raise
                # Other processes wait for these gradients: alone, none can begin again.
                if self.at.parts >= len(batch.raw) or self.ranks.size > 1:
                    raise ConfigError(memory_hints(self.config, self.device)) from error
            # Outside of the handler: the error holds on to what did not fit.
            self.part_more(len(batch.raw))

    def part_more(self, most: int) -> None:
        """Let batches come in twice as many parts from now on."""
        self.optimizer.zero_grad(set_to_none=True)
        if self.device.type == "cuda":
            torch.cuda.empty_cache()
        self.at.parts = min(2 * self.at.parts, most)
        self.tell(Noted(
            self.at.iteration, "out-of-memory",
            f"out of memory: batches of {most} go through in {self.at.parts} parts from now on",
        ))  # fmt: skip

    def due(self) -> Due:
        """What has to be done after this update."""
        n, every = self.at.iteration, self.schedule.validate_every
        return Due(
            telling=self.ended
            or n % TELL_EVERY == 0
            or self.schedule.epoch_of(n + 1) > self.schedule.epoch_of(n),
            validating=bool(every) and n % every == 0 and not self.ended,
            saving=n % self.schedule.save_every == 0,
            stopping=self.asked_to_stop(),
        )

    def sound(self, due: Due) -> bool:
        """Whether the losses are finite, as far as they are known.

        A GPU is not waited for at every iteration: nothing is kept before all are known.
        """
        if due.anything or self.device.type == "cpu":
            return self.untold.sound()
        self.pace.keep()
        return True

    def after(self, due: Due) -> None:
        """Do what is due after an update."""
        if due.telling:
            self.report()
        if due.validating:
            self.validate()
        if due.saving:
            self.save()
        if due.stopping:
            self.stop()

    @property
    def done(self) -> float:
        """How much of the schedule lies behind, by iterations or by the clock."""
        seconds = self.config.training.seconds
        by_clock = self.at.seconds / seconds if seconds > 0 else 0.0
        return max(self.at.iteration / self.schedule.iterations, by_clock)

    @property
    def rate(self) -> float:
        """The learning rate of the update at hand."""
        planned = learning_rate(self.config.training, self.done, falls=self.at.falls)
        return planned * 0.5**self.at.halvings

    @property
    def ended(self) -> bool:
        """Whether the schedule is over, or validations have not become better for long."""
        patience = self.config.training.patience
        return self.done >= 1 or 0 < patience <= self.at.stale

    def asked_to_stop(self) -> bool:
        """Whether somebody asked any of the processes."""
        if self.ranks.size == 1:
            return self.interruption.wanted
        if self.at.iteration % AGREE_EVERY:
            return False
        return self.ranks.any(self.interruption.wanted)

    def stop(self) -> None:
        """Save, say so, and end: the command's exit status is 130."""
        self.save()
        n, why = self.at.iteration, self.interruption.reason or "another process"
        self.tell(Noted(
            n, "stopped",
            f"stopped by {why} after iteration {n}; the same command goes on from there",
        ))  # fmt: skip
        raise KeyboardInterrupt

    def roll_back(self) -> None:
        """Go back to the last saved state, with half the learning rate."""
        bad, halvings = self.at.iteration, self.at.halvings + 1
        if halvings > MOST_HALVINGS:
            raise ConfigError(
                f"the loss is not finite at iteration {bad}, even with {MOST_HALVINGS} halvings of "
                "the learning rate: check raw and annotations with `baselines inspect`, and take a "
                "smaller training.lr or training.precision = 'fp32'."
            )
        self.go_back()
        self.at.halvings = halvings
        self.tell(Noted(
            self.at.iteration, "rolled-back",
            f"the loss is not finite at iteration {bad}: back to iteration {self.at.iteration}, "
            "with half the learning rate",
        ))  # fmt: skip

    def report(self) -> None:
        """Tell losses, Dice and speed since the last report."""
        n, untold, settings = self.at.iteration, self.untold, self.config.training
        patches = settings.batch * self.ranks.size * len(untold.losses)
        left = (self.schedule.iterations - n) * self.at.seconds / max(n, 1)
        if settings.seconds:
            left = min(left, settings.seconds - self.at.seconds)
        self.tell(Trained(
            n, self.schedule.iterations, self.schedule.epoch_of(n), self.schedule.epochs,
            losses=tuple(torch.stack(untold.losses).tolist()) if untold.losses else (),
            lr=self.rate,
            dice=untold.dice([head.label for head in self.heads]),
            seconds=round(self.at.seconds, 2),
            cpu_seconds=round(self.at.cpu_seconds, 2), left=round(max(left, 0.0), 1),
            waited=round(untold.waited / max(untold.seconds, 1e-9), 4),
            speed=round(patches / max(untold.seconds, 1e-9), 2),
            memory_gb=round(peak_memory_gb(self.device), 3),
        ))  # fmt: skip
        self.untold = Untold()

    def validate(self) -> Validation | None:
        """Measure the averaged weights; keep them if they are the best, or nothing measures."""
        own = {k: v.clone() for k, v in self.model.state_dict().items()}
        self.model.load_state_dict(self.average)
        found = validate(
            self.model, self.crops, self.config, self.heads, device=self.device, bf16=self.bf16,
            ranks=self.ranks,
        )  # fmt: skip
        self.model.load_state_dict(own)
        self.model.train()
        self.validated = self.at.iteration
        best = found is None or found.mean > self.at.best
        self.at.stale = 0 if best else self.at.stale + 1
        self.at.falls += self.at.stale > 0 and self.at.stale % self.config.training.plateau == 0
        if best and self.ranks.first:
            self.run.save_best(self.average, self.config.trained.fingerprint)
        if found is None:
            return None
        if best:
            self.at.best = found.mean
            self.at.validation = {"iteration": self.at.iteration, **asdict(found)}
        self.tell(Validated(
            self.at.iteration, found.loss, found.dice, round(found.mean, 5), best
        ))  # fmt: skip
        return found

    def finish(self) -> dict[str, Any]:
        """Validate a last time; write results and pictures."""
        if self.validated != self.at.iteration:
            self.validate()
        if self.untold.losses:
            self.report()
        self.save()
        self.draw(every=0.0)
        results: dict[str, Any] = {}
        if self.ranks.first:
            results = results_of(
                self.config, self.crops, self.at.validation, self.tuned(), self.run.events(),
                self.model,
            )  # fmt: skip
            self.run.save_results(results)
        self.tell(Noted(self.at.iteration, "done", f"done: {self.run.folder}"))
        return results

    def tuned(self) -> dict[str, Tuned]:
        """Thresholds of objects that suit the best weights, which the network has from here on."""
        self.model.load_state_dict(load_weights(self.run.weights)[0])
        if not self.config.objects.tune:
            return {}
        return tune_objects(
            self.model, self.crops, self.config, self.heads, device=self.device, bf16=self.bf16
        )

    def tell(self, event: Event) -> None:
        for sink in self.sinks:
            sink(event)

    def save(self) -> None:
        """Keep everything needed to go on."""
        self.good = self.state()
        if self.ranks.first:
            self.run.save_last(self.good)
            self.draw()
            self.run.save_checkpoint(
                self.average, self.config.trained.fingerprint, iteration=self.at.iteration,
                keep=self.config.training.keep,
            )  # fmt: skip

    def draw(self, *, every: float = DRAW_EVERY) -> None:
        """The curves so far; not again within some seconds."""
        now = time.monotonic()
        if self.ranks.first and now - self.drawn >= every:
            draw_curves(self.run.events(), self.run.folder)
            self.drawn = now

    def state(self) -> dict[str, Any]:
        """Everything an iteration depends on beside its number, copied."""
        held = {
            "model": self.model.state_dict(), "average": self.average,
            "optimizer": self.optimizer.state_dict(), "standing": asdict(self.at),
            "losses": self.untold.losses, "counts": self.untold.counts,
            "validated": self.validated,
        }  # fmt: skip
        copied: dict[str, Any] = on_cpu(held)
        return copied

    def go_back(self) -> None:
        """To the last saved state."""
        state = copy.deepcopy(self.good)
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        for name, value in state["average"].items():
            self.average[name].copy_(value)
        self.at, self.validated = Standing(**state["standing"]), state["validated"]
        counts = state["counts"]
        self.untold = Untold(
            [loss.to(self.device) for loss in state["losses"]],
            None if counts is None else counts.to(self.device),
        )
        if self.ranks.first:
            self.run.rewind(self.at.iteration)


def _seed(seed: int, iteration: int, rank: int) -> int:
    """One number for the augmentation of a batch."""
    return int(np.random.default_rng([seed, iteration, rank, 1]).integers(2**62))
