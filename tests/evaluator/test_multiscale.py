import json

import pytest

from evaluator.metadata import Unfit
from evaluator.multiscale import describe, describe_levels
from tests.evaluator.test_metadata import V2, V3

AXES = [{"name": name, "type": "space", "unit": "nanometer"} for name in "zyx"]


def level(path: str, scale: float, shift: float | None = None) -> dict:
    steps = [{"type": "scale", "scale": [scale] * 3}]
    if shift is not None:
        steps.append({"type": "translation", "translation": [shift] * 3})
    return {"path": path, "coordinateTransformations": steps}


def group(*levels: dict, **changes: object) -> dict[str, bytes]:
    """Files of an OME-NGFF 0.4 group with these levels."""
    image = {"version": "0.4", "axes": AXES, "datasets": list(levels)} | changes
    files = {".zgroup": {"zarr_format": 2}, ".zattrs": {"multiscales": [image]}}
    files |= {f"{entry['path']}/.zarray": V2 for entry in levels}
    return {name: json.dumps(value).encode() for name, value in files.items()}


def code(files: dict[str, bytes]) -> str:
    with pytest.raises(Unfit) as caught:
        describe(files.get)
    return caught.value.code


def test_nothing_is_no_array():
    assert describe({}.get) is None


def test_a_plain_array_lies_in_the_node_itself():
    assert describe({".zarray": json.dumps(V2).encode()}.get).folder == ""
    assert describe({"zarr.json": json.dumps(V3).encode()}.get).driver == "zarr3"


def test_of_a_group_the_finest_level_is_taken():
    array = describe(group(level("s0", 4.0, 1.0), level("s1", 8.0, 3.0)).get)
    assert array.folder == "s0"
    assert (array.voxel_size, array.offset) == ((4.0,) * 3, (1.0,) * 3)


@pytest.mark.parametrize(("like", "folder"), [(4.0, "s0"), (8.0, "s1"), (7.0, "s1"), (99.0, "s2")])
def test_of_a_group_the_level_nearest_in_voxel_size_is_taken(like, folder):
    files = group(level("s0", 4.0), level("s1", 8.0), level("s2", 16.0))
    assert describe(files.get, like=(like,) * 3).folder == folder


def test_a_level_without_translation_begins_at_zero():
    assert describe(group(level("s0", 4.0)).get).offset == (0.0, 0.0, 0.0)


def test_a_transformation_of_the_whole_image_comes_last():
    outer = [
        {"type": "scale", "scale": [2.0] * 3},
        {"type": "translation", "translation": [5.0] * 3},
    ]
    array = describe(group(level("s0", 4.0, 3.0), coordinateTransformations=outer).get)
    assert (array.voxel_size[0], array.offset[0]) == (8.0, 11.0)


def test_other_units_become_nanometres():
    axes = [axis | {"unit": "micrometer"} for axis in AXES]
    array = describe(group(level("s0", 0.004, 0.001), axes=axes).get)
    assert array.voxel_size == pytest.approx((4.0,) * 3)
    assert array.offset == pytest.approx((1.0,) * 3)


def test_a_group_of_version_0_5_is_read():
    image = {"axes": AXES, "datasets": [level("s0", 4.0)]}
    node = {"zarr_format": 3, "node_type": "group", "attributes": {"ome": {"multiscales": [image]}}}
    files = {"zarr.json": json.dumps(node).encode(), "s0/zarr.json": json.dumps(V3).encode()}
    array = describe(files.get)
    assert (array.driver, array.folder, array.voxel_size) == ("zarr3", "s0", (4.0,) * 3)


@pytest.mark.parametrize(
    "path", ["..", "../../truth/crop1/mito", "/etc", "a/../b", "", ".", "http://x/y", "a\x00b", 5]
)
def test_a_level_outside_the_group_is_refused(path):
    files = group(level("s0", 4.0))
    image = {"axes": AXES, "datasets": [level("s0", 4.0) | {"path": path}]}
    files[".zattrs"] = json.dumps({"multiscales": [image]}).encode()
    assert code(files) == "bad_metadata"


@pytest.mark.parametrize(
    "changes",
    [
        {"axes": AXES[::-1]},
        {"axes": [{"name": "c"}, *AXES]},
        {"axes": [axis | {"unit": "parsec"} for axis in AXES]},
        {"axes": None},
        {"coordinateTransformations": [{"type": "rotation"}]},
        {"coordinateTransformations": 7},
    ],
)
def test_axes_and_transformations_we_do_not_know_are_refused(changes):
    assert code(group(level("s0", 4.0), **changes)) == "bad_metadata"


def test_a_group_without_multiscales_is_refused():
    assert code({".zgroup": b'{"zarr_format": 2}'}) == "bad_metadata"
    assert code({".zgroup": b"{}", ".zattrs": b'{"multiscales": []}'}) == "bad_metadata"


def test_a_level_that_is_not_there_is_refused():
    files = group(level("s0", 4.0))
    del files["s0/.zarray"]
    assert code(files) == "bad_metadata"


def test_a_level_that_is_a_group_again_is_refused():
    files = group(level("s0", 4.0))
    del files["s0/.zarray"]
    files |= {f"s0/{name}": text for name, text in group(level("s0", 4.0)).items()}
    assert code(files) == "bad_metadata"


def test_two_formats_side_by_side_are_refused():
    both = {".zarray": json.dumps(V2).encode(), "zarr.json": json.dumps(V3).encode()}
    assert code(both) == "bad_metadata"


def test_all_levels_are_listed_and_those_that_nobody_fetched_left_out():
    files = group(level("s0", 4.0), level("s1", 8.0, 3.0), level("s2", 16.0))
    assert [array.folder for array in describe_levels(files.get)] == ["s0", "s1", "s2"]
    del files["s0/.zarray"]
    found = describe_levels(files.get)
    assert [(a.folder, a.voxel_size, a.offset) for a in found] == [
        ("s1", (8.0,) * 3, (3.0,) * 3), ("s2", (16.0,) * 3, (0.0,) * 3),
    ]  # fmt: skip


def test_a_plain_array_is_the_one_level_it_has():
    assert [a.folder for a in describe_levels({".zarray": json.dumps(V2).encode()}.get)] == [""]
    assert describe_levels({}.get) == []


def test_levels_of_ones_own_data_may_be_larger_than_a_strangers():
    huge = {"shape": [20_000] * 3, "chunks": [64] * 3}
    files = group(level("s0", 4.0)) | {"s0/.zarray": json.dumps(V2 | huge).encode()}
    assert describe_levels(files.get)[0].shape == (20_000,) * 3
    assert code(files) == "too_large"
