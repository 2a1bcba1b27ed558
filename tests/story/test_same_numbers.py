"""The laptop and the server: the same bytes."""

import json

import pytest

PROTOCOL = ("--protocol", "crista-1")


@pytest.fixture(scope="module")
def stored(installation, contest) -> bytes:
    """What the server stored for the submission, as its team downloads it."""
    ada = installation.join("Ada")
    number = contest.enter(installation, ada, contest.packed, "Same numbers")
    answer = installation.get(f"submissions/{number}/result/", ada)
    assert answer.status_code == 200
    return answer.content


def local(installation, contest, *options: str) -> str:
    truth = str(contest.bundle / "truth.zarr")
    given = ("score", str(contest.packed), "--truth", truth, "--manifest", contest.manifest)
    return installation.evaluator(*given, *PROTOCOL, *options)


def test_the_evaluator_prints_exactly_the_bytes_that_the_server_stored(
    installation, contest, stored
):
    assert local(installation, contest, "--json", "-").encode() == stored


def test_more_processes_change_no_byte(installation, contest, stored, tmp_path):
    out = tmp_path / "result.json"
    local(installation, contest, "--jobs", "2", "--json", str(out))
    assert out.read_bytes() == stored


def test_the_result_has_the_fields_that_were_promised(stored):
    result = json.loads(stored)
    assert set(result) >= {
        "schema", "protocol", "evaluator", "manifest", "truth", "submission",
        "overall", "instance", "semantic", "labels", "targets",
    }  # fmt: skip
    assert result["schema"] == 1
    assert result["protocol"] == "crista-1"
    assert all(len(result[name]) == 64 for name in ("manifest", "truth", "submission"))
    assert set(result["labels"]) == {"membrane", "mito", "nucleus"}
    assert set(result["labels"]["mito"]) >= {
        "kind", "score", "iou", "dice", "f1", "pq", "hausdorff_score", "combined", "tp", "fp", "fn",
    }  # fmt: skip
    assert len(result["targets"]) == 6
    assert set(result["targets"][0]) >= {"crop", "label", "status", "voxels", "sums"}
    assert 0 < result["overall"] < 1
