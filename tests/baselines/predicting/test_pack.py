import numpy as np
import pytest
import tifffile

from baselines.layout import DataError
from baselines.predicting.output import add_levels, create_result
from baselines.predicting.pack import Counted, described, pack
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


def test_what_is_missing_is_one_line_for_a_crop_and_one_for_a_label(tmp_path):
    crops, labels = ("7", "8", "9"), (MEM.label, MITO.label, Label("nuc", 37, Kind.SEMANTIC))
    targets = tuple(Target(Crop(crop, "d"), label, GRID) for crop in crops for label in labels)
    manifest = Manifest(tuple(sorted(targets, key=lambda target: target.path)))
    for path in ("crop7/mem", "crop7/mito", "crop8/mito"):
        store(tmp_path, manifest.by_path[path], ids())
    said = described(pack(tmp_path, manifest, tmp_path / "out.zip"))
    assert said == [
        "unscored: crop8/mem is missing.",
        "unscored: no prediction of crop9: make them with `baselines predict RUN --data DATA "
        "--crops crop9`, into the same folder.",
        "unscored: no prediction of nuc in any crop: the model did not learn them.",
    ]


def test_a_prediction_of_a_part_of_its_crop_is_told_of(tmp_path):
    store(tmp_path, MITO, ids()[:1], VoxelGrid((1, 6, 8), GRID.voxel_size, GRID.offset))
    beyond = VoxelGrid((2, 13, 17), (8.0, 2.0, 2.0), (16.0, -1.0, -1.0))
    store(tmp_path, MEM, np.ones(beyond.shape, np.uint8), beyond)
    report = pack(tmp_path, MANIFEST, tmp_path / "out.zip")
    (note,) = [problem for problem in report.problems if problem.code == "partial_cover"]
    assert note.message.startswith("the prediction of crop7/mito covers only a part of the crop")
    found = open_submission(tmp_path / "out.zip", MANIFEST).read(MITO)
    np.testing.assert_array_equal(found[0], ids()[0])
    assert not found[1].any()


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


def test_more_objects_than_can_be_scored_in_time_are_told_of(tmp_path):
    store(tmp_path, MITO, ids())
    store(tmp_path, MEM, np.arange(GRID.voxels, dtype=np.uint8).reshape(GRID.shape) % 2)
    report = pack(tmp_path, MANIFEST, tmp_path / "out.zip", most_objects=1)
    assert report.accepted
    (note,) = [problem for problem in report.problems if problem.code == "many_objects"]
    assert "crop7/mito holds 2 objects" in note.message
    enough = pack(tmp_path, MANIFEST, tmp_path / "out.zip", most_objects=2)
    assert "many_objects" not in {problem.code for problem in enough.problems}


def test_objects_are_counted_on_the_grid_of_their_target(tmp_path):
    # Of a checkerboard of 4 x the voxels, every second object has no voxel on the target's grid.
    fine = VoxelGrid((2, 12, 16), (8.0, 2.0, 2.0), GRID.offset)
    store(tmp_path, MITO, np.arange(1, fine.voxels + 1, dtype=np.uint32).reshape(fine.shape), fine)
    report = pack(tmp_path, MANIFEST, tmp_path / "out.zip", most_objects=1)
    (note,) = [problem for problem in report.problems if problem.code == "many_objects"]
    assert f"holds {GRID.voxels} objects" in note.message


def test_a_stack_is_packed_where_there_is_no_array(tmp_path):
    (tmp_path / "crop7").mkdir()
    tifffile.imwrite(tmp_path / "crop7/mito.tif", ids(), photometric="minisblack")
    report = pack(tmp_path, MANIFEST, tmp_path / "out.zip")
    assert report.targets["crop7/mito"] == "ok"
    np.testing.assert_array_equal(open_submission(tmp_path / "out.zip", MANIFEST).read(MITO), ids())


def test_a_stack_of_another_shape_is_refused_as_it_does_not_know_where_it_lies(tmp_path):
    (tmp_path / "crop7").mkdir()
    tifffile.imwrite(tmp_path / "crop7/mito.tif", ids()[:1], photometric="minisblack")
    with pytest.raises(DataError, match=r"mito.tif has shape \(1, 6, 8\).*has \(2, 6, 8\)"):
        pack(tmp_path, MANIFEST, tmp_path / "out.zip")
    assert not (tmp_path / "out.zip").exists()


def test_levels_of_a_prediction_are_packed_from_the_finest(tmp_path):
    create_result(tmp_path / MITO.path, GRID, np.uint32)[:] = ids()
    add_levels(tmp_path / MITO.path)
    pack(tmp_path, MANIFEST, tmp_path / "out.zip")
    np.testing.assert_array_equal(open_submission(tmp_path / "out.zip", MANIFEST).read(MITO), ids())


def test_a_tall_prediction_is_never_whole_in_memory(tmp_path, monkeypatch):
    grid = VoxelGrid((150, 64, 64), (8.0, 4.0, 4.0))
    tall = Target(Crop("7", "d"), Label("mito", 50, Kind.INSTANCE), grid)
    store(tmp_path, tall, np.ones(grid.shape, np.uint8), grid)
    depths, planes = [], Counted.planes

    def noting(self, start, stop):
        depths.append(stop - start)
        return planes(self, start, stop)

    monkeypatch.setattr(Counted, "planes", noting)
    assert pack(tmp_path, Manifest((tall,)), tmp_path / "out.zip").accepted
    assert sum(depths) == 150
    assert max(depths) < 150
