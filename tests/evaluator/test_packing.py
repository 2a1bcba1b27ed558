import tracemalloc
import zipfile
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st

from evaluator import (
    Kind,
    Manifest,
    SubmissionError,
    SubmissionWriter,
    check_submission,
    file_digest,
    open_submission,
)
from evaluator.packing import CHUNK, chunk_shape
from evaluator.volume import ArrayPlanes
from tests.evaluator.shapes import target

SHAPE = (20, 30, 40)
PLACE = {"shape": SHAPE, "voxel_size": (8.0, 4.0, 4.0), "offset": (100.0, 200.0, 300.0)}
MITO = target("instance", crop="557", label="mito", **PLACE)
ER = target("semantic", crop="557", label="er", **PLACE)
MANIFEST = Manifest((ER, MITO))
IDS = np.random.default_rng(0).integers(0, 300, SHAPE).astype(np.uint64)
MASK = IDS % 2 == 0
BYTES = "32563dec2de8f6a842d25fa1bbd2f111f8cc2926bc0bb60e04da596019981e7f"


def written(path: Path, **arrays: np.ndarray) -> Path:
    with SubmissionWriter(path, MANIFEST) as writer:
        for label, array in arrays.items():
            writer.write(MANIFEST.by_path[f"crop557/{label}"], array)
    return path


# ------------------------------------------------------------------------------ writing


def test_what_is_written_is_read_back(tmp_path):
    path = written(tmp_path / "s.zip", mito=IDS, er=MASK)
    submission = open_submission(path, MANIFEST)
    assert np.array_equal(submission.read(MITO), IDS)
    assert np.array_equal(submission.read(ER), MASK)
    assert check_submission(path, MANIFEST).problems == ()


def test_ids_take_the_smallest_unsigned_dtype(tmp_path):
    submission = open_submission(written(tmp_path / "s.zip", mito=IDS, er=MASK), MANIFEST)
    assert submission.read(MITO).dtype == np.uint16
    assert submission.read(ER).dtype == np.uint8


def test_the_usual_library_reads_it_as_zarr_v2(tmp_path):
    path = written(tmp_path / "s.zip", mito=IDS)
    with zarr.storage.ZipStore(path, mode="r") as store:
        array = zarr.open_group(store, mode="r", zarr_format=2)["crop557/mito"]
        assert np.array_equal(array[:], IDS)
        assert array.attrs["voxel_size"] == [8.0, 4.0, 4.0]
        assert array.attrs["translation"] == [100.0, 200.0, 300.0]


def test_entries_are_stored_sorted_and_without_a_date(tmp_path):
    with zipfile.ZipFile(written(tmp_path / "s.zip", mito=IDS, er=MASK)) as archive:
        infos = archive.infolist()
    assert [info.filename for info in infos] == sorted(info.filename for info in infos)
    assert {info.compress_type for info in infos} == {zipfile.ZIP_STORED}
    assert {info.date_time for info in infos} == {(1980, 1, 1, 0, 0, 0)}


def test_the_same_arrays_give_the_same_bytes(tmp_path):
    one = written(tmp_path / "1.zip", mito=IDS, er=MASK)
    other = written(tmp_path / "2.zip", er=MASK.astype(float), mito=np.asfortranarray(IDS))
    assert one.read_bytes() == other.read_bytes()


def test_chunks_without_anything_are_left_out(tmp_path):
    with zipfile.ZipFile(written(tmp_path / "s.zip", mito=IDS * 0)) as archive:
        assert not [name for name in archive.namelist() if name.endswith("/0")]


def test_probabilities_stay_fractions(tmp_path):
    submission = open_submission(written(tmp_path / "s.zip", er=MASK * 0.25), MANIFEST)
    assert np.array_equal(submission.read(ER), MASK * np.float32(0.25))


