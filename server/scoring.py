"""The one door to the evaluator.  Values go in and come out as text, numbers and plain JSON.

`Rules` says what a score is made under; everything else takes it.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

from evaluator import (
    CATALOGUE,
    PROTOCOLS,
    BlockError,
    EvaluatorError,
    Manifest,
    ManifestError,
    Problem,
    Reader,
    Report,
    SubmissionError,
    Target,
    TargetScore,
    __version__,
    block_digests,
    check_submission,
    content_digest,
    differences,
    get_protocol,
    grouped,
    json_digest,
    open_blocks,
    open_truth,
    open_volume,
    parse_manifest,
    pool,
    protocols_of,
    score_prediction,
    write_blocks,
)
from evaluator import score_target as _score_target

__all__ = [
    "BlockError", "EvaluatorError", "Item", "ManifestError", "Rules", "Sealed", "SubmissionError",
    "catalogue", "check", "checked_score", "combine", "digest_of", "first_values", "ingest_key",
    "items", "labels", "manifest_digest", "most_blocks", "problem_groups", "protocol_facts",
    "protocol_rules", "protocols", "quirks_of", "read_target", "rejection", "score_blocks",
    "score_item", "score_key", "seal", "truth_digests", "truth_mistakes", "version", "voxels",
]  # fmt: skip


@dataclass(frozen=True, slots=True)
class Rules:
    """What a score is made under: the manifest's texts, the protocol's name, the truth's folder."""

    manifest_csv: str
    labels_toml: str
    protocol: str
    truth: Path


@dataclass(frozen=True, slots=True)
class Item:
    """One target, as the database and the pages know it.  Axes are Z, Y, X; lengths in nm."""

    target: str
    crop: str
    label: str
    voxels: int
    dataset: str
    shape: tuple[int, int, int]
    voxel_size: tuple[float, float, float]


def version() -> str:
    """The evaluator's version."""
    return __version__


def protocols() -> list[str]:
    """Names of the protocols a challenge may choose, sorted."""
    return sorted(PROTOCOLS)


def protocol_facts(name: str) -> dict[str, Any]:
    """What a protocol is: "summary", "beside" (a name or ""), and its "differences" from that one.

    A difference has "rule", "ours", "theirs" and "why" the other one decides otherwise.
    """
    protocol = get_protocol(name)
    found = differences(protocol, get_protocol(protocol.beside)) if protocol.beside else ()
    return {
        "summary": protocol.summary,
        "beside": protocol.beside,
        "differences": [asdict(difference) for difference in found],
    }


def protocol_rules(name: str) -> tuple[dict[str, Any], str]:
    """All rules of a protocol as JSON, and the digest that names this state of them."""
    rules = json.loads(json.dumps(asdict(get_protocol(name)), default=str))
    return rules, json_digest(rules)


def quirks_of(result: str) -> dict[str, Any]:
    """What a result's JSON tells of the protocol beside its own; nothing if there is none.

    "protocol", "overall", and "targets": (path, names of the rules that changed it), those alone.
    """
    values = json.loads(result)
    if not values.get("beside"):
        return {}
    rows = [(f"{t['crop']}/{t['label']}", t["quirks"]) for t in values["targets"]]
    return {
        "protocol": values["beside"]["protocol"],
        "overall": values["beside"]["overall"],
        "targets": [row for row in rows if row[1]],
    }


def manifest_digest(rules: Rules) -> str:
    """SHA-256 of the manifest's content."""
    return _manifest(rules).digest


def labels(rules: Rules) -> list[dict[str, str]]:
    """[{"name", "kind"}, …], sorted by name."""
    known = _manifest(rules).labels.values()
    return [{"name": label.name, "kind": str(label.kind)} for label in known]


def items(rules: Rules) -> list[Item]:
    """All targets, smallest first, so that every label shows a first value early."""
    targets = sorted(_manifest(rules).targets, key=lambda t: (t.grid.voxels, t.path))
    return [_item(target) for target in targets]


