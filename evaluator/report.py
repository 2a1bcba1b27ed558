"""What a check of a submission found."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

CODES = {  # each with what it means; `docs/submission-format.md` adds the next step
    "not_a_zip": "there is no zip, or its end is missing",
    "bad_archive": "the zip can be read in two ways, leads out of itself, or holds no plain files",
    "no_targets": "the archive holds none of the targets",
    "missing_array": "a target has no array, or none that the protocol counts",
    "wrong_shape": "the array does not fit its target",
    "wrong_dtype": "the data type is none of those accepted",
    "wrong_codec": "the compression is none of those accepted",
    "bad_metadata": "the metadata is damaged, contradicts itself, or lies elsewhere",
    "too_large": "the archive, an array, a chunk or a metadata file is beyond a limit",
    "damaged": "bytes are not those that were written: a checksum or a length is wrong",
    "partial_cover": "the array covers only a part of its crop",
    "corner_offset": "the array repeats its crop's offset at another voxel size",
    "unknown_crop": "a folder is named after no crop of the manifest",
    "unknown_label": "a folder is named after no label of its crop",
}
REJECT, UNSCORED, IGNORED = "reject", "unscored", "ignored"
OK, MISSING, UNREADABLE = "ok", "missing", "unreadable"


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing wrong with a submission.

    code: one of `CODES`, for programs.  severity: "reject" (nothing can be scored), "unscored"
    (this target counts as worst), "ignored" (nothing is lost by it).  message: what came and what
    was expected, in a sentence.  remedy: the next step.
    """

    code: str
    severity: str
    message: str
    remedy: str
    crop: str | None = None
    label: str | None = None


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
        """The report as JSON values."""
        return {
            "accepted": self.accepted,
            "problems": [asdict(problem) for problem in self.problems],
            "targets": dict(self.targets),
        }
