"""Find the array at a node of a Zarr hierarchy: a plain array, or a level of a group of levels."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

from evaluator.geometry import Nanometres
from evaluator.metadata import (
    ArrayMeta,
    bad_metadata,
    bounded,
    parse_json,
    parse_v2,
    positive_triple,
    shown,
    table,
    triple,
)
from evaluator.metadata_v3 import parse_v3

Read = Callable[[str], bytes | None]  # the bytes of a small file below a node; None: not there
MOST_LEVELS = 100
UNITS = {"nanometer": 1.0, "micrometer": 1e3, "millimeter": 1e6, "angstrom": 0.1}


def describe(read: Read, *, like: Nanometres | None = None) -> ArrayMeta | None:
    """The array at a node: a plain array, one level of an OME-NGFF 0.4 or 0.5 group, or one of the
    arrays s0, s1, … (or 0, 1, …) of a group without such metadata.

    read: gives a file below the node by its name.
    like: of a group, take the level nearest to this voxel size (without OME-NGFF metadata: the
    nearest that is not coarser, if there is one); None: the finest.
    None: there is no array.  Raises Unfit for anything that is not on the allow-lists, or too large
    to come from a stranger.
    """
    node = _node(read)
    if isinstance(node, Mapping):
        return bounded(_describe_level(read, node, like=like))
    return None if node is None else bounded(node)


def describe_levels(read: Read) -> list[ArrayMeta]:
    """All arrays at a node that `describe` chooses from, finest first, of any size.

    For data of one's own: a level that the metadata names and nobody fetched is left out.
    Raises Unfit like `describe`, but for sizes.
    """
    node = _node(read)
    if not isinstance(node, Mapping):
        return [] if node is None else [node]
    if "multiscales" not in node and (numbered := _numbered(read)):
        return numbered
    found = [
        (_array(partial(_read_below, read, folder)), folder, size, offset)
        for folder, size, offset in levels(node)
    ]
    return [
        replace(array, folder=folder, voxel_size=size, offset=offset)
        for array, folder, size, offset in found
        if array is not None
    ]


def _node(read: Read) -> ArrayMeta | Mapping[str, Any] | None:
    """What is at a node: an array, a group (its attributes), or nothing."""
    v2, v3, group = read(".zarray"), read("zarr.json"), read(".zgroup")
    if v3 is not None and (v2 is not None or group is not None):
        raise bad_metadata(
            "it has metadata of Zarr v2 and of v3 side by side, so it means two things."
        )
    if v2 is not None:
        return parse_v2(parse_json(v2), attributes=_attributes(read))
    if v3 is not None:
        node = parse_json(v3)
        attributes = table(node, "attributes")
        if node.get("node_type") == "array":
            return parse_v3(node, attributes=attributes)
        return table(attributes, "ome")
    attributes = _attributes(read)
    return attributes if group is not None or attributes else None


def _describe_level(
    read: Read, attributes: Mapping[str, Any], *, like: Nanometres | None
) -> ArrayMeta:
    """The array of the best level of a group.  OME-NGFF lists the finest level first."""
    if "multiscales" not in attributes and (found := _numbered(read)):
        return min(found, key=lambda level: _rank(level.voxel_size, like))
    listed = levels(attributes)
    folder, size, offset = listed[0]
    if like is not None:
        folder, size, offset = min(listed, key=lambda level: _difference(level[1], like))
    array = _array(lambda name: read(f"{folder}/{name}"))
    if array is None:
        raise bad_metadata(
            f"its multiscales metadata names the level {folder}, which is not an array."
        )
    return replace(array, folder=folder, voxel_size=size, offset=offset)


def _array(read: Read) -> ArrayMeta | None:
    """The array at a node, None if it is no array; groups below groups are not looked into."""
    if read(".zarray") is None and b'"array"' not in (read("zarr.json") or b""):
        return None
    found = _node(read)
    return found if isinstance(found, ArrayMeta) else None


def _numbered(read: Read) -> list[ArrayMeta]:
    """The arrays s0, s1, … or 0, 1, … of a group, as long as one follows the other."""
    found: list[ArrayMeta] = []
    for letter in ("s", ""):
        for number in range(MOST_LEVELS):
            folder = f"{letter}{number}"
            array = _array(partial(_read_below, read, folder))
            if array is None:
                break
            found.append(replace(array, folder=folder))
    return found


def _read_below(read: Read, folder: str, name: str) -> bytes | None:
    return read(f"{folder}/{name}")


def _rank(size: Nanometres | None, like: Nanometres | None) -> tuple[bool, bool, float]:
    """Less for a better level: one that says its voxel size, is not coarser, and is near."""
    if size is None:
        return True, True, 0.0
    if like is None:
        return False, False, math.prod(size)
    coarser = any(a > b * (1 + 1e-5) for a, b in zip(size, like, strict=True))
    return False, coarser, math.dist(size, like)


def levels(attributes: Mapping[str, Any]) -> list[tuple[str, Nanometres, Nanometres]]:
    """(folder, voxel size, offset) of each level, in nm; as the OME-NGFF metadata lists them."""
    match attributes.get("multiscales"):
        case [{"axes": [_, _, _] as axes, "datasets": [_, *_] as datasets} as image, *_]:
            units = [_nanometres(axis, name) for axis, name in zip(axes, "zyx", strict=True)]
            outer = _transform(image.get("coordinateTransformations", []))
            return [_level(dataset, units, outer) for dataset in datasets[:MOST_LEVELS]]
    raise bad_metadata("it is a group without OME-NGFF multiscales metadata on the axes z, y, x.")


def _level(
    dataset: Any, units: list[float], outer: tuple[list[float], list[float]]
) -> tuple[str, Nanometres, Nanometres]:
    folder = dataset.get("path") if isinstance(dataset, dict) else None
    part = r"[A-Za-z0-9_-][A-Za-z0-9_.-]*"
    if not isinstance(folder, str) or not re.fullmatch(rf"{part}(/{part})*", folder):
        raise bad_metadata(f"its multiscales metadata names the level {shown(folder)}.")
    scale, shift = _transform(dataset.get("coordinateTransformations", []))
    size = [a * b * unit for a, b, unit in zip(scale, outer[0], units, strict=True)]
    offset = [
        (a * b + c) * unit
        for a, b, c, unit in zip(shift, outer[0], outer[1], units, strict=True)
    ]  # fmt: skip
    return folder, positive_triple(size, "scale"), triple(offset, "translation")


def _transform(steps: Any) -> tuple[list[float], list[float]]:
    """Scale and translation of a list of OME-NGFF transformations; identity if it is empty."""
    scale, shift = [1.0, 1.0, 1.0], [0.0, 0.0, 0.0]
    for step in steps if isinstance(steps, list) else [None]:
        match step:
            case {"type": "scale", "scale": factors}:
                scale = list(positive_triple(factors, "scale"))
            case {"type": "translation", "translation": lengths}:
                shift = list(triple(lengths, "translation"))
            case {"type": "identity"}:
                pass
            case _:
                raise bad_metadata(f"its coordinateTransformations hold {shown(step)}.")
    return scale, shift


def _nanometres(axis: Any, name: str) -> float:
    """Nanometres per unit of an OME-NGFF axis, which must be the named one."""
    if not isinstance(axis, dict) or axis.get("name") != name:
        raise bad_metadata(f"its OME-NGFF axes must be z, y, x in this order; got {shown(axis)}.")
    unit = axis.get("unit", "nanometer")
    if not isinstance(unit, str) or unit not in UNITS:
        raise bad_metadata(f"the unit of its axis {name} is {shown(unit)}; expected nanometer.")
    return UNITS[unit]


def _difference(size: Nanometres, like: Nanometres) -> float:
    return sum(abs(math.log(a / b)) for a, b in zip(size, like, strict=True))


def _attributes(read: Read) -> dict[str, Any]:
    text = read(".zattrs")
    return {} if text is None else parse_json(text)
