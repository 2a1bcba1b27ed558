"""Protocols: named rule books of scoring.

A protocol is a value, so a rule that differs between two of them is a field here, and the code that
applies it asks the field.  Every score carries its protocol's name; rules of a published name never
change, a new rule gets a new name.

`cellmap-2026.1` gives the numbers of the CellMap Segmentation Challenge's own code as of June 2026,
quirks included, so that scores can be set beside the published ones.  `crista-1` is ours: the same
metrics without the quirks.  `differences` lists what sets two protocols apart, and why.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, fields
from decimal import Decimal
from typing import Any

from evaluator.errors import EvaluatorError


def _rule(sound: Any, why: str) -> Any:
    """A field with the value that we hold to be sound, and the reason for it."""
    return field(default=sound, metadata={"why": why})


@dataclass(frozen=True, slots=True)
class Protocol:
    """One rule book.  Each rule's default is the sound one; its reason is kept beside it.

    name, summary: how it is called, and what it is in a sentence.
    beside: name of the protocol whose scores are reported next to this one's; "" for none.
    good_overlap, strict_overlap: IoU above which a pair of objects counts for PQ and F1 at 0.5, and
    for F1 at 0.75; at 0.5 or more a pair is unique.
    distance_base: a distance of one voxel diagonal divides an object's distance score by this.
    cap_share: distances are capped at this share of the crop's shortest side.
    """

    name: str
    summary: str
    beside: str = ""
    good_overlap: float = 0.5
    strict_overlap: float = 0.75
    distance_base: Decimal = Decimal("1.01")
    cap_share: float = 0.5

    reads_unpacked: bool = _rule(
        False,
        "A zip is scored as it was sent; a folder of its name beside it may hold something else.",
    )
    reads_groups: bool = _rule(
        True,
        "A label stored as an OME-NGFF group is documented as valid, so it is read; else it counts "
        "as missing.",
    )
    reads_v3: bool = _rule(
        True,
        "Zarr v3 is what libraries write today, so it is read; else such an array is missing.",
    )
    mixes_prefixes: bool = _rule(
        True,
        "Some crops named crop557 and others 558 mean what they say; else those without the prefix "
        "count as missing as soon as one has it.",
    )
    mask_labels: bool = _rule(
        False,
        "A mask says where the truth counts; nobody can be asked to predict it as a label.",
    )
    mask_factors: bool = _rule(
        False,
        "A mask keeps a voxel or drops it; multiplying ids by its value wraps them around.",
    )
    snaps_offsets: bool = _rule(
        False,
        "A prediction lies where its offset says, to the nearest voxel; snapping it to a grid "
        "through the origin moves it by a voxel in crops that are off that grid.",
    )
    centres_unplaced: bool = _rule(
        False,
        "An array of another shape that does not say where it lies is refused, not guessed to be "
        "centred.",
    )
    refuses_misfits: bool = _rule(
        True,
        "An array that lies wholly outside of its crop, or begins where the crop does and ends "
        "before it, is a mistake that is named; else what it lacks counts as background.",
    )
    most_finer: int = _rule(
        64,
        "Voxels of a prediction per voxel of its target; a finer one is refused before it is read.",
    )
    interpolates_raw: bool = _rule(
        False,
        "A semantic prediction becomes a mask before it is resampled, by the one threshold below; "
        "else its raw values are blurred and interpolated with zeros beyond its border.",
    )
    blurs_ids: bool = _rule(
        False,
        "Object ids are names; averaging two of them makes a third object.",
    )
    resample_block: int = _rule(
        0,
        "Side in voxels of blocks that are resampled each by itself (0: none); the seams between "
        "them cut objects and lose planes.",
    )
    builtin_kinds: bool = _rule(
        False,
        "How a label is resampled follows from its kind in the manifest, not from a fixed list.",
    )
    foreground_above: float = _rule(
        0.5,
        "A probability is foreground above one half, resampled or not.",
    )
    components: bool = _rule(
        False,
        "A participant's ids are respected; splitting each into connected components breaks thin "
        "objects that are cut by the crop's border or by one missing voxel.",
    )
    skips_floods: bool = _rule(
        False,
        "Too many objects cost what they are worth; leaving a flooded crop out of the pool rewards "
        "flooding those that are hopeless.",
    )
    most_pairs: int = _rule(
        0,
        "Overlapping pairs of objects beyond which a crop is left out of the pool (0: never).",
    )
    flow_matching: bool = _rule(
        False,
        "Objects are matched by exact IoU; rounding it to millionths makes ties that are none.",
    )
    collides: bool = _rule(
        False,
        "An object without a counterpart has no part in the distance of another one that happens "
        "to bear the same number.",
    )
    rounds_distances: bool = _rule(
        False,
        "A distance keeps the precision it was worked out with, not that of 32 bits.",
    )
    empty_missing_is_free: bool = _rule(
        False,
        "Leaving out a target whose truth is empty costs one false object, so that it never pays.",
    )
    misses_whole_crop: bool = _rule(
        False,
        "What is missing is wrong in the way the truth says, and only where its mask lets it "
        "count; else all voxels of a crop count as missed foreground.",
    )
    absent_kind_is_zero: bool = _rule(
        False,
        "A challenge with labels of one kind only is scored by these; the absent kind is no zero.",
    )
    surface_distance: bool = _rule(
        True,
        "One voxel rules the Hausdorff distance, so the average one is told beside it.",
    )


@dataclass(frozen=True, slots=True)
class Difference:
    """One rule that two protocols decide differently.  why: the reason for the sound choice."""

    rule: str
    ours: Any
    theirs: Any
    why: str


def differences(ours: Protocol, theirs: Protocol) -> Iterator[Difference]:
    """The rules, in the order they are applied, on which two protocols differ."""
    for name, why in rules().items():
        a, b = getattr(ours, name), getattr(theirs, name)
        if a != b:
            yield Difference(name, a, b, why)


def rules() -> dict[str, str]:
    """The reason for the sound choice of each rule, by name, in the order they are applied."""
    return {rule.name: rule.metadata["why"] for rule in fields(Protocol) if "why" in rule.metadata}


CRISTA_1 = Protocol(
    name="crista-1",
    summary="Object ids as given, nothing skipped, what is missing or unreadable counts as worst.",
)
CELLMAP_2026_1 = Protocol(
    name="cellmap-2026.1",
    summary="The numbers of the CellMap Segmentation Challenge's own code as of June 2026.",
    beside=CRISTA_1.name,
    reads_unpacked=True,
    reads_groups=False,
    reads_v3=False,
    mixes_prefixes=False,
    mask_labels=True,
    mask_factors=True,
    snaps_offsets=True,
    centres_unplaced=True,
    refuses_misfits=False,
    most_finer=4096,
    interpolates_raw=True,
    blurs_ids=True,
    resample_block=297,
    builtin_kinds=True,
    foreground_above=0.0,
    components=True,
    skips_floods=True,
    most_pairs=5_000_000,
    flow_matching=True,
    collides=True,
    rounds_distances=True,
    empty_missing_is_free=True,
    misses_whole_crop=True,
    absent_kind_is_zero=True,
    surface_distance=False,
)
PROTOCOLS = {protocol.name: protocol for protocol in (CRISTA_1, CELLMAP_2026_1)}


def get_protocol(name: str) -> Protocol:
    """The protocol of a name.  Raises EvaluatorError, listing the names there are."""
    if name not in PROTOCOLS:
        raise EvaluatorError(f"There is no protocol {name!r}; choose from {', '.join(PROTOCOLS)}.")
    return PROTOCOLS[name]
