"""Both ways of fuzzing for some seconds, and what they found in their time, kept as code."""

import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from evaluator.report import CODES
from tests.evaluator.fuzz.mutations import changed_metadata, hostile
from tests.evaluator.fuzz.seeds import ARRAYS, V2, V3, ome, submission, text, v2, v3
from tests.evaluator.fuzz.survival import survive
from tests.evaluator.made_zips import File, zip_of

ROOT = Path(__file__).resolve().parents[3]
SECONDS = float(os.environ.get("FUZZ_SECONDS", "20")) / 2  # half of it for each way


def zipped(files: dict[str, bytes]) -> bytes:
    return zip_of(*(File(name.encode(), content) for name, content in files.items()))


def outcome(tmp_path: Path, content: bytes) -> Counter[str]:
    found: Counter[str] = Counter()
    survive(tmp_path / "s.zip", content, found)
    return found


@pytest.mark.timeout(2 * SECONDS + 120)
@pytest.mark.parametrize("way", ["random", "guided"])
def test_what_is_found_in_a_while_is_survived(tmp_path, way):
    done = subprocess.run(
        [sys.executable, "-m", "tests.evaluator.fuzz", way, str(SECONDS), str(tmp_path / "s.zip")],
        cwd=ROOT, capture_output=True, text=True, timeout=2 * SECONDS + 100, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    told = json.loads(done.stdout.splitlines()[-1])
    print(json.dumps(told))
    assert told["examples"] > 20 * SECONDS
    assert {"read", "bad_archive", "bad_metadata"} <= set(told["found"])


@pytest.mark.parametrize("array", ARRAYS)
@pytest.mark.parametrize(("folders", "prefix"), [("", "crop"), ("a/b/", ""), ("r/", "crop")])
def test_mutations_begin_with_submissions_that_are_read(tmp_path, array, folders, prefix):
    found = outcome(tmp_path, zipped(submission(array, folders, prefix)))
    assert found["read"] >= 2
    assert set(found) <= {"read", "none", "missing_array", "partial_cover", "corner_offset"}


class Script:
    """Draws that were written down; zeros after them."""

    def __init__(self, *draws: int) -> None:
        self._draws = list(draws)

    def below(self, stop: int) -> int:
        return min(self._draws.pop(0) if self._draws else 0, stop - 1)

    def bytes(self, most: int) -> bytes:
        return b""


def test_no_mutation_leaves_a_good_submission(tmp_path):
    content = hostile(Script(0, 0, 0, 1, 0, 0, *[0] * 12, 0, 9))
    assert outcome(tmp_path, content)["read"] == 4


def test_a_mutation_of_metadata_changes_one_field():
    files = submission("raw")
    changed = changed_metadata(Script(0, 0, 0), files)
    assert sum(changed[name] != files[name] for name in files) == 1


def ome_with(**changes: object) -> dict[str, bytes]:
    files = ome("0.4")
    node = json.loads(files[".zattrs"])
    node["multiscales"][0] |= changes
    return files | {".zattrs": text(node)}


LONG = b'{"a":' * 900 + b"1" + b"}" * 900


@pytest.mark.parametrize(
    ("files", "code"),
    [
        (v2() | {".zarray": text(V2 | {"fill_value": 10**19, "dtype": "<f2"})}, "read"),
        (v2() | {".zarray": text(V2 | {"fill_value": 10**19})}, "bad_metadata"),
        (v2() | {".zarray": text(V2)[:-1] + b', "fill_value": 1' + b"0" * 400 + b"}"},
         "bad_metadata"),
        (v2() | {".zarray": text(V2)[:-1] + b', "x": 1e999}'}, "read"),
        (v2() | {".zarray": LONG}, "bad_metadata"),
        (v2() | {".zattrs": LONG}, "bad_metadata"),
        (v2() | {".zattrs": text({"voxel_size": [1e9] * 3, "translation": [1e12] * 3})},
         "bad_metadata"),
        (v2() | {".zattrs": text({"voxel_size": [1e-6] * 3})}, "bad_metadata"),
        (v2() | {".zarray": text(V2 | {"order": []})}, "bad_metadata"),
        (v2() | {".zarray": text(V2 | {"dimension_separator": {}})}, "bad_metadata"),
        (v2() | {".zarray": text(V2 | {"compressor": []})}, "wrong_codec"),
        (v2() | {".zarray": text(V2 | {"compressor": {"id": ["zlib"]}})}, "wrong_codec"),
        (v3() | {"zarr.json": text(V3 | {"codecs": [{"name": "bytes", "configuration": 1}]})},
         "bad_metadata"),
        (v3() | {"zarr.json": text(V3 | {"codecs": ["transpose"]})}, "wrong_codec"),
        (ome_with(axes=[{"name": axis, "unit": []} for axis in "zyx"]), "bad_metadata"),
        (ome_with(axes=[{"name": [axis]} for axis in "zyx"]), "bad_metadata"),
        (ome_with(axes=[{}, [], "x"]), "bad_metadata"),
        (ome_with(datasets=[{"path": ["s0"]}]), "bad_metadata"),
        (ome_with(datasets=[{"path": "s0", "coordinateTransformations": {}}]), "bad_metadata"),
        (v3() | {"zarr.json": text(V3 | {"chunk_key_encoding": {"name": []}})}, "bad_metadata"),
    ],
)  # fmt: skip
def test_metadata_that_once_was_not_answered(tmp_path, files, code):
    content = zipped({f"crop1/mito/{name}": part for name, part in files.items()})
    found = outcome(tmp_path, content)
    assert found[code] > 0, found
    assert set(found) - {"read", "none"} <= set(CODES)
