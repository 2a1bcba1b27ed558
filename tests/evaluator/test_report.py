import ast
import re
from pathlib import Path

import pytest

from evaluator import Problem, Report
from evaluator.report import CODES

ROOT = Path(__file__).resolve().parents[2]
RAISED = {"Unfit", "ArchiveError", "Problem"}  # each takes a code first


def report(*severities: str) -> Report:
    problems = tuple(Problem("code", severity, "Message.", "Remedy.") for severity in severities)
    return Report(problems, {"crop1/mito": "ok"})


@pytest.mark.parametrize("severities", [(), ("ignored",), ("unscored", "ignored")])
def test_only_what_rejects_keeps_an_archive_from_being_scored(severities):
    assert report(*severities).accepted
    assert not report(*severities, "reject").accepted


def test_a_report_is_json_values():
    assert report("unscored").to_json() == {
        "accepted": True,
        "problems": [
            {
                "code": "code",
                "severity": "unscored",
                "message": "Message.",
                "remedy": "Remedy.",
                "crop": None,
                "label": None,
            }
        ],
        "targets": {"crop1/mito": "ok"},
    }


def test_the_format_lists_each_code_with_its_meaning_and_a_next_step():
    text = (ROOT / "docs" / "submission-format.md").read_text("utf-8")
    rows = re.findall(r"^\| `(\w+)` \| (.+?) \| (.+?) \|$", text, re.MULTILINE)
    assert {code: meaning for code, meaning, _ in rows} == CODES
    assert all(step for _, _, step in rows)


def test_the_code_knows_no_other_codes_and_uses_all_of_them():
    used = set()
    for path in (ROOT / "evaluator").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") in RAISED:
                first = node.args[0]
                if isinstance(first, ast.Constant):
                    used.add(first.value)
    assert used | {"unknown_crop", "unknown_label"} == set(CODES)
