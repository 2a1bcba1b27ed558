"""Scores as sums that add; ratios come last.

One target yields `Sums`.  A label's score is a ratio of the sums of all its targets, so a target
counts by its content and the order of adding never matters: counts are integers, and floats are
added exactly (`math.fsum`) before they are rounded once.
"""

from __future__ import annotations

import enum
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from evaluator.digest import canonical_json, json_digest
from evaluator.manifest import Kind, Label, Manifest
from evaluator.protocol import Protocol
from evaluator.version import __version__

SCHEMA = 1


class Status(enum.StrEnum):
    """What became of a target.  All but `scored` count as worst."""

    SCORED = "scored"
    MISSING = "missing"
    UNREADABLE = "unreadable"


@dataclass(frozen=True, slots=True)
class Counts:
    """True positives, false positives, false negatives: of voxels, or of objects."""

    tp: int = 0
    fp: int = 0
    fn: int = 0

    def __add__(self, other: Counts) -> Counts:
        return Counts(self.tp + other.tp, self.fp + other.fp, self.fn + other.fn)

    @property
    def iou(self) -> float:
        """tp / (tp + fp + fn); 1.0 if all are 0."""
        total = self.tp + self.fp + self.fn
        return self.tp / total if total else 1.0

    @property
    def f1(self) -> float:
        """2 tp / (2 tp + fp + fn), also called Dice; 1.0 if all are 0."""
        total = 2 * self.tp + self.fp + self.fn
        return 2 * self.tp / total if total else 1.0


@dataclass(frozen=True, slots=True)
class Sums:
    """What scoring one target yields, or several targets together.

    voxels: of the foreground.  The rest stays 0 for semantic labels:
    objects: matched one to one by any overlap.  good: matched with more than the protocol's IoU.
    iou, good_iou: summed IoU of the pairs in objects.tp and good.tp.
    distances: how many distances there are, one per truth object and per false object.
    distance_nm, distance_score: their sum, and the sum of their scores (1 at distance 0).
    """

    voxels: Counts = field(default_factory=Counts)
    objects: Counts = field(default_factory=Counts)
    good: Counts = field(default_factory=Counts)
    iou: float = 0.0
    good_iou: float = 0.0
    distances: int = 0
    distance_nm: float = 0.0
    distance_score: float = 0.0

    @classmethod
    def total(cls, parts: Iterable[Sums]) -> Sums:
        """The sums of several targets; the same to the last bit in any order."""
        parts = list(parts)

        def exact(name: str) -> float:
            return math.fsum(getattr(part, name) for part in parts)

        return cls(
            voxels=sum((part.voxels for part in parts), Counts()),
            objects=sum((part.objects for part in parts), Counts()),
            good=sum((part.good for part in parts), Counts()),
            iou=exact("iou"),
            good_iou=exact("good_iou"),
            distances=sum(part.distances for part in parts),
            distance_nm=exact("distance_nm"),
            distance_score=exact("distance_score"),
        )

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Sums:
        """The sums that `dataclasses.asdict` turned into JSON values."""
        counts = {name: Counts(**values[name]) for name in ("voxels", "objects", "good")}
        return cls(**{**values, **counts})


