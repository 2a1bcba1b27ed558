"""Prediction on a cluster of real processes."""

import json
import os
import signal
import sys

import numpy as np
import pytest
import zarr
from distributed import LocalCluster

from baselines.config import ConfigError
from baselines.predicting.cluster import Cluster
from baselines.predicting.prediction import predict
from baselines.predicting.team import team_of
from evaluator.geometry import VoxelGrid
from tests.baselines.predicting.test_prediction import go, noisy, run_in, with_prediction

GRID = VoxelGrid((15, 80, 80), (8.0, 8.0, 8.0))
BLOCKS = 3 * 2 * 2  # of 5 x 40 x 40


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return run_in(tmp_path_factory.mktemp("run"))


@pytest.fixture(scope="module")
def subject(tmp_path_factory):
    return noisy(tmp_path_factory.mktemp("volume"), GRID)


@pytest.fixture(scope="module")
def workers():
    """Two processes, which a nanny starts again when they die."""
    with LocalCluster(
        n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None
    ) as cluster:
        yield cluster


def predict_there(run, subject, out, address, progress):
    config = with_prediction(run.config(), memory_gb=0, mirror="all")
    predict(
        team_of([run], config), [subject], out, cluster=address, device="cpu", progress=progress
    )


def is_alive(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def stored(folder, label):
    return np.asarray(zarr.open_array(folder / "a/probabilities" / label, mode="r")[:])


def test_a_cluster_that_loses_a_worker_midway_predicts_every_voxel_all_the_same(
    run, subject, workers, tmp_path
):
    victim, killed_at, parts = workers.workers[0].pid, [], []

    def watching(line):
        if ": block " in line:
            parts.append(line)
        if len(parts) == 3 and not killed_at:
            killed_at.append(len(parts))
            os.kill(victim, signal.SIGKILL)

    predict_there(run, subject, tmp_path / "there", workers.scheduler_address, watching)
    assert killed_at == [3]
    assert not is_alive(victim)
    assert len(parts) == BLOCKS
    lines = (tmp_path / "there/a/progress.jsonl").read_text().splitlines()[1:]
    done = [tuple(json.loads(line)["done"]) for line in lines]
    assert len(done) == len(set(done)) == BLOCKS
    go([run], [subject], tmp_path / "here", memory_gb=0, mirror="all")
    for label in ("cell", "mem"):
        found, expected = stored(tmp_path / "there", label), stored(tmp_path / "here", label)
        assert (found > 0).all()
        np.testing.assert_allclose(found.astype(int), expected, atol=1)


def test_what_is_done_is_not_done_again_on_a_cluster(run, subject, workers, tmp_path):
    go([run], [subject], tmp_path, memory_gb=0, mirror="all")
    said = []
    predict_there(run, subject, tmp_path, workers.scheduler_address, said.append)
    assert not [line for line in said if ": block " in line]


def test_an_address_where_nobody_answers_is_named():
    with pytest.raises(ConfigError, match=r"no Dask scheduler answers at tcp://127\.0\.0\.1:9"):
        Cluster("tcp://127.0.0.1:9", "cpu", patience="1s")


def test_without_the_package_the_extra_to_install_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(ConfigError, match=r"pip install 'crista\[extras\]'"):
        Cluster("tcp://127.0.0.1:9", "cpu")
