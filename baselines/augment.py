"""Random changes to a patch: one draw for raw and targets, from a generator that is passed in."""

from __future__ import annotations

import numpy as np

from baselines.config import AugmentConfig


def turn_and_flip(
    arrays: list[np.ndarray], config: AugmentConfig, random: np.random.Generator
) -> list[np.ndarray]:
    """The same flips and quarter turns of the plane for every array (..., Z, Y, X)."""
    flips = [axis for axis in (-3, -2, -1) if random.random() < 0.5]
    turns = int(random.integers(4))
    if config.flips and flips:
        arrays = [np.flip(array, flips) for array in arrays]
    # A quarter turn swaps Y and X: only square patches keep their shape.
    if config.turns and arrays[0].shape[-1] == arrays[0].shape[-2]:
        arrays = [np.rot90(array, turns, axes=(-2, -1)) for array in arrays]
    return arrays


def relight(raw: np.ndarray, config: AugmentConfig, random: np.random.Generator) -> np.ndarray:
    """Other contrast, brightness, gamma and more noise.  raw: float32, mean 0, deviation 1."""
    gain, bias, gamma = random.normal(0, 1, 3)
    # Gamma bends the grey scale around -2 .. 2, where nearly all values lie.
    level = np.clip((raw + 2.5) / 5, 1e-3, None)
    raw = level ** float(np.exp(config.gamma * gamma)) * 5 - 2.5
    raw = raw * float(np.exp(config.gain * gain)) + config.bias * bias
    strength = config.noise * abs(random.normal())
    return raw + strength * random.standard_normal(raw.shape, np.float32)
