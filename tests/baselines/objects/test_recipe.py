import numpy as np
import pytest
import zarr

from baselines.config import ConfigError, ObjectsConfig
from baselines.layout import DataError
from baselines.objects.decoding import Thresholds, objects_of
from baselines.objects.heads import BCD, SEMANTIC, Head
from baselines.objects.recipe import Recipe, keep_recipe, make_label, recipe_of
from benchmarks.cells import CUBE, cells, head_of, seen
from evaluator.manifest import Kind

LOW = Thresholds(seed_mask=0.5, seed_contour=0.5)


def array(values=None, shape=None, dtype=np.uint8):
    store = zarr.storage.MemoryStore()
    if values is not None:
        return zarr.create_array(store, data=values)
    return zarr.create_array(store, shape=shape, dtype=dtype)


def test_a_recipe_is_that_of_the_settings_and_its_label():
    config = ObjectsConfig(smallest_nm3=512.0, smallest={"cell": 5120.0}, fill_holes=False)
    recipe = Recipe.of(Kind.INSTANCE, head_of(BCD), LOW, config)
    assert (recipe.smallest, recipe.fill_holes) == (10, False)
    other = Head("nuc", BCD, CUBE)
    assert Recipe.of(Kind.INSTANCE, other, LOW, config).smallest == 1
    deep = Head("nuc", BCD, (8.0, 4.0, 4.0))
    assert Recipe.of(Kind.INSTANCE, deep, LOW, config).smallest == 4  # 512 / 128


def test_a_recipe_is_kept_with_the_probabilities():
    stored = array(np.zeros((3, 4, 4, 4), np.uint8))
    recipe = Recipe(Kind.INSTANCE, head_of(BCD), LOW, 99.5, False)
    keep_recipe(stored, recipe)
    assert recipe_of(stored) == recipe


def test_probabilities_without_a_recipe_say_what_to_do():
    with pytest.raises(DataError, match="predict again"):
        recipe_of(array(np.zeros((4, 4, 4), np.uint8)))


def test_some_of_a_recipe_can_be_changed_and_nothing_else():
    recipe = Recipe(Kind.INSTANCE, head_of(BCD), LOW)
    changed = recipe.changed({"mask": 0.3, "smallest_nm3": 1e6, "fill_holes": False})
    assert changed.thresholds == Thresholds(mask=0.3, seed_mask=0.5, seed_contour=0.5)
    assert (changed.smallest_nm3, changed.fill_holes) == (1e6, False)
    with pytest.raises(ConfigError, match=r"threshold cannot be set.*bias, fill_holes, mask"):
        recipe.changed({"threshold": 0.5})


def test_objects_and_masks_are_made_of_what_is_stored():
    head = head_of(BCD)
    given = seen(cells((24, 32, 32), 10, radius=8), head)
    out = array(shape=given.shape[1:], dtype=np.uint32)
    recipe = Recipe(Kind.INSTANCE, head, LOW, smallest_nm3=20 * 512.0)
    count = make_label(array(given), out, recipe)
    np.testing.assert_array_equal(out[:], objects_of(given, head, LOW, smallest=20))
    assert count == np.asarray(out[:]).max() > 5
    mask = array(shape=given.shape[1:])
    plain = Recipe(Kind.SEMANTIC, Head("mem", SEMANTIC, CUBE), Thresholds(mask=0.7))
    assert make_label(array(given[0]), mask, plain) is None
    np.testing.assert_array_equal(mask[:], given[0] > round(0.7 * 255))
