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
    validation = [[320, 0, 0], [400, 800, 800]] # optional: corners in nm of the only box that
                                                # validates; the rest of the crop trains
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

from baselines.layout import DataError
from evaluator.geometry import Nanometres

Value = str | int | float | bool | list[Any] | dict[str, Any]


@dataclass(frozen=True, slots=True)
class Row:
    """A crop in a split file; see above.  voxels, paths: of each annotated label."""

    name: str
    fold: int
    validation: tuple[Nanometres, Nanometres] | None = None
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
    table.append(("fold", row.fold))
    if row.validation is not None:
        table.append(("validation", [list(corner) for corner in row.validation]))
    return [*table, ("voxels", dict(row.voxels)), ("paths", dict(row.paths))]


def _row(crop: dict[str, Any]) -> Row:
    known = {"name", "fold", "validation", "dataset", "specimen", "raw", "voxels", "paths"}
    if unknown := sorted(set(crop) - known):
        raise ValueError(f"crop {crop.get('name')!r} has the unknown key {unknown[0]}")
    if not isinstance(crop["name"], str) or type(crop.get("fold")) is not int or crop["fold"] < -1:
        raise ValueError(f"crop {crop['name']!r} needs fold = -1, 0, 1, …")
    rest = {key: value for key, value in crop.items() if key != "validation"}
    if "validation" in crop:
        rest["validation"] = _corners(crop["validation"], crop["name"])
    return Row(**rest)


def _corners(given: Any, name: str) -> tuple[Nanometres, Nanometres]:
    """Raises ValueError for anything but two corners of a box with voxels in it."""
    match given:
        case [[z, y, x], [end_z, end_y, end_x]] if (
            all(type(n) in (int, float) for n in (z, y, x, end_z, end_y, end_x))
            and z < end_z and y < end_y and x < end_x
        ):  # fmt: skip
            return (float(z), float(y), float(x)), (float(end_z), float(end_y), float(end_x))
    raise ValueError(f"crop {name}: validation is [[z, y, x], [z, y, x]] in nm, and not empty")


def _toml(value: Value) -> str:
    if isinstance(value, dict):
        inner = ", ".join(f"{json.dumps(k)} = {_toml(v)}" for k, v in value.items())
        return f"{{ {inner} }}" if inner else "{}"
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_toml, value))}]"
    # Strings, numbers and booleans are written in JSON as in TOML.
    return json.dumps(value, ensure_ascii=False)
