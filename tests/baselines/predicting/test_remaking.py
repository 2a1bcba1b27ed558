import csv
import json
import shutil
import signal
import subprocess
import sys

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
from baselines.objects.recipe import Recipe, keep_recipe, recipe_of
from baselines.predicting.output import create_stored, metadata_of, result_of, write_metadata
from baselines.predicting.remaking import remake, value_of
from benchmarks.cells import CUBE, cells, head_of, seen
from evaluator.geometry import VoxelGrid
from evaluator.manifest import Kind
from evaluator.volume import create_volume

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
    labels = {"cell": {"kind": "instance", "id": 3}, "mem": {"id": 300}}
    about = {"raw": str(tmp_path / "raw"), "labels": labels}
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


def test_without_anything_to_do_it_says_so_and_what_could_be_done(predictions):
    done = CliRunner().invoke(app, ["objects", str(predictions)])
    assert done.exit_code == 0, done.output
    assert "nothing is left to do" in done.output
    assert "--set NAME=VALUE" in done.output
    assert "--stats" in done.output


def test_a_table_that_is_there_follows_its_label(predictions):
    remake(predictions, labels=["cell"], stats=True, progress=silent)
    remake(predictions, labels=["cell"], changes={"smallest_nm3": 1e9}, progress=silent)
    assert len((predictions / "crop-1" / "cell.csv").read_text().splitlines()) == 1  # its heading


def described(predictions, **about):
    """Add to what metadata.json says."""
    write_metadata(predictions / "crop-1", metadata_of(predictions / "crop-1") | about)


def test_the_stack_of_all_labels_follows_what_was_changed(predictions):
    crop = predictions / "crop-1"
    described(predictions, prediction={"output": "both"})
    remake(predictions, changes={"mask": 0.55}, progress=silent)
    stack = tifffile.imread(crop / "segmentation.tif")
    assert set(np.unique(stack)) <= {0, 3, 300}
    np.testing.assert_array_equal(stack > 0, (objects(predictions) > 0) | mask(predictions))
    remake(predictions, changes={"mask": 1.0}, progress=silent)
    assert not tifffile.imread(crop / "segmentation.tif").any()


def test_without_all_arrays_the_stack_of_all_labels_goes_rather_than_be_wrong(predictions):
    crop = predictions / "crop-1"
    described(predictions, prediction={"output": "tiff"})
    (crop / "segmentation.tif").write_bytes(b"of older labels")
    shutil.rmtree(crop / "mem")
    said = []
    remake(predictions, labels=["cell"], changes={"mask": 0.55}, progress=said.append)
    assert not (crop / "segmentation.tif").exists()
    assert any("waits for mem" in line for line in said)
    remake(predictions, progress=silent)
    assert (crop / "segmentation.tif").is_file()


def mask(predictions):
    return np.asarray(result_of(predictions / "crop-1" / "mem")[:]) > 0


def consistent(predictions):
    """Whether a label that is there is what recipe and metadata say."""
    crop = predictions / "crop-1"
    about = metadata_of(crop)["labels"]["cell"]
    recipe = recipe_of(zarr.open_array(crop / "probabilities" / "cell", mode="r"))
    if not (crop / "cell").is_dir():
        return True
    agree = about["thresholds"] == recipe.thresholds.to_json()
    return agree and about["objects"] == objects(predictions).max()


FEWER = {"seed_mask": 0.97, "smallest_nm3": 9e5}


@pytest.mark.parametrize("obstacle", ["metadata.json.new", ".cell.tif.part"])
def test_work_that_stops_between_a_label_and_what_tells_of_it_leaves_no_lie(predictions, obstacle):
    crop = predictions / "crop-1"
    described(predictions, prediction={"output": "both"})
    remake(predictions, changes={"mask": 0.5}, progress=silent)
    before = objects(predictions).max()
    (crop / obstacle).mkdir()  # what is written under this name cannot be
    with pytest.raises(OSError, match=obstacle):
        remake(predictions, labels=["cell"], changes=FEWER, progress=silent)
    (crop / obstacle).rmdir()
    assert consistent(predictions)
    remake(predictions, progress=silent)
    assert (crop / "cell").is_dir()
    assert consistent(predictions)
    assert objects(predictions).max() < before
    np.testing.assert_array_equal(tifffile.imread(crop / "cell.tif"), objects(predictions))
    assert (crop / "segmentation.tif").is_file()
    assert not list(crop.glob(".*"))


KILLED = """
import os, pathlib, signal, sys
from baselines.predicting.remaking import remake

def kill(event, names):
    if event == "os.rename" and str(names[1]).endswith("/" + sys.argv[2]):
        os.kill(os.getpid(), signal.SIGKILL)

sys.addaudithook(kill)
changes = {"seed_mask": 0.97, "smallest_nm3": 9e5}
remake(pathlib.Path(sys.argv[1]), labels=["cell"], changes=changes)
"""


@pytest.mark.parametrize("name", ["metadata.json", "crop-1/cell"])
def test_a_kill_before_the_last_step_leaves_no_lie(predictions, name):
    before = objects(predictions).max()
    child = subprocess.run([sys.executable, "-c", KILLED, predictions, name], check=False)
    assert child.returncode == -signal.SIGKILL
    assert consistent(predictions)
    remake(predictions, progress=silent)
    assert consistent(predictions)
    assert 0 < objects(predictions).max() < before


def test_grey_values_are_of_the_channel_that_was_predicted(predictions, tmp_path):
    grid = VoxelGrid(IDS.shape, CUBE, GRID.offset)
    both = np.stack([np.zeros(IDS.shape, np.uint8), np.where(IDS > 0, 70, 9).astype(np.uint8)])
    tifffile.imwrite(tmp_path / "both.tif", both, metadata={"axes": "CZYX"}, ome=True)
    described(predictions, raw=str(tmp_path / "both.tif"), data={"channel": 1, "coarsest": 1.0})
    zarr.open_array(predictions / "crop-1" / "cell" / "s0", mode="r+").attrs.update(
        {"translation": [0.0, 0.0, 0.0], "voxel_size": list(grid.voxel_size)}
    )
    remake(predictions, labels=["cell"], stats=True, progress=silent)
    with (predictions / "crop-1" / "cell.csv").open() as file:
        assert {row["median"] for row in csv.DictReader(file)} == {"70.0"}


def test_grey_values_are_of_the_part_of_a_larger_raw_that_was_predicted(predictions, tmp_path):
    wide = np.full((40, 60, 50), 3, np.uint8)
    wide[8:32, 10:42, 6:38] = np.where(IDS > 0, 90, 3)
    grid = VoxelGrid(wide.shape, CUBE, (16.0 - 64, -80.0, -48.0))
    create_volume(tmp_path / "wide", grid, np.uint8)[:] = wide
    described(predictions, raw=str(tmp_path / "wide"))
    remake(predictions, labels=["cell"], stats=True, progress=silent)
    with (predictions / "crop-1" / "cell.csv").open() as file:
        assert {row["median"] for row in csv.DictReader(file)} == {"90.0"}


def test_raw_that_cannot_be_counted_costs_the_grey_values_alone(predictions, tmp_path):
    raw = create_volume(tmp_path / "floats", GRID, np.float32)
    raw[:] = IDS
    described(predictions, raw=str(tmp_path / "floats"))
    said = []
    remake(predictions, labels=["cell"], stats=True, progress=said.append)
    assert "without grey values: raw holds float32" in said[-1]
    assert "--data" not in said[-1]
