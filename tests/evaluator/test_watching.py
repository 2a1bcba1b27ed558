import io

import pytest
from rich.console import Console

from evaluator.watching import duration, headline, picture

LABELS = [
    {"label": "mito", "kind": "instance", "done": 1, "total": 2, "score": 0.5},
    {"label": "er[x]", "kind": "semantic", "done": 0, "total": 1, "score": None},
]
ROW = {
    "id": 12, "status": "scoring", "done": 1, "total": 3, "labels": LABELS,
    "queue_position": 41, "eta_seconds": 130,
}  # fmt: skip


def printed(row: dict, trouble: str = "") -> str:
    text = io.StringIO()
    Console(file=text, width=100).print(picture(row, trouble))
    return text.getvalue()


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "1 s"), (59, "59 s"), (61, "2 min"), (3600, "1 h 0 min"), (7801, "2 h 11 min")],
)
def test_a_time_is_told_roughly(seconds, text):
    assert duration(seconds) == text


def test_the_head_says_what_is_known_and_no_more():
    assert headline(ROW) == (
        "Submission 12: scoring, 1/3 targets, 41 targets of others first, about 3 min left"
    )
    assert headline(ROW | {"queue_position": 0, "eta_seconds": None}) == (
        "Submission 12: scoring, 1/3 targets"
    )
    early = {"id": 1, "status": "received", "done": 0, "total": 0}
    assert headline(early) == "Submission 1: received"
    assert "left" not in headline(ROW | {"status": "scored", "eta_seconds": 0})


def test_each_label_has_a_row_with_its_value_so_far():
    text = printed(ROW)
    assert "0.5000 so far" in text
    assert "er[x]" in text
    assert "1/2" in text
    done = printed(ROW | {"labels": [LABELS[0] | {"done": 2}]})
    assert "so far" not in done
    assert "label" not in printed(ROW | {"labels": []})


def test_trouble_stands_beside_what_was_known():
    text = printed(ROW, "The server cannot be reached. Trying again.")
    assert "cannot be reached" in text
    assert "0.5000" in text
