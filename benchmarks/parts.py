"""Measurements in parts, each of which may fail by itself."""

from __future__ import annotations

import argparse
import gc
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from evaluator.errors import EvaluatorError

FAILURES = (RuntimeError, OSError, ImportError, ValueError, EvaluatorError)


@dataclass
class Bench:
    """What is measured on, and what was found so far.

    asked: tiny, size (voxels of the training crop in the plane), compile, minutes in all.
    """

    device: torch.device
    folder: Path
    asked: argparse.Namespace
    found: dict[str, Any] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.deadline = time.monotonic() + 60 * self.asked.minutes

    @property
    def compiling(self) -> bool:
        """Whether to measure compiled networks, too."""
        return bool(self.asked.compile == "on")

    def part(self, name: str, measure: Callable[[], dict[str, Any]]) -> None:
        """Measure and print a part; or print why not, and go on."""
        if self.left <= 0:
            self.failed[name] = "left out: the minutes are over"
            print(f"{name}: {self.failed[name]}", flush=True)
            return
        begun = time.monotonic()
        self.tidy()
        try:
            self.found[name] = measure()
        except FAILURES as error:
            said = next(iter(str(error).strip().splitlines()), "")
            self.failed[name] = f"{type(error).__name__}: {said}"
            print(f"{name}: FAILED, {self.failed[name]}", flush=True)
            return
        told = "  ".join(
            f"{key} {shown(value)}" for key, value in self.found[name].items() if key != "settings"
        )
        print(f"{name}: {told}  [{time.monotonic() - begun:.0f} s]", flush=True)

    def tidy(self) -> None:
        """Forget what an earlier part has left on the device and in the compiler."""
        torch.compiler.reset()
        gc.collect()
        if self.device.type == "cuda":
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats(self.device)

    @property
    def left(self) -> float:
        """Seconds."""
        return self.deadline - time.monotonic()

    def share(self, part: float) -> float:
        """Seconds to measure for: a part of what is left, half a minute at most."""
        return max(min(part * self.left, 30.0), 0.2)

    def finish(self) -> None:
        """Wait until the device has done everything."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)


def shown(value: Any) -> str:
    """A number in four digits, anything else as it is."""
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def of_part(found: dict[str, Any], name: str) -> Any:
    """What a part found.  Raises ValueError if it failed."""
    if name not in found:
        raise ValueError(f"the part {name} was not measured")
    return found[name]
