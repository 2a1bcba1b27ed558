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
