"""A run's settings: TOML in, frozen dataclasses out.  Data, not a program.

An unknown key, a wrong type or an impossible value is an error that names the key, before any data
is touched.  What a file does not say is taken from its preset, and then from the schema.
"""

from __future__ import annotations

import dataclasses
import json
import tomllib
import types
import typing
from pathlib import Path
from typing import Any

from baselines.config.errors import ConfigError
from baselines.config.rules import check
from baselines.config.schema import Config
from evaluator.errors import meant

CONFIGS = Path(__file__).parents[1] / "configs"


def load_config(path: Path, overrides: typing.Sequence[str] = ()) -> Config:
    """The config in a TOML or JSON file, after overrides of the form `training.iterations=100`.

    path: a file, or the name of one that comes along, such as Semantic2D, or of a preset.
    """
    table = _read(path if path.is_file() else _bundled(path))
    for override in overrides:
        _override(table, override)
    config: Config = build(Config, _over_preset(table), where="")
    check(config)
    return config


def build(kind: type, table: Any, *, where: str) -> Any:
    """A dataclass from a table.  where: the key of the table, for messages."""
    if not isinstance(table, dict):
        raise ConfigError(f"{where} must be a table, not {table!r}.")
    hints = typing.get_type_hints(kind)
    for key in table:
        if key not in hints:
            hint = meant(_join(where, key), [_join(where, name) for name in hints])
            known = ", ".join(hints)
            raise ConfigError(f"unknown key {_join(where, key)}{hint}; known here are: {known}.")
    return kind(**{k: _convert(hints[k], v, where=_join(where, k)) for k, v in table.items()})


def to_json(config: Config) -> str:
    """Every value, as text that `load_config` reads back to an equal config."""
    return json.dumps(dataclasses.asdict(config), indent=1, sort_keys=True) + "\n"


def bundled() -> dict[str, Path]:
    """Every config and preset that comes along, by its name."""
    files = [*sorted(CONFIGS.glob("*.toml")), *sorted((CONFIGS / "presets").glob("*.toml"))]
    return {file.name.removesuffix(".toml"): file for file in files}


def preset_table(name: str) -> dict[str, Any]:
    """What a preset says.  Raises ConfigError if there is none of that name."""
    path = CONFIGS / "presets" / f"{name}.toml"
    if name not in presets():
        hint = meant(name, presets())
        raise ConfigError(f"preset is one of {', '.join(presets())}, not {name}{hint}.")
    return _read(path)


def presets() -> list[str]:
    """The names of the presets."""
    return sorted(p.name.removesuffix(".toml") for p in (CONFIGS / "presets").glob("*.toml"))


def _read(path: Path) -> dict[str, Any]:
    text = path.read_text("utf-8")
    try:
        table: dict[str, Any] = json.loads(text) if path.suffix == ".json" else tomllib.loads(text)
    except (tomllib.TOMLDecodeError, json.JSONDecodeError) as error:
        raise ConfigError(f"{path} cannot be read: {error}.") from error
    if not isinstance(table, dict):
        raise ConfigError(f"{path} must hold a table of settings, not {type(table).__name__}.")
    return table


def _bundled(path: Path) -> Path:
    known = bundled()
    name = path.name.removesuffix(".toml")
    if path.parent == Path() and name in known:
        return known[name]
    raise ConfigError(
        f"{path} is no file{meant(name, known)}; the configurations that come along are: "
        f"{', '.join(known)}."
    )


def _over_preset(table: dict[str, Any]) -> dict[str, Any]:
    """The table on top of its preset, section by section; a table within a section stays whole."""
    name = table.get("preset", "")
    if not name or not isinstance(name, str):
        return table
    merged = {**preset_table(name), **table}
    for key, section in preset_table(name).items():
        given = table.get(key, {})
        if isinstance(section, dict) and isinstance(given, dict):
            merged[key] = {**section, **given}
    return merged


def _override(table: dict[str, Any], text: str) -> None:
    key, equals, value = text.partition("=")
    if not equals:
        raise ConfigError(f"--set {text} needs the form key=value, as in training.iterations=100.")
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
    raise ConfigError(f"{where} must be: {in_words(name)}; not {value!r}.")


def in_words(kind: str) -> str:
    """A type of the schema in words: list of numbers, for tuple[float, ...]."""
    names = {"int": "whole number", "float": "number", "str": "text", "bool": "true or false"}
    many, _, inner = kind.removesuffix("]").replace(", ...", "").partition("[")
    if inner:
        each = names.get(inner.rpartition(" ")[2], "table")
        return f"{'list' if many == 'tuple' else 'table'} of {each}s"
    return names.get(kind, kind)


def _join(where: str, key: str) -> str:
    return f"{where}.{key}" if where else key
