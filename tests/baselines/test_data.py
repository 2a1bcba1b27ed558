import json

import numpy as np
import pytest

from baselines.config import Config, DataConfig
from baselines.data import (
    InMemory,
    Patches,
    cut,
    load_crops,
    make_crop,
    measure_light,
    open_level,
    read_padded,
    validation_box,
)
from baselines.layout import DataError, DataFolder
from evaluator.geometry import VoxelGrid
from evaluator.volume import create_volume
from tests.baselines.conftest import tiny

GRID = VoxelGrid((6, 8, 8), (8.0, 8.0, 8.0))


def crop(*, validation=0.0, raw=None, **labels):
    raw = np.arange(GRID.voxels, dtype=np.uint16).reshape(GRID.shape) if raw is None else raw
    readers = {name: InMemory(array) for name, array in labels.items()}
    return make_crop("a", GRID, InMemory(raw), readers, validation=validation)


def corner():
    label = np.zeros(GRID.shape, np.uint8)
    label[0, :2, :2] = 1
    return label


def test_light_comes_from_percentiles_without_lost_sections():
    raw = np.full((10, 20, 20), 100.0)
    raw[:, :, 10:] = 120
    lost = raw.copy()
    lost[[2, 9]] = 0
    assert measure_light(InMemory(lost)) == measure_light(InMemory(raw))
    assert measure_light(InMemory(np.zeros((2, 4, 4)))).spread == 1.0


def test_normalised_raw_does_not_depend_on_the_instruments_scale():
    raw = np.random.default_rng(0).normal(100, 10, (4, 32, 32))
    light, scaled = measure_light(InMemory(raw)), measure_light(InMemory(raw * 5 + 7))
    one, two = light.normalise(raw), scaled.normalise(raw * 5 + 7)
    np.testing.assert_allclose(one, two, atol=1e-3)
    assert abs(one.std() - 1) < 0.1


@pytest.mark.parametrize("start", [(0, 0, 0), (-2, -3, 0), (4, 6, 7), (-9, 0, 0), (7, 9, 20)])
def test_a_box_may_reach_outside(start):
    volume = np.arange(GRID.voxels).reshape(GRID.shape)
    part = read_padded(InMemory(volume), start, (4, 4, 4))
    assert part.shape == (4, 4, 4)
    assert np.isin(part, volume).all()


def test_outside_the_volume_is_mirrored():
    volume = np.arange(5).reshape(1, 1, 5)
    found = read_padded(InMemory(volume), (0, 0, -2), (1, 1, 5))
    np.testing.assert_array_equal(found, [[[1, 0, 0, 1, 2]]])
    found = read_padded(InMemory(volume), (0, 0, 3), (1, 1, 5))
    np.testing.assert_array_equal(found, [[[3, 4, 4, 3, 2]]])
    found = read_padded(InMemory(volume), (0, 0, 3), (1, 1, 4), mirror=False)
    np.testing.assert_array_equal(found, [[[3, 4, 4, 4]]])


def test_outside_the_crop_and_unannotated_labels_have_no_weight():
    _, target, weight = cut(crop(a=corner()), (-1, -1, -1), (3, 4, 4), ["a", "b"], {})
    assert weight.shape == (2, 3, 4, 4)
    assert not weight[1].any()
    assert not weight[0, 0].any()
    assert not weight[0, :, 0].any()
    assert weight[0, 1:, 1:, 1:].all()
    assert target[0, 1, 1:3, 1:3].all()
    assert (target * weight)[0].sum() == 4


def test_validation_planes_have_no_weight_in_training():
    whole = crop(validation=0.34, a=np.ones(GRID.shape, np.uint8))
    assert whole.planes == 4
    assert validation_box(whole) == ((4, 0, 0), (6, 8, 8))
    _, _, weight = cut(whole, (0, 0, 0), GRID.shape, ["a"], {})
    assert weight[0, :4].all()
    assert not weight[0, 4:].any()
    assert validation_box(crop(a=corner())) is None


def test_foreground_is_counted_among_training_planes_only():
    label = np.zeros(GRID.shape, np.uint8)
    label[5] = 1
    assert crop(validation=0.34, a=label).count == {"a": 0}
    found = crop(a=corner())
    assert found.count == {"a": 4}
    assert {tuple(p) for p in found.points["a"]} == {(0, 0, 0), (0, 0, 1), (0, 1, 0), (0, 1, 1)}


def patches(crops, labels, **training):
    return Patches(crops, labels, tiny(patch=[1, 4, 4], **training))


def test_a_batch_depends_on_seed_and_step_only():
    source = patches([crop(a=corner())], ["a"])
    one, again, other = source.batch(3), source.batch(3), source.batch(4)
    np.testing.assert_array_equal(one.raw, again.raw)
    assert (one.raw != other.raw).any()
    assert one.raw.shape == (2, 1, 1, 4, 4)
    assert one.target.shape == (2, 1, 1, 4, 4)
    assert one.raw.dtype == one.target.dtype == one.weight.dtype == np.float32


def test_rare_labels_are_met_often():
    source = patches([crop(a=corner())], ["a"])
    met = np.mean([source.batch(n).target.any() for n in range(60)])
    assert met > 0.4  # uniform patches of 4 x 4 in 6 planes would meet it about once in eight


