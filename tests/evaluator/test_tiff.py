from pathlib import Path

import numpy as np
import pytest
import tifffile
from hypothesis import given
from hypothesis import strategies as st

from evaluator import Unreadable
from evaluator.tiff import natural, open_stack

ARRAY = np.random.default_rng(0).integers(0, 300, (5, 20, 30)).astype(np.uint16)


def stored(path: Path, array: np.ndarray = ARRAY, **options: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    tifffile.imwrite(path, array, **options)
    return path


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"compression": "zlib"},
        {"compression": "zlib", "predictor": True},
        {"compression": "zlib", "tile": (16, 16)},
        {"photometric": "minisblack", "metadata": None},
        {"byteorder": ">"},
        {"bigtiff": True, "byteorder": ">"},
        {"imagej": True},
        {"imagej": True, "metadata": {"axes": "ZYX"}},
        {"imagej": True, "metadata": {"axes": "TYX"}},
        {"ome": True, "metadata": {"axes": "ZYX"}},
        {"ome": True, "metadata": {"axes": "ZYX"}, "compression": "zlib"},
        {"rowsperstrip": 3},
    ],
    ids=str,
)
def test_a_stack_is_read_plane_by_plane(tmp_path, options):
    stack = open_stack(stored(tmp_path / "s.tif", **options))
    assert stack.shape == ARRAY.shape
    assert stack.dtype == ARRAY.dtype
    assert np.array_equal(stack.planes(0, 5), ARRAY)
    part = stack.planes(2, 4)
    assert np.array_equal(part, ARRAY[2:4])
    assert part.flags.c_contiguous
    assert part.dtype.isnative


@pytest.mark.parametrize("dtype", ["?", "u1", "i2", "u4", "u8", "f2", "f4", "f8"])
def test_dtypes_stay_what_they_are(tmp_path, dtype):
    array = (ARRAY % 2).astype(dtype)
    stack = open_stack(stored(tmp_path / "s.tif", array))
    assert stack.dtype == array.dtype
    assert np.array_equal(stack.planes(0, 5), array)


@pytest.mark.parametrize("shape", [(1, 20, 30), (5, 1, 30), (1, 1, 30), (1, 1, 1)])
def test_axes_of_length_one_are_found_again(tmp_path, shape):
    array = ARRAY[: shape[0], : shape[1], : shape[2]]
    stack = open_stack(stored(tmp_path / "s.tif", array, photometric="minisblack"))
    assert stack.shape == shape
    assert np.array_equal(stack.planes(0, shape[0]), array)


def test_a_single_plane_is_a_stack_of_one(tmp_path):
    assert open_stack(stored(tmp_path / "s.tif", ARRAY[0])).shape == (1, 20, 30)


# ------------------------------------------------------------------------------ folders


def test_single_planes_are_taken_in_natural_order(tmp_path):
    array = np.concatenate([ARRAY, ARRAY + 1, ARRAY + 2])
    for z, plane in enumerate(array):
        stored(tmp_path / f"plane{z}.tif", plane)
    stack = open_stack(tmp_path)
    assert np.array_equal(stack.planes(0, 15), array)
    assert np.array_equal(stack.planes(9, 12), array[9:12])


def test_other_files_beside_the_planes_do_not_count(tmp_path):
    stored(tmp_path / "1.tif", ARRAY[0])
    stored(tmp_path / "2.TIFF", ARRAY[1])
    (tmp_path / "notes.txt").write_text("x")
    assert open_stack(tmp_path).shape == (2, 20, 30)


def test_one_stack_alone_in_a_folder_is_that_stack(tmp_path):
    assert open_stack(stored(tmp_path / "s.tif").parent).shape == ARRAY.shape


@pytest.mark.parametrize("odd", [ARRAY[0, 1:], ARRAY[0].astype("u1"), ARRAY[:2]])
def test_a_plane_unlike_the_first_is_named(tmp_path, odd):
    stored(tmp_path / "1.tif", ARRAY[0])
    stored(tmp_path / "2.tif", odd, photometric="minisblack")
    with pytest.raises(Unreadable, match=r"2\.tif.*\(1, 20, 30\) of uint16 like 1\.tif"):
        open_stack(tmp_path).planes(0, 2)


def test_stacks_beside_each_other_are_no_stack(tmp_path):
    stored(tmp_path / "1.tif")
    stored(tmp_path / "2.tif")
    with pytest.raises(Unreadable, match=r"1\.tif: it holds 5 planes; expected one"):
        open_stack(tmp_path)


def test_a_folder_without_any_is_told(tmp_path):
    with pytest.raises(Unreadable, match="no TIFF file"):
        open_stack(tmp_path)


