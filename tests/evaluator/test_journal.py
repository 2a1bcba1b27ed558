from pathlib import Path

import pytest

from evaluator import Counts, EvaluatorError, Status, Sums, TargetScore
from evaluator.journal import Journal, Making, write_whole

MAKING = Making("crista-1", "0.1.0", "aa", "bb", "/truth")
SCORES = [
    TargetScore("crop1", label, Status.SCORED, 8, Sums(Counts(1, 2, 3), iou=0.1 + 0.2), "cc")
    for label in ("er", "mito", "nuc")
]


def written(result, scores=SCORES, making=MAKING):
    journal = Journal(result, making)
    for score in scores:
        journal.add(score)
    journal.close()
    return journal.path


def test_finished_targets_are_taken_over_to_the_last_bit(tmp_path):
    written(tmp_path / "r.json")
    journal = Journal(tmp_path / "r.json", MAKING)
    journal.close()
    assert list(journal.done) == SCORES
    assert not journal.other


def test_a_score_beside_survives(tmp_path):
    score = TargetScore(
        "crop1", "er", Status.SKIPPED, 8, Sums(), "cc", quirks=("components",), beside=SCORES[0]
    )
    written(tmp_path / "r.json", [score])
    journal = Journal(tmp_path / "r.json", MAKING)
    journal.close()
    assert journal.done == (score,)


def test_a_torn_last_line_is_ignored_and_the_next_one_is_whole(tmp_path):
    path = written(tmp_path / "r.json", SCORES[:2])
    path.write_text(path.read_text()[:-20])
    journal = Journal(tmp_path / "r.json", MAKING)
    assert journal.done == (SCORES[0],)
    journal.add(SCORES[2])
    journal.close()
    again = Journal(tmp_path / "r.json", MAKING)
    again.close()
    assert again.done == (SCORES[0], SCORES[2])


def test_a_target_that_was_written_twice_counts_once(tmp_path):
    written(tmp_path / "r.json", [SCORES[0], SCORES[0]])
    journal = Journal(tmp_path / "r.json", MAKING)
    journal.close()
    assert journal.done == (SCORES[0],)


@pytest.mark.parametrize("change", ["protocol", "evaluator", "manifest", "submission", "truth"])
def test_scores_of_another_making_are_dropped(tmp_path, change):
    values = {name: getattr(MAKING, name) for name in MAKING.__slots__}
    written(tmp_path / "r.json", making=Making(**{**values, change: "other"}))
    journal = Journal(tmp_path / "r.json", MAKING)
    journal.close()
    assert journal.done == ()
    assert journal.other
    assert journal.path.read_text().count("\n") == 1


@pytest.mark.parametrize("content", ["", "[]\n", "\x00\x00\n", "{}\n{}\n", "nonsense"])
def test_what_is_no_journal_is_begun_anew(tmp_path, content):
    Journal.path_beside(tmp_path / "r.json").write_text(content)
    journal = Journal(tmp_path / "r.json", MAKING)
    journal.close()
    assert journal.done == ()


@pytest.mark.parametrize("line", ["[]", "3", "null", "{}", '{"crop": 3}', '"x"'])
def test_lines_that_are_no_scores_end_the_journal(tmp_path, line):
    path = written(tmp_path / "r.json", SCORES[:1])
    path.write_text(f"{path.read_text()}{line}\n")
    journal = Journal(tmp_path / "r.json", MAKING)
    journal.close()
    assert journal.done == (SCORES[0],)


def test_a_folder_that_is_not_there_is_a_sentence(tmp_path):
    with pytest.raises(EvaluatorError, match=r"r\.json cannot be written: No such file"):
        Journal(tmp_path / "nowhere" / "r.json", MAKING)


def test_a_file_is_written_whole_or_not_at_all(tmp_path):
    write_whole(tmp_path / "a", "one")
    write_whole(tmp_path / "a", "two")
    assert (tmp_path / "a").read_text() == "two"
    (tmp_path / "folder").mkdir()
    with pytest.raises(EvaluatorError, match="folder cannot be written: it is a folder"):
        write_whole(tmp_path / "folder", "three")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "folder"]


def test_a_place_without_a_name_is_a_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for path in (Path("."), Path("/"), Path("..")):
        with pytest.raises(EvaluatorError, match="cannot be written: it is a folder"):
            write_whole(path, "x")


def test_a_device_stays_a_device(tmp_path):
    write_whole(Path("/dev/null"), "text")
    assert Path("/dev/null").is_char_device()


def test_a_link_stays_a_link_to_the_new_text(tmp_path):
    (tmp_path / "real").write_text("old")
    (tmp_path / "link").symlink_to(tmp_path / "real")
    write_whole(tmp_path / "link", "new")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "real").read_text() == "new"
