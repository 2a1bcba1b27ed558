"""Protocols: named rule books of scoring.

A protocol is a value, so a rule that differs between two of them is a field here, and the code that
applies it asks the field.  Every score carries its protocol's name; rules of a published name never
change, a new rule gets a new name.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

from evaluator.errors import EvaluatorError


@dataclass(frozen=True, slots=True)
class Protocol:
    """One rule book.

    foreground_above: a float prediction of a semantic label is foreground above this value.
    good_overlap: IoU above which a pair of objects counts for PQ; at 0.5 or more a pair is unique.
    distance_base: a distance of one voxel diagonal divides an object's distance score by this.
    cap_share: distances are capped at this share of the crop's shortest side.
    """

    name: str
    summary: str
    foreground_above: float = 0.5
    good_overlap: float = 0.5
    distance_base: Decimal = Decimal("1.01")
    cap_share: float = 0.5


CRISTA_1 = Protocol(
    name="crista-1",
    summary="Object ids as given, nothing skipped, what is missing or unreadable counts as worst.",
)
PROTOCOLS = {protocol.name: protocol for protocol in (CRISTA_1,)}


def get_protocol(name: str) -> Protocol:
    """The protocol of a name.  Raises EvaluatorError, listing the names there are."""
    if name not in PROTOCOLS:
        raise EvaluatorError(f"There is no protocol {name!r}; choose from {', '.join(PROTOCOLS)}.")
    return PROTOCOLS[name]
