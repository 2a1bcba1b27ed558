"""What can be wrong with a submission: the catalogue, and what a check of one submission found."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

REJECT, UNSCORED, IGNORED = "reject", "unscored", "ignored"
OK, MISSING, UNREADABLE = "ok", "missing", "unreadable"
PARTICIPANT, ORGANISER, SYSTEM = "participant", "organiser", "system"
EFFECTS = {
    REJECT: "rejects the file",
    UNSCORED: "counts as worst",
    IGNORED: "costs nothing",
}


@dataclass(frozen=True, slots=True)
class Entry:
    """A code of the catalogue.  blame: who has to act.  expected: what is right, in general.

    `docs/problems/<code>.md` says more, for participants.
    """

    means: str
    blame: str
    expected: str
    step: str


def _yours(means: str, expected: str, step: str) -> Entry:
    return Entry(means, PARTICIPANT, expected, step)


CATALOGUE: Mapping[str, Entry] = {
    "wrong_digest": _yours(
        "the bytes that arrived are not those that were announced",
        "the bytes whose SHA-256 was announced",
        "make sure that nothing writes to the file, and upload it again",
    ),
    "not_a_zip": _yours(
        "there is no zip, or its end is missing",
        "a whole zip",
        "compare the size with the original and send it again; else `evaluator pack`",
    ),
    "bad_archive": _yours(
        "the zip can be read in two ways, leads out of itself, or holds no plain files",
        "a plain zip: no password, no links, every name once",
        "zip the folder again without password and links, with Store or Deflate",
    ),
    "no_targets": _yours(
        "the archive holds none of the targets",
        "folders named after crops, in them arrays named after labels",
        "name the folders after crops and labels of the manifest",
    ),
    "missing_array": _yours(
        "a target has no array, or none that the protocol counts",
        "an array for every target",
        "send one for every target; all zeros where there is nothing",
    ),
    "wrong_shape": _yours(
        "the array does not fit its target",
        "the shape of the target, or a grid that says where it lies",
        "write it with the target's shape, or say where it lies",
    ),
    "wrong_dtype": _yours(
        "the data type is none of those accepted",
        "bool, integers or floats of 8 to 64 bits",
        "store masks and ids as unsigned integers",
    ),
    "wrong_codec": _yours(
        "the compression is none of those accepted",
        "none, blosc, zstd, gzip, zlib or bz2, without filters",
        "compress with zstd or blosc, without filters",
    ),
    "bad_metadata": _yours(
        "the metadata is damaged, contradicts itself, or lies elsewhere",
        "Zarr metadata in strict JSON that places the array on its crop",
        "write the array with `evaluator pack`, or correct voxel size and translation",
    ),
    "too_large": _yours(
        "the archive, an array, a chunk or a metadata file is beyond a limit",
        "sizes within the limits of the format",
        "chunks of 64³ voxels at the crop's voxel size; leave out empty ones",
    ),
    "damaged": _yours(
        "bytes are not those that were written: a checksum or a length is wrong",
        "the bytes that were written",
        "write the array again and zip it anew",
    ),
    "partial_cover": _yours(
        "the array covers only a part of its crop",
        "an array that covers the whole crop",
        "predict the whole crop, or leave it: the rest is background",
    ),
    "corner_offset": _yours(
        "the array repeats its crop's offset at another voxel size",
        "the centre of the array's own first voxel",
        "offsets are those of voxel centres: if both begin at the same corner, write the one the "
        "message gives",
    ),
    "unknown_crop": _yours(
        "a folder is named after no crop of the manifest",
        "a crop of the manifest",
        "rename it if it was meant to be scored",
    ),
    "unknown_label": _yours(
        "a folder is named after no label of its crop",
        "a label that the manifest has in this crop",
        "rename it if it was meant to be scored",
    ),
    "truth_unreadable": Entry(
        "the truth of a target is missing or cannot be read",
        ORGANISER,
        "a truth array for every target of the manifest",
        "wait: the organisers were told, and score it again once the truth is mended",
    ),
    "over_limits": Entry(
        "scoring a target needs more memory or time than a worker may use",
        ORGANISER,
        "a target that can be scored within the limits",
        "wait: the organisers were told; they can try again on a larger worker",
    ),
    "quarantined": Entry(
        "the process that scored a target died twice, so it was set aside",
        ORGANISER,
        "a target that can be scored",
        "wait: the organisers were told; they try again, or say what to change",
    ),
    "check_died": Entry(
        "the check of the file was begun several times and never came to its end",
        SYSTEM,
        "a check that ends within seconds",
        "submit again; if it ends the same way, tell the organisers the submission's number",
    ),
    "storage_unreadable": Entry(
        "the uploaded bytes cannot be read from our storage",
        SYSTEM,
        "the bytes whose digest was verified",
        "wait an hour, then upload again; nothing is wrong with your file",
    ),
    "incident": Entry(
        "something broke on our side",
        SYSTEM,
        "a submission that is checked and scored",
        "submit again, or give the organisers the incident's number",
    ),
}
CODES = {code: entry.means for code, entry in CATALOGUE.items() if entry.blame == PARTICIPANT}


def docs_path(code: str) -> str:
    """Where a server has the page about a code: below its own address."""
    return f"/problems/{code}/"


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing wrong with a submission.

    code: one of the catalogue's, for programs.  severity: "reject" (nothing can be scored),
    "unscored" (this target counts as worst), "ignored" (nothing is lost by it).  message: what came
    and what was expected, in a sentence.  remedy: the next step.  expected, got: the two alone, in
    a few words; "" leaves them to the catalogue and to the message.
    """

    code: str
    severity: str
    message: str
    remedy: str
    crop: str | None = None
    label: str | None = None
    expected: str = ""
    got: str = ""

    def to_json(self) -> dict[str, Any]:
        """All that programs and pages need to show it.  KeyError: the catalogue lacks the code."""
        entry = CATALOGUE[self.code]
        return asdict(self) | {
            "expected": self.expected or entry.expected,
            "got": self.got or self.message.rstrip("."),
            "blame": entry.blame,
            "docs": docs_path(self.code),
        }


