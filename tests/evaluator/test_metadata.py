import json
import subprocess
import sys
import zipfile

import numpy as np
import pytest

from evaluator import Manifest, VoxelGrid, check_submission, score_submission
from evaluator.metadata import ArrayMeta, Unfit, bounded, parse_json, parse_v2
from evaluator.metadata_v3 import parse_v3
from evaluator.protocol import get_protocol
from evaluator.volume import create_volume
from tests.evaluator.shapes import target

V2 = {
    "zarr_format": 2,
    "shape": [100, 200, 300],
    "chunks": [64, 64, 64],
    "dtype": "<u2",
    "compressor": {"id": "zstd", "level": 3},
    "fill_value": 0,
    "order": "C",
    "filters": None,
}
V3 = {
    "zarr_format": 3,
    "node_type": "array",
    "shape": [100, 200, 300],
    "data_type": "uint16",
    "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": [64, 64, 64]}},
    "chunk_key_encoding": {"name": "default", "configuration": {"separator": "/"}},
    "fill_value": 0,
    "codecs": [{"name": "bytes", "configuration": {"endian": "little"}}, {"name": "zstd"}],
}


def v2(attributes: dict | None = None, **changes: object) -> ArrayMeta:
    return bounded(parse_v2(V2 | changes, attributes=attributes or {}))


def v3(**changes: object) -> ArrayMeta:
    return bounded(parse_v3(V3 | changes, attributes={}))


def code(parse, **changes: object) -> str:
    with pytest.raises(Unfit) as caught:
        parse(**changes)
    assert str(caught.value).endswith(".")
    assert caught.value.remedy.endswith(".")
    return caught.value.code


def test_an_array_of_either_format_is_described():
    for array, driver in ((v2(), "zarr"), (v3(), "zarr3")):
        assert array.driver == driver
        assert (array.shape, array.chunks) == ((100, 200, 300), (64, 64, 64))
        assert array.dtype == np.uint16


def test_our_metadata_holds_nothing_we_did_not_look_at():
    array = v2(evil="payload", compressor={"id": "gzip", "level": 1})
    assert "payload" not in json.dumps(array.spec)
    assert array.spec["compressor"] == {"id": "gzip", "level": 1}


@pytest.mark.parametrize("dtype", ["|b1", "|u1", "<i8", ">u2", "<f2", ">f8"])
def test_masks_ids_and_probabilities_are_accepted(dtype):
    assert v2(dtype=dtype).dtype == np.dtype(dtype)


@pytest.mark.parametrize(
    "dtype", ["|O", "<U8", "|S4", "<c8", "<M8[ns]", "|V2", [["a", "<u2"]], "<f16", None, 7, "|u2x"]
)
def test_other_dtypes_are_refused_by_name(dtype):
    assert code(v2, dtype=dtype) == "wrong_dtype"


@pytest.mark.parametrize("dtype", ["string", "complex64", "r16", None, {"name": "numpy.void"}])
def test_other_data_types_of_v3_are_refused(dtype):
    assert code(v3, data_type=dtype) == "wrong_dtype"


@pytest.mark.parametrize(
    "compressor", [{"id": "pickle"}, {"id": "lzma"}, {"id": "lz4"}, {}, [], "zstd5", {"id": None}]
)
def test_codecs_that_are_not_listed_are_refused(compressor):
    assert code(v2, compressor=compressor) == "wrong_codec"


@pytest.mark.parametrize("filters", [[{"id": "pickle"}], [{"id": "delta", "dtype": "<u2"}], "x"])
def test_filters_are_refused(filters):
    assert code(v2, filters=filters) == "wrong_codec"


def test_a_codec_with_an_unknown_setting_is_refused():
    assert code(v2, compressor={"id": "zstd", "level": 3, "hook": "x"}) == "wrong_codec"


@pytest.mark.parametrize(
    "codecs",
    [
        [],
        None,
        [{"name": "numcodecs.pickle"}],
        [{"name": "bytes"}] * 9,
        [{"name": "bytes", "configuration": {"x": 1}}],
        [{"name": "sharding_indexed", "configuration": {"chunk_shape": [16, 16, 16]}}],
    ],
)
def test_codecs_of_v3_are_read_to_the_bottom(codecs):
    assert code(v3, codecs=codecs) == "wrong_codec"


def test_a_shard_is_looked_into():
    index = [{"name": "bytes", "configuration": {"endian": "little"}}, {"name": "crc32c"}]
    inner = [{"name": "bytes"}, {"name": "numcodecs.pickle"}]
    shard = {"chunk_shape": [16, 16, 16], "codecs": inner, "index_codecs": index}
    sharding = [{"name": "sharding_indexed", "configuration": shard}]
    assert code(v3, codecs=sharding) == "wrong_codec"
    dust = shard | {"chunk_shape": [1, 1, 1], "codecs": inner[:1]}
    assert code(v3, codecs=[{"name": "sharding_indexed", "configuration": dust}]) == "too_large"


@pytest.mark.parametrize(
    "shape",
    [
        [],
        [10, 10],
        [1, 10, 10, 10],
        [0, 1, 1],
        [-1, 1, 1],
        [1.0, 2, 3],
        "abc",
        [True] * 3,
        [2**31] * 3,
    ],
)
def test_only_three_axes_of_whole_voxels_make_a_shape(shape):
    assert code(v2, shape=shape) == "wrong_shape"


