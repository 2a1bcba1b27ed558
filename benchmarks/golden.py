"""The official protocol against the recorded results of the challenge's own code, case by case.

    python -m benchmarks.golden [--golden FOLDER] [--cases GLOB] [--small]

FOLDER holds `cases.py`, which makes every case from a seed, and `results/<case>.json`, what the
challenge's code gave for it.  Every case is scored under `cellmap-2026.1` and compared: counts must
be equal, floats equal to 1e-12, distances equal; where the challenge's code raised an error, ours
must score the rest.  Prints each difference, and how many cases are equal.  --small leaves out the
cases of over ten million voxels.
"""

from __future__ import annotations

import argparse
import fnmatch
import importlib.util
import json
import math
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from evaluator import Result, Status, TargetScore, get_protocol, score_submission
from evaluator.errors import SubmissionError
from evaluator.manifest import Manifest, load_manifest

ROOT = Path(__file__).resolve().parents[1]
GOLDEN = ROOT.parent / "shared" / "golden"
OFFICIAL = get_protocol("cellmap-2026.1")
STATUS = {"scored": "scored", "missing": "missing", "skipped": "skipped_too_many_instances"}
LARGE = {"big", "huge"}  # tags of cases that take minutes to make

# What we answer where the challenge's code raised an error: the targets that could not be read, or
# the code of the refusal of the whole.
OURS: dict[str, set[str] | str] = {
    "geo_ratio_limit": {"crop557/mito"},
    "inst_dtype_be_uint16": set(),
    "inst_truth_huge_id": set(),
    "lay_corrupt_chunk": {"crop557/mito"},
    "lay_label_not_in_manifest": set(),
    "lay_nested_plain_folder": set(),
    "lay_no_match": "no_targets",
    "lay_two_zarrs": "no_targets",
    "lay_wrong_ndim": {"crop557/mito"},
    "lay_zip_bomb_limit": set(),
    "lay_zip_slip": "bad_archive",
    "lay_zip_symlink": "bad_archive",
    "mask_submitted": set(),
    "mask_without_attrs": set(),
    "truth_dtype_float32": set(),
}


class Cases:
    """The generator of cases and their recorded results in a folder."""

    def __init__(self, folder: Path) -> None:
        self.results = folder / "results"
        self.generator = _load(folder / "cases.py")

    def names(self, *, small: bool = False, wanted: str = "*") -> list[str]:
        """Names of the cases that have a result, in the generator's order."""
        return [
            name
            for name, (_, tags) in self.generator.CASES.items()
            if (self.results / f"{name}.json").is_file()
            and fnmatch.fnmatch(name, wanted)
            and not (small and LARGE & set(tags))
        ]

    def expected(self, name: str) -> dict[str, Any]:
        """What the challenge's code gave."""
        return dict(json.loads((self.results / f"{name}.json").read_text()))

    def write(self, name: str, folder: Path) -> dict[str, Any]:
        """Make a case in a folder; what its `case.json` says."""
        self.generator.write_case(self.generator.build(name), folder)
        return dict(json.loads((folder / "case.json").read_text()))


def compare(cases: Cases, name: str, folder: Path) -> list[str]:
    """Make a case, score it, and list the differences to what is expected, none if it is equal."""
    expected, case = cases.expected(name), cases.write(name, folder)
    if case["arrays"] != expected["arrays"]:
        return ["the generator made other arrays than those that were scored"]
    try:
        result = score(folder, case)
    except SubmissionError as error:
        return _refused(name, expected, error)
    if expected["status"] != "ok":
        unreadable = {t.path for t in result.targets if t.status == Status.UNREADABLE}
        return [] if unreadable == OURS[name] else [f"unreadable are {unreadable or 'none'}"]
    return [*_targets(result, expected), *_scores(result, expected["extended"])]


def score(folder: Path, case: dict[str, Any]) -> Result:
    """The result of a case that was written to a folder, under the official protocol."""
    protocol = OFFICIAL
    if edges := case["env"].get("MAX_OVERLAP_EDGES"):
        protocol = replace(OFFICIAL, most_pairs=int(edges))
    return score_submission(
        folder / case["submission"],
        truth=folder / "truth.zarr",
        manifest=manifest_of(folder, case),
        protocol=protocol,
    )


