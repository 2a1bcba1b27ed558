"""What the curves of a training say, and what to do about it, in sentences."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from baselines.config import Config
from baselines.runs.devices import peak_memory_gb
from baselines.runs.journal import Event, Trained, Validated

LEAST = 40  # iterations: fewer say nothing yet
_FALLEN, _STUCK, _GAP = 0.02, 0.15, 1.5
_POOR, _WAITED = 0.7, 0.1

RATE = (
    "The training loss is not decreasing: the learning rate is probably too high. Try the default "
    "or a lower training.lr."
)
STUCK = (
    "The loss is stuck at a high value: poor annotation is the most common cause. Check the "
    "annotations with `baselines inspect`, and add more data."
)
OVERFITTING = (
    "The validation loss is much higher than the training loss: overfitting. Switch augmentation "
    "on, and add more data."
)
POOR = (
    "The quality is poor: add more diverse annotated data, or raise training.iterations or "
    "training.epochs."
)
GOOD = "The curves converge and stay close together: the training went well."


def diagnose(events: Sequence[Event]) -> list[str]:
    """What is worth saying, most important first; nothing before LEAST iterations."""
    trained = [event for event in events if isinstance(event, Trained)]
    validated = [event for event in events if isinstance(event, Validated)]
    losses = np.array([loss for event in trained for loss in event.losses])
    if len(losses) < LEAST:
        return []
    share = max(len(losses) // 10, 5)
    first, last = float(np.mean(losses[:share])), float(np.mean(losses[-share:]))
    fallen = (first - last) / max(abs(first), 1e-9)
    hints = []
    if fallen < _FALLEN:
        hints.append(RATE)
    if fallen < _STUCK:
        hints.append(STUCK)
    elif _overfits(last, validated):
        hints.append(OVERFITTING)
    if validated and validated[-1].mean < _POOR:
        hints.append(POOR)
    hints += _slow(trained)
    return hints or ([GOOD] if validated else [])


def _overfits(training: float, validated: Sequence[Validated]) -> bool:
    """Whether validation is far above training, and was better before or is so twice."""
    if not validated:
        return False
    latest = [event.loss for event in validated[-2:]]
    return min(latest) > _GAP * training + 0.05


def _slow(trained: Sequence[Trained]) -> list[str]:
    waited = float(np.mean([event.waited for event in trained[-5:]]))
    speed = float(np.mean([event.speed for event in trained[-5:]]))
    if waited > _WAITED:
        return [
            f"The network waits for patches {waited:.0%} of the time ({speed:.1f} patches/s): "
            "raise training.workers, or data.cache_gb so that crops stay in memory."
        ]
    if speed < 1:
        return [
            f"Training is very slow ({speed:.2f} patches/s, {waited:.0%} of the time waiting for "
            "them): reduce training.batch or training.patch."
        ]
    return []


def memory_hints(config: Config, device: torch.device) -> str:
    """Why there is no going on, and the four ways out, with the present values."""
    training, model = config.training, config.model
    return (
        f"out of memory on {device} (peak {peak_memory_gb(device):.1f} GB) with one patch at a "
        f"time. 1. Reduce the batch: training.batch is {training.batch}. 2. Use smaller patches: "
        f"training.patch is {list(training.patch)}. 3. Take a leaner model: model.width is "
        f"{model.width}, model.levels {model.levels}. 4. Use a GPU with more memory."
    )