@dataclass(frozen=True, slots=True)
class Report:
    """What a check found.  targets: "ok", "missing" or "unreadable" by path (`crop557/mito`)."""

    problems: tuple[Problem, ...]
    targets: Mapping[str, str]

    @property
    def accepted(self) -> bool:
        """True if the archive can be scored, even if some of its targets count as worst."""
        return not any(problem.severity == REJECT for problem in self.problems)

    def to_json(self) -> dict[str, Any]:
        """The report as JSON values.  quota_used: a server counts it; never if it is rejected."""
        return {
            "accepted": self.accepted,
            "quota_used": self.accepted,
            "problems": [problem.to_json() for problem in self.problems],
            "targets": dict(self.targets),
        }


@dataclass(frozen=True, slots=True)
class Group:
    """Problems of one code and one severity, as JSON, in the order they were found."""

    code: str
    severity: str
    problems: tuple[Mapping[str, Any], ...]

    @property
    def means(self) -> str:
        """What the code means, as a sentence; "" for a code of another version."""
        entry = CATALOGUE.get(self.code)
        return f"{entry.means[0].upper()}{entry.means[1:]}." if entry else ""

    @property
    def effect(self) -> str:
        """What comes of it, in three words."""
        return EFFECTS.get(self.severity, self.severity)

    @property
    def steps(self) -> tuple[str, ...]:
        """The next steps, each once."""
        return tuple(dict.fromkeys(str(problem.get("remedy", "")) for problem in self.problems))


def grouped(problems: Iterable[Mapping[str, Any]]) -> list[Group]:
    """Problems (as JSON) by severity, the worst first, and by code; none without problems.

    They may come from another version, or from a process that reads a stranger's bytes: what is
    not known comes last, what is not there is left out.
    """
    found: dict[tuple[str, str], list[Mapping[str, Any]]] = {}
    for problem in problems:
        key = str(problem.get("severity", "")), str(problem.get("code", ""))
        found.setdefault(key, []).append(problem)
    groups = [Group(code, severity, tuple(rows)) for (severity, code), rows in found.items()]
    order = {severity: place for place, severity in enumerate(EFFECTS)}
    return sorted(groups, key=lambda group: order.get(group.severity, len(order)))
