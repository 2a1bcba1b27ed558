"""A run's settings: TOML in, frozen dataclasses out.  Data, not a program.

An unknown key, a wrong type or an impossible value is an error that names the key, before any data
is touched.  `write_config` stores every value, given or by default, as config.json of the run.
"""

from __future__ import annotations

import dataclasses
import json
import tomllib
import types
import typing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from evaluator.errors import EvaluatorError


class ConfigError(EvaluatorError):
    """A configuration cannot be used."""


@dataclass(frozen=True, slots=True)
class DataConfig:
    """What to learn from.  labels: empty means every label of the data folder.

    voxel_size: nm (Z, Y, X) at which the model sees; empty means that of the training crops.
    validation: share of each training crop's planes, its last ones, kept from training.
    """

    labels: tuple[str, ...] = ()
    voxel_size: tuple[float, ...] = ()
    validation: float = 0.1
    foreground: float = 0.6  # share of patches centred on a voxel of a chosen label
    shrink: dict[str, int] = field(default_factory=dict)  # voxels; see segmentation.foreground
    cache_gb: float = 4.0  # crops together larger than this are read from disk, patch by patch


@dataclass(frozen=True, slots=True)
class ModelConfig:
    """The network.  dims: 2 sees planes, 3 sees volumes.

    width: channels of the first level; doubled per level, up to `most`.
    stem: the network works on voxels stem times as large within the plane and splits them again.
    """

    name: str = "unet"
    dims: int = 2
    width: int = 24
    levels: int = 4
    most: int = 192
    stem: int = 1


@dataclass(frozen=True, slots=True)
class AugmentConfig:
    """What may happen to a patch.  Spreads are of normalised raw (mean 0, deviation 1)."""

    flips: bool = True
    turns: bool = True  # quarter turns within the plane
    gain: float = 0.2
    bias: float = 0.2
    gamma: float = 0.2
    noise: float = 0.1


@dataclass(frozen=True, slots=True)
class TrainingConfig:
    """The schedule.  It ends after `steps`, or after `seconds` of wall time if that is above 0."""

    steps: int = 2000
    seconds: float = 0.0
    batch: int = 8
    patch: tuple[int, ...] = (1, 128, 128)
    lr: float = 2e-3
    weight_decay: float = 1e-2
    warmup: float = 0.03  # share of the schedule
    clip: float = 1.0
    ema: float = 0.99
    seed: int = 0
    validate_every: int = 0  # steps; 0: only at the end
    save_every: int = 200
    precision: str = "auto"  # auto | fp32 | bf16
    compile: bool = False


@dataclass(frozen=True, slots=True)
class PredictionConfig:
    """How a volume is predicted.  Sizes are voxels (Z, Y, X).

    thresholds: per label, in place of those chosen on the validation planes.
    smallest_nm3: objects below this volume are removed; per label under `smallest`.
    """

    tile: tuple[int, ...] = (1, 256, 256)
    overlap: tuple[int, ...] = (0, 64, 64)
    block: tuple[int, ...] = (16, 512, 512)
    batch: int = 8
    thresholds: dict[str, float] = field(default_factory=dict)
    smallest_nm3: float = 0.0
    smallest: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Config:
    """One run."""

    name: str = "segmentation"
    task: str = "segmentation"
    data: DataConfig = DataConfig()
    model: ModelConfig = ModelConfig()
    augment: AugmentConfig = AugmentConfig()
    training: TrainingConfig = TrainingConfig()
    prediction: PredictionConfig = PredictionConfig()


def load_config(path: Path, overrides: typing.Sequence[str] = ()) -> Config:
    """The config in a TOML or JSON file, after overrides of the form `training.steps=100`."""
    if not path.is_file():
        path = _bundled(path)
    text = path.read_text("utf-8")
    try:
        table = json.loads(text) if path.suffix == ".json" else tomllib.loads(text)
    except (tomllib.TOMLDecodeError, json.JSONDecodeError) as error:
        raise ConfigError(f"{path} cannot be read: {error}.") from error
    for override in overrides:
        _override(table, override)
    config: Config = build(Config, table, where="")
    _check(config)
    return config


