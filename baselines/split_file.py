"""A split on disk: TOML that a person can read and change.

    labels = ["mito", "nuc"]     # what it was made for
    folds = 5                    # a run validates on the crops of one fold, numbered from 0
    by = "crop"                  # how it was made: by, seed, voxel_size, ...

    [[crop]]
    name = "crop557"
    dataset = "jrc_ctl-id8-1"
    specimen = "jrc_ctl-id8-1"
    fold = 0                     # validates in fold 0, trains in all others; -1 always trains
    raw = "train/crop557/raw"
    validation = [[40, 0, 0], [50, 100, 100]]   # optional: only this box validates, the rest trains
    voxels = { mito = 1234, nuc = 0 }           # of each annotated label; 0: annotated, absent
    paths = { mito = "train/crop557/labels/mito", nuc = "train/crop557/labels/nuc" }

A crop that is not listed neither trains nor validates.
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from baselines.box import Box
from baselines.layout import DataError

Value = str | int | float | bool | list[Any] | dict[str, Any]


@dataclass(frozen=True, slots=True)
class Place:
    """Which fold validates on a crop, -1: none; on which box of it, None: on all of it."""

    fold: int
    box: Box | None = None


@dataclass(frozen=True, slots=True)
class Row:
    """A crop in a split file.  voxels, paths: of each annotated label."""

    name: str
    place: Place
    dataset: str = ""
    specimen: str = ""
    raw: str = ""
    voxels: Mapping[str, int] = field(default_factory=dict)
    paths: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class SplitFile:
    """A split: its crops, and how it was made (plain values, for the reader)."""

    rows: tuple[Row, ...]
    about: Mapping[str, Value] = field(default_factory=dict)

    @property
    def places(self) -> dict[str, Place]:
        """By crop."""
        return {row.name: row.place for row in self.rows}


def read_split(path: Path) -> SplitFile:
    """A split from its file.  Raises DataError, naming the crop at fault."""
    if not path.is_file():
        raise DataError(f"{path} is missing: split.file is what `baselines split` writes.")
    try:
        table = tomllib.loads(path.read_text("utf-8"))
        rows = tuple(_row(crop) for crop in table.pop("crop", []))
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise DataError(f"{path} is no split file: {error}.") from error
    names = [row.name for row in rows]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise DataError(f"{path}: crop {twice[0]} is there twice.")
    if not rows:
        raise DataError(f"{path} lists no crop: it needs at least one [[crop]].")
    return SplitFile(rows, table)


def write_split(path: Path, split: SplitFile) -> None:
    """Write a split that `read_split` reads back to an equal one."""
    lines = ["# Crops with fold = k validate in fold k and train in all others; -1 always trains."]
    lines += [f"{key} = {_toml(value)}" for key, value in split.about.items()]
    for row in split.rows:
        lines += ["", "[[crop]]", *(f"{key} = {_toml(value)}" for key, value in _table(row))]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n", "utf-8")


def _table(row: Row) -> list[tuple[str, Value]]:
    table: list[tuple[str, Value]] = [("name", row.name)]
    table += [(key, getattr(row, key)) for key in ("dataset", "specimen", "raw")]
    table.append(("fold", row.place.fold))
    if row.place.box is not None:
        table.append(("validation", [list(row.place.box.start), list(row.place.box.stop)]))
    return [*table, ("voxels", dict(row.voxels)), ("paths", dict(row.paths))]


def _row(crop: dict[str, Any]) -> Row:
    known = {"name", "fold", "validation", "dataset", "specimen", "raw", "voxels", "paths"}
    if unknown := sorted(set(crop) - known):
        raise ValueError(f"crop {crop.get('name')!r} has the unknown key {unknown[0]}")
    if not isinstance(crop["name"], str) or type(crop.get("fold")) is not int or crop["fold"] < -1:
        raise ValueError(f"crop {crop['name']!r} needs fold = -1, 0, 1, …")
    box = None
    if "validation" in crop:
        (z, y, x), (end_z, end_y, end_x) = crop["validation"]
        box = Box((z, y, x), (end_z, end_y, end_x))
        if not all(type(n) is int for n in (*box.start, *box.stop)) or min(box.shape) < 1:
            raise ValueError(
                f"crop {crop['name']}: validation is [[z, y, x], [z, y, x]], not empty"
            )
    rest = {key: crop[key] for key in known - {"name", "fold", "validation"} if key in crop}
    return Row(crop["name"], Place(crop["fold"], box), **rest)


def _toml(value: Value) -> str:
    if isinstance(value, dict):
        inner = ", ".join(f"{json.dumps(k)} = {_toml(v)}" for k, v in value.items())
        return f"{{ {inner} }}" if inner else "{}"
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_toml, value))}]"
    # Strings, numbers and booleans are written in JSON as in TOML.
    return json.dumps(value, ensure_ascii=False)
