"""From a zip to the board, and what a participant is told on the way when something is wrong."""

import json
import os
import signal
import subprocess
import time
import zipfile

import httpx
import numpy as np
import pytest

from evaluator import SubmissionWriter, load_manifest
from tests.installation import BIN, wait_for
from tests.server.making import make_bundle
from tests.synthetic import predict, write_submission


def refused(installation, account, *arguments: str) -> str:
    """Run the participant's command, which must say no in one sentence; that sentence."""
    environment = {**os.environ, **account}
    done = subprocess.run(
        [str(BIN / "evaluator"), *arguments], env=environment, cwd=installation.home,
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode not in (0, None)
    assert "Traceback" not in done.stderr
    return " ".join(done.stderr.split())


@pytest.fixture(scope="module")
def ada(installation):
    return installation.join("Ada")


def submit(contest, packed, method="Method") -> tuple[str, ...]:
    return ("submit", str(packed), "--challenge", contest.slug, "--method", method)


def test_the_better_of_two_teams_stands_first(installation, contest, tmp_path):
    good, poor = tmp_path / "good.zip", tmp_path / "poor.zip"
    write_submission(good, contest.bundle, quality=1.0)
    write_submission(poor, contest.bundle, quality=0.3)
    first, second = installation.join("First"), installation.join("Second")
    contest.enter(installation, second, poor, "Poor")
    contest.enter(installation, first, good, "Good")
    rows = installation.get(f"challenges/{contest.slug}/phases/test/board/", first).json()["rows"]
    teams = [row["team"] for row in rows]
    assert teams.index("First") < teams.index("Second")
    assert rows[teams.index("First")]["score"] == 1.0
    page = httpx.get(f"{installation.address}/challenges/{contest.slug}/test/leaderboard/").text
    assert page.index("First") < page.index("Second")


def test_what_is_missing_counts_as_worst_and_is_named(installation, contest, ada, tmp_path):
    manifest = load_manifest(contest.bundle)
    part = tmp_path / "part.zip"
    with SubmissionWriter(part, manifest) as writer:
        for path, array in predict(contest.bundle, quality=1.0).items():
            if path != "crop2/mito":
                writer.write(manifest.by_path[path], array)
    number = contest.enter(installation, ada, part, "Part")
    row = installation.get(f"submissions/{number}/", ada).json()
    assert row["status"] == "scored"
    assert any(p["code"] == "missing_array" for p in row["report"]["problems"])
    result = installation.get(f"submissions/{number}/result/", ada).json()
    statuses = {f"{t['crop']}/{t['label']}": t["status"] for t in result["targets"]}
    assert statuses.pop("crop2/mito") == "missing"
    assert set(statuses.values()) == {"scored"}
    assert result["labels"]["nucleus"]["score"] == 1.0
    assert result["labels"]["mito"]["score"] < 1.0


def test_a_damaged_chunk_costs_its_target_and_nothing_else(installation, contest, ada, tmp_path):
    damaged = tmp_path / "damaged.zip"
    with zipfile.ZipFile(contest.packed) as source, zipfile.ZipFile(damaged, "w") as copy:
        for name in source.namelist():
            content = source.read(name)
            if name.endswith("crop1/membrane/0.0.0") or "crop1/membrane/0/" in name:
                content = b"\x00" * len(content)
            copy.writestr(name, content)
    number = contest.enter(installation, ada, damaged, "Damaged")
    result = installation.get(f"submissions/{number}/result/", ada).json()
    statuses = {f"{t['crop']}/{t['label']}": t["status"] for t in result["targets"]}
    assert [path for path, status in statuses.items() if status == "unreadable"] == [
        "crop1/membrane"
    ]


def test_a_file_that_is_no_zip_never_leaves_the_laptop(installation, contest, ada, tmp_path):
    text = tmp_path / "results.zip"
    text.write_text("not a zip")
    said = refused(installation, ada, *submit(contest, text))
    assert "zip" in said
    assert "nothing was uploaded" in said


def test_the_server_rejects_what_is_no_zip_too_and_uses_no_quota(installation, contest, ada):
    headers = {"Authorization": f"Bearer {ada['CRISTA_TOKEN']}"}
    body = {"challenge": contest.slug, "phase": "test", "filename": "x.zip", "size": 9}
    with httpx.Client(base_url=f"{installation.address}/api/", headers=headers) as http:
        upload = http.post("uploads/", json=body).json()["id"]
        part = {"Upload-Offset": "0", "Content-Type": "application/offset+octet-stream"}
        assert (
            http.patch(f"uploads/{upload}/", content=b"not a zip", headers=part).status_code == 204
        )
        assert http.post(f"uploads/{upload}/finish/").status_code == 200
        row = http.post("submissions/", json={"upload": upload, "method": "Text"}).json()
        wait_for(
            lambda: http.get(f"submissions/{row['id']}/").json()["status"] == "rejected",
            seconds=30, log=installation.home / "up.log",
        )  # fmt: skip
        row = http.get(f"submissions/{row['id']}/").json()
    assert row["quota_used"] is False
    assert row["blame"] == "participant"
    assert row["message"].startswith("x.zip is not a zip file")


def test_a_wrong_token_is_told_how_to_get_a_right_one(installation, contest):
    wrong = {"CRISTA_SERVER": installation.address, "CRISTA_TOKEN": "crista_wrong"}
    assert "token" in refused(installation, wrong, "status").lower()


def test_an_unreachable_server_is_a_sentence(installation, contest):
    nowhere = {"CRISTA_SERVER": "http://127.0.0.1:9", "CRISTA_TOKEN": "crista_x"}
    assert "cannot be reached" in refused(installation, nowhere, "board", contest.slug)


def test_an_unknown_challenge_is_a_sentence(installation, contest, ada):
    given = ("submit", str(contest.packed), "--challenge", "nowhere", "--method", "M")
    assert "nowhere" in refused(installation, ada, *given)


def test_a_phase_that_is_over_says_since_when(installation, ada, tmp_path):
    bundle = make_bundle(tmp_path / "bundle", slug="over")
    toml = bundle / "challenge.toml"
    toml.write_text(toml.read_text().replace("2099-01-01T00:00:00Z", "2026-02-01T00:00:00Z"))
    installation.manage("load_challenge", str(bundle))
    packed = tmp_path / "packed.zip"
    write_submission(packed, bundle)
    given = ("submit", str(packed), "--challenge", "over", "--phase", "test", "--method", "M")
    said = refused(installation, ada, *given)
    assert "2026" in said
    assert not list((installation.home / "uploads").glob("*.part"))


def test_killed_workers_and_a_killed_queue_lose_nothing(installation, contest, ada):
    """Every program but the supervisor is killed while a submission is under way."""
    printed = installation.evaluator(*submit(contest, contest.packed, "Survivor"), **ada)
    number = printed.split()[1]
    for pid in children_of(installation.process.pid):
        os.kill(pid, signal.SIGKILL)

    def scored():
        try:
            return installation.get(f"submissions/{number}/", ada).json()["status"] == "scored"
        except (httpx.TransportError, json.JSONDecodeError, KeyError):
            return False

    began = time.monotonic()
    wait_for(scored, seconds=240, log=installation.home / "up.log")
    assert time.monotonic() - began < 240


def children_of(pid: int) -> list[int]:
    task = f"/proc/{pid}/task/{pid}/children"
    with open(task) as file:
        return [int(word) for word in file.read().split()]


def test_results_do_not_depend_on_how_a_zip_was_compressed(installation, contest, ada, tmp_path):
    deflated = tmp_path / "deflated.zip"
    kind = zipfile.ZIP_DEFLATED
    with zipfile.ZipFile(contest.packed) as source, zipfile.ZipFile(deflated, "w", kind) as copy:
        for name in source.namelist():
            copy.writestr(name, source.read(name))
    scores = []
    for packed in (contest.packed, deflated):
        number = contest.enter(installation, ada, packed, "Zip")
        result = installation.get(f"submissions/{number}/result/", ada).json()
        result.pop("submission")
        scores.append(result)
    assert scores[0] == scores[1]
    assert np.isfinite(scores[0]["overall"])
