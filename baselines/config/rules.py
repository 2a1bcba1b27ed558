"""Rules that values must follow, alone and together.  Each error names the nearest that may be."""

from __future__ import annotations

import dataclasses
import math
import re
import string
from collections.abc import Iterator
from typing import Any

from baselines.config.errors import ConfigError
from baselines.config.schema import Config
from evaluator.errors import meant

# What the workspace's form offers: numbers between, or one of a few.
WORKSPACE_BETWEEN = {
    "sampling.patches_per_image": (1, 100),
    "model.levels": (2, 6),
    "training.lr": (1e-5, 2e-3),
    "training.epochs": (10, 500),
}
WORKSPACE_CHOICES = {
    "training.patch": (32, 48, 64, 96, 128, 256),
    "training.batch": (1, 2, 4, 8, 16, 32),
    "model.width": (32, 48, 64, 96, 128),
}
# Values of a mask and their kind; of ids, every value is an object.
CLASS = r"(?:(\d+(?:,\d+)*):(semantic|instance)|ids:instance)"
SMALLEST_LEVEL = 4  # voxels of a patch that the coarsest level still sees, along Y and X


def check(config: Config) -> None:
    """Raise ConfigError, naming the key, for values that cannot work, alone or together."""
    for key, value, known in settings_of(config):
        _check_bounds(key, value, known)
    for problem in (*_data(config), *_model(config), *_training(config), *_prediction(config)):
        raise ConfigError(f"{problem}.")
    if config.training.epochs == 0:
        check_saves(config.training.iterations, config.training.save_every)
    if config.preset == "workspace":
        _check_workspace(config)


def check_saves(iterations: int, save_every: int) -> None:
    """Raise ConfigError unless checkpoints divide the schedule; 0 divides every schedule."""
    if save_every and iterations % save_every:
        near = nearest(save_every, divisors(iterations))
        raise ConfigError(
            f"training.save_every {save_every} does not divide the {iterations} iterations; "
            f"the nearest that does is {near:g}."
        )


def settings_of(config: Config) -> Iterator[tuple[str, Any, dataclasses.Field[Any]]]:
    """Every setting: its key, its value, and the field that describes it."""
    for section in dataclasses.fields(config):
        value = getattr(config, section.name)
        if dataclasses.is_dataclass(value):
            for known in dataclasses.fields(value):
                yield f"{section.name}.{known.name}", getattr(value, known.name), known
        else:
            yield section.name, value, section


def nearest(value: float, allowed: tuple[float, ...]) -> float:
    """The allowed value next to this one; of two, the smaller."""
    return min(sorted(allowed), key=lambda other: abs(other - value))


