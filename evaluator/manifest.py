"""Which labels are scored in which crops, on which grids.

A manifest is a folder or a CSV file with a `labels.toml` beside it:

    crop_name,dataset,class_label,voxel_size,translation,shape
    557,jrc_ctl-id8-1,mito,[1.74;2.0;2.0],[23837.13;7599.0;35999.0],[600;600;600]

    [mito]                  # labels.toml: one table per label
    id = 37
    kind = "instance"       # or "semantic"
    contains = [3, 4, 5]    # ids a group consists of; may be left out

Without a labels.toml, the labels of the CellMap challenge are known.
"""

from __future__ import annotations

import csv
import enum
import io
import re
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from evaluator.cellmap import instance_labels, labels_toml
from evaluator.digest import json_digest
from evaluator.errors import ManifestError, meant
from evaluator.geometry import VoxelGrid

COLUMNS = ("crop_name", "dataset", "class_label", "voxel_size", "translation", "shape")
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}")


class Kind(enum.StrEnum):
    """How a label is scored: as one mask, or object by object."""

    SEMANTIC = "semantic"
    INSTANCE = "instance"


@dataclass(frozen=True, slots=True)
class Label:
    """A class of structure.  contains: ids of the labels a group consists of, else empty."""

    name: str
    id: int
    kind: Kind
    contains: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Crop:
    """A named box of a dataset (specimen volume)."""

    name: str
    dataset: str

    @property
    def folder(self) -> str:
        """Its group in truth and submissions: `crop557` for 557, else the name itself."""
        return f"crop{self.name}" if self.name.isdecimal() else self.name


@dataclass(frozen=True, slots=True)
class Target:
    """One label in one crop on one grid: a row of the manifest, the unit of scoring."""

    crop: Crop
    label: Label
    grid: VoxelGrid

    @property
    def path(self) -> str:
        """Where its array lies in truth and submissions: `crop557/mito`."""
        return f"{self.crop.folder}/{self.label.name}"


