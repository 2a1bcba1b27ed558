"""The stages of scoring in processes of their own: same bytes, no leaks, no way to the truth."""

import json
from pathlib import Path

import pytest

from server import scoring, stages


@pytest.fixture(scope="module", params=["crista-1", "cellmap-2026.1"])
def rules(bundle_folder, request) -> scoring.Rules:
    return scoring.Rules(
        (bundle_folder / "manifest.csv").read_text(), (bundle_folder / "labels.toml").read_text(),
        request.param, bundle_folder / "truth.zarr",
    )  # fmt: skip


def by_stages(target: str, submission: Path, rules: scoring.Rules, base: Path) -> dict:
    with stages.scratch(base) as into:
        return stages.score(target, stages.ingest(target, submission, rules, into=into), rules)


def test_stages_give_the_bytes_that_one_process_gives(rules, packed, tmp_path):
    for item in scoring.items(rules):
        score = by_stages(item.target, packed, rules, tmp_path)
        assert json.dumps(score) == json.dumps(scoring.score_item(item.target, packed, rules))


def test_a_check_in_a_child_finds_what_it_finds_here(rules, packed):
    assert stages.check(packed, rules, called="mine.zip") == scoring.check(
        packed, rules, called="mine.zip"
    )
