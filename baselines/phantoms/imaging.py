"""How a microscope and a microtome spoil the picture: section by section, from a seed.

A section's faults depend on (seed, section) only, the noise of a block on (seed, block).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import gaussian_filter1d

_LINE = 0.012  # spread of the brightness of scan lines


@dataclass(frozen=True, slots=True)
class Section:
    """Faults of one section: where it lies (nm off), how bright it is, and what happened to it."""

    shift: tuple[float, float] = (0.0, 0.0)
    gain: float = 1.0
    bias: float = 0.0
    tilt: tuple[float, float] = (0.0, 0.0)  # brightness across the plane, per micrometre
    blur: float = 0.6  # voxels
    accident: str = ""  # "", missing, dark, scratch, fold
    line: tuple[float, float, float] = (0.0, 0.0, 0.0)  # direction (y, x), position in nm


def section(seed: int, index: int, extent: tuple[float, float]) -> Section:
    """The faults of section `index`.  extent: size (Y, X) in nm, where scratches may lie."""
    random = np.random.default_rng([seed, 77, index + 2**20])
    jump = 3.0 if random.random() < 0.04 else 1.0
    accident = ""
    if (draw := random.random()) < 0.02:
        accident = ("missing", "dark", "dark", "scratch", "scratch", "fold")[int(draw / 0.02 * 6)]
    angle = random.uniform(0, np.pi)
    across = (float(np.sin(angle)), float(np.cos(angle)))
    middle = sum(a * e * random.uniform(0.2, 0.8) for a, e in zip(across, extent, strict=True))
    return Section(
        shift=tuple(jump * random.normal(0, 1.3, 2)),
        gain=1 + jump * random.normal(0, 0.018),
        bias=jump * random.normal(0, 0.012),
        tilt=tuple(random.normal(0, 0.02, 2)),
        blur=random.uniform(0.5, 0.75) + (0.5 if jump > 1 else 0.0),
        accident=accident,
        line=(*across, float(middle)),
    )


def develop(
    grey: np.ndarray, sections: list[Section], *, y: np.ndarray, x: np.ndarray,
    random: np.random.Generator, noise: float,
) -> np.ndarray:  # fmt: skip
    """The recorded block: grey (nz, ny, nx) in 0..1 -> uint8.

    y, x: positions in nm within the plane.  noise: spread of the shot noise at mid-grey.
    """
    planes = [_expose(plane, s, y, x) for plane, s in zip(grey, sections, strict=True)]
    image = np.stack(planes)
    shot = random.standard_normal(image.shape, np.float32)
    shot = 0.8 * shot + 0.45 * gaussian_filter1d(shot, 0.8, axis=2)  # the detector lags along x
    image += noise * np.sqrt(np.clip(image, 0.05, 1) / 0.5) * shot
    image += _LINE * random.standard_normal((*image.shape[:2], 1), np.float32)
    for plane, spoiled in zip(image, sections, strict=True):
        if spoiled.accident == "missing":
            plane[:] = -1.0  # black, below the darkest stain
    return np.clip(np.round(image * 215 + 12), 0, 255).astype(np.uint8)


def _expose(plane: np.ndarray, s: Section, y: np.ndarray, x: np.ndarray) -> np.ndarray:
    for axis in (0, 1):
        plane = gaussian_filter1d(plane, s.blur, axis=axis)
    slope = s.tilt[0] * y[:, None] / 1000 + s.tilt[1] * x[None, :] / 1000
    plane = (plane - 0.5) * s.gain + 0.5 + s.bias + slope
    distance = np.abs(s.line[0] * y[:, None] + s.line[1] * x[None, :] - s.line[2])
    if s.accident == "dark":
        plane = plane * 0.62 - 0.02
    elif s.accident == "scratch":
        plane = plane + 0.28 * np.exp(-0.5 * np.square(distance / 7))
    elif s.accident == "fold":
        plane = plane * (1 - 0.62 * np.exp(-0.5 * np.square(distance / 22) ** 2))
    return plane.astype(np.float32)
