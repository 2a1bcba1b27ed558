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
from pathlib import Path
from typing import Any

from baselines.config.errors import ConfigError
from baselines.config.rules import check
from baselines.config.schema import Config


def load_config(path: Path, overrides: typing.Sequence[str] = ()) -> Config:
    """The config in a TOML or JSON file, after overrides of the form `training.iterations=100`."""
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
    check(config)
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
    known = Path(__file__).parents[1] / "configs"
    inside = known / path.with_suffix(".toml").name
    if path.parent == Path() and inside.is_file():
        return inside
    names = ", ".join(sorted(p.stem for p in known.glob("*.toml")))
    raise ConfigError(f"{path} is no file; the configurations that come along are: {names}.")


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
    raise ConfigError(f"{where} must be {name}, not {value!r}.")


def _join(where: str, key: str) -> str:
    return f"{where}.{key}" if where else key
