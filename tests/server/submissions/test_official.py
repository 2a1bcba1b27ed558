"""A challenge under the official protocol: its numbers, and beside them what ours says."""

import hashlib
import json

import pytest

from evaluator import get_protocol, load_manifest, score_submission
from server.challenges.bundle import read_bundle
from server.challenges.loading import load
from server.submissions.models import Submission
from tests.server.making import entered, make_bundle
from tests.synthetic import write_submission


@pytest.fixture
def official(transactional_db, tmp_path):
    """A challenge under the official protocol and a submission of a middling prediction."""
    folder = make_bundle(tmp_path / "bundle", slug="official")
    table = folder / "challenge.toml"
    table.write_text(table.read_text().replace("crista-1", "cellmap-2026.1"))
    write_submission(folder / "s.zip", folder, quality=0.6)
    return load(read_bundle(folder), in_place=True).phases.get(), folder


@pytest.fixture
def scored(official, people, work):
    phase, folder = official
    submission = entered(phase, people.ada, (folder / "s.zip").read_bytes())
    work()
    submission.refresh_from_db()
    assert submission.status == Submission.Status.SCORED
    return submission


def test_the_result_is_what_the_evaluator_prints_at_home(scored, official):
    folder = official[1]
    at_home = score_submission(
        folder / "s.zip",
        truth=folder / "truth.zarr",
        manifest=load_manifest(folder),
        protocol=get_protocol("cellmap-2026.1"),
    )
    assert scored.evaluation.result == at_home.to_json()


def test_the_page_tells_what_our_protocol_says_and_which_rules_changed_a_target(
    scored, client, people
):
    client.force_login(people.ada)
    page = client.get(scored.get_absolute_url()).content.decode()
    result = json.loads(scored.evaluation.result)
    said = result["beside"]["overall"]
    assert result["beside"]["protocol"] == "crista-1"
    assert said != scored.evaluation.overall
    assert f"Under <code>crista-1</code> the same submission scores {said:.3f}" in page
    rules = {rule for target in result["targets"] for rule in target["quirks"]}
    assert "collides" in rules
    assert all(f"<code>{rule}</code>" in page for rule in rules)
    assert hashlib.sha256(scored.evaluation.result.encode()).hexdigest() in page


def test_the_challenge_page_lists_the_rules_with_their_reasons(official, client):
    page = client.get("/challenges/official/").content.decode()
    assert "rules on which it differs from crista-1" in page
    for rule in ("skips_floods", "collides", "snaps_offsets"):
        assert f"<code>{rule}</code>" in page
    assert "rewards flooding those that are hopeless" in page


def test_a_challenge_under_our_own_protocol_has_nothing_to_list(challenge, client):
    page = client.get("/challenges/made-up/").content.decode()
    assert "<code>crista-1</code>:" in page
    assert "differs from" not in page
