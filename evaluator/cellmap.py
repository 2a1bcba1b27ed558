"""The labels of the CellMap Segmentation Challenge, built in: its manifests need no labels.toml."""

from __future__ import annotations

import tomllib
from functools import cache
from importlib.resources import files


@cache
def labels_toml() -> str:
    """The text of a labels.toml with every class of the challenge: id, kind, group."""
    return files("evaluator").joinpath("cellmap.toml").read_text("utf-8")


@cache
def instance_labels() -> frozenset[str]:
    """Names that the challenge's own code takes as instances, whatever a manifest says."""
    tables = tomllib.loads(labels_toml())
    found = {name for name, table in tables.items() if table["kind"] == "instance"}
    return frozenset(found | {"instance"})  # a name without an id, for anybody's objects
