"""A challenge as one folder: `challenge.toml`, Markdown, manifest, and where the truth is.

slug = "phantom"                    opens and closes are ISO dates with time and zone
title = "Phantom"
summary = "…"
protocol = "crista-1"
manifest = "manifest.csv"           labels.toml lies beside it
truth = "truth.zarr"                relative to the folder, or absolute
overview = "overview.md"
rules = "rules.md"                  may be left out
note = "…"                          what is new about the truth; may be left out

[[phase]]
slug = "test"
title = "Test"
opens = 2026-01-01T00:00:00Z
closes = 2026-12-31T23:59:59Z
visibility = "full"                 full, ranks, own or staff
embargo = 2027-01-07T12:00:00Z      organisers alone see scores until then; may be left out
selection = "best"                  best, last or chosen: which entry of a team is on the board
detail = "label"                    overall, label or target: what a team sees of a hidden phase
digits = 3                          decimals of its scores there
per_day = 5                         scored in 24 hours; 0: no limit, here and below
total = 0                           scored in all
attempts_per_day = 20               rejected ones, too
merge_until = 2026-12-01T00:00:00Z  teams may merge until then; left out: until the phase closes
max_bytes = 20_000_000_000
concurrent = 1
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from django.core.validators import slug_re

from server import scoring
from server.challenges.models import Detail, Selection, Visibility

REQUIRED = ("slug", "title", "protocol")
OPTIONAL = {
    "summary": "", "manifest": "manifest.csv", "truth": "truth.zarr", "overview": "overview.md",
    "rules": "rules.md", "note": "",
}  # fmt: skip
MOMENTS = ("opens", "closes", "embargo", "merge_until")
WORDS = {"visibility": Visibility, "selection": Selection, "detail": Detail}
MOST = 2**31 - 1
NUMBERS = {
    "digits": (0, 15), "per_day": (0, MOST), "total": (0, MOST), "attempts_per_day": (0, MOST),
    "max_bytes": (1, 2**63 - 1), "concurrent": (1, MOST),
}  # fmt: skip
LETTERS = {"slug": 60, "title": 120, "summary": 400}  # most that a text may have


class BundleError(Exception):
    """The bundle cannot be loaded.  mistakes: a sentence for each."""

    def __init__(self, mistakes: list[str]) -> None:
        super().__init__("\n".join(mistakes))
        self.mistakes = mistakes


@dataclass(frozen=True, slots=True)
class PhasePlan:
    """One `[[phase]]`."""

    slug: str
    title: str
    opens: datetime
    closes: datetime
    visibility: str = Visibility.FULL
    embargo: datetime | None = None
    selection: str = Selection.BEST
    detail: str = Detail.LABEL
    digits: int = 3
    per_day: int = 5
    total: int = 0
    attempts_per_day: int = 20
    merge_until: datetime | None = None
    max_bytes: int = 20 * 2**30
    concurrent: int = 1


@dataclass(frozen=True, slots=True)
class Bundle:
    """A whole challenge, read and found to be right."""

    slug: str
    title: str
    summary: str
    overview: str
    rules_text: str
    note: str
    rules: scoring.Rules
    phases: tuple[PhasePlan, ...]


def read_bundle(folder: Path) -> Bundle:
    """The challenge in a folder.  BundleError: everything that is wrong with it, at once."""
    table = _table(folder / "challenge.toml")
    values = OPTIONAL | {key: value for key, value in table.items() if key != "phase"}
    mistakes = list(_mistakes(values, table.get("phase", [])))
    rules = None
    if not mistakes:
        rules, mistakes = _rules(folder, values)
    if rules is None or mistakes:
        raise BundleError([f"{folder.name}: {mistake}" for mistake in mistakes])
    files = (folder / values[key] for key in ("overview", "rules"))
    texts = [_text(file) if file.is_file() else "" for file in files]
    return Bundle(
        slug=values["slug"], title=values["title"], summary=values["summary"], rules=rules,
        overview=texts[0], rules_text=texts[1],
        note=values["note"], phases=tuple(_plan(phase) for phase in table["phase"]),
    )  # fmt: skip


def _table(file: Path) -> dict[str, Any]:
    if not file.is_file():
        raise BundleError([f"{file} is missing. docs/organiser.md shows a complete one."])
    try:
        return tomllib.loads(_text(file))
    except tomllib.TOMLDecodeError as error:
        raise BundleError([f"{file} is not TOML: {error}."]) from error


def _mistakes(values: dict[str, Any], phases: Any) -> Iterator[str]:
    """What is wrong with the table itself."""
    for key in REQUIRED:
        if key not in values:
            yield f"challenge.toml needs {key} = …"
    for key, value in values.items():
        if key not in (*REQUIRED, *OPTIONAL):
            yield f"challenge.toml has an unknown key {key!r}. Known: {[*REQUIRED, *OPTIONAL]}."
        elif not isinstance(value, str):
            yield f"challenge.toml: {key} must be text; got {value!r}."
        else:
            yield from _length_mistake(key, value)
    yield from _slug_mistake("slug", values.get("slug"))
    protocol = values.get("protocol")
    if isinstance(protocol, str) and protocol not in scoring.protocols():
        yield f"there is no protocol {protocol!r}. Known: {', '.join(scoring.protocols())}."
    if not isinstance(phases, list) or not phases:
        yield "challenge.toml needs at least one [[phase]]."
        return
    if not all(isinstance(phase, dict) for phase in phases):
        yield f"each phase is a table below [[phase]]; got phase = {phases!r}."
        return
    slugs = [phase["slug"] for phase in phases if isinstance(phase.get("slug"), str)]
    if doubled := {slug for slug in slugs if slugs.count(slug) > 1}:
        yield f"two phases share the slug {doubled.pop()!r}."
    for number, phase in enumerate(phases, start=1):
        for mistake in _phase_mistakes(phase):
            yield f"[[phase]] {phase.get('slug', number)}: {mistake}"


def _phase_mistakes(phase: dict[str, Any]) -> Iterator[str]:
    known = [field.name for field in fields(PhasePlan)]
    if unknown := [key for key in phase if key not in known]:
        yield f"unknown keys {unknown}. Known: {known}."
    if missing := [key for key in known[:4] if key not in phase]:
        yield f"{', '.join(missing)} must be given."
        return
    yield from _slug_mistake("slug", phase["slug"])
    yield from _length_mistake("slug", phase["slug"])
    if isinstance(phase["title"], str):
        yield from _length_mistake("title", phase["title"])
    else:
        yield f"title must be text; got {phase['title']!r}."
    yield from _moment_mistakes(phase)
    for key, words in WORDS.items():
        if key in phase and phase[key] not in words.values:
            yield f"{key} is one of {', '.join(words.values)}; got {phase[key]!r}."
    for key, (least, most) in NUMBERS.items():
        value = phase.get(key, least)
        if isinstance(value, bool) or not isinstance(value, int) or value < least:
            yield f"{key} is a whole number of at least {least}; got {value!r}."
        elif value > most:
            yield f"{key} is at most {most}; got {value!r}."


def _moment_mistakes(phase: dict[str, Any]) -> Iterator[str]:
    opens, closes = _moment(phase["opens"]), _moment(phase["closes"])
    if opens is None or closes is None:
        yield "opens and closes are dates with time, such as 2026-01-31T12:00:00Z."
    elif closes <= opens:
        yield f"it closes ({closes}) before it opens ({opens})."
    for key in MOMENTS[2:]:
        if key in phase and _moment(phase[key]) is None:
            yield f"{key} is a date with time, such as 2026-01-31T12:00:00Z; got {phase[key]!r}."


def _slug_mistake(name: str, value: Any) -> Iterator[str]:
    if value is not None and not (isinstance(value, str) and slug_re.match(value)):
        yield f"{name} is made of letters, digits, - and _; got {value!r}."


def _length_mistake(name: str, value: Any) -> Iterator[str]:
    """Of texts: a title may not be empty, and none longer than its place in the database."""
    if isinstance(value, str) and len(value) > LETTERS.get(name, len(value)):
        yield f"{name} has at most {LETTERS[name]} letters; got {len(value)}."
    if name == "title" and isinstance(value, str) and not value.strip():
        yield "title must not be empty."


def _rules(folder: Path, values: dict[str, Any]) -> tuple[scoring.Rules | None, list[str]]:
    """Manifest and truth, and what is wrong with them: every array's metadata is opened now."""
    table = folder / values["manifest"]
    definitions = table.with_name("labels.toml")
    if absent := [str(f) for f in (table, definitions) if not f.is_file()]:
        return None, [f"{' and '.join(absent)} must be there: the manifest and its labels."]
    rules = scoring.Rules(
        _text(table), _text(definitions), values["protocol"],
        (folder / values["truth"]).resolve(),
    )  # fmt: skip
    try:
        return rules, scoring.truth_mistakes(rules)
    except scoring.ManifestError as error:
        return None, [f"{table.name}: {error}"]


def _plan(phase: dict[str, Any]) -> PhasePlan:
    moments = {key: _moment(phase[key]) for key in MOMENTS if key in phase}
    return PhasePlan(**(phase | moments))


def _moment(value: Any) -> datetime | None:
    """A moment, UTC where no zone is given; None for anything else."""
    if isinstance(value, str):
        try:
            value = datetime.fromisoformat(value)
        except ValueError:
            return None
    if not isinstance(value, datetime):
        return None
    return value if value.tzinfo else value.replace(tzinfo=UTC)


def _text(file: Path) -> str:
    """What a file says.  BundleError: it is not UTF-8."""
    try:
        return file.read_text("utf-8")
    except UnicodeDecodeError as error:
        raise BundleError([f"{file} is not text in UTF-8: {error}. Save it as such."]) from error
