import ast
import re
from pathlib import Path

import pytest

from evaluator import Problem, Report
from evaluator.report import CATALOGUE, CODES, IGNORED, PARTICIPANT, REJECT, UNSCORED, grouped
from evaluator.results.problems import SHOWN, problem_lines

ROOT = Path(__file__).resolve().parents[2]
RAISED = {"Unfit", "ArchiveError", "Problem"}  # each takes a code first


def problem(code="missing_array", severity=UNSCORED, remedy="Remedy.", **fields) -> Problem:
    return Problem(code, severity, "It came.", remedy, **fields)


def report(*severities: str) -> Report:
    return Report(tuple(problem(severity=s) for s in severities), {"crop1/mito": "ok"})


@pytest.mark.parametrize("severities", [(), ("ignored",), ("unscored", "ignored")])
def test_only_what_rejects_keeps_an_archive_from_being_scored(severities):
    assert report(*severities).accepted
    assert not report(*severities, "reject").accepted


def test_a_report_is_json_values():
    assert Report((problem(crop="crop1", got="none"),), {"crop1/mito": "ok"}).to_json() == {
        "accepted": True,
        "quota_used": True,
        "problems": [
            {
                "code": "missing_array",
                "severity": "unscored",
                "blame": "participant",
                "message": "It came.",
                "expected": "an array for every target",
                "got": "none",
                "remedy": "Remedy.",
                "crop": "crop1",
                "label": None,
                "docs": "/problems/missing_array/",
            }
        ],
        "targets": {"crop1/mito": "ok"},
    }


def test_what_is_rejected_uses_no_quota():
    assert report("reject").to_json()["quota_used"] is False


def test_what_came_is_the_message_where_nothing_shorter_is_known():
    assert problem().to_json()["got"] == "It came"


def test_a_problem_outside_of_the_catalogue_is_a_mistake_of_ours():
    with pytest.raises(KeyError, match="lost"):
        problem("lost").to_json()


def test_problems_come_in_groups_the_worst_first():
    rows = [
        problem("unknown_crop", IGNORED), problem("wrong_shape", remedy="A."), problem(),
        problem("wrong_shape", remedy="B."), problem("wrong_shape", remedy="A."),
        problem("not_a_zip", REJECT),
    ]  # fmt: skip
    groups = grouped(row.to_json() for row in rows)
    assert [(g.code, len(g.problems), g.effect) for g in groups] == [
        ("not_a_zip", 1, "rejects the file"),
        ("wrong_shape", 3, "counts as worst"),
        ("missing_array", 1, "counts as worst"),
        ("unknown_crop", 1, "costs nothing"),
    ]
    assert groups[1].steps == ("A.", "B.")
    assert groups[1].means == "The array does not fit its target."


def test_a_group_of_another_version_is_shown_without_a_meaning():
    (group,) = grouped([problem().to_json() | {"code": "of_the_future"}])
    assert (group.code, group.means) == ("of_the_future", "")


def test_no_problems_make_no_groups():
    assert grouped([]) == []


def test_problems_that_lack_what_they_should_have_come_last_and_break_nothing():
    known, odd, empty = problem().to_json(), {"severity": "fatal", "code": 7}, {}
    groups = grouped([empty, odd, known])
    assert [(g.code, g.effect) for g in groups] == [
        ("missing_array", "counts as worst"), ("", ""), ("7", "fatal"),
    ]  # fmt: skip
    assert groups[1].steps == ("",)


def test_a_terminal_shows_each_group_once_with_its_steps_and_ends_with_the_verdict():
    rows = [Problem("wrong_shape", UNSCORED, f"crop{n} is odd.", "Mend it.") for n in range(3)]
    found = Report(tuple(rows), {"crop1/mito": "unreadable", "crop2/mito": "ok"}).to_json()
    assert [line.strip() for line in problem_lines(found)] == [
        "counts as worst  wrong_shape (3)",
        "crop0 is odd.",
        "crop1 is odd.",
        "crop2 is odd.",
        "→ Mend it.",
        "accepted: 1 ok, 0 missing, 1 unreadable of 2 targets",
    ]


def test_a_long_group_is_cut_short_unless_all_of_it_is_asked_for():
    rows = tuple(problem(remedy=f"Step {n}.") for n in range(40))
    found = Report(rows, {}).to_json()
    lines = problem_lines(found)
    assert f"and {40 - SHOWN} more" in "".join(lines)
    assert len(lines) == 1 + SHOWN + 1 + SHOWN + 1
    assert len(problem_lines(found, whole=True)) == 1 + 40 + 40 + 1


def test_the_format_lists_each_code_with_its_meaning_and_a_next_step():
    text = (ROOT / "docs" / "submission-format.md").read_text("utf-8")
    rows = re.findall(r"^\| \[?`(\w+)`.*? \| (.+?) \| (.+?) \|$", text, re.MULTILINE)
    assert {code: meaning for code, meaning, _ in rows} == CODES
    assert {code: step for code, _, step in rows} == {code: CATALOGUE[code].step for code in CODES}


def test_the_code_knows_no_other_codes_and_uses_all_of_them():
    used = set()
    for path in (ROOT / "evaluator").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") in RAISED:
                first = node.args[0]
                if isinstance(first, ast.Constant):
                    used.add(first.value)
    assert used | {"unknown_crop", "unknown_label", "wrong_digest"} == set(CODES)


@pytest.mark.parametrize("code", CATALOGUE)
def test_each_code_has_a_page_that_begins_with_its_meaning_and_says_what_to_do(code):
    text = (ROOT / "docs" / "problems" / f"{code}.md").read_text("utf-8")
    assert text.startswith(f"# {grouped([_row(code)])[0].means.rstrip('.')}\n")
    headings = re.findall(r"^## (.+)$", text, re.MULTILINE)
    assert headings[0] == "What it looks like"
    assert headings[-1] == "What to do"
    assert "```" in text
    ours = CATALOGUE[code].blame != PARTICIPANT
    assert ("used no quota" in " ".join(text.split())) == ours


def test_no_page_is_about_a_code_that_nobody_uses():
    pages = {path.stem for path in (ROOT / "docs" / "problems").glob("*.md")}
    assert pages - {"README"} == set(CATALOGUE)


def _row(code: str) -> dict[str, str]:
    return {"code": code, "severity": UNSCORED, "message": "It came.", "remedy": "Mend it."}
