"""A prediction as canonical blocks: what the process that reads a submission hands to the one that
reads the truth.

A block is a file of nothing but voxels: C order, native little-endian, of a dtype and shape known
beforehand.  What else a score depends on are a few facts in JSON, one entry for each protocol:

    {"status": "ok", "quirks": [], "opening": [], "resampled": false,
     "block": 0, "dtype": "<u2", "order": "C"}

Whoever opens them believes none of it before it was held against the target.
"""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from evaluator.digest import ArrayDigest, json_digest
from evaluator.errors import EvaluatorError, Unreadable
from evaluator.geometry import Shape
from evaluator.manifest import Target
from evaluator.protocol import Protocol, get_protocol, rules
from evaluator.reading import Prediction
from evaluator.report import MISSING, OK, UNREADABLE
from evaluator.slabs import SLAB_VOXELS, read_slabs
from evaluator.volume import Planes, Volume

DTYPES = frozenset(
    np.dtype(name).newbyteorder("<").str
    for name in ("?", "i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8", "f2", "f4", "f8")
)
LARGEST_VOXEL = 8  # bytes
NO_BLOCK = {"block": None, "dtype": "", "order": "C", "resampled": False}
RULES = frozenset(rules())
Facts = list[dict[str, Any]]


class BlockError(EvaluatorError):
    """Blocks or facts are not what was agreed; the process that wrote them is to blame."""


@dataclass(frozen=True, slots=True)
class Block:
    """A block in an open file, read in slabs; `Planes`.

    It is read, not mapped: address space stays small, and a file cut short is an error, no signal.
    """

    file: int
    shape: Shape
    dtype: np.dtype[Any]
    order: str
    depth: int = 1

    def planes(self, start: int, stop: int) -> np.ndarray:
        """Planes `start` up to `stop`.  Raises BlockError if the file ends before."""
        slab = np.empty((stop - start, *self.shape[1:]), self.dtype)
        view = slab.reshape(-1).view(np.uint8).data
        place, done = start * slab[0].nbytes, 0
        while done < len(view):
            count = os.preadv(self.file, [view[done:]], place + done)
            if not count:
                raise BlockError("A block is shorter than it should be.")
            done += count
        if self.dtype.kind == "b" and slab.view(np.uint8).max() > 1:
            raise BlockError("A block of yes and no holds something else.")  # numpy trusts it
        return slab


def protocols_of(protocol: Protocol) -> list[Protocol]:
    """A protocol and those beside it: as many facts and at most as many blocks there are."""
    beside = protocols_of(get_protocol(protocol.beside)) if protocol.beside else []
    return [protocol, *beside]


def write_blocks(prediction: Prediction, files: Sequence[int]) -> Facts:
    """Write a prediction into open, empty files, and tell the facts.

    files: one for each of `protocols_of`.  What two protocols read alike is written once.
    """
    facts: Facts = []
    written: list[Planes] = []
    for reading in prediction.readings():
        told: dict[str, Any] = {"status": reading.status, "quirks": sorted(reading.quirks)}
        told |= {"opening": sorted(reading.opening)} | NO_BLOCK
        if reading.planes is not None:
            told |= {"order": reading.planes.order, "resampled": reading.resampled}
            told |= _written(reading.planes, files, written)
        facts.append(told)
    return facts


def _written(planes: Planes, files: Sequence[int], written: list[Planes]) -> dict[str, Any]:
    """The block that holds these planes; of what cannot be decoded, that it is unreadable."""
    number = next((n for n, other in enumerate(written) if _is_same(planes, other)), len(written))
    dtype = planes.dtype.newbyteorder("<")
    if number == len(written):
        written.append(planes)
        try:
            for _, (slab,) in read_slabs((planes,)):
                _write(files[number], np.ascontiguousarray(slab, dtype))
        except Unreadable:
            os.ftruncate(files[number], 0)
    if os.fstat(files[number]).st_size == 0:
        return {"status": UNREADABLE, "quirks": []} | NO_BLOCK
    return {"block": number, "dtype": dtype.str}