def check(submission: Path, rules: Rules, *, called: str) -> tuple[bool, dict[str, Any]]:
    """Can the archive be scored, and everything found in it; from its metadata alone.

    called: what the participant calls the file, which is kept here under another name.
    """
    report = check_submission(submission, _manifest(rules))
    found = report.to_json()
    for problem in found["problems"]:
        for side in ("message", "got"):
            problem[side] = problem[side].replace(submission.name, called)
    return report.accepted, found


def score_item(target: str, submission: Path, rules: Rules) -> dict[str, Any]:
    """The score of one target as JSON.  What cannot be read counts as worst and says so."""
    manifest = _manifest(rules)
    score = _score_target(
        manifest.by_path[target],
        truth=rules.truth,
        submission=submission,
        manifest=manifest,
        protocol=get_protocol(rules.protocol),
    )
    return dict(score.to_json())


@dataclass(frozen=True, slots=True)
class Sealed:
    """What is known of a prediction's blocks once the process that wrote them has ended.

    facts: as it told them, held against the target.  digests: of the voxels, one for each protocol,
    "" where there is no block.  content: of everything the score depends on from the participant.
    """

    facts: list[dict[str, Any]]
    digests: list[str]
    content: str


def voxels(target: str, rules: Rules) -> int:
    """Voxels of a target."""
    return _manifest(rules).by_path[target].grid.voxels


def most_blocks(rules: Rules) -> int:
    """How many blocks a prediction may fill: one for each protocol that reads it."""
    return len(protocols_of(get_protocol(rules.protocol)))


def read_target(
    target: str, submission: Path, rules: Rules, files: Sequence[int]
) -> list[dict[str, Any]]:
    """Write the prediction of a target as blocks into open, empty files; the facts beside them.

    It needs no truth.  Raises SubmissionError if the submission must be rejected.
    """
    manifest = _manifest(rules)
    reader = Reader.open(submission, manifest, get_protocol(rules.protocol))
    return write_blocks(reader.read(manifest.by_path[target]), files)


def seal(target: str, facts: Any, rules: Rules, files: Sequence[int]) -> Sealed:
    """Hold facts and blocks against the target, and name their content by its digest.

    Raises BlockError: they are not what was agreed.
    """
    known, protocol = _manifest(rules).by_path[target], get_protocol(rules.protocol)
    prediction = open_blocks(facts, known, protocol, files)
    digests = block_digests(prediction)
    return Sealed(facts, digests, content_digest(prediction, digests))


def score_blocks(target: str, facts: Any, rules: Rules, files: Sequence[int]) -> dict[str, Any]:
    """The score of a target as JSON, from its blocks and its truth.

    Raises ManifestError: the truth does not fit; BlockError: the blocks do not.
    """
    known, protocol = _manifest(rules).by_path[target], get_protocol(rules.protocol)
    prediction = open_blocks(facts, known, protocol, files)
    return dict(score_prediction(known, open_truth(known, rules.truth), prediction).to_json())


def checked_score(target: str, sealed: Sealed, score: Any, rules: Rules) -> dict[str, Any]:
    """A score that came from another process.  Raises BlockError: it is not of these blocks."""
    known = _manifest(rules).by_path[target]
    try:
        told, ours = TargetScore.from_json(score), dict(score)
    except (TypeError, KeyError, ValueError, AttributeError) as error:
        raise BlockError("A score has other fields than were agreed.") from error
    here: TargetScore | None = told
    for digest in sealed.digests:
        if here is None or here.path != target or here.voxels != known.grid.voxels:
            raise BlockError("A score is of another target.")
        if here.pred_digest not in ("", digest):  # "": what was sent could not be scored
            raise BlockError("A score is of other voxels than were read.")
        here = here.beside
    return ours


def ingest_key(target: str, rules: Rules) -> str:
    """The digest of all that decides what is read of a target, besides the submission's bytes.

    Where it is equal, one submission has one content: it need not be read again.
    """
    manifest = _manifest(rules)
    known = manifest.by_path[target]
    crops = sorted({crop.folder for crop in manifest.crops.values()})
    return _key(known, rules, grid=asdict(known.grid), crops=crops)