def test_batches_come_in_order_while_the_next_is_being_made():
    source = patches([crop(a=corner())], ["a"])
    for step, batch in zip(range(2, 6), source.batches(2, 6), strict=True):
        np.testing.assert_array_equal(batch.raw, source.batch(step).raw)


def test_a_crop_without_any_foreground_still_gives_patches():
    batch = patches([crop(a=np.zeros(GRID.shape, np.uint8))], ["a"]).batch(0)
    assert not batch.target.any()
    assert batch.weight.any()


def test_crops_of_a_data_folder_are_loaded_with_their_labels(phantom):
    labels, crops = load_crops(phantom, Config(data=DataConfig(labels=("mito", "mem"))))
    assert labels == ["mito", "mem"]
    assert [c.name for c in crops] == ["phantom-train-1", "phantom-train-2"]
    assert set(crops[0].labels) == {"mito", "mem"}


def test_large_crops_are_read_from_disk_and_give_the_same_patches(phantom):
    _, cached = load_crops(phantom, Config(data=DataConfig(labels=("mem",))))
    _, lazy = load_crops(phantom, Config(data=DataConfig(labels=("mem",), cache_gb=0.0)))
    assert not isinstance(lazy[0].raw, InMemory)
    for one, two in zip(cached, lazy, strict=True):
        parts = (cut(c, (1, 3, 60), (2, 8, 8), ["mem"], {}) for c in (one, two))
        for a, b in zip(*parts, strict=True):
            np.testing.assert_array_equal(a, b)


def test_an_unknown_label_is_an_error_that_lists_the_known_ones(phantom):
    with pytest.raises(DataError, match=r"annotates golgi; annotated are cell, ecs"):
        load_crops(phantom, Config(data=DataConfig(labels=("golgi",))))


def test_a_folder_without_training_crops_says_how_to_get_some(tmp_path):
    with pytest.raises(DataError, match="baselines phantom"):
        load_crops(DataFolder(tmp_path), Config(data=DataConfig()))


def test_another_voxel_size_than_the_models_is_an_error(phantom):
    with pytest.raises(DataError, match=r"\(8.0, 8.0, 8.0\) nm.*\(16.0, 8.0, 8.0\)"):
        load_crops(phantom, Config(data=DataConfig(voxel_size=(16.0, 8.0, 8.0))))


def test_the_level_with_the_models_voxel_size_is_read(tmp_path):
    path = tmp_path / "raw"
    create_volume(path, GRID, np.uint8, multiscale=True)
    coarse = VoxelGrid((6, 4, 4), (8.0, 16.0, 16.0))
    create_volume(path / "s1", coarse, np.uint8, multiscale=False)
    attributes = json.loads((path / ".zattrs").read_text())
    scale = [{"type": "scale", "scale": [8, 16, 16]}]
    attributes["multiscales"][0]["datasets"].append(
        {"path": "s1", "coordinateTransformations": scale}
    )
    (path / ".zattrs").write_text(json.dumps(attributes))
    assert open_level(path, (8.0, 16.0, 16.0)).shape == (6, 4, 4)
    assert open_level(path, (8.0, 8.0, 8.0)).shape == (6, 8, 8)
    assert open_level(path, ()).shape == (6, 8, 8)


def test_patches_come_from_larger_crops_more_often():
    empty = np.zeros(GRID.shape, np.uint8)
    wide = VoxelGrid((6, 8, 40), GRID.voxel_size)
    large = make_crop(
        "b", wide, InMemory(np.full(wide.shape, 7, np.uint8)),
        {"a": InMemory(np.zeros(wide.shape, np.uint8))}, validation=0.0,
    )  # fmt: skip
    source = patches([crop(a=empty, raw=np.full(GRID.shape, 9, np.uint8)), large], ["a"])
    random = np.random.default_rng(0)
    names = [source._place(random)[0].name for _ in range(300)]
    assert 0.75 < names.count("b") / 300 < 0.92  # five sixths of the voxels


def test_patches_of_training_never_show_validation_planes_as_annotated():
    label = np.zeros(GRID.shape, np.uint8)
    label[4:] = 1
    whole = crop(validation=0.34, a=label)
    source = patches([whole], ["a"])
    for step in range(20):
        found = source.batch(step)
        assert not (found.target * found.weight).any()


def test_a_patch_larger_than_the_crop_has_weight_inside_only():
    source = Patches([crop(a=corner())], ["a"], tiny(patch=[1, 16, 16]))
    weight = source.batch(0).weight
    assert weight.shape[-2:] == (16, 16)
    assert (weight.sum(axis=(1, 2, 3, 4)) == 64).all()


def test_touching_objects_are_told_apart_across_the_border_of_a_patch():
    ids = np.ones(GRID.shape, np.uint8)
    ids[:, :, 4:] = 2
    _, target, _ = cut(crop(a=ids), (2, 2, 4), (1, 3, 3), ["a"], {})
    np.testing.assert_array_equal(target[0, 0], [[0, 1, 1]] * 3)


def test_shrinking_looks_beyond_the_border_of_a_patch_too():
    ids = np.zeros(GRID.shape, np.uint8)
    ids[:, :, 3:] = 1
    _, target, _ = cut(crop(a=ids), (2, 2, 3), (1, 2, 4), ["a"], {"a": 2})
    np.testing.assert_array_equal(target[0, 0], [[0, 0, 1, 1]] * 2)
