"""Scores as sums that add; ratios come last.

One target yields `Sums`.  A label's score is a ratio of the sums of all its targets, so a target
counts by its content and the order of adding never matters: counts are integers, and floats are
added exactly (`math.fsum`) before they are rounded once.
"""

from __future__ import annotations

import enum
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any

from evaluator.digest import canonical_json, json_digest
from evaluator.manifest import Kind, Label, Manifest
from evaluator.protocol import Protocol, get_protocol
from evaluator.version import __version__

SCHEMA = 1
MASK = "_mask"  # ends the name of the array beside a truth that says where it counts
BESIDE = ("protocol", "overall", "instance", "semantic", "labels")  # what is told of such a result


class Status(enum.StrEnum):
    """What became of a target.  What is missing or unreadable counts as worst.

    `skipped` only occurs under protocols that leave floods of objects out of the pool.
    """

    SCORED = "scored"
    SKIPPED = "skipped"
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
    objects: matched one to one by any overlap.  good, strict: pairs of objects with more than the
    protocol's IoU for PQ, and with more than its stricter one.
    iou, good_iou: summed IoU of the pairs in objects.tp and good.tp.
    best_iou: summed IoU of each truth object with the predicted object that fits it best.
    distances: how many distances there are, one per truth object and per false object.
    distance_nm, distance_score: their sum, and the sum of their scores (1 at distance 0).
    surface_nm: summed average surface distance of the pairs in objects.tp.
    splits: truth objects in several predicted ones' hands; merges: predicted objects that hold
    several truth objects; see `evaluator.agreement`.
    vi_*: for the variation of information, over voxels that are an object's in both: their number,
    and the summed n * log2(n) of the sizes n of overlaps, truth objects, predicted objects there.
    rand_*: for the adapted Rand error, over voxels of truth objects: summed n * n of the same.
    """

    voxels: Counts = field(default_factory=Counts)
    objects: Counts = field(default_factory=Counts)
    good: Counts = field(default_factory=Counts)
    strict: Counts = field(default_factory=Counts)
    iou: float = 0.0
    good_iou: float = 0.0
    best_iou: float = 0.0
    distances: int = 0
    distance_nm: float = 0.0
    distance_score: float = 0.0
    surface_nm: float = 0.0
    splits: int = 0
    merges: int = 0
    vi_voxels: int = 0
    vi_overlap: float = 0.0
    vi_truth: float = 0.0
    vi_pred: float = 0.0
    rand_overlap: int = 0
    rand_truth: int = 0
    rand_pred: int = 0

    @classmethod
    def total(cls, parts: Iterable[Sums]) -> Sums:
        """The sums of several targets; the same to the last bit in any order."""
        parts = list(parts) or [cls()]
        names = [item.name for item in fields(cls)]
        return cls(**{name: _added([getattr(part, name) for part in parts]) for name in names})

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Sums:
        """The sums that `dataclasses.asdict` turned into JSON values."""
        counts = {n: Counts(**v) for n, v in values.items() if isinstance(v, Mapping)}
        return cls(**{**values, **counts})


def _added(values: list[Any]) -> Any:
    """Values of one kind added; floats exactly, so that no order changes the sum."""
    if isinstance(values[0], float):
        return math.fsum(values)
    return sum(values[1:], values[0])


@dataclass(frozen=True, slots=True)
class TargetScore:
    """How one target was scored.

    crop: its folder (`crop557`).  voxels: of its grid.
    truth_digest, pred_digest: of the content that was scored, on the target's grid; of a prediction
    that is missing or unreadable "".
    quirks: the rules of the protocol, by name, that are not the sound ones and had an effect here.
    beside: how the protocol beside this one scores it, None if there is none.
    masked: True if a mask lies beside the truth.
    """

    crop: str
    label: str
    status: Status
    voxels: int
    sums: Sums
    truth_digest: str
    pred_digest: str = ""
    quirks: tuple[str, ...] = ()
    beside: TargetScore | None = None
    masked: bool = False

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
        beside = values.get("beside")
        changed = {
            "status": Status(values["status"]),
            "sums": Sums.from_json(values["sums"]),
            "quirks": tuple(values.get("quirks", ())),
            "beside": None if beside is None else TargetScore.from_json(beside),
        }
        return cls(**{**values, **changed})


@dataclass(frozen=True, slots=True)
class Result:
    """The score of a submission, with all that says which rules and data it was made under.

    overall: sqrt(instance * semantic), or the one there is; None stands for a kind without labels.
    labels: score by label; see docs/scoring.md.
    manifest, truth, submission: SHA-256 in hex of their content; how arrays are cut into chunks and
    compressed, in a zip or a folder, does not change it.
    beside: what the protocol beside this one makes of the same submission, None if there is none.
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
    beside: Result | None = None

    def to_json(self) -> str:
        """Canonical JSON: the same bytes from every machine."""
        targets = [_public(score) for score in self.targets]
        beside = self.beside and {name: getattr(self.beside, name) for name in BESIDE}
        values = {item.name: getattr(self, item.name) for item in fields(self)}
        return canonical_json({**values, "schema": SCHEMA, "targets": targets, "beside": beside})


