"""What a store publishes: crops by their manifests, and where their volumes lie.

Two layouts are known by the manifest at the root of the store: a data folder of ours (`train.csv`),
and the tree of the CellMap challenge (`train_crop_manifest.csv`).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from baselines.config import DataConfig
from baselines.fetching.store import Store
from baselines.layout import DataError
from evaluator.cellmap import labels_toml
from evaluator.errors import ManifestError, meant
from evaluator.manifest import (
    NAME,
    Manifest,
    Target,
    format_labels,
    format_manifest,
    load_manifest,
    parse_labels,
    parse_manifest,
)


@dataclass(frozen=True, slots=True)
class Layout:
    """Paths in a store.  raw, test_raw, truth: with {dataset}, {crop} and {label}."""

    raw: str
    test_raw: str
    truth: str
    manifest: str
    test_manifest: str


CRISTA = Layout(
    raw="train/{crop}/raw", test_raw="hidden/{crop}/raw", truth="train/{crop}/labels/{label}",
    manifest="train.csv", test_manifest="challenge/manifest.csv",
)  # fmt: skip
CELLMAP = Layout(
    raw=DataConfig().raw, test_raw=DataConfig().raw, truth=DataConfig().truth,
    manifest="train_crop_manifest.csv", test_manifest="test_crop_manifest.csv",
)  # fmt: skip


@dataclass(frozen=True)
class Wanted:
    """A crop to fetch.  targets: the labels to fetch, or, of a test crop, those it is scored on."""

    targets: tuple[Target, ...]
    raw: str
    truth: tuple[str, ...]
    manifest: str


def layout_of(store: Store, *, raw: str = "", truth: str = "") -> Layout:
    """The layout by the manifest that is there; raw and truth: other templates for it."""
    for layout in (CRISTA, CELLMAP):
        if any(store.read(name) for name in (layout.manifest, layout.test_manifest)):
            given = replace(layout, truth=truth or layout.truth)
            return replace(given, raw=raw, test_raw=raw) if raw else given
    raise DataError(
        f"{store.where} publishes no data: at its root neither {CRISTA.manifest} nor "
        f"{CELLMAP.manifest} can be read."
    )


def choose(
    store: Store, layout: Layout, *, crops: str = "all", labels: Sequence[str] = ()
) -> list[Wanted]:
    """The crops to fetch: `all` training crops, all `test` crops, or names from either manifest.

    crops: separated by commas; `557` and `crop557` are the same.  labels: of training crops; empty:
    all.  Raises DataError: there is no such crop or label.
    """
    training = _manifest(store, layout.manifest)
    test = _manifest(store, layout.test_manifest)
    if labels and training is not None:
        training = _only(training, labels)
    if crops in ("all", "test"):
        chosen = training if crops == "all" else test
        if chosen is None:
            name = layout.manifest if crops == "all" else layout.test_manifest
            other = "test" if crops == "all" else "all"
            raise DataError(
                f"{store.where}{name} is missing: there are no such crops here. Others may be: "
                f"--crops {other}."
            )
        return _wanted(chosen, layout, test=crops == "test")
    known = {
        alias: (test is not None and manifest is test, folder)
        for manifest in (test, training) if manifest is not None
        for folder, crop in manifest.crops.items() for alias in (crop.name, folder)
    }  # fmt: skip
    found: list[Wanted] = []
    for name in dict.fromkeys(part.strip() for part in crops.split(",")):
        if name not in known:
            raise DataError(f"{store.where} has no crop {name!r}{meant(name, known)}.")
        is_test, folder = known[name]
        manifest = test if is_test else training
        found += _wanted(manifest.part(crops=[folder]), layout, test=is_test) if manifest else []
    return found


def enter(root: Path, wanted: Sequence[Wanted]) -> None:
    """Enter crops that were fetched in the manifests below `root`, beside those already there."""
    for name in dict.fromkeys(crop.manifest for crop in wanted):
        table = root / name
        new = {t.path: t for crop in wanted if crop.manifest == name for t in crop.targets}
        known = load_manifest(table).by_path if table.is_file() else {}
        merged = dict(sorted({**known, **new}.items()))
        definitions = table.with_name("labels.toml")
        # Two manifests may share the definitions beside them.
        labels = parse_labels(definitions.read_text("utf-8")) if definitions.is_file() else {}
        labels |= {target.label.name: target.label for target in merged.values()}
        table.parent.mkdir(parents=True, exist_ok=True)
        table.write_text(format_manifest(merged.values()), "utf-8")
        definitions.write_text(format_labels(labels[name] for name in sorted(labels)), "utf-8")


def _manifest(store: Store, name: str) -> Manifest | None:
    """A manifest with the labels.toml beside it; without one, labels are those of CellMap."""
    rows = store.read(name)
    if rows is None:
        return None
    definitions = store.read(
        name.rpartition("/")[0] + "/labels.toml" if "/" in name else "labels.toml"
    )
    try:
        text = definitions.decode("utf-8") if definitions is not None else labels_toml()
        manifest = parse_manifest(rows.decode("utf-8"), text)
    except (ManifestError, UnicodeDecodeError) as error:
        raise DataError(f"{store.where}{name}: {error}") from error
    for crop in manifest.crops.values():
        if not NAME.fullmatch(crop.dataset):  # it becomes part of a path
            raise DataError(
                f"{store.where}{name}: dataset {crop.dataset!r} is not made of "
                "letters, digits, . _ and -."
            )
    return manifest


def _only(manifest: Manifest, labels: Sequence[str]) -> Manifest:
    try:
        return manifest.part(labels=labels)
    except ManifestError as error:
        raise DataError(f"no training crop has these labels: {error}") from error


def _wanted(manifest: Manifest, layout: Layout, *, test: bool) -> list[Wanted]:
    found = []
    for folder, crop in manifest.crops.items():
        targets = tuple(t for t in manifest.targets if t.crop.folder == folder)
        names = {"dataset": crop.dataset, "crop": folder}
        raw = path_of(layout.test_raw if test else layout.raw, names)
        truth = (
            []
            if test
            else [path_of(layout.truth, names | {"label": t.label.name}) for t in targets]
        )
        name = layout.test_manifest if test else layout.manifest
        found.append(Wanted(targets, raw, tuple(truth), name))
    return found


def path_of(template: str, names: Mapping[str, str]) -> str:
    """A path below the root from its template.  names: by field.  Raises DataError."""
    path = re.sub(r"\{(\w+)\}", lambda m: names.get(m[1], m[0]), template).strip("/")
    if "{" in path or ".." in path.split("/"):
        raise DataError(
            f"the path {template!r} may hold {', '.join(f'{{{name}}}' for name in names)} and no .."
        )
    return path
