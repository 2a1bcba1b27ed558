import numpy as np
import pytest
import tifffile
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
    return level.data.around(core, region)


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


def absent(path, box, fetched=None, *, black=False):
    return open_image(path, fetched=fetched, black=black).levels[0].data.absent(box)


@pytest.mark.parametrize("zarr_format", [2, 3])
def test_chunks_without_a_file_are_absent_unless_they_are_black(tmp_path, zarr_format):
    path = written(
        tmp_path / "a", ((0, 0, 0), (8, 12, 4)), ((0, 0, 8), (8, 12, 12)), zarr_format=zarr_format
    )
    box = Box((2, 2, 2), (6, 4, 12))
    assert absent(path, box) == [Box((2, 2, 4), (4, 4, 8)), Box((4, 2, 4), (6, 4, 8))]
    assert absent(path, box, black=True) == []
    assert absent(path, Box((2, 2, 8), (8, 12, 12))) == []
    assert data(path, box, box) == box  # a box around what is there holds them, too


def test_a_chunk_that_was_fetched_as_far_as_it_is_asked_for_is_not_absent(tmp_path):
    path = written(tmp_path / "a", ((0, 0, 0), (4, 4, 4)))
    known = Box((0, 0, 0), (6, 6, 6))  # ends within chunks

    def fetched(folder):
        return [known]

    assert absent(path, known, fetched) == []
    assert data(path, known, known, fetched) == known
    beyond = Box((0, 0, 0), (6, 6, 7))
    assert absent(path, beyond, fetched) == [
        Box((0, 0, 4), (4, 4, 7)), Box((0, 4, 4), (4, 6, 7)),
        Box((4, 0, 4), (6, 4, 7)), Box((4, 4, 4), (6, 6, 7)),
    ]  # fmt: skip


def test_a_shard_is_absent_or_there_as_a_whole(tmp_path):
    path = written(
        tmp_path / "a", ((0, 0, 0), (4, 2, 2)), zarr_format=3, chunks=(4, 2, 2), shards=(8, 4, 4)
    )
    assert absent(path, Box((0, 0, 0), (8, 4, 8))) == [Box((0, 0, 4), (8, 4, 8))]


def test_images_that_are_no_arrays_lack_nothing(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", np.zeros(SHAPE, np.uint8), photometric="minisblack")
    assert absent(tmp_path / "a.tif", WHOLE) == []
    assert data(tmp_path / "a.tif", WHOLE) == WHOLE


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