def build(kind: type, table: Any, *, where: str) -> Any:
    """A dataclass from a table.  where: the key of the table, for messages."""
    if not isinstance(table, dict):
        raise ConfigError(f"{where} must be a table, not {table!r}.")
    hints = typing.get_type_hints(kind)
    for key in table:
        if key not in hints:
            known = ", ".join(hints)
            raise ConfigError(f"unknown key {_join(where, key)}; known here are: {known}.")
    return kind(**{k: _convert(hints[k], v, where=_join(where, k)) for k, v in table.items()})


def to_json(config: Config) -> str:
    """Every value, as text that `load_config` reads back to an equal config."""
    return json.dumps(dataclasses.asdict(config), indent=1, sort_keys=True) + "\n"


def _bundled(path: Path) -> Path:
    known = Path(__file__).parent / "configs"
    inside = known / path.with_suffix(".toml").name
    if path.parent == Path() and inside.is_file():
        return inside
    names = ", ".join(sorted(p.stem for p in known.glob("*.toml")))
    raise ConfigError(f"{path} is no file; the configurations that come along are: {names}.")


def _override(table: dict[str, Any], text: str) -> None:
    key, equals, value = text.partition("=")
    if not equals:
        raise ConfigError(f"--set {text} needs the form key=value, as in training.steps=100.")
    *parents, last = key.strip().split(".")
    for parent in parents:
        table = table.setdefault(parent, {})
        if not isinstance(table, dict):
            raise ConfigError(f"--set {text}: {parent} is no table.")
    try:
        table[last] = tomllib.loads(f"value = {value}")["value"]
    except tomllib.TOMLDecodeError:
        table[last] = value  # a bare word: no quotes needed in a shell


def _convert(hint: Any, value: Any, *, where: str) -> Any:
    if dataclasses.is_dataclass(hint):
        return build(typing.cast(type, hint), value, where=where)
    origin, inner = typing.get_origin(hint), typing.get_args(hint)
    if origin is tuple and isinstance(value, list):
        return tuple(_convert(inner[0], v, where=where) for v in value)
    if origin is dict and isinstance(value, dict):
        return {k: _convert(inner[1], v, where=_join(where, k)) for k, v in value.items()}
    if hint is float and type(value) is int:
        return float(value)
    if origin is None and type(value) is hint:
        return value
    name = str(hint) if isinstance(hint, types.GenericAlias) else hint.__name__
    raise ConfigError(f"{where} must be {name}, not {value!r}.")


def _check(config: Config) -> None:
    """Raise ConfigError, naming the key, for values that cannot work, alone or together."""
    for holds, rule in (*_rules(config), *_size_rules(config)):
        if not holds:
            raise ConfigError(f"{rule}.")


def _rules(config: Config) -> list[tuple[bool, str]]:
    data, model, training = config.data, config.model, config.training
    return [
        (config.task == "segmentation", "task must be segmentation"),
        (len(data.voxel_size) in (0, 3), "data.voxel_size has three values or none"),
        (min(data.voxel_size, default=1) > 0, "data.voxel_size is above 0 nm"),
        (0 <= data.validation < 0.9, "data.validation lies between 0 and 0.9"),
        (model.dims in (2, 3), "model.dims must be 2 or 3"),
        (model.levels >= 1, "model.levels is 1 or more"),
        (model.stem >= 1, "model.stem is 1 or more"),
        (model.width >= 8 and model.width % 8 == 0, "model.width must be a multiple of 8"),
        (training.steps >= 1 and training.batch >= 1, "training.steps and batch are 1 or more"),
        (training.save_every >= 1, "training.save_every is 1 or more steps"),
        (training.seed >= 0, "training.seed is 0 or more"),
        (training.lr > 0, "training.lr is above 0"),
        (training.clip > 0, "training.clip is above 0"),
        (training.precision in ("auto", "fp32", "bf16"), "training.precision: auto, fp32 or bf16"),
        (config.prediction.batch >= 1, "prediction.batch is 1 or more"),
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


def _join(where: str, key: str) -> str:
    return f"{where}.{key}" if where else key
