import pytest

from evaluator import EvaluatorError, Status, Sums
from evaluator.results.compare import compare, comparison_lines, contest_sheet, tally
from evaluator.results.saved import saved
from tests.evaluator.made_results import objects, result, values, voxels

WORSE = {"crop1/er": voxels(25, 25, 50), "crop2/mito": objects(1, 0, 1)}


def by_name(contests):
    return {contest.name: contest for contest in contests}


def test_the_winner_and_the_lead_of_each_target():
    found = by_name(compare(result("a"), result("b", sums=WORSE, pred="q")).targets)
    assert found["crop1/er"].winner == "A"
    assert found["crop1/er"].lead == 0.25
    assert found["crop2/er"].winner == "tie"
    assert found["crop2/er"].lead == 0.0


def test_the_other_way_round_the_other_one_wins():
    found = by_name(compare(result("a", sums=WORSE), result("b")).targets)
    assert found["crop1/er"].winner == "B"
    assert found["crop1/er"].lead == -0.25


def test_the_largest_leads_come_first_and_those_of_b_last():
    sums = {"crop1/er": voxels(25, 25, 50), "crop1/mito": objects(1, 0, 0)}
    found = compare(result("a"), result("b", sums=sums))
    assert [contest.winner for contest in found.targets] == ["A", "tie", "tie", "B"]
    leads = [contest.lead for contest in found.targets]
    assert leads == sorted(leads, reverse=True)


def test_labels_are_compared_by_their_pooled_scores():
    found = by_name(compare(result("a"), result("b", sums=WORSE)).labels)
    assert (found["er"].a, found["er"].b) == (60 / 110, 35 / 110)
    assert found["er"].winner == "A"


def test_rounding_is_no_victory():
    a, b = values(), values()
    b["labels"]["er"]["score"] += 1e-15
    assert by_name(compare(saved("a", a), saved("b", b)).labels)["er"].winner == "tie"


def test_a_target_that_one_of_them_lacks_is_told_and_counts_for_nobody():
    b = values()
    b["targets"] = [target for target in b["targets"] if target["crop"] != "crop1"]
    found = compare(result("a"), saved("b", b))
    lacking = by_name(found.targets)["crop1/er"]
    assert (lacking.winner, lacking.lead, lacking.note) == ("", None, "B: no such target")
    assert found.targets[-1].lead is None
    assert tally(found.targets, "targets") == (
        "targets: A wins 0, B wins 0, ties 2, not comparable 2"
    )  # fmt: skip


def test_a_label_that_one_of_them_lacks_is_told():
    b = values()
    b["targets"] = [target for target in b["targets"] if target["label"] != "er"]
    del b["labels"]["er"]
    found = by_name(compare(result("a"), saved("b", b)).labels)["er"]
    assert (found.a, found.b, found.winner) == (60 / 110, None, "")


def test_missing_and_skipped_targets_are_noted():
    status = {"crop1/er": Status.MISSING, "crop1/mito": Status.SKIPPED}
    found = by_name(
        compare(result("a"), result("b", status=status, sums={"crop1/mito": Sums()})).targets
    )
    assert found["crop1/er"].note == "B: missing"
    assert found["crop1/mito"].note == "B: skipped"
    assert found["crop1/mito"].winner == ""
    assert found["crop2/er"].note == ""


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"manifest": "other"}, "a and b cannot be compared: their manifest differs .*--labels"),
        ({"truth": "other"}, "their truth differs .*same truth"),
    ],
)
def test_results_of_other_targets_or_truths_are_refused(change, sentence):
    with pytest.raises(EvaluatorError, match=sentence):
        compare(result("a"), saved("b", values() | change))


def test_different_protocols_are_allowed_and_said():
    lines = list(comparison_lines(compare(result("a"), result("b", protocol="cellmap-2026.1"))))
    assert any("different protocols, crista-1 and cellmap-2026.1" in line for line in lines)
    assert not any("versions of the evaluator" in line for line in lines)


def test_different_versions_of_the_evaluator_are_said():
    b = saved("b", values() | {"evaluator": "99.0"})
    lines = list(comparison_lines(compare(result("a"), b)))
    assert any("different versions of the evaluator" in line for line in lines)


def test_the_same_submission_is_said():
    same = list(comparison_lines(compare(result("a"), result("b"))))
    other = list(comparison_lines(compare(result("a"), result("b", pred="q"))))
    assert "Both score the same submission." in same
    assert "Both score the same submission." not in other


def test_overall_scores_and_tallies_are_lines():
    lines = list(comparison_lines(compare(result("a"), result("b", sums=WORSE))))
    assert lines[0].startswith("A is a: overall 0.")
    assert lines[1].startswith("B is b: overall 0.")
    assert lines[2:4] == [
        "labels: A wins 2, B wins 0, ties 0",
        "targets: A wins 2, B wins 0, ties 2",
    ]


def test_the_table_has_a_row_per_contest():
    found = compare(result("a"), result("b", sums=WORSE))
    sheet = contest_sheet(found.targets, named="target")
    assert sheet.columns == ("target", "winner", "A - B", "A", "B", "kind", "note")
    assert ("crop1/er", "A", 0.25, 0.5, 0.25, "semantic", "") in sheet.rows
    assert len(sheet.rows) == 4