@dataclass(frozen=True, slots=True)
class TargetScore:
    """How one target was scored.

    crop: its folder (`crop557`).  voxels: of its grid.  truth_digest: of the truth's content.
    """

    crop: str
    label: str
    status: Status
    voxels: int
    sums: Sums
    truth_digest: str

    @property
    def path(self) -> str:
        """The target's path: `crop557/mito`."""
        return f"{self.crop}/{self.label}"

    def to_json(self) -> dict[str, Any]:
        """JSON values, which `from_json` turns back into an equal score."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> TargetScore:
        """The score that `to_json` gave."""
        changed = {"status": Status(values["status"]), "sums": Sums.from_json(values["sums"])}
        return cls(**{**values, **changed})


@dataclass(frozen=True, slots=True)
class Result:
    """The score of a submission, with all that says which rules and data it was made under.

    overall: sqrt(instance * semantic), or the one there is; None stands for a kind without labels.
    labels: score by label; see docs/scoring.md.  Digests are SHA-256 in hex.
    """

    protocol: str
    evaluator: str
    manifest: str
    truth: str
    submission: str
    overall: float
    instance: float | None
    semantic: float | None
    labels: Mapping[str, Mapping[str, Any]]
    targets: tuple[TargetScore, ...]

    def to_json(self) -> str:
        """Canonical JSON: the same bytes from every machine."""
        targets = [_public(score) for score in self.targets]
        return canonical_json({"schema": SCHEMA, **asdict(self), "targets": targets})


def pool(
    manifest: Manifest,
    scores: Iterable[TargetScore],
    *,
    protocol: Protocol,
    submission: str,
) -> Result:
    """The result of a submission from the scores of all targets, in any order.

    submission: SHA-256 of its bytes.  Raises ValueError unless each target has exactly one score.
    """
    scores = sorted(scores, key=lambda score: score.path)
    if [score.path for score in scores] != sorted(manifest.by_path):
        raise ValueError("a result needs exactly one score for every target of the manifest")
    labels = {
        name: label_score(label, Sums.total(s.sums for s in scores if s.label == name))
        for name, label in manifest.labels.items()
    }
    instance, semantic = (
        _mean([row["score"] for row in labels.values() if row["kind"] == kind])
        for kind in (Kind.INSTANCE, Kind.SEMANTIC)
    )
    present = [score for score in (instance, semantic) if score is not None]
    return Result(
        protocol=protocol.name,
        evaluator=__version__,
        manifest=manifest.digest,
        truth=json_digest({score.path: score.truth_digest for score in scores}),
        submission=submission,
        overall=math.sqrt(math.prod(present)) if len(present) == 2 else present[0],
        instance=instance,
        semantic=semantic,
        labels=labels,
        targets=tuple(scores),
    )


def label_score(label: Label, sums: Sums) -> dict[str, Any]:
    """The scores of a label from the sums of all its targets.

    tp, fp, fn count objects of instance labels, voxels of semantic ones.
    """
    voxels = {"iou": sums.voxels.iou, "dice": sums.voxels.f1}
    if label.kind == Kind.SEMANTIC:
        absent = dict.fromkeys(OBJECT_SCORES)
        return {
            "kind": label.kind.value, "score": sums.voxels.iou, **voxels, **absent,
            **asdict(sums.voxels),
        }  # fmt: skip
    found = {name: rule(sums) for name, rule in OBJECT_SCORES.items()}
    return {
        "kind": label.kind.value, "score": found["combined"], **voxels, **found,
        **asdict(sums.objects),
    }  # fmt: skip


def _pq(sums: Sums) -> float:
    """Panoptic quality: summed IoU over tp + fp/2 + fn/2 of the good pairs; 1.0 if all are 0."""
    good = sums.good
    halves = 2 * good.tp + good.fp + good.fn
    return 2 * sums.good_iou / halves if halves else 1.0


def _share(part: float, count: int, *, empty: float | None) -> float | None:
    return part / count if count else empty


def _distance_score(sums: Sums) -> float:
    return sums.distance_score / sums.distances if sums.distances else 1.0


OBJECT_SCORES: dict[str, Callable[[Sums], float | None]] = {
    "f1": lambda sums: sums.objects.f1,
    "pq": _pq,
    "mean_iou": lambda sums: _share(sums.iou, sums.objects.tp, empty=None),
    "hausdorff_score": _distance_score,
    "hausdorff_nm": lambda sums: _share(sums.distance_nm, sums.distances, empty=0.0),
    "combined": lambda sums: math.sqrt(sums.objects.f1 * _distance_score(sums)),
}


def _public(score: TargetScore) -> dict[str, Any]:
    """A target as the result shows it; its truth digest is part of the result's own."""
    values = score.to_json()
    del values["truth_digest"]
    return values


def _mean(values: list[float]) -> float | None:
    return math.fsum(values) / len(values) if values else None
