import pytest

from evaluator import Problem, Report


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
