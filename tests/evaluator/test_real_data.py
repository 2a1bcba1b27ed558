"""Real predictions against real truth: the figures that other programs found."""

import json
from pathlib import Path

import numpy as np
import pytest
import tifffile

from evaluator import Counts, Kind, get_protocol, label_score, score_pair
from evaluator.surface import hausdorff_nm
from tests.evaluator.shapes import target

INSTANCES = [
    ("flyem_fibsem", "neurons_gt_z000-127", "pred_ffn_z000-127"),
    ("flyem_fibsem", "neurons_gt_z000-127", "pred_watershed_z000-127"),
    ("flyem_fibsem", "neurons_gt_z128-159", "pred_ffn_z128-159"),
    ("flyem_fibsem", "neurons_gt_z128-159", "pred_watershed_z128-159"),
    ("embryo_nuclei3d", "16_cell_stage_instances", "16_cell_stage_pred_qcanet"),
    ("eval_spine", "unmatched_instance_ref", "unmatched_instance_pred"),
    ("eval_platynereis", "gt", "pred_voronoi_otsu"),
]
FOREGROUND = [
    ("embryo_nuclei3d", "16_cell_stage_instances", "16_cell_stage_pred_qcanet", (1.0, 1.0, 1.0)),
    ("eval_spine", "unmatched_instance_ref", "unmatched_instance_pred", (3.3, 0.58594, 0.58594)),
    ("eval_platynereis", "gt", "pred_voronoi_otsu", (1.0, 1.0, 1.0)),
]


def read(folder: Path, name: str) -> np.ndarray:
    return tifffile.imread(folder / f"{name}.tif")


def reference(folder: Path, pred: str) -> dict:
    """What the folder's expected.json says about a prediction."""
    found = json.loads((folder / "expected.json").read_text())["recomputed"]
    if isinstance(found, dict):
        return found["instances"] if "ref" not in found else found
    return next(row for row in found if row["pred"] == f"{pred}.tif")


@pytest.mark.parametrize(("folder", "truth", "pred"), INSTANCES)
def test_pq_equals_the_reference_to_six_decimals(real_data, folder, truth, pred):
    expected = reference(real_data / folder, pred)["instances"]
    arrays = [read(real_data / folder, name) for name in (truth, pred)]
    crop = target(shape=arrays[0].shape, voxel_size=(10.0, 10.0, 10.0))
    sums = score_pair(crop, *arrays, get_protocol("crista-1"))
    assert sums.good == Counts(expected["tp"], expected["fp"], expected["fn"])
    row = label_score(crop.label, sums)
    assert round(row["pq"], 6) == expected["pq"]
    assert sums.objects.tp + sums.objects.fn == expected["n_ref"]
    assert sums.objects.tp + sums.objects.fp == expected["n_pred"]


@pytest.mark.parametrize(("folder", "truth", "pred", "spacing"), FOREGROUND)
def test_voxel_counts_of_the_foreground_equal_the_reference(
    real_data, folder, truth, pred, spacing
):
    expected = reference(real_data / folder, pred)["binary_foreground"]
    arrays = [read(real_data / folder, name) for name in (truth, pred)]
    crop = target(Kind.SEMANTIC, shape=arrays[0].shape)
    sums = score_pair(crop, *arrays, get_protocol("crista-1"))
    assert sums.voxels == Counts(expected["tp"], expected["fp"], expected["fn"])
    row = label_score(crop.label, sums)
    assert round(row["dice"], 6) == expected["dice"]
    assert round(row["iou"], 6) == expected["jaccard"]


@pytest.mark.parametrize(("folder", "truth", "pred", "spacing"), FOREGROUND)
def test_hausdorff_of_the_foreground_equals_simpleitk(real_data, folder, truth, pred, spacing):
    expected = reference(real_data / folder, pred)["sitk_foreground"]["hausdorff"]
    arrays = [read(real_data / folder, name) > 0 for name in (truth, pred)]
    assert hausdorff_nm(*arrays, spacing) == pytest.approx(expected, abs=1e-5)


def test_the_flood_filling_network_stands_above_the_watershed(real_data):
    folder = real_data / "flyem_fibsem"
    truth = read(folder, "neurons_gt_z128-159")
    crop = target(shape=truth.shape, voxel_size=(10.0, 10.0, 10.0))
    scores = [
        label_score(crop.label, score_pair(crop, truth, pred, get_protocol("crista-1")))
        for pred in (read(folder, f"pred_{name}_z128-159") for name in ("ffn", "watershed"))
    ]
    for metric in ("pq", "combined", "f1"):
        assert scores[0][metric] > scores[1][metric]
