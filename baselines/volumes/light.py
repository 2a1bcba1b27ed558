"""In which light a crop was recorded: grey values of any instrument become alike."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from baselines.volumes.readers import Reader


@dataclass(frozen=True, slots=True)
class Light:
    """Grey values of a crop: the middle one, and the spread around it."""

    middle: float
    spread: float

    def normalise(self, raw: np.ndarray) -> np.ndarray:
        """float32, near mean 0 and deviation 1."""
        grey = raw.astype(np.float32)
        grey -= self.middle
        grey /= self.spread
        return grey


def measure_light(raw: Reader) -> Light:
    """From percentiles of planes spread over the crop; black (lost) sections do not count."""
    n, y, x = raw.shape
    picks = np.unique(np.linspace(0, n - 1, 12).round().astype(int))
    values = np.stack([raw.read((int(z), 0, 0), (int(z) + 1, y, x))[0, ::2, ::2] for z in picks])
    seen = values[values > 0]
    if not len(seen):
        return Light(0.0, 1.0)
    low, middle, high = np.percentile(seen, (5, 50, 95))
    return Light(float(middle), max(float(high - low) / 3.29, 1e-3))
