"""The official results: cases that are made from seeds, and what the challenge's code gave."""

from __future__ import annotations

import json
import os
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from benchmarks.golden import GOLDEN, Cases


@dataclass(frozen=True)
class Golden:
    """Official cases.  folder: what they are made from; made: where they come to lie."""

    folder: Path
    made: Path
    cases: Any

    def case(self, name: str) -> Path:
        """The folder of a case: truth.zarr, manifest.csv, case.json, submission.zip or a folder."""
        if not (self.made / name).is_dir():
            self.cases.write_case(self.cases.build(name), self.made / name)
        return self.made / name

    def unpacked(self, name: str) -> Path:
        """The submission of a case as a folder."""
        case = self.case(name)
        if not (case / "unpacked").is_dir():
            with zipfile.ZipFile(case / "submission.zip") as archive:
                archive.extractall(case / "unpacked")
        return case / "unpacked"

    def result(self, name: str) -> dict[str, Any]:
        """What the challenge's own code gave for a case."""
        found: dict[str, Any] = json.loads((self.folder / "results" / f"{name}.json").read_text())
        return found

    def names(self, *beginnings: str) -> list[str]:
        """The cases that there are results for, by what their names begin with."""
        names = [path.stem for path in sorted((self.folder / "results").glob("*.json"))]
        return [name for name in names if name.startswith(beginnings)]


@pytest.fixture(scope="session")
def golden(tmp_path_factory) -> Golden:
    """Official cases and results, from the folder beside the project."""
    folder = GOLDEN
    if not folder.is_dir():
        if os.environ.get("CI"):
            pytest.fail(f"{folder} is missing: the official results cannot be compared")
        pytest.skip(f"no recorded official results at {folder}; the cases written by hand ran")
    return Golden(folder, tmp_path_factory.mktemp("golden"), Cases(folder).generator)
