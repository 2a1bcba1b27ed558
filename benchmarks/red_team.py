"""What spoilt predictions score, beside the honest prediction each was made from.

    python -m benchmarks.red_team [--size VOXELS] [--seed NUMBER]

Makes two crops with a nucleus, mitochondria and a membrane system, a prediction of the usual
mistakes, and from it what somebody could try who games the score, or gets it wrong.  Prints the
overall score of each under every protocol; ends with 1 if one scores above its honest prediction
under `crista-1`.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from scipy.ndimage import binary_erosion, gaussian_filter

from evaluator import (
    PROTOCOLS,
    Crop,
    Kind,
    Label,
    Manifest,
    Target,
    VoxelGrid,
    create_volume,
    score_submission,
)

LABELS = (
    Label("er", 51, Kind.SEMANTIC),
    Label("mito", 50, Kind.INSTANCE),
    Label("nuc", 37, Kind.INSTANCE),
)
VOXEL_SIZE = (8.0, 4.0, 4.0)
HOPELESS = "crop1"  # here the honest prediction misses most
Arrays = dict[str, np.ndarray]
Spoil = Callable[[np.ndarray, Target, np.random.Generator], np.ndarray | None]


@dataclass(frozen=True)
class Scene:
    """Crops with truth, an image, and an honest prediction, all by target path."""

    manifest: Manifest
    truth: Mapping[str, np.ndarray]
    raw: Mapping[str, np.ndarray]
    honest: Mapping[str, np.ndarray]


def make_scene(size: int, seed: int) -> Scene:
    """A scene of two crops of (size / 2, size, size) voxels."""
    rng = np.random.default_rng(seed)
    targets = [
        Target(Crop(str(n), "made-up"), label, VoxelGrid((size // 2, size, size), VOXEL_SIZE))
        for n in (1, 2)
        for label in LABELS
    ]
    truth = {t.path: _draw(t, rng) for t in targets}
    raw = {path: _image(array, rng) for path, array in truth.items()}
    honest = {t.path: _mistaken(truth[t.path], t, rng) for t in targets}
    return Scene(Manifest(tuple(sorted(targets, key=lambda t: t.path))), truth, raw, honest)


def _draw(target: Target, rng: np.random.Generator) -> np.ndarray:
    shape = target.grid.shape
    z, y, x = np.ogrid[tuple(map(slice, shape))]
    if target.label.name == "er":
        wave = shape[1] / 2 + shape[1] / 5 * np.sin(x / 7 + rng.uniform(0, 6)) + z / 3
        return (abs(y - wave) <= 4).astype(np.uint16)
    count, radius = (12, shape[1] / 16) if target.label.name == "mito" else (1, shape[1] / 4)
    ids = np.zeros(shape, np.uint16)
    for number in range(1, count + 1):
        centre = [rng.uniform(0.25, 0.75) * n for n in shape]
        radii = radius * rng.uniform(0.8, 1.3, 3) * (0.5, 1.0, 1.0)
        parts = zip((z, y, x), centre, radii, strict=True)
        inside = sum(((axis - at) / r) ** 2 for axis, at, r in parts) <= 1
        ids[inside & (ids == 0)] = number
    return ids


def _image(truth: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    blurred = gaussian_filter((truth > 0).astype(np.float32), 1.5)
    noisy = 60 + 120 * blurred + rng.normal(0, 25, truth.shape)
    return np.clip(noisy, 0, 255).astype(np.uint8)


def _mistaken(truth: np.ndarray, target: Target, rng: np.random.Generator) -> np.ndarray:
    """Objects lost, shrunk and shifted by a voxel; in the hopeless crop most of them lost."""
    lost = 0.8 if target.crop.folder == HOPELESS else 0.15
    pred = np.zeros_like(truth)
    for number in range(1, int(truth.max()) + 1):
        mask = truth == number
        if target.label.kind == Kind.SEMANTIC:
            mask &= gaussian_filter(rng.normal(size=mask.shape), 3) > (lost - 0.5) * 0.03
        elif number > 1 and rng.random() < lost:
            continue
        elif rng.random() < 0.5:
            mask = binary_erosion(mask)
        pred[np.roll(mask, 1, axis=2)] = number
    return pred


def _flood(array: np.ndarray, target: Target, rng: np.random.Generator) -> np.ndarray:
    flooded = np.zeros(array.shape, np.uint32)
    flooded[::2, ::2, ::2] = np.arange(flooded[::2, ::2, ::2].size).reshape(
        flooded[::2, ::2, ::2].shape
    )
    return flooded


def _shuffled(array: np.ndarray, target: Target, rng: np.random.Generator) -> np.ndarray:
    if target.label.kind == Kind.SEMANTIC:
        return array
    return np.concatenate(([0], 1 + rng.permutation(int(array.max()))))[array].astype(np.uint16)


def _speck(array: np.ndarray, target: Target, rng: np.random.Generator) -> np.ndarray:
    speckled = array.copy()
    speckled[0, 0, 0] = 500
    return speckled


def _in_hopeless(spoil: Spoil) -> Spoil:
    return lambda array, target, rng: (
        spoil(array, target, rng) if target.crop.folder == HOPELESS else array
    )


def _in_instances(spoil: Spoil) -> Spoil:
    return lambda array, target, rng: (
        spoil(array, target, rng) if target.label.kind == Kind.INSTANCE else array
    )


SPOILS: dict[str, Spoil] = {
    "empty": lambda array, target, rng: np.zeros_like(array),
    "full": lambda array, target, rng: np.ones_like(array),
    "one crop flooded": _in_hopeless(_in_instances(_flood)),
    "all crops flooded": _in_instances(_flood),
    "one crop left out": _in_hopeless(lambda array, target, rng: None),
    "instances left out": _in_instances(lambda array, target, rng: None),
    "shuffled ids": _shuffled,
    "huge ids": _in_instances(
        lambda array, target, rng: np.where(array > 0, array.astype(np.uint64) + 2**40, 0)
    ),
    "ids made one": lambda array, target, rng: (array > 0).astype(np.uint8),
    "ids as blurred floats": _in_instances(
        lambda array, target, rng: gaussian_filter(array.astype(np.float32), 0.5)
    ),
    "probabilities with a floor": lambda array, target, rng: (
        array if target.label.kind == Kind.INSTANCE else array.astype(np.float32) * 0.9 + 0.01
    ),
    "shifted by 3 voxels": lambda array, target, rng: np.roll(array, 3, axis=(1, 2)),
}


def attempts(scene: Scene) -> dict[str, tuple[Arrays, float, str]]:
    """By name: the arrays sent, the factor on their voxel size, and what they were made from."""
    rng = np.random.default_rng(7)
    made = {
        name: (_spoilt(scene, spoil, scene.honest, rng), 1.0, "honest")
        for name, spoil in SPOILS.items()
    }
    made["copy of the raw"] = (dict(scene.raw), 1.0, "honest")
    made["wrong scale"] = (dict(scene.honest), 2.0, "honest")
    made["perfect, one speck"] = (
        _spoilt(scene, _in_instances(_speck), scene.truth, rng), 1.0, "perfect"
    )  # fmt: skip
    return made


def _spoilt(
    scene: Scene, spoil: Spoil, base: Mapping[str, np.ndarray], rng: np.random.Generator
) -> Arrays:
    spoilt = {t.path: spoil(base[t.path], t, rng) for t in scene.manifest.targets}
    return {path: array for path, array in spoilt.items() if array is not None}


def overall_scores(
    scene: Scene, arrays: Mapping[str, np.ndarray], truth: Path, folder: Path, *, factor: float = 1
) -> dict[str, float]:
    """The overall score of a prediction under every protocol."""
    for path, array in arrays.items():
        grid = scene.manifest.by_path[path].grid
        z, y, x = (factor * size for size in grid.voxel_size)
        create_volume(folder / path, replace(grid, voxel_size=(z, y, x)), array.dtype)[:] = array
    return {
        name: score_submission(
            folder, truth=truth, manifest=scene.manifest, protocol=protocol
        ).overall
        for name, protocol in PROTOCOLS.items()
    }


def table(scene: Scene) -> dict[str, dict[str, float]]:
    """Overall scores by attempt and protocol; `honest` and `perfect` are what they started from."""
    rows = {}
    with tempfile.TemporaryDirectory() as place:
        truth = Path(place, "truth")
        for path, array in scene.truth.items():
            grid = scene.manifest.by_path[path].grid
            create_volume(truth / path, grid, array.dtype)[:] = array
        bases = {"honest": (scene.honest, 1.0), "perfect": (scene.truth, 1.0)}
        tried = {name: (arrays, factor) for name, (arrays, factor, _) in attempts(scene).items()}
        for name, (arrays, factor) in {**bases, **tried}.items():
            folder = Path(place, name)
            rows[name] = overall_scores(scene, arrays, truth, folder, factor=factor)
    return rows


def gains(scene: Scene, rows: Mapping[str, Mapping[str, float]], protocol: str) -> list[str]:
    """The attempts that score above what they were made from."""
    return [
        name
        for name, (_, _, base) in attempts(scene).items()
        if rows[name][protocol] > rows[base][protocol]
    ]


def main() -> None:
    """Print the table and what gains by it."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--seed", type=int, default=3)
    args = parser.parse_args()
    scene = make_scene(args.size, args.seed)
    rows = table(scene)
    print(f"{'overall score':28}" + "".join(f"{name:>16}" for name in PROTOCOLS))
    for name, scores in rows.items():
        print(f"{name:28}" + "".join(f"{score:16.4f}" for score in scores.values()))
    for protocol in PROTOCOLS:
        found = gains(scene, rows, protocol)
        print(f"above the honest one under {protocol}: {', '.join(found) or 'none'}")
    sys.exit(bool(gains(scene, rows, "crista-1")))


if __name__ == "__main__":
    main()