@pytest.mark.parametrize(
    ("array", "sentence"),
    [
        (IDS[1:], "shape"),
        (IDS.astype(int) - 1, "from 0 up"),
        (IDS + 0.5, "whole numbers"),
        (IDS.astype(str), "whole numbers"),
        (np.where(MASK, np.inf, 0.0), "not finite"),
        (np.where(MASK, np.nan, 0.0), "not finite"),
    ],
    ids=["shape", "negative", "fractions", "text", "infinite", "nan"],
)
def test_an_array_that_does_not_fit_is_not_written(tmp_path, array, sentence):
    with pytest.raises(SubmissionError, match=sentence):
        written(tmp_path / "s.zip", mito=array)
    assert list(tmp_path.iterdir()) == []


def test_only_targets_of_the_manifest_are_written_and_each_once(tmp_path):
    with SubmissionWriter(tmp_path / "s.zip", MANIFEST) as writer:
        writer.write(MITO, IDS)
        with pytest.raises(SubmissionError, match="twice"):
            writer.write(MITO, IDS)
        with pytest.raises(SubmissionError, match="not a target"):
            writer.write(target(label="golgi", **PLACE), IDS)


def test_an_error_keeps_the_file_that_was_there(tmp_path):
    path = written(tmp_path / "s.zip", mito=IDS)
    before = path.read_bytes()
    with pytest.raises(SubmissionError):
        written(path, mito=IDS, er=MASK[1:])
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_the_first_target_may_be_named_by_its_path_and_a_slip_is_answered(tmp_path):
    with SubmissionWriter(tmp_path / "s.zip", MANIFEST) as writer:
        writer.write("crop557/mito", IDS)
        with pytest.raises(SubmissionError, match=r"did you mean crop557/er\?"):
            writer.write("crop557/err", MASK)
    assert np.array_equal(open_submission(tmp_path / "s.zip", MANIFEST).read(MITO), IDS)


def test_a_target_that_failed_half_way_leaves_nothing_in_the_zip(tmp_path):
    bad = np.zeros((200, 64, 64))
    bad[150] = -1
    tall = Manifest((ER, target(crop="9", label="er", shape=bad.shape)))
    with SubmissionWriter(tmp_path / "s.zip", tall) as writer:
        with pytest.raises(SubmissionError, match=r"crop9/er: it holds -1\.0"):
            writer.write("crop9/er", bad)
        writer.write(ER, MASK)
    with zipfile.ZipFile(tmp_path / "s.zip") as archive:
        assert not [name for name in archive.namelist() if name.startswith("crop9")]


def test_nothing_written_is_no_submission(tmp_path):
    with pytest.raises(SubmissionError, match="at least one of the 2 targets"):
        written(tmp_path / "s.zip")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("stop", [KeyboardInterrupt, SystemExit, MemoryError])
def test_an_interruption_leaves_nothing(tmp_path, stop):
    class Stopped(ArrayPlanes):
        def planes(self, start, stop_at):
            if start:
                raise stop
            return super().planes(start, stop_at)

    tall = target(label="er", shape=(100, 64, 64))
    with pytest.raises(stop), SubmissionWriter(tmp_path / "s.zip", Manifest((tall,))) as writer:
        writer.write(tall, Stopped(np.ones(tall.grid.shape, bool)))
    assert list(tmp_path.iterdir()) == []


