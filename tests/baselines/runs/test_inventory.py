"""Runs below a folder."""

import pytest

from baselines.runs.inventory import Listed, listed, remove, size_of, spare
from baselines.runs.journal import Noted, Trained, Validated
from baselines.runs.status import Stage
from tests.baselines.runs.test_status import begun


def told(iteration):
    return Trained(iteration, 6, 1, 1, (0.5,), 1e-3)


def test_a_run_is_listed_with_how_far_and_how_good_it_is(tmp_path):
    best = Validated(4, 0.1, {"cell": 0.7}, 0.7, True)
    later = Validated(6, 0.1, {"cell": 0.6}, 0.6, False)
    begun(tmp_path / "a", told(2), best, told(4), later)
    (run,) = listed(tmp_path)
    assert (run.folder, run.name) == (tmp_path / "a", "segmentation")
    assert (run.iteration, run.iterations) == (4, 6)
    assert run.best == 0.7
    assert run.labels == ("cell", "mem")
    assert run.stage is Stage.BROKEN  # nobody trains, and nobody said why
    assert run.bytes == size_of(tmp_path / "a")


def test_a_run_is_finished_when_it_said_so(tmp_path):
    begun(tmp_path / "a", told(6), Noted(6, "done", "done"))
    begun(tmp_path / "b", told(6), Noted(6, "stopped", "stopped"))
    assert [run.stage for run in listed(tmp_path)] == [Stage.DONE, Stage.STOPPED]


def test_the_folds_of_an_ensemble_are_runs(tmp_path):
    begun(tmp_path / "e" / "fold-0", told(1))
    begun(tmp_path / "e" / "fold-1", told(2))
    assert [run.iteration for run in listed(tmp_path)] == [1, 2]


def test_a_folder_without_runs_lists_none(tmp_path):
    (tmp_path / "config.json").write_text("{}")
    assert listed(tmp_path) == []
    assert listed(tmp_path / "nowhere") == []


@pytest.mark.parametrize(
    ("stage", "names"),
    [(Stage.DONE, ["cache", "last.pt"]), (Stage.STOPPED, ["cache"]), (Stage.RUNNING, ["cache"])],
)
def test_only_a_finished_run_can_spare_its_state(tmp_path, stage, names):
    (tmp_path / "cache").mkdir()
    (tmp_path / "last.pt").write_text("state")
    (tmp_path / "best_model.pth").write_text("weights")
    run = Listed(tmp_path, "a", (), 1, 1, None, stage, 0)
    assert sorted(path.name for path in spare(run)) == names


def test_removing_and_measuring_take_files_and_folders(tmp_path):
    (tmp_path / "f" / "g").mkdir(parents=True)
    (tmp_path / "f" / "g" / "x").write_bytes(b"12345")
    (tmp_path / "f" / "link").symlink_to(tmp_path / "y")
    (tmp_path / "y").write_bytes(b"123")
    assert (size_of(tmp_path / "f"), size_of(tmp_path / "y")) == (5, 3)
    remove(tmp_path / "f")
    assert [p.name for p in tmp_path.iterdir()] == ["y"]
    remove(tmp_path / "y")
    assert list(tmp_path.iterdir()) == []