@given(st.lists(st.integers(0, 10**6), unique=True))
def test_numbers_in_names_count_by_value(numbers):
    paths = [Path(f"z{number}.tif") for number in numbers]
    assert natural(paths) == [Path(f"z{number}.tif") for number in sorted(numbers)]
    assert natural(reversed(paths)) == natural(paths)


# ------------------------------------------------------------------------------ spacing

NM = {"PhysicalSizeX": 4, "PhysicalSizeY": 5, "PhysicalSizeZ": 8}


def test_the_spacing_of_imagej_is_read_in_nanometres(tmp_path):
    for unit, scale in (("nm", 1.0), ("um", 1e-3), ("micron", 1e-3), ("\\u00B5m", 1e-3)):
        path = stored(
            tmp_path / "s.tif",
            imagej=True,
            resolution=(1 / (4 * scale), 1 / (5 * scale)),
            metadata={"axes": "ZYX", "spacing": 8 * scale, "unit": unit},
        )
        assert open_stack(path).voxel_size == pytest.approx((8.0, 5.0, 4.0))


@pytest.mark.parametrize("metadata", [{}, {"unit": "pixel", "spacing": 1}, {"unit": "um"}])
def test_a_stack_that_was_never_calibrated_has_no_spacing(tmp_path, metadata):
    path = stored(tmp_path / "s.tif", imagej=True, metadata={"axes": "ZYX", **metadata})
    assert open_stack(path).voxel_size is None


@pytest.mark.parametrize(("unit", "factor"), [("nm", 1), ("µm", 1000), ("mm", 1e6), (None, 1000)])
def test_the_spacing_of_ome_tiff_is_read_in_nanometres(tmp_path, unit, factor):
    units = {f"{key}Unit": unit for key in NM} if unit else {}
    path = stored(tmp_path / "s.ome.tif", metadata={"axes": "ZYX", **NM, **units})
    expected = (8.0 * factor, 5.0 * factor, 4.0 * factor)
    assert open_stack(path).voxel_size == pytest.approx(expected)


def test_the_spacing_of_some_axes_is_none(tmp_path):
    path = stored(tmp_path / "s.ome.tif", metadata={"axes": "ZYX", "PhysicalSizeX": 4})
    assert open_stack(path).voxel_size is None


def test_single_planes_have_no_spacing_along_z(tmp_path):
    for z in range(2):
        stored(tmp_path / f"{z}.tif", ARRAY[z], imagej=True, resolution=(100, 100),
               metadata={"unit": "um"})  # fmt: skip
    assert open_stack(tmp_path).voxel_size is None


# ------------------------------------------------------------------------------ what is wrong


@pytest.mark.parametrize(
    ("array", "options"),
    [
        (ARRAY[None].repeat(2, 0), {"imagej": True, "metadata": {"axes": "TZYX"}}),
        (np.zeros((5, 20, 30, 3), "u1"), {"photometric": "rgb"}),
        (np.zeros((20, 30, 3), "u1"), {"photometric": "rgb"}),
        (ARRAY, {"metadata": {"axes": "YXZ"}, "photometric": "minisblack"}),
    ],
    ids=["frames", "colours", "one colour plane", "order"],
)
def test_other_axes_are_refused_by_name(tmp_path, array, options):
    with pytest.raises(Unreadable, match=r"s\.tif: its axes are .* expected Z, Y, X alone"):
        open_stack(stored(tmp_path / "s.tif", array, **options))


def test_two_images_in_one_file_are_refused(tmp_path):
    with tifffile.TiffWriter(tmp_path / "s.tif") as writer:
        writer.write(ARRAY, metadata=None, photometric="minisblack")
        writer.write(ARRAY[:, 1:], metadata=None, photometric="minisblack")
    with pytest.raises(Unreadable, match="2 images of different kinds"):
        open_stack(tmp_path / "s.tif")


@pytest.mark.parametrize("content", [b"", b"no tiff", b"II*\0\xff\xff\xff\xff", b"MM\0*\0\0\0\x08"])
def test_what_is_no_tiff_is_named(tmp_path, content):
    (tmp_path / "s.tif").write_bytes(content)
    with pytest.raises(Unreadable, match=r"s\.tif: it"):
        open_stack(tmp_path / "s.tif")


@pytest.mark.parametrize("options", [{}, {"compression": "zlib"}])
def test_a_file_that_ends_early_is_unreadable(tmp_path, options):
    noise = np.random.default_rng(1).integers(0, 60000, (40, 50, 50)).astype("u2")
    path = stored(tmp_path / "s.tif", noise, **options)
    stack = open_stack(path)
    path.write_bytes(path.read_bytes()[:100_000])
    with pytest.raises(Unreadable, match=r"s\.tif"):
        stack.planes(30, 40)
