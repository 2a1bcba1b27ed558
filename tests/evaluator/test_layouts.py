"""Every way of writing an array that is accepted gives back the same voxels."""

import json
import shutil
import zipfile
from itertools import product
from pathlib import Path

import numcodecs
import numpy as np
import pytest
import zarr
from zarr.codecs import BloscCodec, BytesCodec, GzipCodec, ShardingCodec, ZstdCodec

from evaluator import (
    Manifest,
    SubmissionWriter,
    VoxelGrid,
    check_submission,
    create_volume,
    get_protocol,
    open_submission,
)
from tests.evaluator.shapes import target

SHAPE = (20, 30, 40)
PLACE = {"shape": SHAPE, "voxel_size": (8.0, 4.0, 4.0), "offset": (100.0, 200.0, 300.0)}
MITO = target("instance", crop="557", label="mito", **PLACE)
ER = target("semantic", crop="558", label="er", **PLACE)
MANIFEST = Manifest((MITO, ER))
IDS = np.random.default_rng(0).integers(0, 100, SHAPE).astype(np.uint8)
IDS[:10, :15] = 0  # a chunk that is not written
CHUNKS = (8, 16, 32)
KINDS = ("i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "f2", "f4", "f8")
DTYPES = ["|b1", *(order + kind for kind in KINDS for order in "<>")]
V2_CODECS = {
    "none": None,
    "zlib": numcodecs.Zlib(1),
    "gzip": numcodecs.GZip(1),
    "zstd": numcodecs.Zstd(1, checksum=True),
    "bz2": numcodecs.BZ2(1),
    **{
        f"blosc-{cname}-{shuffle}": numcodecs.Blosc(cname, 5, shuffle)
        for cname, shuffle in product(("lz4", "lz4hc", "zstd", "zlib", "blosclz"), (0, 1, 2))
    },
}
V3_CODECS = {"none": None, "gzip": GzipCodec(), "zstd": ZstdCodec(), "blosc": BloscCodec()}
SOUND, OFFICIAL = get_protocol("crista-1"), get_protocol("cellmap-2026.1")


def stored(folder: Path, values: np.ndarray = IDS, **how: object) -> Path:
    """An array of the usual library, at the place of MITO in a folder."""
    how = {"chunks": CHUNKS, "zarr_format": 2} | how
    path = folder / MITO.path
    array = zarr.create_array(path, shape=SHAPE, dtype=values.dtype, overwrite=True, **how)
    array[:] = values
    return folder


def zipped(folder: Path, method: int, prefix: str = "") -> Path:
    path = folder.with_suffix(".zip")
    with zipfile.ZipFile(path, "w", method) as archive:
        for file in sorted(folder.rglob("*")):
            archive.write(file, prefix + file.relative_to(folder).as_posix())
    return path


def assert_same(folder: Path, expected: np.ndarray = IDS) -> None:
    """The folder, its stored and its deflated zip hold the same voxels for MITO."""
    for path in (folder, zipped(folder, zipfile.ZIP_STORED), zipped(folder, zipfile.ZIP_DEFLATED)):
        assert check_submission(path, MANIFEST).targets[MITO.path] == "ok"
        found = open_submission(path, MANIFEST).read(MITO)
        assert found.dtype == expected.dtype.newbyteorder("=")
        assert np.array_equal(found, expected)


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("dtype", DTYPES)
def test_every_data_type_of_v2_in_either_order_of_memory(tmp_path, dtype, order):
    values = IDS.astype(dtype)
    assert_same(stored(tmp_path / "f", values, order=order), values)


@pytest.mark.parametrize("dtype", DTYPES)
def test_every_data_type_of_v3_in_either_byte_order(tmp_path, dtype):
    values = IDS.astype(dtype)
    serializer = BytesCodec(endian="big" if dtype[0] == ">" else "little")
    assert_same(stored(tmp_path / "f", values, zarr_format=3, serializer=serializer), values)


@pytest.mark.parametrize("separator", [".", "/"])
@pytest.mark.parametrize("codec", V2_CODECS)
def test_every_codec_of_v2(tmp_path, codec, separator):
    keys = {"name": "v2", "separator": separator}
    compressors = V2_CODECS[codec]
    assert_same(stored(tmp_path / "f", compressors=compressors, chunk_key_encoding=keys))


@pytest.mark.parametrize("keys", ["default", "v2"])
@pytest.mark.parametrize("codec", V3_CODECS)
def test_every_codec_of_v3(tmp_path, codec, keys):
    how = {"compressors": V3_CODECS[codec], "chunk_key_encoding": {"name": keys}}
    assert_same(stored(tmp_path / "f", zarr_format=3, **how))


def test_a_key_encoding_without_a_separator_has_the_usual_one(tmp_path):
    stored(tmp_path / "f", zarr_format=3, chunk_key_encoding={"name": "v2", "separator": "."})
    file = tmp_path / "f" / MITO.path / "zarr.json"
    node = json.loads(file.read_text())
    node["chunk_key_encoding"] = {"name": "v2"}
    file.write_text(json.dumps(node))
    assert_same(tmp_path / "f")


def test_axes_stored_in_another_order(tmp_path):
    filters = zarr.codecs.TransposeCodec(order=(2, 1, 0))
    assert_same(stored(tmp_path / "f", zarr_format=3, filters=filters))


@pytest.mark.parametrize("place", ["start", "end"])
@pytest.mark.parametrize("codec", V3_CODECS)
def test_shards(tmp_path, codec, place):
    codecs = [BytesCodec()] + ([V3_CODECS[codec]] if V3_CODECS[codec] else [])
    shards = ShardingCodec(chunk_shape=(4, 8, 16), codecs=codecs, index_location=place)
    assert_same(stored(tmp_path / "f", zarr_format=3, serializer=shards, compressors=None))


def test_shards_of_many_chunks_are_read_from_a_stored_zip_without_end_of_waiting(tmp_path):
    """The decoding library waits for ever if it must read parts of a long entry."""
    shape = (256, 256, 256)
    wanted = target(shape=shape, crop="557")
    shards = ShardingCodec(chunk_shape=(32, 32, 32), codecs=[BytesCodec()])
    values = np.random.default_rng(0).integers(0, 9, shape).astype(np.uint8)
    zarr.create_array(
        tmp_path / "f" / wanted.path, shape=shape, chunks=shape, dtype="u1",
        serializer=shards, compressors=None,
    )[:] = values  # fmt: skip
    submission = open_submission(zipped(tmp_path / "f", zipfile.ZIP_STORED), Manifest((wanted,)))
    assert np.array_equal(submission.read(wanted), values)


@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_groups_with_ome_metadata(tmp_path, version):
    axes = [{"name": axis, "type": "space", "unit": "nanometer"} for axis in "zyx"]
    steps = [
        {"type": "scale", "scale": [8.0, 4.0, 4.0]},
        {"type": "translation", "translation": [100.0, 200.0, 300.0]},
    ]
    image = {"axes": axes, "datasets": [{"path": "0", "coordinateTransformations": steps}]}
    metadata = {"multiscales": [image | ({"version": "0.4"} if version == "0.4" else {})]}
    zarr_format = 2 if version == "0.4" else 3
    group = zarr.open_group(tmp_path / "f" / MITO.path, mode="w", zarr_format=zarr_format)
    group.attrs.update(metadata if version == "0.4" else {"ome": {"version": "0.5"} | metadata})
    group.create_array("0", shape=SHAPE, chunks=CHUNKS, dtype="u1")[:] = IDS
    assert_same(tmp_path / "f")


def levels(folder: Path, *sizes: float | None, names: str = "s{}") -> Path:
    """A plain group whose level number i holds i + 1 everywhere."""
    group = zarr.open_group(folder / MITO.path, mode="w", zarr_format=2)
    for number, size in enumerate(sizes):
        array = group.create_array(names.format(number), shape=SHAPE, chunks=SHAPE, dtype="u1")
        array[:] = number + 1
        if size is not None:
            array.attrs["voxel_size"] = [size * 8, size * 4, size * 4]
    return folder


@pytest.mark.parametrize("names", ["s{}", "{}"])
@pytest.mark.parametrize(
    ("sizes", "expected"),
    [
        ((0.5, 1.0, 2.0), 2),
        ((0.25, 0.5, 1.1), 2),
        ((2.0, 1.5, 3.0), 2),
        ((None, 4.0, None), 2),
        ((None, None), 1),
    ],
    ids=["the same", "finer rather than coarser", "the least coarse", "one that says", "any"],
)
def test_a_group_of_levels_without_ome_metadata_gives_the_best_one(
    tmp_path, sizes, expected, names
):
    submission = open_submission(levels(tmp_path / "f", *sizes, names=names), MANIFEST)
    assert set(np.unique(submission.read(MITO))) <= {0, expected}
    assert submission.describe(MITO, SOUND).folder == names.format(expected - 1)


def written(path: Path) -> Path:
    with SubmissionWriter(path, MANIFEST) as writer:
        writer.write(MITO, IDS)
        writer.write(ER, IDS > 3)
    return path


@pytest.fixture
def folder(tmp_path) -> Path:
    with zipfile.ZipFile(written(tmp_path / "s.zip")) as archive:
        archive.extractall(tmp_path / "f")
    return tmp_path / "f"


@pytest.mark.parametrize("prefix", ["", "results/", "résultats d'avril/r.zarr/"])
@pytest.mark.parametrize("bare", [(), ("crop557",), ("crop557", "crop558")])
def test_folders_around_and_names_with_and_without_prefix(folder, prefix, bare):
    for crop in bare:
        shutil.move(folder / crop, folder / crop.removeprefix("crop"))
    submission = open_submission(zipped(folder, zipfile.ZIP_STORED, prefix), MANIFEST)
    assert np.array_equal(submission.read(MITO), IDS)
    assert np.array_equal(submission.read(ER), IDS > 3)


# ------------------------------------------------------------ what the protocol has to say


def test_crops_without_prefix_beside_others_are_missing_where_the_protocol_says_so(folder):
    shutil.move(folder / "crop557", folder / "557")
    submission = open_submission(folder, MANIFEST)
    assert submission.quirks(MITO, OFFICIAL) == {"mixes_prefixes"}
    assert submission.quirks(ER, OFFICIAL) == submission.quirks(MITO, SOUND) == frozenset()
    assert submission.open(MITO, OFFICIAL) is None
    assert submission.open(MITO, SOUND).shape == SHAPE
    report = check_submission(folder, MANIFEST, OFFICIAL)
    assert report.targets == {"crop557/mito": "missing", "crop558/er": "ok"}
    assert "mixes_prefixes of cellmap-2026.1" in report.problems[0].message
    assert check_submission(folder, MANIFEST).problems == ()


def test_crops_that_all_lack_the_prefix_are_there_for_every_protocol(folder):
    for crop in ("557", "558"):
        shutil.move(folder / f"crop{crop}", folder / crop)
    assert open_submission(folder, MANIFEST).quirks(MITO, OFFICIAL) == frozenset()
    assert check_submission(folder, MANIFEST, OFFICIAL).problems == ()


@pytest.mark.parametrize("kind", ["ome", "plain", "empty"])
def test_groups_are_missing_where_the_protocol_says_so(folder, kind):
    shutil.rmtree(folder / MITO.path)
    if kind == "ome":
        create_volume(folder / MITO.path, MITO.grid, "u1", multiscale=True)[:] = IDS
    elif kind == "plain":
        levels(folder, 1.0)
    else:
        zarr.open_group(folder / MITO.path, mode="w", zarr_format=2)
    submission = open_submission(folder, MANIFEST)
    assert submission.quirks(MITO, OFFICIAL) == {"reads_groups"}
    assert submission.open(MITO, OFFICIAL) is None
    expected = "unreadable" if kind == "empty" else "ok"
    assert check_submission(folder, MANIFEST).targets[MITO.path] == expected
    assert check_submission(folder, MANIFEST, OFFICIAL).targets[MITO.path] == "missing"


MISFITS = {
    "another shape, no place": ((20, 30, 41), {}, "wrong_shape"),
    "ends too early": ((20, 30, 39), {"voxel_size": [8, 4, 4]}, "wrong_shape"),
    "outside": (SHAPE, {"translation": [9e6, 0, 0]}, "bad_metadata"),
    "65 times finer": ((20, 30, 40 * 65), {"voxel_size": [8, 4, 4 / 65]}, "wrong_shape"),
}


@pytest.mark.parametrize("case", MISFITS)
def test_what_misses_its_crop_is_refused_or_not_as_the_protocol_says(folder, case):
    shape, lengths, code = MISFITS[case]
    shutil.rmtree(folder / MITO.path)
    array = zarr.create_array(
        folder / MITO.path, shape=shape, chunks=CHUNKS, dtype="u1", zarr_format=2
    )
    array.attrs.update(lengths)
    assert [p.code for p in check_submission(folder, MANIFEST).problems] == [code]
    assert check_submission(folder, MANIFEST, OFFICIAL).targets[MITO.path] == "ok"
    assert open_submission(folder, MANIFEST).open(MITO, OFFICIAL).shape == shape


def test_no_protocol_takes_more_voxels_than_it_says(folder):
    shutil.rmtree(folder / MITO.path)
    for shape, state in (
        ((20, 30 * 64, 40 * 64), "ok"),
        ((20, 30 * 64, 40 * 64 + 1), "unreadable"),
    ):
        zarr.create_array(
            folder / MITO.path,
            shape=shape,
            chunks=(20, 64, 64),
            dtype="u1",
            overwrite=True,
            zarr_format=2,
        )
        assert check_submission(folder, MANIFEST, OFFICIAL).targets[MITO.path] == state


@pytest.mark.parametrize(
    ("size", "offset"),
    [
        ([1, 8, 4, 4], [0, 100, 200, 300]),
        ([1, 1, 8.0, 4.0, 4.0], [0.0, 0, 100, 200, 300]),
    ],
)
def test_of_more_than_three_lengths_the_last_three_count(folder, size, offset):
    lengths = {"voxel_size": size, "translation": offset}
    (folder / MITO.path / ".zattrs").write_text(json.dumps(lengths))
    found = open_submission(folder, MANIFEST).open(MITO, SOUND)
    assert found.grid == MITO.grid
    assert (found.meta.voxel_size, found.meta.offset) == (MITO.grid.voxel_size, MITO.grid.offset)


def test_lengths_that_are_not_given_stay_open(folder):
    (folder / MITO.path / ".zattrs").write_text('{"resolution": [8, 4, 4]}')
    found = open_submission(folder, MANIFEST).open(MITO, SOUND)
    assert found.meta.offset is None
    assert found.grid == VoxelGrid(SHAPE, (8.0, 4.0, 4.0), (100.0, 200.0, 300.0))
