"""Submissions cannot get lost, stuck or unfairly counted, whatever is killed meanwhile.

In short form in every run; `make chaos` has 200 submissions of 20 teams on each database.
"""

import os
import zipfile
from collections import Counter
from hashlib import sha256
from pathlib import Path

import pytest

from evaluator import get_protocol, load_manifest
from evaluator.runner import score_submission
from tests.postgres import postgres
from tests.story.chaos import Entry, Tally, chaos_bundle, storm
from tests.synthetic import write_submission

TEAMS = int(os.environ.get("CHAOS_TEAMS", "3"))
FILES = int(os.environ.get("CHAOS_FILES", "8"))  # different files
GOOD = int(os.environ.get("CHAOS_GOOD", "4"))  # of them that each team submits
PER_DAY = GOOD
STRIKES = int(os.environ.get("CHAOS_STRIKES", "6"))


@pytest.fixture(scope="module")
def bundle(tmp_path_factory) -> Path:
    return chaos_bundle(tmp_path_factory.mktemp("chaos"), per_day=PER_DAY)


@pytest.fixture(scope="module")
def entries(bundle, tmp_path_factory) -> list[Entry]:
    """Good files, one with a damaged chunk, and two that must be rejected."""
    folder = tmp_path_factory.mktemp("entries")
    made = []
    for number in range(FILES):
        path = folder / f"good-{number}.zip"
        write_submission(path, bundle, quality=1.0 - number / (2 * FILES))
        made.append(entry(path, bundle))
    made.append(entry(damaged(folder / "good-0.zip", folder / "damaged.zip"), bundle))
    made += [Entry("text", b"no zip at all " * 500, ""), Entry("empty", b"PK", "")]
    return made


def entry(path: Path, bundle: Path) -> Entry:
    """A file with the digest of the result that `evaluator score` gives it."""
    result = score_submission(
        path, truth=bundle / "truth.zarr", manifest=load_manifest(bundle),
        protocol=get_protocol("crista-1"),
    )  # fmt: skip
    digest = sha256(result.to_json().encode()).hexdigest()
    return Entry(path.stem, path.read_bytes(), digest)


def damaged(source: Path, path: Path) -> Path:
    with zipfile.ZipFile(source) as good, zipfile.ZipFile(path, "w") as copy:
        for name in good.namelist():
            content = good.read(name)
            chunk = "crop1/membrane/0" in name
            copy.writestr(name, b"\0" * len(content) if chunk else content)
    return path


def check(tally: Tally, *, teams: int, entries: list[Entry]) -> None:
    rows, rejected = tally.ledger["submissions"], [e.name for e in entries if not e.digest]
    for row in rows:
        told = f"{row}"
        assert row["status"] in ("scored", "rejected", "failed"), told
        if row["method"] in rejected:
            assert (row["status"], row["blame"]) == ("rejected", "participant"), told
        if row["status"] == "failed":
            assert row["blame"] in ("system", "organiser"), told
            assert row["message"], told
        if row["status"] == "scored":
            scored = [digest for status, digest in row["evaluations"] if status == "scored"]
            assert scored == [tally.expected[row["method"]]], told
        assert row["quota_used"] == (row["status"] == "scored"), told
    of_teams = Counter(row["team"] for row in rows if row["quota_used"])
    assert of_teams == dict.fromkeys(of_teams, PER_DAY)
    assert len(of_teams) == teams
    assert tally.refused["over_quota"] >= teams  # what is being checked holds its place
    assert set(tally.ledger["ends"].values()) == {1}, "a submission ended twice"
    for name in rejected:
        assert sum(row["method"] == name for row in rows) == teams
    assert sorted(tally.ledger["files"]) == sorted(tally.ledger["kept"])
    assert tally.scratch == []
    assert tally.blows, "nothing was struck"


@pytest.mark.timeout(1800)
@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_every_submission_ends_as_it_should(kind, bundle, entries, tmp_path, capsys):
    common = {"teams": TEAMS, "entries": entries, "bundle": bundle, "strikes": STRIKES}
    common["per_team"] = GOOD
    if kind == "sqlite":
        tally = storm(tmp_path / "home", database="", seed=1, **common)
    else:
        with postgres() as url:
            tally = storm(tmp_path / "home", database=url, seed=2, **common)
    with capsys.disabled():
        print(f"\n{tally.table(kind)}")
    check(tally, teams=TEAMS, entries=entries)
