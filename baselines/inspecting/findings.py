"""What `baselines inspect` finds: sentences with a rule each, and how they are shown."""

from __future__ import annotations

import dataclasses
import enum
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from baselines.inspecting.extents import Extents
from baselines.inspecting.grey import Grey
from evaluator.geometry import Nanometres, Shape
from evaluator.manifest import Kind


class Severity(enum.StrEnum):
    """An error stands in the way of training, a warning makes it poor, a note is good to know."""

    ERROR = "error"
    WARNING = "warning"
    NOTE = "note"


@dataclass(frozen=True, slots=True)
class Finding:
    """rule: a name that programs can tell from others.  crop: "" if it is about all of the data."""

    severity: Severity
    rule: str
    message: str
    crop: str = ""


@dataclass(frozen=True)
class CropLook:
    """What a crop holds.  labels: of each annotation; an absent one was not annotated here."""

    name: str
    shape: Shape
    voxel_size: Nanometres
    grey: Grey
    labels: Mapping[str, Extents] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """As plain values."""
        labels = {name: extents.to_json() for name, extents in self.labels.items()}
        return {**dataclasses.asdict(self), "labels": labels}


@dataclass(frozen=True)
class Inspection:
    """All that was found."""

    crops: tuple[CropLook, ...]
    kinds: Mapping[str, Kind]
    findings: tuple[Finding, ...]

    @property
    def sound(self) -> bool:
        """True if nothing stands in the way of training."""
        return not any(finding.severity is Severity.ERROR for finding in self.findings)

    def to_json(self) -> dict[str, Any]:
        """As plain values."""
        crops = [look.to_json() for look in self.crops]
        return {"sound": self.sound, **dataclasses.asdict(self), "crops": crops}


CHECKS = {
    "files can be read": ("empty-file", "unreadable"),
    "values are grey, or classes": ("dtype", "not-finite", "classes"),
    "each image has its annotation, of its shape": ("data", "dimensions"),
    "images have content and contrast": ("all-zero", "uniform"),
    "images are alike in intensity and focus": ("intensity", "focus"),
    "voxel sizes are known": ("voxel-size",),
    "annotations lie in raw that is there": ("raw", "left-out"),
    "every label has voxels": ("no-voxels",),
    "patches hold whole objects": ("patch",),
}


def text_of(inspection: Inspection) -> Iterator[str]:
    """Lines for a person: what there is, and a list of what passed and what did not."""
    for look in inspection.crops:
        grey, size = look.grey, " x ".join(f"{n:g}" for n in look.voxel_size)
        shape = " x ".join(map(str, look.shape))
        yield (
            f"{look.name}: {shape} voxels of {size} nm, {grey.dtype} from {grey.low:g} to "
            f"{grey.high:g}, mean {grey.mean:.4g}, SD {grey.spread:.4g}, focus {grey.focus:.3g}"
        )
    for name in sorted({label for look in inspection.crops for label in look.labels}):
        yield _label_line(name, inspection)
    for check, rules in CHECKS.items():
        found = [finding for finding in inspection.findings if finding.rule in rules]
        if not (found or inspection.crops):
            continue  # nothing was looked at
        worst = next((s for s in Severity if any(f.severity is s for f in found)), None)
        word = {None: "OK", Severity.ERROR: "FAIL", Severity.WARNING: "WARN"}.get(worst, "NOTE")
        yield f"{word:<4} {check}"
        for finding in found:
            yield f"     {finding.severity}: {finding.message}"


def _label_line(name: str, inspection: Inspection) -> str:
    looks = [look.labels[name] for look in inspection.crops if name in look.labels]
    empty = sum(not extents.voxels for extents in looks)
    voxels = sum(extents.voxels for extents in looks)
    line = (
        f"{name} ({inspection.kinds.get(name, Kind.SEMANTIC)}): annotated in {len(looks)} crops, "
        f"absent in {empty} of them, {voxels:,} voxels"
    )
    objects = [extents.objects for extents in looks if extents.objects is not None]
    if not objects:
        share = Extents(voxels, sum(extents.annotated for extents in looks)).share
        return f"{line}, {100 * share:.4g} % of what was annotated"
    sizes: Counter[int] = sum((Counter(found.sizes) for found in objects), Counter())
    bins = ", ".join(f"{size:,}+: {sizes[size]}" for size in sorted(sizes))
    line = f"{line}, {sizes.total()} objects" + (f" by voxels: {bins}" if bins else "")
    parts = sum(not found.whole for found in objects)
    return f"{line} (of {parts} large crops planes in the middle)" if parts else line