def pool(manifest: Manifest, scores: Iterable[TargetScore], *, protocol: Protocol) -> Result:
    """The result of a submission from the scores of all targets, in any order.

    Raises ValueError unless each target has exactly one score.
    """
    scores = sorted(scores, key=lambda score: score.path)
    if [score.path for score in scores] != sorted(manifest.by_path):
        raise ValueError("a result needs exactly one score for every target of the manifest")
    truth, sent = (
        json_digest({score.path: getattr(score, name) for score in scores})
        for name in ("truth_digest", "pred_digest")
    )
    scores.extend(_mask_scores(scores) if protocol.mask_labels else ())
    sums: dict[str, list[Sums]] = {}
    for score in scores:
        sums.setdefault(score.label, []).append(score.sums)
    labels = {
        name: label_score(_label(name, manifest), Sums.total(sums[name])) for name in sorted(sums)
    }
    instance, semantic = (
        _mean([row["score"] for row in labels.values() if row["kind"] == kind], protocol)
        for kind in (Kind.INSTANCE, Kind.SEMANTIC)
    )
    present = [score for score in (instance, semantic) if score is not None]
    return Result(
        protocol=protocol.name,
        evaluator=__version__,
        manifest=manifest.digest,
        truth=truth,
        submission=sent,
        overall=math.sqrt(math.prod(present)) if len(present) == 2 else present[0],
        instance=instance,
        semantic=semantic,
        labels=labels,
        targets=tuple(sorted(scores, key=lambda score: score.path)),
        beside=_pool_beside(manifest, scores, protocol),
    )


def _pool_beside(
    manifest: Manifest, scores: Iterable[TargetScore], protocol: Protocol
) -> Result | None:
    """The result under the protocol beside this one; None if there is none."""
    if not protocol.beside:
        return None
    beside = [score.beside for score in scores if score.beside is not None]
    return pool(manifest, beside, protocol=get_protocol(protocol.beside))


def _mask_scores(scores: Iterable[TargetScore]) -> list[TargetScore]:
    """What `mask_labels` makes of the masks: semantic labels that nobody sent, wrong everywhere."""
    return [
        replace(
            score,
            label=score.label + MASK,
            status=Status.MISSING,
            sums=Sums(voxels=Counts(fn=score.voxels)),
            quirks=("mask_labels",),
            beside=None,
        )
        for score in scores
        if score.masked
    ]


def _label(name: str, manifest: Manifest) -> Label:
    return manifest.labels.get(name) or Label(name, 0, Kind.SEMANTIC)


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


def _information(given: float, joint: float, voxels: int) -> float:
    """Bits that are unknown of one partition when the other is known."""
    return max(0.0, given - joint) / voxels if voxels else 0.0


def _rand_error(sums: Sums) -> float:
    both = sums.rand_truth + sums.rand_pred
    return 1.0 - 2 * sums.rand_overlap / both if both else 0.0


OBJECT_SCORES: dict[str, Callable[[Sums], float | None]] = {
    "f1": lambda sums: sums.objects.f1,
    "f1_50": lambda sums: sums.good.f1,
    "f1_75": lambda sums: sums.strict.f1,
    "pq": _pq,
    "sq": lambda sums: _share(sums.good_iou, sums.good.tp, empty=None),
    "rq": lambda sums: sums.good.f1,
    "mean_iou": lambda sums: _share(sums.iou, sums.objects.tp, empty=None),
    "best_iou": lambda sums: _share(sums.best_iou, sums.objects.tp + sums.objects.fn, empty=None),
    "hausdorff_score": _distance_score,
    "hausdorff_nm": lambda sums: _share(sums.distance_nm, sums.distances, empty=0.0),
    "surface_nm": lambda sums: _share(sums.surface_nm, sums.objects.tp, empty=None),
    "vi_split": lambda sums: _information(sums.vi_truth, sums.vi_overlap, sums.vi_voxels),
    "vi_merge": lambda sums: _information(sums.vi_pred, sums.vi_overlap, sums.vi_voxels),
    "rand_error": _rand_error,
    "splits": lambda sums: sums.splits,
    "merges": lambda sums: sums.merges,
    "combined": lambda sums: math.sqrt(sums.objects.f1 * _distance_score(sums)),
}


def _public(score: TargetScore) -> dict[str, Any]:
    """A target as the result shows it; its truth digest is part of the result's own."""
    beside = score.beside and {"status": score.beside.status, "sums": asdict(score.beside.sums)}
    values = {**replace(score, beside=None).to_json(), "beside": beside}
    del values["truth_digest"], values["pred_digest"], values["masked"]
    return values


def _mean(values: list[float], protocol: Protocol) -> float | None:
    if not values and protocol.absent_kind_is_zero:
        return 0.0
    return math.fsum(values) / len(values) if values else None
