"""However a volume is cut and whoever computes its parts, the same comes out."""

import dataclasses

import numpy as np
import pytest
import zarr
from distributed import Client, LocalCluster

from baselines.box import Box
from baselines.predicting.blockwise import predict_box
from baselines.predicting.prediction import predict, prepare
from baselines.predicting.predictors import predictor_of
from baselines.predicting.team import team_of
from baselines.predicting.tiling import Tiling
from baselines.volumes.readers import InMemory
from evaluator.geometry import VoxelGrid
from tests.baselines.conftest import tiny, tiny_volume
from tests.baselines.predicting.test_prediction import CPU, noisy, run_in, with_prediction

GRID = VoxelGrid((20, 70, 90), (8.0, 8.0, 8.0))
BLOCKS = [(5, 40, 40), (20, 70, 90), (3, 16, 64), (64, 8, 33)]
ANYHOW = 2  # of 255


@pytest.fixture(scope="module", params=[tiny(), tiny_volume()], ids=["planes", "volumes"])
def run(request, tmp_path_factory):
    training = dataclasses.replace(request.param.training, precision="fp32")
    settings = dataclasses.replace(request.param, training=training)
    return run_in(tmp_path_factory.mktemp("run"), settings)


@pytest.fixture(scope="module")
def subject(tmp_path_factory):
    return noisy(tmp_path_factory.mktemp("volume"), GRID)


@pytest.fixture(scope="module")
def whole(run, subject, tmp_path_factory):
    """Probabilities 0 to 255 of (channels, Z, Y, X), all in memory and at once."""
    team = team_of([run])
    task, _, _ = prepare(team, subject, tmp_path_factory.mktemp("whole"))
    raw = subject.open(team.config).read((0, 0, 0), GRID.shape)
    tiling = Tiling(GRID.shape, task.tiling.tile, task.tiling.overlap, GRID.shape)
    found = predict_box(
        predictor_of(run.model(), device=CPU, bf16=False), InMemory(raw), task.light,
        box=Box((0, 0, 0), GRID.shape), tiling=tiling, channels=team.heads.channels, batch=4,
    )  # fmt: skip
    assert found.std() > 0.01
    return 255 * found


@pytest.fixture(scope="module")
def cluster():
    """Processes that come when they are asked for."""
    with LocalCluster(
        n_workers=1, threads_per_worker=1, processes=True, dashboard_address=None
    ) as workers:
        yield workers


def predicted(run, subject, out, *, cluster="", **prediction):
    config = with_prediction(run.config(), **prediction)
    team = team_of([run], config)
    predict(team, [subject], out, cluster=cluster, device="cpu", progress=lambda _: None)
    folder = out / subject.name / "probabilities"
    arrays = [np.asarray(zarr.open_array(folder / head.label)[:]) for head in team.heads]
    return np.concatenate([array.reshape(-1, *GRID.shape) for array in arrays]).astype(float)


@pytest.mark.parametrize("block", BLOCKS)
def test_blocks_of_any_size_give_what_memory_would(run, subject, whole, tmp_path, block):
    found = predicted(run, subject, tmp_path, block=block, memory_gb=0)
    assert np.abs(found - whole).max() < ANYHOW


def test_a_stream_of_wide_parts_gives_what_memory_would(run, subject, whole, tmp_path):
    assert np.abs(predicted(run, subject, tmp_path) - whole).max() < ANYHOW


@pytest.mark.parametrize("run", [tiny_volume()], indirect=True, ids=["volumes"])
@pytest.mark.parametrize(
    ("workers", "block"), [(1, (5, 40, 40)), (2, (3, 16, 64)), (5, (8, 8, 90))]
)
def test_any_number_of_workers_gives_what_memory_would(
    run, subject, whole, cluster, tmp_path, workers, block
):
    cluster.scale(workers)
    with Client(cluster) as client:
        client.wait_for_workers(workers, timeout=60)
    address = cluster.scheduler_address
    found = predicted(run, subject, tmp_path, cluster=address, block=block, memory_gb=0)
    assert np.abs(found - whole).max() < ANYHOW
