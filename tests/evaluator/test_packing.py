import zipfile
from pathlib import Path

import numpy as np
import pytest
import zarr

from evaluator import (
    Kind,
    Manifest,
    Report,
    SubmissionError,
    SubmissionWriter,
    check_submission,
    create_volume,
    open_submission,
    pack_folder,
)
from tests.evaluator.shapes import target

SHAPE = (20, 30, 40)
PLACE = {"shape": SHAPE, "voxel_size": (8.0, 4.0, 4.0), "offset": (100.0, 200.0, 300.0)}
MITO = target("instance", crop="557", label="mito", **PLACE)
ER = target("semantic", crop="557", label="er", **PLACE)
MANIFEST = Manifest((ER, MITO))
IDS = np.random.default_rng(0).integers(0, 300, SHAPE).astype(np.uint64)
MASK = IDS % 2 == 0


def written(path: Path, **arrays: np.ndarray) -> Path:
    with SubmissionWriter(path, MANIFEST) as writer:
        for label, array in arrays.items():
            writer.write(MANIFEST.by_path[f"crop557/{label}"], array)
    return path


def codes(report: Report) -> dict[str, str]:
    return {problem.code: problem.severity for problem in report.problems}


# ------------------------------------------------------------------------------ writing


def test_what_is_written_is_read_back(tmp_path):
    path = written(tmp_path / "s.zip", mito=IDS, er=MASK)
    submission = open_submission(path, MANIFEST)
    assert np.array_equal(submission.read(MITO), IDS)
    assert np.array_equal(submission.read(ER), MASK)
    assert codes(check_submission(path, MANIFEST)) == {}


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


# ------------------------------------------------------------------------------ packing


def test_a_folder_of_arrays_becomes_the_same_bytes_as_writing_them(tmp_path):
    create_volume(tmp_path / "f" / MITO.path, MITO.grid, "u8", multiscale=True)[:] = IDS
    create_volume(tmp_path / "f" / ER.path, ER.grid, "bool", chunks=(7, 7, 7))[:] = MASK
    pack_folder(tmp_path / "f", MANIFEST, tmp_path / "packed.zip")
    expected = written(tmp_path / "written.zip", mito=IDS, er=MASK)
    assert (tmp_path / "packed.zip").read_bytes() == expected.read_bytes()


def test_a_folder_with_a_bad_array_is_not_packed(tmp_path):
    create_volume(tmp_path / "f" / MITO.path, MITO.grid, "f4")[:] = 0.5
    with pytest.raises(SubmissionError, match="crop557/mito: object ids must be whole"):
        pack_folder(tmp_path / "f", MANIFEST, tmp_path / "packed.zip")
    assert not (tmp_path / "packed.zip").exists()


def test_what_a_folder_lacks_is_reported(tmp_path):
    create_volume(tmp_path / "f" / MITO.path, MITO.grid, "u1")[:] = 1
    report = pack_folder(tmp_path / "f", MANIFEST, tmp_path / "packed.zip")
    assert report.targets == {"crop557/er": "missing", "crop557/mito": "ok"}
    assert MANIFEST.by_path["crop557/er"].label.kind == Kind.SEMANTIC