@pytest.mark.parametrize(
    "changes",
    [
        {"order": "Z"},
        {"dimension_separator": "/../"},
        {"zarr_format": 3},
        {"fill_value": 70000},
        {"fill_value": 0.5},
        {"fill_value": "abc"},
        {"fill_value": True},
    ],
)
def test_limits_and_contradictions_are_bad_metadata(changes):
    assert code(v2, **changes) == "bad_metadata"


@pytest.mark.parametrize(
    "changes",
    [
        {"zarr_format": 2},
        {"chunk_grid": {"name": "rectangular"}},
        {"chunk_grid": 3},
        {"chunk_key_encoding": {"name": "default", "configuration": {"separator": "../"}}},
        {"chunk_key_encoding": {"name": "suffix"}},
    ],
)
def test_v3_that_strays_from_its_text_is_bad_metadata(changes):
    assert code(v3, **changes) == "bad_metadata"


def test_storage_transformers_are_refused():
    assert code(v3, storage_transformers=[{"name": "x"}]) == "wrong_codec"


def test_a_fill_value_of_null_means_zero():
    assert v2(fill_value=None).spec["fill_value"] == 0
    assert v2(fill_value=None, dtype="|b1").spec["fill_value"] is False
    assert v2(fill_value="NaN", dtype="<f4").spec["fill_value"] == "NaN"


def test_voxel_size_and_offset_have_the_usual_names():
    for size, offset in (
        ("voxel_size", "translation"),
        ("resolution", "offset"),
        ("scale", "offset"),
    ):
        array = v2({size: [8, 4, 4.5], offset: [1, 2, 3]})
        assert array.grid == VoxelGrid((100, 200, 300), (8.0, 4.0, 4.5), (1.0, 2.0, 3.0))


def test_an_array_without_lengths_has_no_grid():
    assert v2().grid is None
    assert v2().grid_beside(VoxelGrid((1, 1, 1), (1, 1, 1))) is None


def test_without_a_translation_both_grids_begin_at_the_same_corner():
    # Corner of the target: 100 - 4 / 2 = 98; the centre of the first 2 nm voxel: 98 + 1 = 99.
    beside = v2({"voxel_size": [2, 2, 2]}).grid_beside(
        VoxelGrid((9, 9, 9), (4.0,) * 3, (100.0,) * 3)
    )
    assert beside.offset == (99.0, 99.0, 99.0)


@pytest.mark.parametrize(
    "attributes",
    [
        {"voxel_size": [0, 1, 1]},
        {"voxel_size": [-1, 1, 1]},
        {"voxel_size": [1, 1]},
        {"voxel_size": "1,1,1"},
        {"voxel_size": [1e300, 1, 1]},
        {"voxel_size": [1, 1, 1], "translation": [1, 2, "3"]},
        {"translation": [1e300, 0, 0]},
        {"translation": [True, 0, 0]},
    ],
)
def test_lengths_that_make_no_sense_are_bad_metadata(attributes):
    assert code(v2, attributes=attributes) == "bad_metadata"


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"{",
        b"[1]",
        b"\xff\xfe{}",
        b'{"a": NaN}',
        b'{"a": 1, "a": 2}',
        b"[" * 100_000,
        b'{"a": ' + b"9" * 5000 + b"}",
        b'{"a":' * 70 + b"1" + b"}" * 70,
        b'{"a": ' + b"9" * 21 + b"}",
    ],
)
def test_text_that_is_not_strict_json_is_refused(text):
    with pytest.raises(Unfit) as caught:
        parse_json(text)
    assert caught.value.code == "bad_metadata"
    assert len(str(caught.value)) < 200


def test_a_strangers_words_are_shown_escaped_and_short():
    with pytest.raises(Unfit) as caught:
        v2(dtype="\x1b[31m" + "x" * 10_000)
    assert "\x1b" not in str(caught.value)
    assert len(str(caught.value)) < 300


def test_a_pickle_filter_never_runs(tmp_path):
    """The whole way: an array that would run code when decoded is refused and scored as worst."""
    mito, marker = target(), tmp_path / "ran"
    create_volume(tmp_path / "truth" / mito.path, mito.grid, "u1")[:] = 1
    hostile = V2 | {"shape": [10, 10, 10], "chunks": [10, 10, 10], "dtype": "|O"}
    hostile |= {"compressor": None, "filters": [{"id": "vlen-utf8"}, {"id": "pickle"}]}
    payload = f"cposix\nsystem\n(S'touch {marker}'\ntR.".encode()
    with zipfile.ZipFile(tmp_path / "s.zip", "w") as archive:
        archive.writestr("crop1/mito/.zarray", json.dumps(hostile))
        archive.writestr("crop1/mito/0.0.0", payload)
    manifest = Manifest((mito,))
    report = check_submission(tmp_path / "s.zip", manifest)
    assert [problem.code for problem in report.problems] == ["wrong_dtype"]
    result = score_submission(
        tmp_path / "s.zip",
        truth=tmp_path / "truth",
        manifest=manifest,
        protocol=get_protocol("crista-1"),
    )
    assert result.targets[0].status == "unreadable"
    assert not marker.exists()
    subprocess.run([sys.executable, "-c", f"import pickle; pickle.loads({payload!r})"], check=True)
    assert marker.exists()  # the payload was a real one
