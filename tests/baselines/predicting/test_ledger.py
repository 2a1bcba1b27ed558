import pytest

from baselines.predicting.ledger import Ledger


def test_what_was_entered_is_done_for_who_comes_later(tmp_path):
    ledger = Ledger(tmp_path / "a" / "progress.jsonl", "m")
    assert ledger.done == set()
    ledger.enter(0, 64, 0)
    ledger.enter("mito")
    assert ledger.done == {(0, 64, 0), ("mito",)}
    assert Ledger(tmp_path / "a" / "progress.jsonl", "m").done == {(0, 64, 0), ("mito",)}


def test_what_was_done_under_another_mark_does_not_count(tmp_path):
    Ledger(tmp_path / "progress.jsonl", "old").enter(0, 0, 0)
    new = Ledger(tmp_path / "progress.jsonl", "new")
    assert new.done == set()
    # Looking does not forget: only the first new part does.
    assert Ledger(tmp_path / "progress.jsonl", "old").done == {(0, 0, 0)}
    new.enter(5, 0, 0)
    assert Ledger(tmp_path / "progress.jsonl", "new").done == {(5, 0, 0)}
    assert Ledger(tmp_path / "progress.jsonl", "old").done == set()


def test_a_line_that_a_crash_cut_off_is_not_done(tmp_path):
    path = tmp_path / "progress.jsonl"
    ledger = Ledger(path, "m")
    ledger.enter(0, 0, 0)
    ledger.enter(1, 0, 0)
    path.write_text(path.read_text()[:-4])
    assert Ledger(path, "m").done == {(0, 0, 0)}


def test_the_first_line_cut_off_is_a_new_ledger(tmp_path):
    (tmp_path / "progress.jsonl").write_text('{"mark": "m')
    ledger = Ledger(tmp_path / "progress.jsonl", "m")
    assert ledger.done == set()
    ledger.enter(2, 0, 0)
    assert Ledger(tmp_path / "progress.jsonl", "m").done == {(2, 0, 0)}


def test_what_follows_a_line_cut_off_by_a_crash_is_entered_whole(tmp_path):
    path = tmp_path / "progress.jsonl"
    Ledger(path, "m").enter(0, 0, 0)
    path.write_text(path.read_text()[:-4])
    Ledger(path, "m").enter(1, 0, 0)
    assert Ledger(path, "m").done == {(1, 0, 0)}


@pytest.mark.parametrize(
    "line", [b'{"done": [1, 0', b"\xff\x00\xfe", b"[]", b"{}", b"7", b'{"done": [[1], 0]}', b""]
)
def test_a_damaged_line_between_others_costs_its_own_part_alone(tmp_path, line):
    path = tmp_path / "progress.jsonl"
    ledger = Ledger(path, "m")
    for n in range(3):
        ledger.enter(n, 0, 0)
    lines = path.read_bytes().split(b"\n")
    path.write_bytes(b"\n".join([*lines[:2], line, lines[3]]))
    assert Ledger(path, "m").done == {(0, 0, 0), (2, 0, 0)}


def test_a_damaged_first_line_is_work_that_nobody_knows(tmp_path):
    path = tmp_path / "progress.jsonl"
    Ledger(path, "m").enter(0, 0, 0)
    path.write_bytes(b"\xff" + path.read_bytes())
    assert Ledger(path, "m").done == set()
