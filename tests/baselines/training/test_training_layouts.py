"""A network trains from every layout, and what it was given is what its run remembers."""

import dataclasses

import numpy as np
import pytest
import torch

from baselines.layout import DataFolder
from baselines.runs.checkpoint import Run
from baselines.training.train import train
from tests.baselines.conftest import tiny
from tests.baselines.data.test_sources import pairs
from tests.baselines.trees import block, tree


def challenge(root):
    tree(root, mito=block(size=(9, 9, 9)), pm=block(at=(0, 0, 0)))
    tree(root, crop="crop8", corner=(64.0, 128.0, 64.0), mito=np.zeros((16,) * 3, np.uint8))
    return {"labels": ()}, ("mito", "pm"), (4.0, 4.0, 4.0)


def coarser(root):
    challenge(root)
    return {"labels": (), "voxel_size": (8.0,) * 3}, ("mito", "pm"), (8.0, 8.0, 8.0)


def folders(root):
    pairs(root, a=block(value=255), b=block(at=(8, 8, 8), value=255))
    return {"labels": (), "voxel_size": (50.0, 5.0, 5.0)}, ("class1",), (50.0, 5.0, 5.0)


def numbered(root):
    pairs(root, a=block(value=2), b=block(at=(8, 8, 8), value=7))
    return {"labels": (), "voxel_size": (5.0,) * 3}, ("class2", "class7"), (5.0, 5.0, 5.0)


def named(root):
    pairs(root, a=block(value=2), b=block(at=(8, 8, 8), value=7))
    classes = {"er": "2:semantic", "mito": "7:instance"}
    return {"labels": (), "voxel_size": (5.0,) * 3, "classes": classes}, ("er", "mito"), (5.0,) * 3


@pytest.mark.parametrize("layout", [challenge, coarser, folders, numbered, named])
def test_a_network_trains_from_every_layout(tmp_path, layout):
    data, labels, voxel_size = layout(tmp_path / "data")
    config = tiny(iterations=2, save_every=1, patch=[1, 16, 16])
    config = dataclasses.replace(config, data=dataclasses.replace(config.data, **data))
    run, device = Run(tmp_path / "run"), torch.device("cpu")
    results = train(config, DataFolder(tmp_path / "data"), run, device=device, progress=str)
    assert set(results["dice"]) == set(labels)
    assert run.config().data.labels == labels
    assert run.config().data.classes == data.get("classes", {})
    assert run.config().data.voxel_size == voxel_size