def test_an_interruption_while_the_zip_is_put_together_leaves_nothing(tmp_path, monkeypatch):
    def stopped(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(zipfile.ZipFile, "writestr", stopped)
    with pytest.raises(KeyboardInterrupt):
        written(tmp_path / "s.zip", mito=IDS)
    assert list(tmp_path.iterdir()) == []


# ------------------------------------------------------------------------------ dtypes


@pytest.mark.parametrize("largest", [1, 255, 256, 65535, 65536, 2**32 - 1, 2**32, 2**64 - 1])
@pytest.mark.parametrize("place", [0, 70, 139])
def test_no_id_is_ever_wrapped_wherever_the_largest_stands(tmp_path, largest, place):
    tall = target("instance", label="mito", shape=(140, 64, 64))
    ids = np.ones(tall.grid.shape, np.uint64)
    ids[place] = largest
    manifest = Manifest((tall,))
    with SubmissionWriter(tmp_path / "s.zip", manifest) as writer:
        writer.write(tall, ids)
    read = open_submission(tmp_path / "s.zip", manifest).read(tall)
    assert np.array_equal(read, ids)
    assert read.dtype == np.min_scalar_type(largest)


@pytest.mark.parametrize("number", [2.0**64, 1e300])
def test_a_number_beyond_every_dtype_is_refused(tmp_path, number):
    with pytest.raises(SubmissionError, match="below 2\\^64"):
        written(tmp_path / "s.zip", mito=np.full(SHAPE, number))


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, ">f4"])
def test_whole_floats_become_ids(tmp_path, dtype):
    path = written(tmp_path / "s.zip", mito=IDS.astype(dtype))
    assert open_submission(path, MANIFEST).read(MITO).dtype == np.uint16
    assert path.read_bytes() == written(tmp_path / "t.zip", mito=IDS).read_bytes()


@given(
    st.lists(
        st.one_of(
            st.floats(0, 1),
            st.floats(0, 1e300),
            st.sampled_from([0.5, np.nextafter(0.5, 1), np.nextafter(0.5, 0), 5e-324, 1e-9]),
        ),
        min_size=1,
        max_size=20,
    )
)
def test_probabilities_stay_on_their_side_of_what_scoring_asks(values):
    array = np.array([0.25, *values])  # with a fraction, so that all of them are stored as such
    grid = target("semantic", label="er", shape=(1, 1, len(array)))
    with TemporaryDirectory() as folder:
        with SubmissionWriter(Path(folder) / "s.zip", Manifest((grid,))) as writer:
            writer.write(grid, array[None, None])
        read = open_submission(Path(folder) / "s.zip", Manifest((grid,))).read(grid)[0, 0]
    assert read.dtype == np.float16
    assert np.isfinite(read).all()
    assert np.array_equal(read > 0.5, array > 0.5)
    assert np.array_equal(read > 0, array > 0)
    close = array < 60000
    assert np.allclose(read[close], array[close], rtol=1e-3, atol=1e-7)


def test_whole_slabs_before_the_first_fraction_keep_their_values(tmp_path):
    tall = target("semantic", label="er", shape=(130, 64, 64))
    array = np.ones(tall.grid.shape)
    array[129] = 0.75
    with SubmissionWriter(tmp_path / "s.zip", Manifest((tall,))) as writer:
        writer.write(tall, array)
    assert np.array_equal(open_submission(tmp_path / "s.zip", Manifest((tall,))).read(tall), array)


# ------------------------------------------------------------------------------ by construction

DTYPE = st.sampled_from(["?", "u1", "u2", "u4", "u8", "i1", "i2", "i4", "i8", "f2", "f4", "f8"])


@given(
    shape=st.tuples(*[st.integers(1, 90)] * 3).filter(lambda shape: np.prod(shape) < 50_000),
    dtype=DTYPE,
    big=st.booleans(),
    kind=st.sampled_from(Kind),
    most=st.integers(0, 2**63),
    threads=st.integers(1, 4),
    seed=st.integers(0, 99),
)
@settings(max_examples=60, deadline=None)
def test_what_is_written_passes_the_check_and_is_read_back(
    shape, dtype, big, kind, most, threads, seed
):
    dtype = np.dtype(dtype).newbyteorder(">" if big else "<")
    most = min(most, np.iinfo(dtype).max if dtype.kind in "iu" else 2000)
    values = np.random.default_rng(seed).integers(0, most, shape, np.uint64, endpoint=True)
    array = values.astype(dtype)
    goal = target(kind, label="mito", shape=shape)
    manifest = Manifest((goal,))
    with TemporaryDirectory() as folder:
        path = Path(folder) / "s.zip"
        with SubmissionWriter(path, manifest, threads=threads) as writer:
            writer.write(goal, array)
        report = check_submission(path, manifest)
        assert report.problems == ()
        assert report.targets == {goal.path: "ok"}
        read = open_submission(path, manifest).read(goal)
    assert np.array_equal(read, array)
    assert read.dtype == np.min_scalar_type(int(array.max()))