def _is_same(planes: Planes, other: Planes) -> bool:
    """True if both are one array of one archive, neither moved nor resampled."""
    return isinstance(planes, Volume) and isinstance(other, Volume) and planes.is_same(other)


def _write(file: int, slab: np.ndarray) -> None:
    view = slab.reshape(-1).view(np.uint8).data
    while view:
        view = view[os.write(file, view) :]


def open_blocks(facts: Any, target: Target, protocol: Protocol, files: Sequence[int]) -> Prediction:
    """The prediction that facts and blocks make.  Raises BlockError: they do not fit the target.

    files: open for reading, one for each of `protocols_of`.
    """
    protocols = protocols_of(protocol)
    if not isinstance(facts, list) or len(facts) != len(protocols):
        raise BlockError("The facts of a prediction are not one for each protocol.")
    prediction = None
    for rules_of, told in reversed(list(zip(protocols, facts, strict=True))):
        prediction = _opened(told, target, rules_of, files, prediction)
    assert prediction is not None  # a protocol is one of its own
    return prediction


def _opened(
    told: Any, target: Target, protocol: Protocol, files: Sequence[int], beside: Prediction | None
) -> Prediction:
    expected = {"status", "quirks", "opening", *NO_BLOCK}
    if not isinstance(told, dict) or set(told) != expected:
        raise BlockError("The facts of a prediction have other fields than were agreed.")
    status, quirks, opening = told["status"], _rules(told["quirks"]), _rules(told["opening"])
    if status in (MISSING, UNREADABLE) and all(told[name] == v for name, v in NO_BLOCK.items()):
        return Prediction(protocol, status, None, quirks, opening, beside=beside)
    if (
        status != OK
        or told["dtype"] not in DTYPES
        or told["order"] not in ("C", "F")
        or type(told["resampled"]) is not bool
        or type(told["block"]) is not int
        or not 0 <= told["block"] < len(files)
    ):
        raise BlockError("The facts of a prediction say what cannot be.")
    dtype, file = np.dtype(told["dtype"]), files[told["block"]]
    if os.fstat(file).st_size != target.grid.voxels * dtype.itemsize:
        raise BlockError("A block has not the size of its target.")
    shape = target.grid.shape
    depth = max(1, SLAB_VOXELS // math.prod(shape[1:]))
    planes = Block(file, shape, dtype.newbyteorder("="), told["order"], depth)
    return Prediction(protocol, OK, planes, quirks, opening, told["resampled"], beside)


def _rules(names: Any) -> frozenset[str]:
    if not isinstance(names, list) or not all(isinstance(n, str) and n in RULES for n in names):
        raise BlockError("The facts of a prediction name rules that no protocol has.")
    return frozenset(names)


def block_digests(prediction: Prediction) -> list[str]:
    """The `ArrayDigest` of each reading of an opened prediction; "" where there is no block."""
    known: dict[tuple[int, str], str] = {}
    digests = []
    for reading in prediction.readings():
        block = reading.planes
        if not isinstance(block, Block):
            digests.append("")
            continue
        key = (block.file, block.dtype.str)
        known[key] = known.get(key) or _digest(block)
        digests.append(known[key])
    return digests


def _digest(block: Block) -> str:
    sha = ArrayDigest(block.shape, block.dtype)
    for _, (slab,) in read_slabs((block,)):
        sha.update(slab)
    return sha.hexdigest()


def content_digest(prediction: Prediction, digests: Sequence[str]) -> str:
    """The digest of everything from the participant that a target's score depends on.

    digests: of `block_digests`.
    """
    return json_digest(
        [
            {
                "protocol": reading.protocol.name,
                "status": reading.status,
                "quirks": sorted(reading.quirks),
                "opening": sorted(reading.opening),
                "resampled": reading.resampled,
                "order": reading.planes.order if reading.planes else "",
                "digest": digest,
            }
            for reading, digest in zip(prediction.readings(), digests, strict=True)
        ]
    )