def divisors(number: int) -> tuple[int, ...]:
    """Everything that divides a number above 0, in order."""
    small = [n for n in range(1, math.isqrt(number) + 1) if number % n == 0]
    return tuple(sorted({*small, *(number // n for n in small)}))


def step_of(config: Config) -> int:
    """What patches and tiles are multiples of along Y and X."""
    return int(max(1, config.model.stem) * 2 ** max(0, config.model.levels - 1))


def _check_bounds(key: str, value: Any, known: dataclasses.Field[Any]) -> None:
    """Each number within its bounds, each word among its choices; the nearest that may be."""
    choices = known.metadata.get("choices")
    if choices and value not in choices:
        hint = meant(str(value), map(str, choices))
        raise ConfigError(f"{key} is one of {', '.join(map(str, choices))}, not {value}{hint}.")
    least, most = known.metadata.get("least"), known.metadata.get("most")
    for number in _numbers(value):
        if not math.isfinite(number):
            raise ConfigError(f"{key} is {number}; it must be a number.")
        if least is not None and number < least:
            raise ConfigError(f"{key} is {number:g}; the least that can be is {least:g}.")
        if most is not None and number > most:
            raise ConfigError(f"{key} is {number:g}; the most that can be is {most:g}.")


def _numbers(value: Any) -> list[float]:
    parts = value.values() if isinstance(value, dict) else value
    parts = parts if isinstance(value, dict | tuple) else (value,)
    return [part for part in parts if isinstance(part, int | float)]


def _data(config: Config) -> Iterator[str]:
    data, split, sampling = config.data, config.split, config.sampling
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}", config.name):
        yield (
            f"name {config.name!r} must be letters, digits, -, _ and . (not first), at most 100; "
            f"for example {_safe(config.name)}"
        )
    if len(data.voxel_size) not in (0, 3) or min(data.voxel_size, default=1) <= 0:
        yield "data.voxel_size has three values (Z, Y, X) above 0 nm, or none"
    if data.planes and not (len(data.planes) == 2 and 0 <= data.planes[0] < data.planes[1]):
        yield f"data.planes {list(data.planes)} must be first and last + 1, as in [0, 50]"
    yield from _template("data.raw", data.raw)
    yield from _template("data.truth", data.truth, needed=("label",))
    for label, text in data.classes.items():
        if not re.fullmatch(CLASS, text.replace(" ", "")):
            yield (
                f"data.classes.{label} is {text!r}; it must be values and a kind, as in "
                "'2:instance', '3,4:semantic' or 'ids:instance'"
            )
    for text in data.exclusive:
        names = [name.strip() for name in text.split(",")]
        if len(names) < 2 or "" in names or len(set(names)) < len(names):
            yield f"data.exclusive {text!r} must be two labels or more, as in 'mito,nuc'"
    if len(set(data.labels)) < len(data.labels):
        yield "data.labels names a label twice"
    if split.kind == "file" and not split.file:
        yield "split.kind is file, but split.file names none; `baselines split` writes one"
    if split.kind != "file" and split.file:
        yield f"split.file is given, but split.kind is {split.kind}; the nearest is file"
    if split.kind == "kfold" and split.fold >= split.folds:
        yield f"split.fold {split.fold} is not below split.folds {split.folds}; the nearest is " + (
            str(split.folds - 1)
        )
    if sampling.foreground + sampling.negatives > 1 + 1e-9:
        yield (
            f"sampling.foreground {sampling.foreground:g} and sampling.negatives "
            f"{sampling.negatives:g} are together above 1; the nearest negatives is "
            f"{1 - sampling.foreground:.3g}"
        )


def _template(key: str, text: str, *, needed: tuple[str, ...] = ()) -> Iterator[str]:
    try:
        found = {name for _, name, _, _ in string.Formatter().parse(text) if name is not None}
    except ValueError as error:
        yield f"{key} is no path template: {error}"
        return
    for name in sorted(found - {"dataset", "crop", "label"}):
        yield f"{key} has {{{name}}}; known are {{dataset}}, {{crop}} and {{label}}"
    for name in needed:
        if name not in found:
            yield f"{key} needs {{{name}}}"


def _safe(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9_.-]+", "-", name).strip("-.")[:100] or "segmentation"


def _model(config: Config) -> Iterator[str]:
    model = config.model
    if model.name != "unet" and not re.fullmatch(r"monai:\w+", model.name):
        yield f"model.name is unet or monai:NAME, not {model.name}; the nearest is unet"
    if model.width % 8:
        yield f"model.width {model.width} must be a multiple of 8; the nearest is " + str(
            max(8, 8 * round(model.width / 8))
        )
    if model.most < model.width:
        yield f"model.most {model.most} is below model.width; the nearest is {model.width}"
    if model.context and model.dims == 3:
        yield "model.context is for planes (2.5D): take model.dims 2, or model.context 0"
    if model.depths and model.block != "residual":
        yield "model.depths is for model.block residual"
    if model.depths and len(model.depths) != model.levels:
        yield (
            f"model.depths has {len(model.depths)} entries for {model.levels} levels; "
            "give one per level"
        )
    if model.deep_supervision and model.levels < 3:
        yield f"model.deep_supervision needs 3 levels, not {model.levels}; the nearest is 3"
    low, high = (*config.augment.scale, 0.0, 0.0)[:2]
    if len(config.augment.scale) != 2 or low > high:
        yield "augment.scale is least and most enlargement, as in [0.8, 1.25]"


def _training(config: Config) -> Iterator[str]:
    training, model = config.training, config.model
    yield from _size("training.patch", training.patch, config)
    if training.batch % training.accumulate:
        near = nearest(training.accumulate, divisors(training.batch))
        yield (
            f"training.accumulate {training.accumulate} does not divide training.batch "
            f"{training.batch}; the nearest that does is {near:g}"
        )
    yield from _plateau(config)
    coarsest = min(training.patch[1:], default=0) // step_of(config)
    if len(training.patch) == 3 and coarsest < SMALLEST_LEVEL:
        shorter = min(training.patch[1:]) // (SMALLEST_LEVEL * model.stem)
        levels = max(1, 1 + int(math.log2(max(1, shorter))))
        yield (
            f"training.patch {list(training.patch)} leaves {coarsest} voxels for the coarsest of "
            f"{model.levels} levels, and the least that can be is {SMALLEST_LEVEL}; the nearest "
            f"model.levels is {levels}"
        )


def _plateau(config: Config) -> Iterator[str]:
    """A rate that falls for lack of gain needs validations, and time to fall before the end."""
    training = config.training
    if training.schedule != "plateau":
        return
    if not training.validate_every and not training.epochs:
        yield (
            "training.schedule plateau needs validations, and training.validate_every is 0; the "
            f"nearest that is usual is {max(1, training.iterations // 20)}"
        )
    if 0 < training.patience <= training.plateau:
        yield (
            f"training.plateau {training.plateau} is not below training.patience "
            f"{training.patience}: training would end before the rate falls; the nearest is "
            f"{max(1, training.patience - 1)}"
        )


def _prediction(config: Config) -> Iterator[str]:
    prediction, dims = config.prediction, config.model.dims
    yield from _size("prediction.tile", prediction.tile, config)
    if len(prediction.block) != 3:
        yield "prediction.block has three sizes (Z, Y, X)"
    most = tuple(size // 2 for size in prediction.tile)
    pairs = zip(prediction.overlap, most, strict=False)
    if len(prediction.overlap) != 3 or any(o > m for o, m in pairs):
        yield (
            "prediction.overlap is at most half of prediction.tile; the nearest is "
            f"{[min(o, m) for o, m in zip(prediction.overlap, most, strict=False)]}"
        )
    if prediction.orthoplanes and dims == 3:
        yield "prediction.orthoplanes is for planes: take model.dims 2, or leave it off"
    if prediction.mirror == "all" and dims == 2:
        yield "prediction.mirror all needs model.dims 3; the nearest is plane"


def _size(key: str, size: tuple[int, ...], config: Config) -> Iterator[str]:
    """What is wrong with a size in voxels that goes through the network."""
    step = step_of(config)
    if len(size) != 3:
        yield f"{key} has three sizes (Z, Y, X)"
        return
    near = [size[0], *(max(step, step * round(n / step)) for n in size[1:])]
    if config.model.dims == 2 and size[0] != 1:
        yield f"{key} has one plane when model.dims is 2; the nearest is {[1, *near[1:]]}"
    if any(n % step for n in size[1:]):
        yield f"{key}: Y and X must be multiples of {step}; the nearest is {near}"


def _check_workspace(config: Config) -> None:
    """The preset workspace promises what the workspace's form offers, and nothing else."""
    values = {key: value for key, value, _ in settings_of(config)}
    values["training.patch"] = config.training.patch[-1]
    for key, (least, most) in WORKSPACE_BETWEEN.items():
        if not least <= values[key] <= most:
            near = min(max(values[key], least), most)
            raise ConfigError(
                f"{key} is {values[key]:g}; in the preset workspace it lies between {least:g} and "
                f"{most:g}, the nearest is {near:g}."
            )
    for key, allowed in WORKSPACE_CHOICES.items():
        if values[key] not in allowed:
            near = nearest(values[key], allowed)
            raise ConfigError(
                f"{key} is {values[key]}; in the preset workspace it is one of "
                f"{', '.join(map(str, allowed))}, the nearest is {near:g}."
            )
