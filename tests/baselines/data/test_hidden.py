"""Which crops are to be predicted, and where they lie, in every layout."""

import numpy as np
import pytest

from baselines.data.hidden import around, find_hidden, label_definitions, manifest_at
from baselines.fetching.published import CELLMAP
from baselines.layout import DataError, DataFolder
from evaluator.errors import EvaluatorError
from evaluator.geometry import VoxelGrid
from evaluator.manifest import Crop, Kind, Label, Target, format_manifest, load_manifest
from tests.baselines.trees import MEM, MITO, RAW, published, specimen

ONE = VoxelGrid((16, 20, 24), (4.0,) * 3, (66.0,) * 3)
TWO = VoxelGrid((8, 8, 8), (8.0,) * 3, (132.0, 100.0, 100.0))


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    """Tests only read it."""
    folder = tmp_path_factory.mktemp("tree")
    return DataFolder(published(folder, {"557": ONE, "558": TWO}, raw=specimen()))


def test_the_crops_of_a_tree_are_those_of_its_test_manifest(tree):
    one, two = find_hidden(tree)
    assert (one.name, one.box) == ("crop557", ONE)
    assert (two.name, two.box) == ("crop558", TWO)
    assert one.raw == two.raw == tree.root / RAW.format("jrc_a")


@pytest.mark.parametrize("names", [["558"], ["crop558"], ["558", "crop558"]])
def test_a_single_crop_is_had_by_either_of_its_names(tree, names):
    assert [crop.name for crop in find_hidden(tree, names)] == ["crop558"]


def test_raw_lies_where_the_template_says(tree):
    crops = find_hidden(tree, raw="{dataset}/of/{crop}")
    assert [str(crop.raw.relative_to(tree.root)) for crop in crops] == [
        "jrc_a/of/crop557", "jrc_a/of/crop558",
    ]  # fmt: skip
    with pytest.raises(DataError, match=r"may hold \{dataset\}, \{crop\} and no \.\."):
        find_hidden(tree, raw="../{dataset}")


def test_an_unknown_crop_is_named_with_those_that_are_there_and_how_to_get_it(tree):
    message = rf"{tree.root} has no test crop 9; it has crop557, crop558. Get it with `baselines "
    with pytest.raises(DataError, match=message + rf"fetch SOURCE --dest {tree.root} --crops 9`"):
        find_hidden(tree, ["557", "9"])


def test_a_folder_without_test_crops_says_how_to_get_them(tmp_path):
    with pytest.raises(
        DataError, match=rf"`baselines fetch SOURCE --dest {tmp_path} --crops test`"
    ):
        find_hidden(DataFolder(tmp_path))


def test_the_crops_of_a_data_folder_lie_in_their_own_raw(phantom):
    (crop,) = find_hidden(phantom)
    assert crop.raw == phantom.root / "hidden/phantom-hidden-1/raw"
    assert crop.box == load_manifest(phantom.challenge).targets[0].grid


def test_raw_that_no_manifest_names_is_predicted_as_a_whole(tmp_path):
    (tmp_path / "hidden/mine/raw").mkdir(parents=True)
    (crop,) = find_hidden(DataFolder(tmp_path))
    assert (crop.name, crop.box) == ("mine", None)


def test_the_box_of_a_crop_reaches_around_all_its_targets():
    coarse = VoxelGrid((4, 4, 4), (16.0,) * 3, (72.0,) * 3)  # 64 to 128 nm
    fine = VoxelGrid((8, 8, 30), (4.0,) * 3, (66.0, 66.0, 50.0))  # 64 to 96, X: 48 to 168 nm
    box = around([coarse, fine])
    assert box == VoxelGrid((16, 16, 30), (4.0,) * 3, (66.0, 66.0, 50.0))
    assert around([coarse]) == coarse
    inexact = VoxelGrid((10, 10, 10), (5.24, 4.0, 4.0), (23837.13, 7599.1, 0.3))
    assert around([inexact, inexact]).shape == (10, 10, 10)
    np.testing.assert_allclose(around([inexact, inexact]).offset, inexact.offset)


def test_a_manifest_is_found_in_the_folder_of_data(tree, phantom):
    assert manifest_at(tree.root) == tree.root / CELLMAP.test_manifest
    assert manifest_at(phantom.root) == phantom.challenge / "manifest.csv"
    assert manifest_at(phantom.challenge) == phantom.challenge


def test_labels_without_a_table_are_those_of_the_challenge(tmp_path, tree):
    assert label_definitions(tree) == {"mem": MEM, "mito": MITO}
    row = Target(Crop("9", "jrc_a"), Label("nuc", 37, Kind.INSTANCE), ONE)
    (tmp_path / CELLMAP.test_manifest).write_text(format_manifest([row]))
    assert label_definitions(DataFolder(tmp_path))["nuc"].id == 37
    assert label_definitions(DataFolder(tmp_path / "nothing")) == {}


def test_a_damaged_manifest_is_named(tmp_path):
    (tmp_path / CELLMAP.test_manifest).write_text("crop_name\n557\n")
    with pytest.raises(EvaluatorError, match=CELLMAP.test_manifest):
        find_hidden(DataFolder(tmp_path))
