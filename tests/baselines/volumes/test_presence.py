import numpy as np
import pytest
import zarr

from baselines.box import Box
from baselines.volumes.images import open_image
from baselines.volumes.presence import chunk_name
from evaluator.volume import open_levels

SHAPE = (8, 12, 12)
WHOLE = Box((0, 0, 0), SHAPE)


def written(path, *boxes, zarr_format=2, **options):
    """An array of chunks of 4 x 4 x 4 voxels, of which some boxes were written."""
    array = zarr.create_array(
        path, shape=SHAPE, dtype="uint8", chunks=options.pop("chunks", (4, 4, 4)),
        zarr_format=zarr_format, fill_value=0, **options,
    )  # fmt: skip
    for start, stop in boxes:
        array[tuple(map(slice, start, stop))] = 7
    return path


def data(path, core, region=WHOLE, fetched=None):
    level = open_image(path, fetched=fetched).levels[0]
    return level.data(core, region)


@pytest.mark.parametrize("zarr_format", [2, 3])
def test_what_was_written_is_data_and_nothing_else_is(tmp_path, zarr_format):
    path = written(tmp_path / "a", ((0, 0, 0), (8, 8, 4)), zarr_format=zarr_format)
    assert data(path, Box((1, 1, 1), (2, 2, 2))) == Box((0, 0, 0), (8, 8, 4))
    assert data(path, Box((1, 9, 9), (2, 10, 10))) is None


def test_a_layer_with_one_chunk_missing_is_not_taken(tmp_path):
    path = written(tmp_path / "a", ((0, 0, 0), (4, 8, 8)), ((4, 0, 0), (8, 4, 8)))
    assert data(path, Box((0, 0, 0), (4, 4, 4))) == Box((0, 0, 0), (8, 4, 8))


def test_a_region_is_not_left(tmp_path):
    path = written(tmp_path / "a", ((0, 0, 0), SHAPE))
    region = Box((1, 2, 3), (6, 9, 10))
    assert data(path, Box((2, 3, 4), (3, 4, 5)), region) == region


def test_a_black_chunk_between_others_is_data(tmp_path):
    path = written(tmp_path / "a", ((0, 0, 0), (8, 12, 4)), ((0, 0, 8), (8, 12, 12)))
    assert data(path, WHOLE) == WHOLE


def test_a_black_chunk_that_was_fetched_is_data(tmp_path):
    path = written(tmp_path / "a", ((0, 0, 0), (4, 12, 12)))
    core = Box((0, 0, 0), (4, 12, 12))
    assert data(path, core) == core
    assert data(path, core, fetched=lambda folder: [WHOLE]) == WHOLE


def test_shards_count_as_they_are_stored(tmp_path):
    path = written(
        tmp_path / "a", ((0, 0, 0), (8, 4, 4)), zarr_format=3, chunks=(4, 2, 2), shards=(8, 4, 4)
    )
    assert data(path, Box((0, 0, 0), (1, 1, 1))) == Box((0, 0, 0), (8, 4, 4))


@pytest.mark.parametrize(
    ("zarr_format", "encoding", "expected"),
    [
        (2, {"name": "v2", "separator": "."}, "1.0.2"),
        (2, {"name": "v2", "separator": "/"}, "1/0/2"),
        (3, {"name": "default", "separator": "/"}, "c/1/0/2"),
        (3, {"name": "default", "separator": "."}, "c.1.0.2"),
        (3, {"name": "v2", "separator": "."}, "1.0.2"),
    ],
)
def test_chunks_lie_where_the_library_puts_them(tmp_path, zarr_format, encoding, expected):
    path = written(tmp_path / "a", zarr_format=zarr_format, chunk_key_encoding=encoding)
    zarr.open_array(path, mode="r+")[4:8, 0:4, 8:12] = np.uint8(3)
    name = chunk_name(open_levels(path)[0].meta, (1, 0, 2))
    assert name == expected
    assert (path / name).is_file()
