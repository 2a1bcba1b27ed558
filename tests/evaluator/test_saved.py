import hashlib
import json
import math

import pytest

from evaluator import EvaluatorError, Status, Sums, canonical_json
from evaluator.results.saved import read_result, saved
from tests.evaluator.made_results import objects, result, values, voxels


def test_a_target_scores_what_its_label_would_score_by_it_alone():
    scores = {row.path: row.score for row in result().rows}
    assert scores["crop1/er"] == 0.5
    assert scores["crop2/er"] == 1.0
    assert scores["crop1/mito"] == math.sqrt(2 / 3 * 1 / 2)
    assert scores["crop2/mito"] == 1.0


def test_rows_come_in_the_order_of_their_paths():
    assert [row.path for row in result().rows] == [
        "crop1/er", "crop1/mito", "crop2/er", "crop2/mito",
    ]  # fmt: skip


def test_a_skipped_target_has_no_score():
    told = result(status={"crop1/mito": Status.SKIPPED}, sums={"crop1/mito": Sums()})
    assert told.rows[1].score is None
    assert told.rows[1].status == Status.SKIPPED


def test_a_missing_target_that_adds_nothing_has_no_score_and_a_costly_one_has_zero():
    status = {"crop1/mito": Status.MISSING, "crop2/er": Status.MISSING}
    told = result(status=status, sums={"crop1/mito": Sums(), "crop2/er": voxels(0, 9, 1)})
    assert [row.score for row in told.rows[1:3]] == [None, 0.0]


def test_an_empty_target_that_was_scored_has_the_score_one():
    assert result(sums={"crop2/er": voxels(0, 0, 0)}).rows[2].score == 1.0


def test_the_protocol_beside_is_told_target_by_target():
    told = result(protocol="cellmap-2026.1", sums={"crop2/er": voxels(1, 1, 0)})
    assert (told.rows[2].score, told.rows[2].beside) == (0.5, 1.0)
    assert told.rows[2].beside_status == Status.SCORED
    assert told.beside is not None
    assert told.beside["protocol"] == "crista-1"
    assert result().rows[2].beside is None


def test_the_digest_is_that_of_the_canonical_json_however_the_file_is_laid_out(tmp_path):
    made = values()
    (tmp_path / "r.json").write_text(json.dumps(made, indent=2))
    expected = hashlib.sha256(canonical_json(made).encode()).hexdigest()
    assert read_result(tmp_path / "r.json").digest == expected


def test_a_result_without_a_word_on_what_is_beside_is_read():
    made = values()
    del made["beside"]
    for target in made["targets"]:
        del target["beside"], target["quirks"]
    told = saved("r.json", made)
    assert told.beside is None
    assert told.rows[0].quirks == ()


@pytest.mark.parametrize("made", [None, [], {}, {"schema": 99}, {"schema": 1}, "text", 3])
def test_what_is_no_result_is_refused(made):
    with pytest.raises(EvaluatorError, match=r"r\.json is not a result of schema 1"):
        saved("r.json", made)


def damaged(**changes):
    return values() | changes


@pytest.mark.parametrize(
    "made",
    [
        damaged(protocol=3),
        damaged(overall="high"),
        damaged(overall=True),
        damaged(labels=[]),
        damaged(labels={"er": {"kind": "blob"}}),
        damaged(labels={"er": {"kind": "semantic", "score": "x"}}),
        damaged(labels={}),
        damaged(targets={}) | {"targets": 3},
        damaged(targets=[{}]),
        damaged(targets=[3]),
        damaged(targets=[values()["targets"][0] | {"status": "lost"}]),
        damaged(targets=[values()["targets"][0] | {"crop": "<b>"}]),
        damaged(targets=[values()["targets"][0] | {"crop": 3}]),
        damaged(targets=[values()["targets"][0] | {"sums": {"unknown": 1}}]),
        damaged(beside={"protocol": "crista-1"}),
        damaged(beside=3),
    ],
)
def test_a_damaged_result_is_a_sentence_that_names_the_file(made):
    with pytest.raises(EvaluatorError, match=r"r\.json is a damaged result .* Write it again"):
        saved("r.json", made)


def test_names_that_no_manifest_could_hold_are_refused():
    made = values()
    made["labels"]["[red]"] = made["labels"]["er"]
    with pytest.raises(EvaluatorError, match="is no name"):
        saved("r.json", made)


@pytest.mark.parametrize("text", ["", "{", '{"a": NaN}', '{"a": Infinity}', "[" * 100_000])
def test_a_file_that_is_not_json_is_named(tmp_path, text):
    (tmp_path / "r.json").write_text(text)
    with pytest.raises(EvaluatorError, match=r"r\.json is not JSON"):
        read_result(tmp_path / "r.json")


def test_a_binary_file_is_not_json(tmp_path):
    (tmp_path / "r.json").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(EvaluatorError, match="is not JSON"):
        read_result(tmp_path / "r.json")


def test_a_file_that_is_not_there_is_named_with_what_was_expected(tmp_path):
    with pytest.raises(EvaluatorError, match=r"cannot be read: No such file.*score --json"):
        read_result(tmp_path / "nothing.json")


def test_pooled_labels_are_told_as_they_were_written():
    told = result(sums={"crop1/mito": objects(1, 0, 2)})
    assert told.labels["mito"]["tp"] == 3
    assert told.labels["mito"]["fn"] == 2
    assert told.labels["er"]["score"] == 60 / 110
