import numpy as np
import pytest

from baselines.config import Config, DataConfig
from baselines.data.crops import load_crops
from baselines.layout import DataError, DataFolder
from baselines.volumes.readers import InMemory
from evaluator.geometry import VoxelGrid
from tests.baselines.made_crops import make_crop

GRID = VoxelGrid((6, 8, 8), (8.0, 8.0, 8.0))


def crop(*, validation=0.0, raw=None, **labels):
    raw = np.arange(GRID.voxels, dtype=np.uint16).reshape(GRID.shape) if raw is None else raw
    readers = {name: InMemory(array) for name, array in labels.items()}
    return make_crop("a", GRID, InMemory(raw), readers, validation=validation)


def corner():
    label = np.zeros(GRID.shape, np.uint8)
    label[0, :2, :2] = 1
    return label


def test_foreground_is_counted_among_training_planes_only():
    label = np.zeros(GRID.shape, np.uint8)
    label[5] = 1
    assert crop(validation=0.34, a=label).count == {"a": 0}
    found = crop(a=corner())
    assert found.count == {"a": 4}
    assert {tuple(p) for p in found.points["a"]} == {(0, 0, 0), (0, 0, 1), (0, 1, 0), (0, 1, 1)}


def test_crops_of_a_data_folder_are_loaded_with_their_labels(phantom):
    labels, crops = load_crops(phantom, Config(data=DataConfig(labels=("mito", "mem"))))
    assert labels == ["mito", "mem"]
    assert [c.name for c in crops] == ["phantom-train-1", "phantom-train-2"]
    assert set(crops[0].labels) == {"mito", "mem"}


def test_an_unknown_label_is_an_error_that_lists_the_known_ones(phantom):
    with pytest.raises(DataError, match=r"golgi \(annotated in 0 of 2 crops\).*cell, ecs"):
        load_crops(phantom, Config(data=DataConfig(labels=("golgi",))))


def test_a_folder_without_training_crops_says_how_to_get_some(tmp_path):
    with pytest.raises(DataError, match="baselines phantom"):
        load_crops(DataFolder(tmp_path), Config(data=DataConfig()))


def test_data_that_are_too_coarse_for_the_model_are_an_error(phantom):
    with pytest.raises(DataError, match=r"coarser than the model's \(4.0, 4.0, 4.0\) nm"):
        load_crops(phantom, Config(data=DataConfig(voxel_size=(4.0, 4.0, 4.0))))
