import csv

import numpy as np
import pytest

from baselines.box import Box
from baselines.layout import DataError
from baselines.objects import object_table as module
from baselines.objects.object_table import Brightness, object_table, write_table
from baselines.volumes.readers import InMemory
from benchmarks.cells import cells
from evaluator.geometry import VoxelGrid


def table(ids, raw=None, **grid):
    raw = None if raw is None else InMemory(raw)
    size = grid.pop("voxel_size", (8.0, 4.0, 4.0))
    return object_table(InMemory(ids), VoxelGrid(ids.shape, size, **grid), raw)


def test_one_object_by_hand():
    ids = np.zeros((3, 4, 5), np.uint32)
    ids[1, 1:3, 2:4] = 7
    raw = np.zeros(ids.shape, np.uint8)
    raw[1, 1:3, 2:4] = [[10, 20], [20, 50]]
    (row,) = table(ids, raw, offset=(100.0, 0.0, 0.0))
    assert (row.id, row.voxels, row.volume_nm3) == (7, 4, 512.0)
    assert row.centroid_nm == (108.0, 6.0, 10.0)
    assert row.box == Box((1, 1, 2), (2, 3, 4))
    assert row.brightness == Brightness(
        min=10, max=50, mean=25, median=20, sd=15.0, sum=100
    )  # deviations 15, 5, 5, 25


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_rows_add_up_over_blocks(monkeypatch, dtype):
    ids = cells((20, 24, 28), 12, radius=6)
    raw = np.random.default_rng(0).integers(0, 250, ids.shape).astype(dtype)
    whole = table(ids, raw)
    monkeypatch.setattr(module, "_BLOCK", (7, 11, 9))
    assert table(ids, raw) == whole
    for row in whole:
        inside = ids == row.id
        grey = raw[inside].astype(float)
        assert row.voxels == inside.sum()
        assert row.brightness.median == np.median(grey)
        assert row.brightness.sd == pytest.approx(grey.std())
        centre = np.argwhere(inside).mean(axis=0) * (8, 4, 4)
        assert row.centroid_nm == pytest.approx(centre, abs=1e-3)
        assert row.box.start == tuple(np.argwhere(inside).min(axis=0))
        assert row.box.stop == tuple(np.argwhere(inside).max(axis=0) + 1)


def test_the_file_has_a_row_per_object_and_no_word_where_nothing_is_known(tmp_path):
    ids = np.zeros((1, 2, 4), np.uint32)
    ids[0, 0, 1], ids[0, 1, 3] = 4, 2
    write_table(table(ids), tmp_path / "objects.csv")
    with (tmp_path / "objects.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["id"] for row in rows] == ["2", "4"]
    assert rows[0]["centroid_x_nm"] == "12.0"
    assert rows[0]["stop_y"] == "2"
    assert rows[0]["median"] == ""


def test_no_object_is_a_table_without_rows(tmp_path):
    assert table(np.zeros((2, 2, 2), np.uint32), np.ones((2, 2, 2), np.uint8)) == []
    write_table([], tmp_path / "objects.csv")
    assert (tmp_path / "objects.csv").read_text().splitlines() == [
        "id,voxels,volume_nm3,centroid_z_nm,centroid_y_nm,centroid_x_nm,start_z,start_y,start_x,"
        "stop_z,stop_y,stop_x,min,max,mean,median,sd,sum"
    ]


def test_raw_that_cannot_be_counted_is_refused():
    ids = np.ones((1, 2, 2), np.uint32)
    with pytest.raises(DataError, match=r"float32.*convert it, or leave it out"):
        table(ids, np.zeros(ids.shape, np.float32))
    with pytest.raises(DataError, match="int16"):
        table(ids, np.full(ids.shape, -1, np.int16))
    with pytest.raises(DataError, match="shape"):
        table(ids, np.zeros((1, 2, 3), np.uint8))