def score_key(target: str, content: str, truth_digest: str, rules: Rules) -> str:
    """The digest of all that a target's score depends on; equal keys have equal scores.

    content: digest of what was read of the prediction.  truth_digest: of this target's truth.
    """
    known = _manifest(rules).by_path[target]
    grid = [known.grid.shape, known.grid.voxel_size]
    return _key(known, rules, grid=grid, content=content, truth=truth_digest)


def combine(scores: Iterable[dict[str, Any]], rules: Rules) -> str:
    """The result's canonical JSON from the scores of all targets."""
    return _pool(_manifest(rules), scores, rules)


def first_values(scores: dict[str, dict[str, Any]], rules: Rules) -> dict[str, Any]:
    """Scores per label from the targets scored so far; nothing of labels without any.

    scores: JSON of the target scores by path.
    """
    if not scores:
        return {}
    known = _manifest(rules).by_path
    part = Manifest(tuple(known[path] for path in sorted(scores)))
    text = _pool(part, scores.values(), rules)
    return dict(json.loads(text)["labels"])


def truth_mistakes(rules: Rules) -> list[str]:
    """A sentence for each target whose truth array is missing, unreadable or of another shape."""
    found = (_truth_mistake(target, rules.truth) for target in _manifest(rules).targets)
    return [mistake for mistake in found if mistake]


def truth_digests(rules: Rules) -> dict[str, str]:
    """The digest of each target's truth array, one in memory at a time, as scoring has it."""
    return {t.path: open_truth(t, rules.truth).digest for t in _manifest(rules).targets}


def digest_of(digests: dict[str, str]) -> str:
    """The digest of a truth as results name it, from those of its arrays."""
    return json_digest(digests)


def catalogue() -> dict[str, dict[str, str]]:
    """Every code a problem can have: "means", "blame", "expected" and "step" of each."""
    return {code: asdict(entry) for code, entry in CATALOGUE.items()}


def rejection(
    code: str, message: str, *, remedy: str, expected: str = "", got: str = ""
) -> dict[str, Any]:
    """The report on a file that is rejected before its check.  KeyError: no such code."""
    problem = Problem(code, "reject", message, remedy, expected=expected, got=got)
    return Report((problem,), {}).to_json()


def problem_groups(problems: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """Problems of a report, grouped, the worst first: "code", "means", "effect", "problems" …"""
    return [
        {"code": g.code, "severity": g.severity, "means": g.means, "effect": g.effect,
         "problems": list(g.problems), "steps": list(g.steps)}
        for g in grouped(problems)
    ]  # fmt: skip


def _item(target: Target) -> Item:
    crop, grid = target.crop, target.grid
    return Item(
        target.path, crop.folder, target.label.name, grid.voxels,
        crop.dataset, grid.shape, grid.voxel_size,
    )  # fmt: skip


def _manifest(rules: Rules) -> Manifest:
    return _parse(rules.manifest_csv, rules.labels_toml)


@lru_cache(maxsize=16)
def _parse(table: str, definitions: str) -> Manifest:
    return parse_manifest(table, definitions)


@cache
def _protocol_digests(name: str) -> list[str]:
    """The state of a protocol and of the one beside it; they cannot change in one process."""
    return [protocol_rules(protocol.name)[1] for protocol in protocols_of(get_protocol(name))]


def _key(target: Target, rules: Rules, **more: Any) -> str:
    return json_digest(
        {
            "target": target.path,
            "kind": str(target.label.kind),
            "protocols": _protocol_digests(rules.protocol),
            "evaluator": __version__,
            **more,
        }
    )


def _pool(manifest: Manifest, scores: Iterable[dict[str, Any]], rules: Rules) -> str:
    done = [TargetScore.from_json(score) for score in scores]
    return str(pool(manifest, done, protocol=get_protocol(rules.protocol)).to_json())


def _truth_mistake(target: Target, truth: Path) -> str | None:
    folder = truth / target.path
    if not folder.is_dir():
        return f"{target.path} has no truth: {folder} is missing. Put its array there."
    try:
        volume = open_volume(folder)
    except EvaluatorError as error:
        return f"{target.path}: {error}"
    if volume.shape != target.grid.shape:
        return (
            f"{target.path} has a truth of shape {volume.shape}, and the manifest says "
            f"{target.grid.shape}. Mend the one that is wrong."
        )
    return None
