import numpy as np

from baselines.box import Box
from baselines.config import Config, DataConfig
from baselines.crops import load_crops, make_crop
from baselines.data import Patches, cut
from baselines.readers import InMemory
from evaluator.geometry import VoxelGrid
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
    assert whole.training == (Box((0, 0, 0), (4, 8, 8)),)
    assert whole.validation == (Box((4, 0, 0), (6, 8, 8)),)
    _, _, weight = cut(whole, (0, 0, 0), GRID.shape, ["a"], {})
    assert weight[0, :4].all()
    assert not weight[0, 4:].any()
    assert crop(a=corner()).validation == ()


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


def test_large_crops_are_read_from_disk_and_give_the_same_patches(phantom):
    _, cached = load_crops(phantom, Config(data=DataConfig(labels=("mem",))))
    _, lazy = load_crops(phantom, Config(data=DataConfig(labels=("mem",), cache_gb=0.0)))
    assert not isinstance(lazy[0].raw, InMemory)
    for one, two in zip(cached, lazy, strict=True):
        parts = (cut(c, (1, 3, 60), (2, 8, 8), ["mem"], {}) for c in (one, two))
        for a, b in zip(*parts, strict=True):
            np.testing.assert_array_equal(a, b)


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
