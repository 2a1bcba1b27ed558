"""The benchmark of ensembles, from its parts to a whole run of the smallest size."""

import numpy as np
import pytest

from baselines.phantoms.phantom import PhantomPlan
from benchmarks.ensembles import LABELS, auroc, measure, report

SMALL = PhantomPlan(
    shape=(2, 64, 64), voxel_size=(8.0, 8.0, 8.0), seed=1, train=2, hidden=1, cell_nm=300.0
)


@pytest.mark.parametrize(
    ("low", "high", "area"),
    [
        ([4, 0, 0], [0, 0, 2], 1.0),
        ([0, 0, 4], [2, 0, 0], 0.0),
        ([3, 3, 3], [1, 1, 1], 0.5),
        ([2, 1, 1], [0, 1, 1], (2.5 + 3.5) / 8),
    ],
)
def test_an_area_is_the_chance_that_an_error_is_the_less_certain_of_two_voxels(low, high, area):
    assert auroc(np.array(low), np.array(high)) == pytest.approx(area)


def test_the_whole_benchmark_runs_on_small_volumes(tmp_path):
    found = measure(tmp_path, 2, SMALL)
    assert set(found["dice"]) == set(found["auroc"]) == set(LABELS)
    assert len(found["alone"]) == 2
    assert found["gain"] == pytest.approx(
        np.mean(list(found["dice"].values())) - found["best alone"]
    )
    assert all(0 <= area <= 1 for area in found["auroc"].values())
    assert found["flagged"] == {"usual": 0, "noise": 0, "blur": 0}  # two images tell nothing
    assert "bar: +0.003" in report(found)[0]
