"""A result as it was saved: read back, checked, and told target by target.

    {"schema": 1, "protocol": …, "labels": {label: {…}}, "targets": [{…}], "beside": null or {…}}

`Saved.values` are the JSON values; rows say in one number what the sums of a target come to.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import Any

from evaluator.digest import canonical_json, json_digest
from evaluator.errors import EvaluatorError
from evaluator.manifest import NAME, Kind, Label
from evaluator.scores import SCHEMA, Result, Status, Sums, label_score

TEXT = re.compile("[ -~]{0,200}")
PARTS = ("overall", "instance", "semantic")


@dataclass(frozen=True, slots=True)
class Row:
    """One target of a saved result.

    score: what its label would score if this were its only target; None: left out of the pool.
    quirks: rules that are not the sound ones and had an effect.  beside_status, beside: the same
    under the protocol beside, None without one.
    """

    crop: str
    label: str
    kind: Kind
    status: Status
    voxels: int
    score: float | None
    quirks: tuple[str, ...]
    beside_status: Status | None
    beside: float | None

    @property
    def path(self) -> str:
        """The target's path: `crop557/mito`."""
        return f"{self.crop}/{self.label}"


@dataclass(frozen=True)
class Saved:
    """A result read from a file.  name: of the file, for people."""

    name: str
    values: Mapping[str, Any]

    @property
    def labels(self) -> Mapping[str, Mapping[str, Any]]:
        """The scores of each label, by name, as `label_score` gives them."""
        labels: Mapping[str, Mapping[str, Any]] = self.values["labels"]
        return labels

    @property
    def beside(self) -> Mapping[str, Any] | None:
        """Protocol, overall scores and labels under the protocol beside, None without one."""
        beside: Mapping[str, Any] | None = self.values.get("beside")
        return beside

    @cached_property
    def rows(self) -> tuple[Row, ...]:
        """The targets, ordered by path."""
        found = [_row(target, self.labels) for target in self.values["targets"]]
        return tuple(sorted(found, key=lambda row: row.path))

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the canonical JSON, which `score` and the server print too."""
        return json_digest(self.values)


def read_result(path: Path) -> Saved:
    """A result that `score --json` wrote, or that a server handed out.

    Raises EvaluatorError, naming the file, if it is no such thing.
    """
    try:
        values = json.loads(path.read_text("utf-8"), parse_constant=_no_number)
    except OSError as error:
        raise EvaluatorError(
            f"{path} cannot be read: {error.strerror}. Give a file that `score --json` wrote."
        ) from error
    except (ValueError, RecursionError) as error:
        raise EvaluatorError(f"{path} is not JSON; expected a result of `score --json`.") from error
    return saved(path.name, values)


def saved(name: str, values: Any) -> Saved:
    """JSON values as a result.  name: of their file, for people.

    Raises EvaluatorError if they are not those of a result.
    """
    name = "".join(c if c.isprintable() else "?" for c in name)
    needed = {item.name for item in fields(Result)} - {"beside"}
    if not isinstance(values, dict) or values.get("schema") != SCHEMA or needed - set(values):
        raise EvaluatorError(
            f"{name} is not a result of schema {SCHEMA}. Write one with `evaluator score --json`."
        )
    result = Saved(name, values)
    try:
        _look_through(result)
    except (AttributeError, KeyError, RecursionError, TypeError, ValueError) as error:
        raise EvaluatorError(
            f"{name} is a damaged result ({type(error).__name__}: {str(error)[:80]}). "
            "Write it again with `evaluator score --json`."
        ) from error
    return result


def _look_through(result: Saved) -> None:
    """Raises one of a few errors if something is not where every result has it."""
    canonical_json(result.values)  # refuses what is no number, which 1e999 becomes
    for key in ("protocol", "evaluator", "manifest", "truth", "submission"):
        _text(result.values[key])
    for row in result.rows:
        for quirk in row.quirks:
            _text(quirk)
    if result.beside:
        _text(result.beside["protocol"])
    for values in filter(None, (result.values, result.beside)):
        for part in PARTS:
            _number(values[part])
        for row in values["labels"].values():
            Kind(row["kind"])
            if row["score"] is None:
                raise TypeError("a label without a score")
            for name, value in row.items():
                if name != "kind":
                    _number(value)
    names = [name for row in result.rows for name in (row.crop, row.label)]
    for name in (*names, *result.labels):
        if not NAME.fullmatch(name):
            raise ValueError(f"{name!r} is no name")


def _text(value: Any) -> None:
    if not isinstance(value, str) or not TEXT.fullmatch(value):
        raise TypeError(f"{ascii(value)[:40]} is no plain text")


def _number(value: Any) -> None:
    if value is not None and (isinstance(value, bool) or not isinstance(value, int | float)):
        raise TypeError(f"{value!r} is no number")


def _row(target: Mapping[str, Any], labels: Mapping[str, Mapping[str, Any]]) -> Row:
    label = Label(target["label"], 0, Kind(labels[target["label"]]["kind"]))
    beside = target.get("beside")
    return Row(
        crop=target["crop"],
        label=label.name,
        kind=label.kind,
        status=Status(target["status"]),
        voxels=int(target["voxels"]),
        score=_score(label, target),
        quirks=tuple(target.get("quirks", ())),
        beside_status=Status(beside["status"]) if beside else None,
        beside=_score(label, beside) if beside else None,
    )


def _score(label: Label, target: Mapping[str, Any]) -> float | None:
    sums = Sums.from_json(target["sums"])
    if target["status"] != Status.SCORED and sums == Sums():
        return None
    return float(label_score(label, sums)["score"])


def _no_number(text: str) -> float:
    raise ValueError(f"{text} is no number of JSON")
