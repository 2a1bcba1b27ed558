import tomllib

import pytest

from baselines.layout import DataError, DataFolder, Purpose, crop_of
from evaluator.geometry import VoxelGrid
from evaluator.manifest import Crop, Kind, Label, Target, load_manifest

GRID = VoxelGrid((2, 3, 4), (1.0, 1.0, 1.0))
MITO = Label("mito", 50, Kind.INSTANCE)


def target(crop, label=MITO):
    return Target(Crop(crop, "d"), label, GRID)


def test_targets_of_several_calls_are_kept_together(tmp_path):
    data = DataFolder(tmp_path)
    data.add_targets(Purpose.TRAIN, [target("a")])
    data.add_targets(Purpose.TRAIN, [target("b")])
    assert list(data.manifest(Purpose.TRAIN).by_path) == ["a/mito", "b/mito"]


def test_a_crop_that_comes_again_replaces_its_targets(tmp_path):
    data, mem = DataFolder(tmp_path), Label("mem", 2, Kind.SEMANTIC)
    data.add_targets(Purpose.TRAIN, [target("a"), target("a", mem)])
    data.add_targets(Purpose.TRAIN, [target("a", mem)])
    assert list(data.manifest(Purpose.TRAIN).by_path) == ["a/mem"]


def test_the_bundle_holds_the_hidden_targets_only(tmp_path):
    data = DataFolder(tmp_path)
    data.add_targets(Purpose.TRAIN, [target("a")])
    data.add_targets(Purpose.HIDDEN, [target("b")])
    assert list(load_manifest(data.challenge).by_path) == ["b/mito"]
    assert data.label(Purpose.HIDDEN, target("b")) == tmp_path / "challenge/truth.zarr/b/mito"


def test_a_label_cannot_change_its_meaning(tmp_path):
    data = DataFolder(tmp_path)
    data.add_targets(Purpose.TRAIN, [target("a")])
    with pytest.raises(DataError, match="defines mito as instance with id 50"):
        data.add_targets(Purpose.HIDDEN, [target("b", Label("mito", 50, Kind.SEMANTIC))])


def test_titles_may_hold_quotes(tmp_path):
    data = DataFolder(tmp_path)
    data.describe_challenge(slug="a", title='The "best"', summary="two\nlines", overview="# A\n")
    bundle = tomllib.loads((data.challenge / "challenge.toml").read_text())
    assert bundle["title"] == 'The "best"'
    assert bundle["summary"] == "two lines"


def test_a_number_and_its_folder_name_are_the_same_crop():
    assert crop_of("crop557", "d") == crop_of("557", "d") == Crop("557", "d")
    assert crop_of("crop-a", "d").folder == "crop-a"
