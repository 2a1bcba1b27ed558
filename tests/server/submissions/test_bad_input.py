"""What is wrong in an archive gets a clear sentence; only what is wrong with the whole rejects."""

import json
import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest

from evaluator import SubmissionWriter, load_manifest
from server.submissions.models import Submission
from tests.server.making import api, entered
from tests.synthetic import predict


def archive(folder: Path, path: Path, **changed: object) -> Path:
    """A packed prediction; changed: arrays by target path with __ for /, None leaves one out."""
    manifest = load_manifest(folder)
    replaced = {name.replace("__", "/"): array for name, array in changed.items()}
    with SubmissionWriter(path, manifest) as writer:
        for name, array in predict(folder, quality=1.0).items():
            if replaced.get(name, array) is not None:
                writer.write(manifest.by_path[name], array)
    return path


def edited(source: Path, path: Path, *, drop: str = "", rename: tuple[str, str] = ("", "")) -> Path:
    """A copy of an archive without the members that begin with `drop`, or with them renamed."""
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(path, "w") as new:
        for name in old.namelist():
            if not (drop and name.startswith(drop)):
                new.writestr(name.replace(*rename) if rename[0] else name, old.read(name))
    return path


def declared(source: Path, path: Path, array: str, **fields: object) -> Path:
    """A copy of an archive in which the metadata of one array says something else."""
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(path, "w") as new:
        for name in old.namelist():
            data = old.read(name)
            if name == f"{array}/.zarray":
                data = json.dumps(json.loads(data) | fields).encode()
            new.writestr(name, data)
    return path


@pytest.fixture
def good(bundle_folder, tmp_path) -> Path:
    return archive(bundle_folder, tmp_path / "good.zip")


@pytest.fixture
def outcome(phase, people, work):
    """Submit a file, do the work, and see what the API says of it."""

    def run(path: Path) -> dict:
        key = entered(phase, people.ada, path.read_bytes()).pk
        work()
        return api(people.ada).get(f"/api/submissions/{key}/").json()

    return run


def codes(shown: dict) -> list[str]:
    return sorted({problem["code"] for problem in shown["report"]["problems"]})


def told(shown: dict) -> bool:
    """Every problem has a sentence and a next step."""
    return all(p["message"].strip() and p["remedy"].strip() for p in shown["report"]["problems"])


def test_a_perfect_prediction_is_scored_one_without_remarks(outcome, good):
    shown = outcome(good)
    assert (shown["status"], shown["overall"], shown["report"]["problems"]) == ("scored", 1.0, [])


def test_a_missing_array_counts_as_worst_and_the_rest_is_scored(outcome, good, tmp_path):
    shown = outcome(edited(good, tmp_path / "x.zip", drop="crop1/mito/"))
    assert shown["status"] == "scored"
    assert codes(shown) == ["missing_array"]
    assert shown["report"]["targets"]["crop1/mito"] == "missing"
    scores = {row["label"]: row["score"] for row in shown["labels"]}
    assert scores["mito"] < 1.0
    assert (scores["nucleus"], scores["membrane"]) == (1.0, 1.0)
    assert "report" in shown["message"]


@pytest.mark.parametrize(
    ("rename", "code"),
    [(("crop1/mito/", "crop1/golgi/"), "unknown_label"), (("crop1/", "crop9/"), "unknown_crop")],
)
def test_an_unknown_label_or_crop_is_named_and_ignored(outcome, good, tmp_path, rename, code):
    shown = outcome(edited(good, tmp_path / "x.zip", rename=rename))
    assert shown["status"] == "scored"
    assert {code, "missing_array"} <= set(codes(shown))
    assert told(shown)


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"dtype": "|O"}, "wrong_dtype"),
        ({"dtype": "<c16"}, "wrong_dtype"),
        ({"compressor": {"id": "pickle"}}, "wrong_codec"),
        ({"filters": [{"id": "vlen-utf8"}, {"id": "pickle"}]}, "wrong_codec"),
        ({"chunks": "all"}, "wrong_shape"),
    ],
)
def test_an_array_that_may_not_be_decoded_counts_as_worst(outcome, good, tmp_path, fields, code):
    shown = outcome(declared(good, tmp_path / "x.zip", "crop1/mito", **fields))
    assert (shown["status"], codes(shown)) == ("scored", [code])
    assert shown["report"]["targets"]["crop1/mito"] == "unreadable"
    assert told(shown)


def test_a_wrong_shape_without_a_grid_counts_as_worst(outcome, good, tmp_path):
    bare = edited(good, tmp_path / "bare.zip", drop="crop1/mito/.zattrs")
    shown = outcome(declared(bare, tmp_path / "x.zip", "crop1/mito", shape=[16, 32, 31]))
    assert (shown["status"], codes(shown)) == ("scored", ["wrong_shape"])
    assert "31" in shown["report"]["problems"][0]["message"]


def test_an_archive_with_nothing_of_ours_is_rejected(outcome, tmp_path):
    path = tmp_path / "x.zip"
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("holiday/photo.jpg", b"\xff\xd8")
    shown = outcome(path)
    assert (shown["status"], shown["blame"], shown["quota_used"]) == (
        "rejected", "participant", False,
    )  # fmt: skip
    assert "no_targets" in codes(shown)


@pytest.mark.parametrize("name", ["../../evil", "/etc/evil", "a/../../evil"])
def test_an_archive_that_wants_out_is_rejected_and_writes_nothing(outcome, good, tmp_path, name):
    path = shutil.copy(good, tmp_path / "x.zip")
    with zipfile.ZipFile(path, "a") as file:
        file.writestr(name, b"x")
    shown = outcome(Path(path))
    assert (shown["status"], codes(shown)) == ("rejected", ["bad_archive"])


def test_a_truncated_archive_is_rejected(outcome, good, tmp_path):
    path = tmp_path / "x.zip"
    path.write_bytes(good.read_bytes()[:-100])
    assert outcome(path)["status"] == "rejected"


def test_a_damaged_chunk_costs_its_target_only(outcome, good, tmp_path):
    path = tmp_path / "x.zip"
    with zipfile.ZipFile(good) as old, zipfile.ZipFile(path, "w") as new:
        for name in old.namelist():
            data = old.read(name)
            chunk = name.startswith("crop2/nucleus/") and "/." not in name
            new.writestr(name, b"\0" * len(data) if chunk else data)
    shown = outcome(path)
    assert shown["status"] == "scored"
    result = json.loads(Submission.objects.get().evaluation.result)
    states = {f"{t['crop']}/{t['label']}": t["status"] for t in result["targets"]}
    assert [path for path, status in states.items() if status != "scored"] == ["crop2/nucleus"]


def test_an_empty_prediction_is_scored_like_any_other(outcome, bundle_folder, tmp_path):
    manifest = load_manifest(bundle_folder)
    path = tmp_path / "x.zip"
    with SubmissionWriter(path, manifest) as writer:
        for target in manifest.targets:
            writer.write(target, np.zeros(target.grid.shape, np.uint8))
    shown = outcome(path)
    assert (shown["status"], shown["overall"]) == ("scored", 0.0)
