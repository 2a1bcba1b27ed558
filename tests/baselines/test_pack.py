import numpy as np
import pytest

from baselines.layout import DataError
from baselines.pack import pack
from evaluator.errors import EvaluatorError
from evaluator.geometry import VoxelGrid
from evaluator.manifest import Crop, Kind, Label, Manifest, Target
from evaluator.submission import open_submission
from evaluator.volume import create_volume

GRID = VoxelGrid((2, 6, 8), (8.0, 4.0, 4.0), (16.0, 0.0, 0.0))
MITO = Target(Crop("7", "d"), Label("mito", 50, Kind.INSTANCE), GRID)
MEM = Target(Crop("7", "d"), Label("mem", 75, Kind.SEMANTIC), GRID)
MANIFEST = Manifest((MEM, MITO))


def store(folder, target, values, grid=GRID):
    array = create_volume(folder / target.path, grid, values.dtype)
    array[:] = values


def ids():
    values = np.zeros(GRID.shape, np.uint32)
    values[0, :2, :2], values[1, 4:, 4:] = 3, 9
    return values


def test_what_was_predicted_is_what_is_submitted(tmp_path):
    mask = (np.arange(GRID.voxels).reshape(GRID.shape) % 2).astype(np.uint8)
    store(tmp_path, MITO, ids())
    store(tmp_path, MEM, mask)
    assert pack(tmp_path, MANIFEST, tmp_path / "out.zip").accepted
    submission = open_submission(tmp_path / "out.zip", MANIFEST)
    np.testing.assert_array_equal(submission.read(MITO), ids())
    np.testing.assert_array_equal(submission.read(MEM), mask)


def test_the_same_predictions_give_the_same_bytes(tmp_path):
    store(tmp_path, MITO, ids())
    for name in ("a.zip", "b.zip"):
        pack(tmp_path, MANIFEST, tmp_path / name)
    assert (tmp_path / "a.zip").read_bytes() == (tmp_path / "b.zip").read_bytes()


def test_a_finer_prediction_is_read_at_the_nearest_voxels(tmp_path):
    fine = VoxelGrid((2, 12, 16), (8.0, 2.0, 2.0), GRID.offset)
    store(tmp_path, MITO, ids().repeat(2, axis=1).repeat(2, axis=2), fine)
    pack(tmp_path, MANIFEST, tmp_path / "out.zip")
    np.testing.assert_array_equal(open_submission(tmp_path / "out.zip", MANIFEST).read(MITO), ids())


def test_what_is_missing_is_left_out_and_named(tmp_path):
    store(tmp_path, MITO, ids())
    report = pack(tmp_path, MANIFEST, tmp_path / "out.zip")
    assert report.targets == {"crop7/mem": "missing", "crop7/mito": "ok"}
    assert open_submission(tmp_path / "out.zip", MANIFEST).read(MEM) is None


def test_other_folders_beside_the_labels_are_not_packed(tmp_path):
    store(tmp_path, MITO, ids())
    create_volume(tmp_path / "crop7" / "probabilities" / "mito", GRID, np.uint8)[:] = 200
    report = pack(tmp_path, MANIFEST, tmp_path / "out.zip")
    assert not [problem for problem in report.problems if problem.label == "probabilities"]


def test_a_folder_that_is_no_array_is_an_error_that_names_it(tmp_path):
    (tmp_path / "crop7" / "mito").mkdir(parents=True)
    with pytest.raises(EvaluatorError, match="mito"):
        pack(tmp_path, MANIFEST, tmp_path / "out.zip")
    assert not (tmp_path / "out.zip").exists()


def test_an_empty_folder_is_an_error_that_says_what_was_expected(tmp_path):
    with pytest.raises(DataError, match="expected folders such as crop7/mem"):
        pack(tmp_path, MANIFEST, tmp_path / "out.zip")