@dataclass(frozen=True)
class Manifest:
    """All targets of a phase, ordered by path.  Its digest names the rules of a score."""

    targets: tuple[Target, ...]

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the content: order of rows and columns, number format do not change it."""
        return json_digest([_target_row(target) for target in self.targets])

    @cached_property
    def labels(self) -> dict[str, Label]:
        """Labels by name, sorted."""
        return dict(sorted({t.label.name: t.label for t in self.targets}.items()))

    @cached_property
    def crops(self) -> dict[str, Crop]:
        """Crops by folder name, sorted."""
        return dict(sorted({t.crop.folder: t.crop for t in self.targets}.items()))

    @cached_property
    def by_path(self) -> dict[str, Target]:
        """Targets by path (`crop557/mito`)."""
        return {target.path: target for target in self.targets}

    @property
    def voxels(self) -> int:
        """Voxels of all targets together."""
        return sum(target.grid.voxels for target in self.targets)

    def part(self, *, labels: Iterable[str] = (), crops: Iterable[str] = ()) -> Manifest:
        """The targets of some labels and crops (`557` or `crop557`); of all where none are named.

        Another manifest, with another digest.  Raises ManifestError: a name is unknown, or nothing
        is left.
        """
        wanted, boxes = set(labels), set(crops)
        _known(wanted, self.labels, "label")
        aliases = {alias: crop.folder for crop in self.crops.values()
                   for alias in (crop.name, crop.folder)}  # fmt: skip
        _known(boxes, aliases, "crop")
        folders = {aliases[name] for name in boxes}
        left = tuple(
            target for target in self.targets
            if not wanted or target.label.name in wanted
            if not folders or target.crop.folder in folders
        )  # fmt: skip
        if not left:
            raise ManifestError("none of these labels has a target in these crops.")
        return Manifest(left)

    def with_instances(self, names: Iterable[str]) -> Manifest:
        """The same targets with exactly these labels scored object by object.

        Labels of the CellMap challenge may be named though they have no target here.
        Raises ManifestError for other unknown names.
        """
        instances = set(names)
        _known(instances - instance_labels(), self.labels, "label")
        labels = {
            name: replace(label, kind=Kind.INSTANCE if name in instances else Kind.SEMANTIC)
            for name, label in self.labels.items()
        }
        return Manifest(tuple(replace(t, label=labels[t.label.name]) for t in self.targets))


def load_manifest(path: Path) -> Manifest:
    """The manifest in a folder (`manifest.csv`) or a CSV file, with `labels.toml` beside it.

    Without a labels.toml the labels are those of the CellMap challenge.  Raises ManifestError,
    naming the file, if one is missing or wrong.
    """
    table = path / "manifest.csv" if path.is_dir() else path
    definitions = table.with_name("labels.toml")
    if not table.is_file():
        raise ManifestError(f"{table} is missing: a manifest is a CSV with labels.toml beside it.")
    try:
        rows = table.read_text("utf-8")
        if definitions.is_file():
            return parse_manifest(rows, definitions.read_text("utf-8"))
        _builtin_suffice(rows)
        return parse_manifest(rows, labels_toml())
    except OSError as error:
        raise ManifestError(f"{path} cannot be read: {error.strerror}.") from error
    except UnicodeDecodeError as error:
        raise ManifestError(f"{path}: not UTF-8 text ({error}).") from error
    except csv.Error as error:
        raise ManifestError(f"{path}: not a table of comma-separated values ({error}).") from error
    except ManifestError as error:
        raise ManifestError(f"{path}: {error}") from error


def parse_manifest(table: str, definitions: str) -> Manifest:
    """A manifest from the text of the CSV and of the TOML.

    Raises ManifestError with the line and column at fault.
    """
    labels = parse_labels(definitions)
    rows = csv.DictReader(io.StringIO(table))
    if missing := [name for name in COLUMNS if name not in (rows.fieldnames or ())]:
        raise ManifestError(
            f"the first line must name the columns {', '.join(COLUMNS)}; missing: {missing}."
        )
    return _ordered(_parse_row(row, labels, line=line) for line, row in enumerate(rows, start=2))


def parse_labels(definitions: str) -> dict[str, Label]:
    """Label definitions by name, from TOML text.  Raises ManifestError."""
    try:
        tables = tomllib.loads(definitions)
    except tomllib.TOMLDecodeError as error:
        raise ManifestError(f"labels.toml is not TOML: {error}.") from error
    labels = {name: _parse_label(name, table) for name, table in tables.items()}
    by_id: dict[int, str] = {}
    for label in labels.values():
        if (twin := by_id.setdefault(label.id, label.name)) != label.name:
            raise ManifestError(f"labels.toml: {label.name} and {twin} share the id {label.id}.")
    return labels


def format_manifest(targets: Iterable[Target]) -> str:
    """The CSV text of targets, which `parse_manifest` reads back to equal ones."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for target in targets:
        grid = target.grid
        triples = (grid.voxel_size, grid.offset, grid.shape)
        cells = ["[" + ";".join(map(repr, triple)) + "]" for triple in triples]
        writer.writerow([target.crop.name, target.crop.dataset, target.label.name, *cells])
    return text.getvalue()


def format_labels(labels: Iterable[Label]) -> str:
    """The TOML text of label definitions, which `parse_labels` reads back to equal ones."""
    tables = []
    for label in labels:
        contains = f"contains = {list(label.contains)}\n" if label.contains else ""
        tables.append(f'["{label.name}"]\nid = {label.id}\nkind = "{label.kind}"\n{contains}')
    return "\n".join(tables)


