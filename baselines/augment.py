"""Random changes to a patch: one draw for raw and targets, from a generator that is passed in."""

from __future__ import annotations

import math

import numpy as np

from baselines.config import AugmentConfig


def turn_and_flip(
    arrays: list[np.ndarray], config: AugmentConfig, random: np.random.Generator
) -> list[np.ndarray]:
    """The same flips and quarter turns of the plane for every array (..., Z, Y, X)."""
    flips = tuple(axis for axis in (-3, -2, -1) if random.random() < 0.5)
    turns = int(random.integers(4))
    if config.flips and flips:
        arrays = [np.flip(array, flips) for array in arrays]
    # A quarter turn swaps Y and X: only square patches keep their shape.
    if config.turns and arrays[0].shape[-1] == arrays[0].shape[-2]:
        arrays = [np.rot90(array, turns, axes=(-2, -1)) for array in arrays]
    return arrays


def relight(raw: np.ndarray, config: AugmentConfig, random: np.random.Generator) -> np.ndarray:
    """Other contrast, brightness, gamma and more noise.  raw: float32, mean 0, deviation 1."""
    gain, bias, gamma, noise = random.normal(0, 1, 4).tolist()  # NumPy scalars would make float64
    # Gamma bends the grey scale around -2 .. 2, where nearly all values lie.
    level: np.ndarray = np.clip((raw + 2.5) / 5, 1e-3, None)
    raw = level ** math.exp(config.gamma * gamma) * 5 - 2.5
    raw = raw * math.exp(config.gain * gain) + config.bias * bias
    raw += config.noise * abs(noise) * random.standard_normal(raw.shape, np.float32)
    return raw
