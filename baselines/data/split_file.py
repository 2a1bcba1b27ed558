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
                                                # validates; the rest of the crop trains, …
    gap = [40, 0, 0]                            # … but for so many nm (Z, Y, X) beside the box
    voxels = { mito = 1234, nuc = 0 }           # of each annotated label; 0: annotated, absent
    paths = { mito = "train/crop557/labels/mito", nuc = "train/crop557/labels/nuc" }

A single volume may have a block for each fold, in place of `fold` and `validation`:

    [[crop.block]]
    fold = 0
    validation = [[0, 0, 0], [200, 800, 800]]
    voxels = { mito = 512, nuc = 0 }            # in the block

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

Corners = tuple[Nanometres, Nanometres]  # of a box, in nm, (Z, Y, X) each
Value = str | int | float | bool | list[Any] | dict[str, Any]


@dataclass(frozen=True, slots=True)
class RowBlock:
    """A block of a crop, on which a fold validates.  voxels: of each annotated label in it."""

    fold: int
    validation: Corners
    voxels: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Row:
    """A crop in a split file; see above.  voxels, paths: of each annotated label.

    gap: nm (Z, Y, X) beside what validates that neither validate nor train.
    blocks: in place of a fold and a validation of the crop's own, for different folds.
    """

    name: str
    fold: int
    validation: Corners | None = None
    dataset: str = ""
    specimen: str = ""
    raw: str = ""
    voxels: Mapping[str, int] = field(default_factory=dict)
    paths: Mapping[str, str] = field(default_factory=dict)
    gap: Nanometres = (0.0, 0.0, 0.0)
    blocks: tuple[RowBlock, ...] = ()


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
        raise DataError(
            f"{path} is no split file: {error}. `baselines split` writes one."
        ) from error
    names = [row.name for row in rows]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise DataError(f"{path}: crop {twice[0]} is there twice: leave one out.")
    if not rows:
        raise DataError(f"{path} lists no crop: it needs at least one [[crop]].")
    return SplitFile(rows, table)


def write_split(path: Path, split: SplitFile) -> None:
    """Write a split that `read_split` reads back to an equal one."""
    lines = ["# Crops with fold = k validate in fold k and train in all others; -1 always trains."]
    lines += [f"{key} = {_toml(value)}" for key, value in split.about.items()]
    for row in split.rows:
        lines += ["", "[[crop]]", *(f"{key} = {_toml(value)}" for key, value in _table(row))]
        for block in row.blocks:
            lines += ["", "[[crop.block]]", f"fold = {block.fold}"]
            lines += [f"validation = {_toml(_listed(block.validation))}"]
            lines += [f"voxels = {_toml(dict(block.voxels))}"] if block.voxels else []
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n", "utf-8")


def _table(row: Row) -> list[tuple[str, Value]]:
    table: list[tuple[str, Value]] = [("name", row.name)]
    table += [(key, getattr(row, key)) for key in ("dataset", "specimen", "raw")]
    if not row.blocks:
        table.append(("fold", row.fold))
    if row.validation is not None:
        table.append(("validation", _listed(row.validation)))
    if any(row.gap):
        table.append(("gap", list(row.gap)))
    return [*table, ("voxels", dict(row.voxels)), ("paths", dict(row.paths))]


def _listed(corners: Corners) -> list[Any]:
    return [list(corner) for corner in corners]


def _row(crop: dict[str, Any]) -> Row:
    known = {
        "name", "fold", "validation", "gap", "block", "dataset", "specimen", "raw", "voxels",
        "paths",
    }  # fmt: skip
    if unknown := sorted(set(crop) - known):
        raise ValueError(f"crop {crop.get('name')!r} has the unknown key {unknown[0]}")
    name = crop["name"]
    rest = {key: value for key, value in crop.items() if key != "block"}
    if blocks := crop.get("block", []):
        if {"fold", "validation"} & set(crop):
            raise ValueError(f"crop {name!r} has blocks, so fold and validation are theirs")
        rest |= {"fold": -1, "blocks": _blocks(blocks, name)}
    if not isinstance(name, str) or type(rest.get("fold")) is not int or rest["fold"] < -1:
        raise ValueError(f"crop {name!r} needs fold = -1, 0, 1, …")
    if "validation" in crop:
        rest["validation"] = _corners(crop["validation"], name)
    if "gap" in crop:
        rest["gap"] = _gap(crop["gap"], name)
    return Row(**rest)


def _blocks(given: list[dict[str, Any]], name: str) -> tuple[RowBlock, ...]:
    """Raises ValueError for a block that lacks something, or a fold that has two."""
    for block in given:
        if type(block.get("fold")) is not int or block["fold"] < 0:
            raise ValueError(f"crop {name!r}: a block needs fold = 0, 1, …")
        if unknown := sorted(set(block) - {"fold", "validation", "voxels"}):
            raise ValueError(f"crop {name!r}: a block has the unknown key {unknown[0]}")
    folds = [block["fold"] for block in given]
    if len(set(folds)) < len(folds):
        raise ValueError(f"crop {name!r}: a fold has one block of it at most")
    return tuple(
        RowBlock(block["fold"], _corners(block.get("validation"), name), block.get("voxels", {}))
        for block in given
    )


def _gap(given: Any, name: str) -> Nanometres:
    match given:
        case [z, y, x] if all(type(n) in (int, float) and n >= 0 for n in given):
            return float(z), float(y), float(x)
    raise ValueError(f"crop {name}: gap is [z, y, x] in nm, none of them below 0")


def _corners(given: Any, name: str) -> Corners:
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