def _builtin_suffice(table: str) -> None:
    """Raises ManifestError if a label of the CSV is not one of the built-in ones."""
    rows = csv.DictReader(io.StringIO(table))
    names = sorted({row.get("class_label") or "" for row in rows} - {""})
    known = tomllib.loads(labels_toml())
    if unknown := [name for name in names if name not in known]:
        listed = ", ".join(f"{name[:40]!r}{meant(name, known)}" for name in unknown[:5])
        more = f" and {len(unknown) - 5} more" if len(unknown) > 5 else ""
        raise ManifestError(
            f"labels.toml is missing beside it, and {listed}{more} are not among the built-in "
            "labels of the CellMap challenge. Write labels.toml, or correct the names."
        )


def _known(names: Iterable[str], known: Iterable[str], what: str) -> None:
    """Raises ManifestError for the first name that is not known."""
    known = list(known)
    for name in sorted(names):
        if name not in known:
            hint = meant(name, known) or f"; there are: {', '.join(known[:60])}"
            raise ManifestError(f"the manifest has no {what} {name[:60]!r}{hint}.")


def _parse_label(name: str, table: Any) -> Label:
    if not NAME.fullmatch(name) or not isinstance(table, dict):
        raise ManifestError(
            f"labels.toml: [{name}] must be a table named with letters, digits, . _ -."
        )
    if name.isdecimal():
        raise ManifestError(f"labels.toml: [{name}] needs a name with a letter in it.")
    if unknown := set(table) - {"id", "kind", "contains"}:
        raise ManifestError(f"labels.toml: [{name}] has unknown keys {sorted(unknown)}.")
    number, kind, contains = table.get("id"), table.get("kind"), table.get("contains", [])
    if not isinstance(number, int) or number < 1:
        raise ManifestError(f"labels.toml: [{name}] needs an id of 1 or more; got {number!r}.")
    if kind not in tuple(Kind):
        raise ManifestError(
            f'labels.toml: [{name}] needs kind = "semantic" or "instance"; got {kind!r}.'
        )
    if not isinstance(contains, list) or not all(isinstance(part, int) for part in contains):
        raise ManifestError(
            f"labels.toml: [{name}] contains must be a list of ids; got {contains!r}."
        )
    return Label(name, number, Kind(kind), tuple(contains))


def _parse_row(row: Mapping[str, str | None], labels: Mapping[str, Label], *, line: int) -> Target:
    try:
        name = row["class_label"] or ""
        if name not in labels:
            raise ValueError(f"label {name!r} has no table in labels.toml")
        crop = Crop(row["crop_name"] or "", row["dataset"] or "")
        if not NAME.fullmatch(crop.name):
            raise ValueError(f"crop_name {crop.name!r} is not made of letters, digits, . _ -")
        shape, size, start = (
            _triple(row[column]) for column in ("shape", "voxel_size", "translation")
        )
        if any(n != int(n) for n in shape):
            raise ValueError(f"shape {shape} is not in whole voxels")
        grid = VoxelGrid((int(shape[0]), int(shape[1]), int(shape[2])), size, start)
    except ValueError as error:
        raise ManifestError(f"line {line}: {error}.") from error
    return Target(crop, labels[name], grid)


def _triple(cell: str | None) -> tuple[float, float, float]:
    parts = (cell or "").strip().removeprefix("[").removesuffix("]").split(";")
    if len(parts) != 3:
        raise ValueError(f"expected [z;y;x], got {cell!r}")
    z, y, x = map(float, parts)
    return (z, y, x)


def _ordered(targets: Iterable[Target]) -> Manifest:
    found: dict[str, Target] = {}
    for target in targets:
        if target.path in found:
            raise ManifestError(f"{target.path} is listed twice.")
        found[target.path] = target
    if not found:
        raise ManifestError("the manifest has no targets: it needs at least one row.")
    return Manifest(tuple(found[path] for path in sorted(found)))


def _target_row(target: Target) -> list[Any]:
    label, grid = target.label, target.grid
    return [
        [target.crop.name, target.crop.dataset],
        [label.name, label.id, label.kind.value, list(label.contains)],
        [list(grid.shape), list(grid.voxel_size), list(grid.offset)],
    ]
