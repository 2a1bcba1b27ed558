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


def test_the_six_published_figures_of_the_platynereis_nuclei(real_data):
    folder = real_data / "eval_platynereis"
    arrays = read(folder, "gt"), read(folder, "pred_voronoi_otsu")
    crop = target(shape=arrays[0].shape)
    sums = score_pair(crop, *arrays, get_protocol("crista-1"))
    tp, fp, fn = sums.voxels.tp, sums.voxels.fp, sums.voxels.fn
    row = label_score(crop.label, sums)
    found = {
        "accuracy": 1 - (fp + fn) / arrays[0].size,
        "precision": tp / (tp + fp),
        "recall": tp / (tp + fn),
        "f1": row["dice"],
        "jaccard_index_binary": row["iou"],
        "jaccard_index_sparse": row["best_iou"],
    }
    published = json.loads((folder / "expected.json").read_text())["published"]
    assert {name: round(value, 3) for name, value in found.items()} == {
        name: published[name] for name in found
    }


# What panoptica 1.5.1 says of `balls(seed)`: seed, tp, fp, fn, sq, rq, pq at IoU 0.5.
PANOPTICA = [
    (0, 8, 4, 4, 0.605402074, 0.666666667, 0.403601383),
    (1, 6, 6, 6, 0.613353623, 0.5, 0.306676812),
    (2, 8, 4, 4, 0.676558512, 0.666666667, 0.451039008),
    (3, 8, 4, 4, 0.621860607, 0.666666667, 0.414573738),
    (4, 7, 4, 4, 0.68111632, 0.636363636, 0.433437658),
    (5, 4, 8, 7, 0.587171842, 0.347826087, 0.204233684),
    (6, 3, 9, 9, 0.600965999, 0.25, 0.1502415),
    (7, 7, 5, 5, 0.586594243, 0.583333333, 0.342179975),
    (8, 8, 4, 4, 0.622365393, 0.666666667, 0.414910262),
    (9, 6, 4, 5, 0.634988929, 0.571428571, 0.362850817),
]


def balls(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Truth and prediction of twelve balls that lie and measure a little differently."""
    rng = np.random.default_rng(seed)
    truth = np.zeros((24, 28, 32), np.uint16)
    pred = truth.copy()
    z, y, x = np.ogrid[:24, :28, :32]
    for number in range(1, 13):
        centre = rng.integers(3, 21, 3)
        radius = rng.uniform(2, 6)
        shift = rng.integers(-1, 2, 3)
        other = radius * rng.uniform(0.9, 1.2)
        for array, at, r in ((truth, centre, radius), (pred, centre + shift, other)):
            ball = (z - at[0]) ** 2 + (y - at[1]) ** 2 + (x - at[2]) ** 2 <= r * r
            array[ball & (array == 0)] = number
    return truth, pred


@pytest.mark.parametrize(("seed", "tp", "fp", "fn", "sq", "rq", "pq"), PANOPTICA)
def test_random_volumes_score_what_panoptica_says(seed, tp, fp, fn, sq, rq, pq):
    truth, pred = balls(seed)
    crop = target(shape=truth.shape)
    sums = score_pair(crop, truth, pred, get_protocol("crista-1"))
    assert sums.good == Counts(tp, fp, fn)
    row = label_score(crop.label, sums)
    assert (row["sq"] or 0.0, row["rq"], row["pq"]) == pytest.approx((sq, rq, pq), abs=1e-9)
