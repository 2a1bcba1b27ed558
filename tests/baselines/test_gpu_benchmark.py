"""The benchmark for GPUs runs on a CPU, too, and foretells from what it measured."""

import json
import math

import pytest

from baselines.config import PredictionConfig
from baselines.predicting.tiling import Tiling, columns, plan_tiling
from benchmarks.extrapolation import hours_of, shapes_at, tiles_of
from benchmarks.gpu import main

TABLE = """\
crop_name,dataset,class_label,voxel_size,translation,shape
1,here,mito,[4.0;4.0;4.0],[0.0;0.0;0.0],[300;300;301]
1,here,nuc,[4.0;4.0;4.0],[0.0;0.0;0.0],[300;300;301]
2,there,mito,[32.0;16.0;16.0],[0.0;0.0;0.0],[10;20;30]
"""
PREDICTION = {
    "settings": {"tile": [32, 64, 64], "overlap": [8, 16, 16], "block": [32, 64, 64]},
    "multiple": [4, 4, 4], "channels": 3, "seconds_per_tile": 3600.0,
}  # fmt: skip


@pytest.fixture
def table(tmp_path):
    path = tmp_path / "crops.csv"
    path.write_text(TABLE)
    return path


def test_the_whole_benchmark_runs_on_a_cpu(tmp_path, table, capsys):
    out = tmp_path / "gpu.json"
    words = ["--device", "cpu", "--tiny", "--size", "64", "--compile", "off", "--minutes", "0.3"]
    status = main([*words, "--json", str(out), "--crops", str(table)])
    told = json.loads(out.read_text())
    late = {name: why for name, why in told["failed"].items() if "minutes are over" not in why}
    assert late == {}
    assert status == bool(told["failed"])
    training, prediction = told["found"]["training, not compiled"], told["found"]["prediction"]
    assert 0 < training["share_of_resident"] < 3
    assert 0 <= training["waited"] <= 1
    assert training["voxels_per_s"] == pytest.approx(8 * 32 * 32 * training["patches_per_s"])
    assert prediction["coverage"] == 1
    assert prediction["gvoxel_per_h"] > 0
    assert told["found"]["test crops at 8 nm"]["crops"] == 2
    printed = capsys.readouterr().out
    assert all(f"{name}: " in printed for name in told["found"])


def test_a_table_that_is_missing_fails_loudly_and_what_was_measured_stays_usable(
    tmp_path, table, capsys
):
    earlier = tmp_path / "gpu.json"
    earlier.write_text(json.dumps({"found": {"prediction": PREDICTION}, "failed": {}}))
    words = ["--from", str(earlier), "--crops"]
    assert main([*words, str(tmp_path / "nowhere.csv")]) == 1
    assert "FAILED, FileNotFoundError" in capsys.readouterr().out
    assert main([*words, str(table)]) == 0
    assert "hours" in capsys.readouterr().out


def test_what_was_not_measured_foretells_nothing(tmp_path, table, capsys):
    earlier = tmp_path / "gpu.json"
    earlier.write_text(json.dumps({"found": {}, "failed": {}}))
    assert main(["--from", str(earlier), "--crops", str(table)]) == 1
    assert "the part prediction was not measured" in capsys.readouterr().out


def test_parts_begin_only_while_there_is_time(capsys):
    assert main(["--device", "cpu", "--tiny", "--minutes", "0"]) == 1
    assert "device: left out: the minutes are over" in capsys.readouterr().out


def test_crops_have_the_size_of_their_box_at_other_voxels(table):
    assert shapes_at(table, 8.0) == {"1": (150, 150, 151), "2": (40, 40, 60)}


def test_the_challenge_has_sixteen_test_crops(real_data):
    shapes = shapes_at(real_data / "cellmap/test_crop_manifest.csv", 8.0)
    assert len(shapes) == 16
    assert shapes["985"] == (4000, 4000, 4000)  # 1000 voxels of 32 nm
    assert shapes["562"] == (300, 300, 300)  # of 8 nm


@pytest.mark.parametrize("shape", [(100, 130, 200), (20, 64, 65), (33, 300, 10)])
def test_tiles_are_counted_as_prediction_makes_them(shape):
    tiling = Tiling(shape, (32, 64, 64), (8, 16, 16), (32, 64, 128))
    blocks = sorted(tiling.blocks(), key=lambda block: (block.start[1:], block.start[0]))
    assert tiles_of(tiling) == sum(len(list(tiling.tiles(box))) for box in columns(blocks))


def test_hours_are_those_of_the_tiles_of_all_crops(table):
    found = hours_of(PREDICTION, table)
    settings = PredictionConfig(**PREDICTION["settings"])
    shapes = shapes_at(table, 8.0).values()
    tiles = [tiles_of(plan_tiling(shape, settings, (4, 4, 4), channels=3)) for shape in shapes]
    assert tiles[1] == 2  # 40 planes: two tiles; the plane of 40 x 60 is smaller than one
    assert found["hours"] == found["tiles"] == sum(tiles)
    assert found["gvoxel"] == pytest.approx(sum(map(math.prod, shapes)) / 1e9)
