import numpy as np
import pytest

from baselines.box import Box
from baselines.config import Config, ConfigError, build, check
from baselines.data.masks import (
    Chosen,
    Components,
    MaskRule,
    Union,
    narrow,
    parse_rules,
    rules_of_values,
    values_in,
)
from baselines.layout import DataError
from baselines.volumes.readers import InMemory
from evaluator.manifest import Kind


def whole(reader):
    return reader.read((0, 0, 0), reader.shape)


def row(*values, dtype=np.int32):
    return InMemory(np.array([[values]], dtype))


def test_a_label_is_where_its_values_are():
    rule = MaskRule((2, 3), Kind.SEMANTIC)
    found = whole(Chosen(row(0, 1, 2, 3, 3), rule))
    np.testing.assert_array_equal(found[0, 0], [0, 0, 1, 1, 1])


def test_ids_are_taken_as_they_are():
    found = whole(Chosen(row(0, 5, 900), MaskRule((), Kind.INSTANCE)))
    np.testing.assert_array_equal(found[0, 0], [0, 5, 900])


def test_the_value_to_ignore_is_unknown_for_every_label():
    mask = row(0, 255, 2, dtype=np.uint8)
    for rule in (MaskRule((2,), Kind.SEMANTIC), MaskRule((), Kind.INSTANCE)):
        found = whole(Chosen(mask, rule, ignore=255))[0, 0]
        assert found[1] == -1
        assert found[0] == 0
        assert found[2] > 0


def test_what_hangs_together_by_faces_is_an_object():
    mask = np.array([[[1, 1, 0], [0, 0, 1], [-1, 0, 1]]], np.int8)
    found = Components(InMemory(mask))
    np.testing.assert_array_equal(whole(found), [[[1, 1, 0], [0, 0, 2], [-1, 0, 2]]])
    np.testing.assert_array_equal(found.read((0, 1, 2), (1, 3, 3)), [[[2], [2]]])


def test_a_group_is_where_any_of_its_labels_is():
    group = Union((row(1, 0, -1, -1), row(0, 0, 0, 9)))
    np.testing.assert_array_equal(whole(group)[0, 0], [1, 0, -1, 1])


def test_ids_beyond_32_bits_stay_different_objects():
    ids = np.array([0, 3, 2**31 + 5, 2**40, 2**40 + 1, 2**63], np.uint64)
    found = narrow(ids)
    assert found.dtype == np.int32
    assert found.min() == 0
    assert len(np.unique(found)) == len(ids)
    assert found[1] == 3


def test_ids_are_whole_numbers():
    with pytest.raises(DataError, match="float32: save it as such"):
        narrow(np.zeros(3, np.float32))
    with pytest.raises(DataError, match="float64"):
        values_in(row(0.5, dtype=np.float64))


def test_rules_are_parsed():
    assert parse_rules({"mito": "2:instance", "er": "1, 3:semantic", "cell": "ids:instance"}) == {
        "mito": MaskRule((2,), Kind.INSTANCE),
        "er": MaskRule((1, 3), Kind.SEMANTIC),
        "cell": MaskRule((), Kind.INSTANCE),
    }


@pytest.mark.parametrize(
    "text", ["2", "x:semantic", "ids:semantic", "2:objects", "", "2;3:semantic"]
)
def test_a_rule_that_makes_no_sense_is_an_error_that_names_the_label(text):
    with pytest.raises(DataError, match=r"data.classes.mito is .*no rule; rules are"):
        parse_rules({"mito": text})
    with pytest.raises(ConfigError, match=r"data.classes.mito is .*ids:instance"):
        check(build(Config, {"data": {"classes": {"mito": text}}}, where=""))


def test_binary_masks_are_one_class_whatever_their_value():
    assert rules_of_values([0, 255], most=10) == {"class1": MaskRule((255,), Kind.SEMANTIC)}
    assert rules_of_values([0, 1], most=10) == {"class1": MaskRule((1,), Kind.SEMANTIC)}


def test_every_value_but_0_is_a_class():
    assert list(rules_of_values([0, 1, 7, 2], most=10)) == ["class1", "class2", "class7"]


def test_more_values_than_classes_may_be_are_named():
    with pytest.raises(
        DataError, match=r"11 classes \(1, 2, .*11\), more than .* 10.*ids:instance"
    ):
        rules_of_values(range(12), most=10)
    with pytest.raises(DataError, match=r"all masks are empty.*Annotate some"):
        rules_of_values([0], most=10)


def test_all_values_of_a_mask_are_found_slab_by_slab(monkeypatch):
    monkeypatch.setattr("baselines.data.masks._SLAB", 4)
    mask = np.zeros((5, 2, 2), np.uint16)
    mask[4, 1, 1], mask[2, 0, 0] = 300, 2
    assert values_in(InMemory(mask)) == {0, 2, 300}


def test_a_box_of_a_mask_reads_no_more_than_the_box():
    class Counting(InMemory):
        def read(self, start, stop):
            read.append(Box(start, stop))
            return super().read(start, stop)

    read: list[Box] = []
    Chosen(Counting(np.zeros((4, 4, 4), np.uint8)), MaskRule((1,), Kind.SEMANTIC)).read(
        (1, 1, 1), (2, 3, 4)
    )
    assert read == [Box((1, 1, 1), (2, 3, 4))]


@pytest.mark.parametrize("dtype", [bool, np.uint8, np.int16, np.uint16, np.int32])
def test_ids_that_fit_are_not_copied(dtype):
    ids = np.ones(3, dtype)
    assert narrow(ids) is ids


def test_a_mask_of_small_numbers_can_say_that_nobody_looked():
    found = whole(Chosen(row(0, 200, 255, dtype=np.uint8), MaskRule((), Kind.INSTANCE), 255))
    np.testing.assert_array_equal(found[0, 0], [0, 200, -1])
