import csv
import json

import numpy as np
import pytest
import tifffile
import zarr
from typer.testing import CliRunner

from baselines.cli import app
from baselines.config import ConfigError
from baselines.layout import DataError
from baselines.objects.decoding import Thresholds
from baselines.objects.heads import BCD, SEMANTIC, Head
from baselines.objects.recipe import Recipe, keep_recipe
from baselines.predicting.output import create_stored, result_of
from baselines.predicting.remaking import remake, value_of
from evaluator.geometry import VoxelGrid
from evaluator.manifest import Kind
from evaluator.volume import create_volume
from tests.baselines.cells import CUBE, cells, head_of, seen

IDS = cells((24, 32, 32), 10, radius=8)
GRID = VoxelGrid(IDS.shape, CUBE, (16.0, 0.0, 0.0))


def silent(text):
    del text


@pytest.fixture
def predictions(tmp_path):
    """A crop with objects and a mask, stored as prediction stores them, and its raw."""
    crop = tmp_path / "pred" / "crop-1"
    recipes = {
        "cell": Recipe(Kind.INSTANCE, head_of(BCD), Thresholds(seed_mask=0.5, seed_contour=0.5)),
        "mem": Recipe(Kind.SEMANTIC, Head("mem", SEMANTIC, CUBE), Thresholds()),
    }
    for label, recipe in recipes.items():
        given = seen(IDS, recipe.head)
        path, many = crop / "probabilities" / label, len(given)
        stored = create_stored(path, GRID, channels=many, chunks=(16, 16, 16), about={})
        stored[:] = given if many > 1 else given[0]
        keep_recipe(stored, recipe)
    raw = create_volume(tmp_path / "raw", GRID, np.uint8)
    raw[:] = np.where(IDS > 0, 50, 200)
    about = {"raw": str(tmp_path / "raw"), "labels": {"cell": {"kind": "instance"}, "mem": {}}}
    (crop / "metadata.json").write_text(json.dumps(about))
    remake(tmp_path / "pred", progress=silent)
    return tmp_path / "pred"


def objects(predictions):
    return np.asarray(result_of(predictions / "crop-1" / "cell")[:])


def test_what_is_missing_is_made_and_the_rest_stays(predictions):
    assert objects(predictions).max() == 10
    result_of(predictions / "crop-1" / "mem")  # it is there
    array = zarr.open_array(predictions / "crop-1" / "cell" / "s0", mode="r+")
    array[0, 0, 0] = 77
    remake(predictions, progress=silent)
    assert objects(predictions)[0, 0, 0] == 77


def test_other_settings_make_other_objects_and_are_remembered(predictions):
    remake(predictions, labels=["cell"], changes={"smallest_nm3": 1e9}, progress=silent)
    assert objects(predictions).max() == 0
    remake(predictions, labels=["cell"], changes={"mask": 0.4}, progress=silent)
    assert objects(predictions).max() == 0  # still
    about = json.loads((predictions / "crop-1" / "metadata.json").read_text())
    assert about["labels"]["cell"]["objects"] == 0
    assert about["labels"]["cell"]["thresholds"]["mask"] == 0.4
    assert about["labels"]["mem"]["objects"] is None
    assert not list((predictions / "crop-1").glob(".*"))


def test_a_stack_beside_the_array_is_made_anew_too(predictions):
    tifffile.imwrite(predictions / "crop-1" / "cell.tif", np.zeros(IDS.shape, np.uint32))
    remake(predictions, changes={"mask": 0.55}, progress=silent)
    stack = tifffile.imread(predictions / "crop-1" / "cell.tif")
    np.testing.assert_array_equal(stack, objects(predictions))
    assert not (predictions / "crop-1" / "mem.tif").exists()


def test_the_command_writes_a_table_of_objects(predictions):
    before = objects(predictions)
    done = CliRunner().invoke(app, ["objects", str(predictions), "--stats", "--label", "cell"])
    assert done.exit_code == 0, done.output
    with (predictions / "crop-1" / "cell.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [int(row["voxels"]) for row in rows] == np.bincount(before.ravel())[1:].tolist()
    assert {row["median"] for row in rows} == {"50.0"}
    assert float(rows[0]["centroid_z_nm"]) >= 16
    np.testing.assert_array_equal(objects(predictions), before)


def test_the_command_changes_what_it_is_told(predictions):
    arguments = ["objects", str(predictions), "--set", "smallest_nm3=1e9", "--crop", "crop-1"]
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 0, done.output
    assert "crop-1: cell: 0 objects" in done.output
    assert "crop-1: mem: mask" in done.output


def test_a_table_without_raw_says_so(predictions, tmp_path):
    (tmp_path / "raw").rename(tmp_path / "elsewhere")
    said = []
    remake(predictions, labels=["cell"], stats=True, progress=said.append)
    assert "without grey values" in said[-1]


def test_what_is_not_there_is_named(predictions, tmp_path):
    with pytest.raises(DataError, match=r"crop-9; there are crop-1"):
        remake(predictions, crops=["crop-9"])
    with pytest.raises(DataError, match=r"nuc; there are cell, mem"):
        remake(predictions, labels=["nuc"])
    with pytest.raises(DataError, match="predict first"):
        remake(tmp_path / "nothing")


@pytest.mark.parametrize("text", ["mask", "mask=", "mask=high", "mask=-1", "mask=nan"])
def test_a_change_is_a_name_and_a_number(text):
    with pytest.raises(ConfigError, match="NAME=VALUE"):
        value_of(text)
    assert value_of("fill_holes=false") == ("fill_holes", False)
    assert value_of("bias=0.25") == ("bias", 0.25)