@pytest.mark.parametrize(
    "shape",
    [(1, 1, 100_000), (100_000, 1, 1), (1, 100_000, 2), (1, 3000, 3000), (2, 2, 2), (65, 64, 63)],
)
def test_thin_arrays_are_not_cut_to_dust(tmp_path, shape):
    goal = target(label="er", shape=shape)
    with SubmissionWriter(tmp_path / "s.zip", Manifest((goal,))) as writer:
        writer.write(goal, np.ones(shape, bool))
    assert check_submission(tmp_path / "s.zip", Manifest((goal,))).problems == ()
    chunks = chunk_shape(shape)
    assert np.prod(chunks) <= CHUNK**3
    assert np.prod(chunks) * 2 > min(CHUNK**3, np.prod(shape))


@given(st.tuples(*[st.integers(1, 5000)] * 3))
def test_a_chunk_lies_within_its_array_and_is_of_one_size(shape):
    chunks = chunk_shape(shape)
    assert all(1 <= c <= n for c, n in zip(chunks, shape, strict=True))
    assert np.prod(chunks) <= CHUNK**3
    assert chunks == shape or np.prod(chunks) * 2 > CHUNK**3


def test_bytes_do_not_depend_on_order_threads_or_memory_layout(tmp_path):
    first = written(tmp_path / "1.zip", mito=IDS, er=MASK * 0.3).read_bytes()
    for threads, order in ((1, "F"), (2, "C"), (7, "F")):
        path = tmp_path / f"{threads}.zip"
        with SubmissionWriter(path, MANIFEST, threads=threads) as writer:
            writer.write("crop557/er", np.array(MASK * 0.3, order=order))
            writer.write("crop557/mito", np.array(IDS.astype(">u4"), order=order))
        assert path.read_bytes() == first


def test_the_bytes_are_those_of_every_machine(tmp_path):
    """A recorded digest: a change of it is a change of the format's bytes."""
    path = written(tmp_path / "s.zip", mito=np.arange(IDS.size).reshape(SHAPE), er=MASK[::-1])
    assert file_digest(path) == BYTES


def test_more_entries_than_a_plain_zip_directory_can_count(tmp_path):
    """Beyond 65,535 entries a zip needs the 64-bit directory."""
    goals = [target(crop=str(number), label="er", shape=(1, 1, 2)) for number in range(17_000)]
    manifest = Manifest(tuple(sorted(goals, key=lambda goal: goal.path)))
    with SubmissionWriter(tmp_path / "s.zip", manifest) as writer:
        for goal in manifest.targets:
            writer.write(goal, np.ones((1, 1, 2), bool))
    with zipfile.ZipFile(tmp_path / "s.zip") as archive:
        assert len(archive.namelist()) == 4 * 17_000 + 1
    assert check_submission(tmp_path / "s.zip", manifest).problems == ()
    assert (tmp_path / "s.zip").read_bytes()[-42:-38] == b"PK\x06\x07"


def test_memory_does_not_follow_the_volume(tmp_path):
    class Endless:
        """Planes that are made when they are asked for."""

        shape, dtype, order = (1200, 256, 256), np.dtype(np.uint16), "C"

        def planes(self, start, stop):
            noise = np.random.default_rng(start).integers(0, 4, (stop - start, 256, 256))
            return noise.astype(self.dtype)

    goal = target("instance", label="mito", shape=Endless.shape)
    tracemalloc.start()
    with SubmissionWriter(tmp_path / "s.zip", Manifest((goal,))) as writer:
        writer.write(goal, Endless())
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 64 * 256 * 256 * 8 * 4  # some slabs of 64-bit noise; the whole is 5 times that
