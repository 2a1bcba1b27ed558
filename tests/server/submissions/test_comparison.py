"""What a report says, from made-up results: causes, targets, moves."""

import json

import pytest

from server.accounts.models import Team
from server.challenges.editions import propose
from server.challenges.models import Edition, ProtocolVersion, TruthVersion
from server.submissions.comparison import changed_targets, compare
from server.submissions.models import Evaluation
from tests.server import entries
from tests.server.making import person

pytestmark = pytest.mark.django_db


def result(**targets: float) -> str:
    """A result whose targets have these scores; `crop1_mito` stands for crop1/mito."""
    rows = [dict(zip(("crop", "label"), name.split("_"), strict=True)) | {"sums": value}
            for name, value in targets.items()]  # fmt: skip
    return json.dumps({"targets": rows})


def scored(phase, edition, name: str, *, old: float, new: float, texts=("", "")) -> None:
    """An entry with its score on the present board and under the edition."""
    team = person(name).own_team
    entry = entries.scored(phase, team, old)
    entry.evaluations.update(result=texts[0])
    entries.evaluation(entry, status="scored", done=3, overall=new, result=texts[1])
    again = Evaluation.objects.filter(submission=entry, overall=new)
    again.update(truth=edition.truth, protocol=edition.protocol, edition=edition, background=True)


@pytest.fixture
def phase():
    return entries.phase(entries.challenge())


@pytest.fixture
def edition(phase) -> Edition:
    first = {"crop1/mito": "a", "crop1/membrane": "b", "crop2/mito": "c"}
    TruthVersion.objects.update(digests=first)
    phase.truth.refresh_from_db()
    truth = entries.truth_version(phase.challenge, number=2)
    TruthVersion.objects.filter(pk=truth.pk).update(digests=first | {"crop1/mito": "z"})
    truth.refresh_from_db()
    return propose(phase, truth=truth, protocol=phase.protocol)


def test_targets_are_changed_added_or_gone(phase):
    old = TruthVersion(digests={"c/a": "1", "c/b": "1", "c/same": "1"})
    new = TruthVersion(digests={"c/a": "2", "c/d": "1", "c/same": "1"})
    assert changed_targets(old, new) == {
        "c/a": "the truth of c/a changed",
        "c/b": "c/b is scored no more",
        "c/d": "c/d is scored now and was not before",
    }
    assert changed_targets(old, old) == {}


def test_each_row_tells_both_ranks_both_scores_and_the_targets_behind_them(phase, edition):
    moved = (result(crop1_mito=1, crop2_mito=2), result(crop1_mito=9, crop2_mito=2))
    same = (result(crop1_mito=1), result(crop1_mito=1))
    scored(phase, edition, "Ada", old=0.9, new=0.2, texts=moved)
    scored(phase, edition, "Bob", old=0.5, new=0.51, texts=same)
    report = compare(edition)
    ada, bob = sorted(report["rows"], key=lambda row: row["name"])
    assert (ada["rank"], ada["score"], ada["targets"]) == ([1, 2], [0.9, 0.2], ["crop1/mito"])
    assert (bob["rank"], bob["score"], bob["targets"]) == ([2, 1], [0.5, 0.51], [])
    assert ada["moved"]
    assert bob["moved"]
    assert [row["name"] for row in report["rows"]] == ["Bob", "Ada"]  # by the new rank
    why = "the truth of crop1/mito changed"
    assert report["causes"] == [{"target": "crop1/mito", "why": why}]
    assert report["targets"] == [{"target": "crop1/mito", "why": why, "entries": 1}]
    assert (report["before"]["truth"], report["after"]["truth"]) == (1, 2)
    assert (report["before"]["edition"], report["after"]["edition"]) == (1, 2)


def test_a_baseline_has_no_rank_on_either_side(phase, edition):
    scored(phase, edition, "Ada", old=0.9, new=0.2)
    Team.objects.update(baseline=True)
    (row,) = compare(edition)["rows"]
    assert (row["rank"], row["baseline"], row["moved"]) == ([None, None], True, False)


def test_a_team_whose_score_is_missing_on_one_side_is_a_row_with_a_gap(phase, edition):
    entries.scored(phase, person("Ada").own_team, 0.9)
    (row,) = compare(edition)["rows"]
    assert (row["rank"], row["score"], row["targets"]) == ([1, None], [0.9, None], [])


def test_an_empty_phase_has_an_empty_report(edition):
    report = compare(edition)
    assert (report["rows"], report["targets"]) == ([], [])
    assert len(report["causes"]) == 1


def test_rules_and_evaluators_that_differ_are_causes(phase):
    protocol = ProtocolVersion.present("cellmap-2026.1")
    edition = propose(phase, truth=phase.truth, protocol=protocol)
    texts = (result(crop1_mito=1), result(crop1_mito=2))
    scored(phase, edition, "Ada", old=0.9, new=0.2, texts=texts)
    Evaluation.objects.filter(edition=edition).update(evaluator="0.2.0")
    report = compare(edition)
    whys = [cause["why"] for cause in report["causes"]]
    assert whys[0] == "protocol cellmap-2026.1 instead of crista-1"
    assert whys[-1] == "evaluator 0.2.0 instead of 0.1.0"
    changed = {cause["rule"] for cause in report["causes"] if cause.get("rule")}
    before, after = phase.protocol.rules, protocol.rules
    assert changed == {
        rule for rule in before
        if before[rule] != after.get(rule) and rule not in ("name", "summary", "beside")
    }  # fmt: skip
    (target,) = report["targets"]
    assert target["target"] == "crop1/mito"
    assert "evaluator 0.2.0" in target["why"]