def manifest_of(folder: Path, case: dict[str, Any]) -> Manifest:
    """The manifest of a case, with the instance labels it asks for."""
    manifest = load_manifest(folder / "manifest.csv")
    wanted = case["instance_classes"]
    return manifest if wanted is None else manifest.with_instances(wanted)


def _refused(name: str, expected: dict[str, Any], error: SubmissionError) -> list[str]:
    code = getattr(error.__cause__, "code", "")
    if expected["status"] != "ok" and OURS[name] == code:
        return []
    return [f"refused: {error} ({code})"]


def _targets(result: Result, expected: dict[str, Any]) -> Iterator[str]:
    wanted = {
        f"{crop}/{label}": row
        for crop, rows in expected["extended"].items()
        if crop.startswith("crop")
        for label, row in rows.items()
    }
    found = {score.path: score for score in result.targets}
    if found.keys() != wanted.keys():
        yield f"targets differ: {sorted(found.keys() ^ wanted.keys())}"
    for path in sorted(found.keys() & wanted.keys()):
        yield from _target(found[path], wanted[path], expected["detail"].get(path, {}))


def _target(score: TargetScore, row: dict[str, Any], detail: dict[str, Any]) -> Iterator[str]:
    instance = "n_hausdorff" in row
    counts = score.sums.objects if instance else score.sums.voxels
    pairs: list[tuple[str, Any, Any]] = [
        ("status", STATUS.get(score.status, str(score.status)), row["status"]),
        ("num_voxels", score.voxels, row["num_voxels"]),
        ("tp fp fn", (counts.tp, counts.fp, counts.fn), (row["tp"], row["fp"], row["fn"])),
    ]
    if instance:
        pairs.append(("n_hausdorff", score.sums.distances, row["n_hausdorff"]))
        pairs.append(("norm_sum", score.sums.distance_score, row["hausdorff_norm_sum"]))
    if instance and "distances" in detail and row["status"] == "scored":
        alone = [float(np.float32(detail["distance_cap"]))] * row["fp"]
        pairs.append(("distances", score.sums.distance_nm, math.fsum(detail["distances"] + alone)))
    for name, ours, theirs in pairs:
        if not _equal(ours, theirs):
            yield f"{score.path} {name}: ours {ours}, expected {theirs}"


def _scores(result: Result, expected: dict[str, Any]) -> Iterator[str]:
    renamed = {"normalized_hausdorff_distance": "hausdorff_score", "combined_score": "combined"}
    for label, row in expected["label_scores"].items():
        for name, value in row.items():
            found = result.labels.get(label, {}).get(renamed.get(name, name))
            if found is None or not _equal(found, value):
                yield f"{label} {name}: ours {found}, expected {value}"
    for name in ("overall", "instance", "semantic"):
        theirs = expected["overall_score" if name == "overall" else f"overall_{name}_score"]
        if not _equal(getattr(result, name), theirs):
            yield f"{name}: ours {getattr(result, name)}, expected {theirs}"


def _equal(ours: Any, theirs: Any) -> bool:
    if isinstance(theirs, float):
        return math.isclose(ours, theirs, rel_tol=1e-12, abs_tol=1e-12)
    return bool(ours == theirs)


def _load(path: Path) -> ModuleType:
    if not path.is_file():
        sys.exit(f"{path} is missing: --golden names the folder of cases.py and results/.")
    spec = importlib.util.spec_from_file_location("golden_cases", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # its data classes look themselves up
    spec.loader.exec_module(module)
    return module


def main() -> None:
    """Compare all cases and print the count."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--golden", type=Path, default=GOLDEN)
    parser.add_argument("--cases", default="*")
    parser.add_argument("--small", action="store_true")
    args = parser.parse_args()
    cases = Cases(args.golden)
    names = cases.names(small=args.small, wanted=args.cases)
    equal = 0
    for name in names:
        with tempfile.TemporaryDirectory() as folder:
            differences = compare(cases, name, Path(folder) / name)
        equal += not differences
        for difference in differences:
            print(f"{name}: {difference}", flush=True)
    print(f"{equal} of {len(names)} cases equal")
    sys.exit(equal != len(names))


if __name__ == "__main__":
    main()
