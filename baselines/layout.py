"""The data folder: where training crops, hidden crops and the challenge's bundle lie.

DATA/labels.toml  DATA/train.csv       what is annotated in the training crops
DATA/train/<crop>/raw                  OME-Zarr
DATA/train/<crop>/labels/<label>       zarr; a label that is absent was not annotated there
DATA/hidden/<crop>/raw                 what to predict
DATA/challenge/                        manifest.csv, labels.toml, truth.zarr/<crop>/<label>,
                                       challenge.toml, overview.md: what a server loads
"""

from __future__ import annotations

import enum
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from evaluator.errors import EvaluatorError
from evaluator.manifest import (
    Crop,
    Label,
    Manifest,
    Target,
    format_labels,
    format_manifest,
    load_manifest,
    parse_labels,
)


class DataError(EvaluatorError):
    """A data folder, a stack or a description of one cannot be used."""


class ShapesDiffer(DataError):
    """An annotation does not lie on its raw."""


class TooManyClasses(DataError):
    """A mask has more values than anybody has classes."""


class Purpose(enum.StrEnum):
    """What a crop is for."""

    TRAIN = "train"
    HIDDEN = "hidden"


@dataclass(frozen=True, slots=True)
class DataFolder:
    """One data folder, which may not exist yet."""

    root: Path

    @property
    def challenge(self) -> Path:
        """The bundle for the server."""
        return self.root / "challenge"

    def table(self, purpose: Purpose) -> Path:
        """The manifest of the crops for a purpose."""
        hidden = self.challenge / "manifest.csv"
        return hidden if purpose is Purpose.HIDDEN else self.root / "train.csv"

    def manifest(self, purpose: Purpose) -> Manifest:
        """Which targets the crops for a purpose have.  Raises DataError if there is none."""
        if not self.table(purpose).is_file():
            raise DataError(
                f"{self.root} has no {purpose} crops: {self.table(purpose)} is missing. "
                "Make a data folder with `baselines phantom` or `baselines import-stack`."
            )
        return load_manifest(self.table(purpose))

    def raw(self, purpose: Purpose, crop: str) -> Path:
        """The raw volume of a crop, given its folder name."""
        return self.root / purpose / crop / "raw"

    def label(self, purpose: Purpose, target: Target) -> Path:
        """The annotation of a target: among the training crops, or in the hidden truth."""
        if purpose is Purpose.HIDDEN:
            return self.challenge / "truth.zarr" / target.path
        return self.root / purpose / target.crop.folder / "labels" / target.label.name

    def crops(self, purpose: Purpose) -> list[str]:
        """Folder names of the crops that have raw data, sorted."""
        return sorted(path.parent.name for path in (self.root / purpose).glob("*/raw"))

    def add_targets(self, purpose: Purpose, targets: Iterable[Target]) -> None:
        """Enter targets of crops for a purpose, in place of older ones of the same crops."""
        targets = list(targets)
        table = self.table(purpose)
        known = load_manifest(table).targets if table.is_file() else ()
        crops = {target.crop.folder for target in targets}
        kept = [target for target in known if target.crop.folder not in crops]
        labels = self._merged_labels([target.label for target in (*kept, *targets)])
        rows = sorted((*kept, *targets), key=lambda target: target.path)
        table.parent.mkdir(parents=True, exist_ok=True)
        table.write_text(format_manifest(rows), "utf-8")
        # Both tables read the same definitions, so that an id means one thing in both.
        for folder in {self.root, table.parent}:
            (folder / "labels.toml").write_text(format_labels(labels), "utf-8")

    def known_labels(self) -> dict[str, Label]:
        """Labels defined so far, by name."""
        definitions = self.root / "labels.toml"
        return parse_labels(definitions.read_text("utf-8")) if definitions.is_file() else {}

    def _merged_labels(self, new: Iterable[Label]) -> list[Label]:
        definitions = self.root / "labels.toml"
        old = self.known_labels()
        merged = dict(old)
        for label in new:
            if old.get(label.name, label) != label:
                raise DataError(
                    f"{definitions} defines {label.name} as {old[label.name].kind} with id "
                    f"{old[label.name].id}, now it is to be {label.kind} with id {label.id}: "
                    "use one definition, or another data folder."
                )
            merged[label.name] = label
        return [merged[name] for name in sorted(merged)]

    def describe_challenge(self, *, slug: str, title: str, summary: str, overview: str) -> None:
        """Write challenge.toml and overview.md of the bundle."""
        self.challenge.mkdir(parents=True, exist_ok=True)
        (self.challenge / "overview.md").write_text(overview, "utf-8")
        text = _CHALLENGE.format(slug=slug, title=_quoted(title), summary=_quoted(summary))
        (self.challenge / "challenge.toml").write_text(text, "utf-8")


def crop_of(name: str, dataset: str) -> Crop:
    """A crop by its name in a manifest; `crop557` and `557` are the same crop."""
    short = name.removeprefix("crop")
    return Crop(short if short.isdecimal() else name, dataset)


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", " ") + '"'


_CHALLENGE = """slug = "{slug}"
title = {title}
summary = {summary}
protocol = "crista-1"
manifest = "manifest.csv"
truth = "truth.zarr"
overview = "overview.md"

[[phase]]
slug = "test"
title = "Test"
opens = "2025-01-01T00:00:00+00:00"
closes = "2045-01-01T00:00:00+00:00"
visibility = "full"
per_day = 20
max_bytes = 4000000000
concurrent = 1
"""
