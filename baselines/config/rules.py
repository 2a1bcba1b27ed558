"""Rules that values must follow, alone and together."""

from __future__ import annotations

import dataclasses
import difflib
from typing import Any

from baselines.config.errors import ConfigError
from baselines.config.schema import Config


def check(config: Config) -> None:
    """Raise ConfigError, naming the key, for values that cannot work, alone or together."""
    for section in dataclasses.fields(config):
        value = getattr(config, section.name)
        if dataclasses.is_dataclass(value):
            for known in dataclasses.fields(value):
                _check_bounds(f"{section.name}.{known.name}", getattr(value, known.name), known)
        else:
            _check_bounds(section.name, value, section)
    for holds, rule in (*_rules(config), *_size_rules(config)):
        if not holds:
            raise ConfigError(f"{rule}.")


def _check_bounds(key: str, value: Any, known: dataclasses.Field[Any]) -> None:
    """Each number within its bounds, each word among its choices; the nearest that may be."""
    choices = known.metadata["choices"]
    if choices and value not in choices:
        near = difflib.get_close_matches(str(value), map(str, choices), n=1)
        hint = f"; did you mean {near[0]}?" if near else ""
        raise ConfigError(f"{key} is one of {', '.join(map(str, choices))}, not {value}{hint}.")
    least, most = known.metadata["least"], known.metadata["most"]
    for number in _numbers(value):
        if least is not None and number < least:
            raise ConfigError(f"{key} is {number}; the least that can be is {least}.")
        if most is not None and number > most:
            raise ConfigError(f"{key} is {number}; the most that can be is {most}.")


def _numbers(value: Any) -> list[float]:
    parts = value.values() if isinstance(value, dict) else value
    parts = parts if isinstance(value, dict | tuple) else (value,)
    return [part for part in parts if isinstance(part, int | float)]


def _rules(config: Config) -> list[tuple[bool, str]]:
    data, model = config.data, config.model
    return [
        (len(data.voxel_size) in (0, 3), "data.voxel_size has three values or none"),
        (min(data.voxel_size, default=1) > 0, "data.voxel_size is above 0 nm"),
        (model.width >= 8 and model.width % 8 == 0, "model.width must be a multiple of 8"),
    ]


def _size_rules(config: Config) -> list[tuple[bool, str]]:
    """Rules about sizes in voxels (Z, Y, X)."""
    model, training, prediction = config.model, config.training, config.prediction
    step = max(1, model.stem) * 2 ** max(0, model.levels - 1)
    rules = [_three("prediction.block", prediction.block)]
    for key, size in (("training.patch", training.patch), ("prediction.tile", prediction.tile)):
        rules += [
            _three(key, size),
            (model.dims == 3 or size[:1] == (1,), f"{key} has one plane when model.dims is 2"),
            (all(n % step == 0 for n in size[1:]), f"{key}: Y and X must be multiples of {step}"),
        ]
    pairs = zip(prediction.overlap, prediction.tile, strict=False)
    fits = len(prediction.overlap) == 3 and all(0 <= o <= t // 2 for o, t in pairs)
    return [*rules, (fits, "prediction.overlap is at most half of prediction.tile")]


def _three(key: str, size: tuple[int, ...]) -> tuple[bool, str]:
    return (len(size) == 3 and min(size) >= 1, f"{key} has three sizes (Z, Y, X)")
