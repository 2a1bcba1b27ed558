"""Whatever a participant sends, the answer is a report and a score, never a traceback."""

import gzip
import io
import json
import random
import tracemalloc
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evaluator import (
    EvaluatorError,
    Manifest,
    SubmissionWriter,
    Unreadable,
    check_submission,
    create_volume,
    get_protocol,
    open_submission,
    score_pair,
    score_submission,
    slabs,
    windows,
)
from evaluator.metadata import Unfit
from evaluator.multiscale import describe
from tests.evaluator.shapes import target
from tests.evaluator.test_metadata import V2, V3

SHAPE = (12, 14, 16)
MITO, ER = target(shape=SHAPE), target("semantic", shape=SHAPE, label="er")
MANIFEST = Manifest((ER, MITO))
RULES = get_protocol("crista-1")
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4)
    ),
    max_leaves=8,
)


@pytest.fixture(scope="module")
def truth(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("truth")
    values = np.random.default_rng(0).integers(0, 4, SHAPE).astype(np.uint8)
    for wanted in MANIFEST.targets:
        create_volume(folder / wanted.path, wanted.grid, "u1", chunks=(8, 8, 8))[:] = values
    return folder


@pytest.fixture(scope="module")
def good(tmp_path_factory) -> bytes:
    """The bytes of a good submission."""
    path = tmp_path_factory.mktemp("good") / "s.zip"
    values = np.random.default_rng(1).integers(0, 4, SHAPE)
    with SubmissionWriter(path, MANIFEST) as writer:
        for wanted in MANIFEST.targets:
            writer.write(wanted, values)
    return path.read_bytes()


def survive(path: Path) -> str:
    """Check and read a submission in every way there is; what became of it, in a word."""
    report = check_submission(path, MANIFEST)
    json.dumps(report.to_json())
    for problem in report.problems:
        assert len(problem.message) < 500
        assert str(path.parent) not in problem.message
        assert problem.message.isprintable()
    try:
        submission = open_submission(path, MANIFEST)
    except EvaluatorError:
        assert not report.accepted
        return "rejected"
    assert report.accepted
    states = set(report.targets.values())
    for wanted in MANIFEST.targets:
        try:
            array = submission.read(wanted)
            assert array is None or array.shape == SHAPE
        except Unreadable:
            states.add("unreadable")
    return "/".join(sorted(states))


def test_a_good_submission_survives_as_good(tmp_path, good):
    (tmp_path / "s.zip").write_bytes(good)
    assert survive(tmp_path / "s.zip") == "ok"


def test_any_flipped_bytes_are_survived(tmp_path, good):
    chance = random.Random(0)
    seen = set()
    for _ in range(300):
        content = bytearray(good)
        for _ in range(chance.randint(1, 8)):
            content[chance.randrange(len(content))] = chance.randrange(256)
        (tmp_path / "s.zip").write_bytes(content)
        seen.add(survive(tmp_path / "s.zip"))
    assert {"rejected", "ok/unreadable"} <= seen


def test_any_flipped_bytes_of_the_directory_are_survived(tmp_path, good):
    chance = random.Random(1)
    start = good.index(b"PK\x01\x02")
    for _ in range(300):
        content = bytearray(good)
        content[chance.randrange(start, len(content))] = chance.randrange(256)
        (tmp_path / "s.zip").write_bytes(content)
        survive(tmp_path / "s.zip")


def test_any_cut_is_survived_and_rejected(tmp_path, good):
    for length in range(0, len(good) - 1, max(1, len(good) // 60)):
        (tmp_path / "s.zip").write_bytes(good[:length])
        assert survive(tmp_path / "s.zip") == "rejected"


@settings(max_examples=150, deadline=None)
@given(key=st.sampled_from([*V2]), value=JSON)
def test_any_value_in_zarr_v2_metadata_is_answered(key, value):
    text = json.dumps(V2 | {key: value}).encode()
    answered({".zarray": text})


@settings(max_examples=150, deadline=None)
@given(key=st.sampled_from([*V3, "attributes"]), value=JSON)
def test_any_value_in_zarr_v3_metadata_is_answered(key, value):
    answered({"zarr.json": json.dumps(V3 | {key: value}).encode()})


@settings(max_examples=150, deadline=None)
@given(key=st.sampled_from(["voxel_size", "translation", "offset", "multiscales"]), value=JSON)
def test_any_attribute_is_answered(key, value):
    files = {".zattrs": json.dumps({key: value}).encode()}
    answered(files | {".zarray": json.dumps(V2).encode()})
    answered(files | {".zgroup": b'{"zarr_format": 2}'})


@settings(max_examples=100, deadline=None)
@given(
    part=st.sampled_from(["axes", "datasets", "coordinateTransformations"]),
    value=JSON | st.lists(JSON, min_size=3, max_size=3),
)
def test_any_multiscales_metadata_is_answered(part, value):
    axes = [{"name": name} for name in "zyx"]
    image = {"axes": axes, "datasets": [{"path": "s0"}], part: value}
    files = {".zattrs": json.dumps({"multiscales": [image]}).encode()}
    answered(files | {"s0/.zarray": json.dumps(V2).encode()})


def answered(files: dict[str, bytes]) -> None:
    """Described, or refused in a sentence."""
    sentence = "."
    try:
        array = describe(files.get, like=(1.0, 1.0, 1.0))
        assert array is None or len(array.shape) == 3
    except Unfit as error:
        sentence = str(error)
    assert sentence.endswith(".")
    assert len(sentence) < 400


@pytest.mark.parametrize(
    "chunk", [b"", b"x", bytes(1000), b"\x28\xb5\x2f\xfd" + b"\xff" * 40, b"(" * 5000]
)
@pytest.mark.parametrize("codec", [None, "zstd", "zlib", "gzip", "bz2", "blosc"])
def test_any_chunk_under_any_codec_is_survived_and_spoils_one_target(tmp_path, truth, chunk, codec):
    settings_of = {"cname": "lz4", "clevel": 5, "shuffle": 1} if codec == "blosc" else {}
    meta = V2 | {
        "shape": SHAPE,
        "chunks": SHAPE,
        "compressor": codec and {"id": codec} | settings_of,
    }
    with zipfile.ZipFile(tmp_path / "s.zip", "w") as archive:
        archive.writestr("crop1/mito/.zarray", json.dumps(meta))
        archive.writestr("crop1/mito/0.0.0", chunk)
    assert survive(tmp_path / "s.zip") in ("missing/ok/unreadable", "missing/unreadable")
    result = score_submission(
        tmp_path / "s.zip", truth=truth, manifest=MANIFEST, protocol=RULES
    )  # fmt: skip
    assert [score.status for score in result.targets] == ["missing", "unreadable"]
    assert result.overall == 0.0


def test_no_chunk_unfolds_beyond_its_declared_size(tmp_path):
    """A chunk of 12 x 14 x 16 voxels that would unfold to 64 MB costs no such memory."""
    bomb = io.BytesIO()
    with gzip.GzipFile(fileobj=bomb, mode="wb") as file:
        file.write(bytes(64 << 20))
    meta = V2 | {"shape": SHAPE, "chunks": SHAPE, "compressor": {"id": "gzip", "level": 1}}
    with zipfile.ZipFile(tmp_path / "s.zip", "w") as archive:
        archive.writestr("crop1/mito/.zarray", json.dumps(meta))
        archive.writestr("crop1/mito/0.0.0", bomb.getvalue())
    before = peak_of_this_process()
    assert survive(tmp_path / "s.zip") == "missing/ok/unreadable"
    assert peak_of_this_process() - before < 32 << 20


def peak_of_this_process() -> int:
    """The most memory this process ever held, in bytes."""
    text = Path("/proc/self/status").read_text()
    return int(text.split("VmHWM:")[1].split()[0]) * 1024


def test_a_flood_of_objects_is_counted_in_bounded_memory():
    """Every voxel its own object: no pair is looked at but the ones that overlap."""
    shape = (40, 40, 40)
    flood = np.arange(1, 64_001, dtype=np.uint32).reshape(shape)
    two = np.zeros(shape, np.uint8)
    two[:20], two[30:] = 1, 2
    sums = score_pair(target(shape=shape), two, flood, RULES)
    assert (sums.objects.tp, sums.objects.fp, sums.objects.fn) == (2, 63_998, 0)


def test_scoring_needs_a_few_bytes_per_voxel(monkeypatch):
    """Beyond the arrays it was given, for blobs of 512 voxels: under 10 bytes per voxel."""
    for part, voxels in ((slabs, "SLAB_VOXELS"), (windows, "WINDOW_VOXELS")):
        monkeypatch.setattr(part, voxels, 1 << 14)  # so that it is small beside the whole
    rng = np.random.default_rng(0)
    coarse = rng.integers(0, 5, (12, 12, 12)).astype(np.uint16)
    coarse[coarse > 0] = np.arange(1, np.count_nonzero(coarse) + 1)
    truth = coarse.repeat(8, axis=0).repeat(8, axis=1).repeat(8, axis=2)
    pred = np.roll(truth, 2, axis=2)
    tracemalloc.start()
    score_pair(target(shape=truth.shape), truth, pred, RULES)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 10 * truth.size
