"""The made-up challenge that other tests stand on."""

import numpy as np

from evaluator import Kind, check_submission, load_manifest, open_volume
from tests.synthetic import predict, write_challenge, write_submission


def test_the_same_seed_makes_the_same_challenge(tmp_path):
    one = write_challenge(tmp_path / "1", crops=1, size=32, seed=3)
    two = write_challenge(tmp_path / "2", crops=1, size=32, seed=3)
    other = write_challenge(tmp_path / "3", crops=1, size=32, seed=4)
    assert one == two == other

    def voxels(folder: str) -> np.ndarray:
        return open_volume(tmp_path / folder / "truth.zarr" / "crop1" / "mito").read()

    assert np.array_equal(voxels("1"), voxels("2"))
    assert not np.array_equal(voxels("1"), voxels("3"))


def test_a_challenge_has_both_kinds_of_labels_and_truth_on_every_grid(tmp_path):
    manifest = write_challenge(tmp_path, crops=2, size=32)
    assert load_manifest(tmp_path) == manifest
    kinds = {name: label.kind for name, label in manifest.labels.items()}
    instance = dict.fromkeys(("mito", "nucleus"), Kind.INSTANCE)
    assert kinds == {"membrane": Kind.SEMANTIC} | instance
    for target in manifest.targets:
        volume = open_volume(tmp_path / "truth.zarr" / target.path)
        assert volume.grid == target.grid
        assert volume.read().any()


def test_predictions_of_full_quality_are_the_truth_under_other_ids(tmp_path):
    write_challenge(tmp_path, crops=1, size=32)
    for path, pred in predict(tmp_path, quality=1.0).items():
        truth = open_volume(tmp_path / "truth.zarr" / path).read()
        assert np.array_equal(pred > 0, truth > 0)


def test_a_written_submission_is_accepted_whole_and_the_same_each_time(tmp_path):
    manifest = write_challenge(tmp_path, size=32)
    for name in ("a.zip", "b.zip"):
        write_submission(tmp_path / name, tmp_path, quality=0.5)
    assert (tmp_path / "a.zip").read_bytes() == (tmp_path / "b.zip").read_bytes()
    assert check_submission(tmp_path / "a.zip", manifest).problems == ()
