import json
import shutil
import zipfile
import zlib
from pathlib import Path

import numpy as np
import pytest
import zarr

from evaluator import (
    Manifest,
    Report,
    SubmissionError,
    SubmissionWriter,
    Unreadable,
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
ER = target("semantic", crop="557", label="er", **PLACE)
MANIFEST = Manifest((ER, MITO))
IDS = np.random.default_rng(0).integers(0, 300, SHAPE).astype(np.uint64)
MASK = IDS % 2 == 0


def written(path: Path, **arrays: np.ndarray) -> Path:
    with SubmissionWriter(path, MANIFEST) as writer:
        for label, array in arrays.items():
            writer.write(MANIFEST.by_path[f"crop557/{label}"], array)
    return path


@pytest.fixture
def folder(tmp_path) -> Path:
    """A submission as a folder, unpacked from a written one."""
    with zipfile.ZipFile(written(tmp_path / "s.zip", mito=IDS, er=MASK)) as archive:
        archive.extractall(tmp_path / "folder")
    return tmp_path / "folder"


def rezipped(folder: Path, prefix: str = "", method: int = zipfile.ZIP_DEFLATED) -> Path:
    path = folder.with_suffix(".again.zip")
    with zipfile.ZipFile(path, "w", method) as archive:
        for file in sorted(folder.rglob("*")):
            archive.write(file, prefix + file.relative_to(folder).as_posix())
    return path


def codes(report: Report) -> dict[str, str]:
    return {problem.code: problem.severity for problem in report.problems}


def changed(folder: Path, **changes: object) -> Path:
    """The same submission after its mito/.zarray got other values."""
    file = folder / "crop557" / "mito" / ".zarray"
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))
    return rezipped(folder)


# ------------------------------------------------------------------------------ layouts


@pytest.mark.parametrize("prefix", ["", "results/", "a b/results.zarr/"])
@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_one_or_two_folders_may_lie_around_the_crops(folder, prefix, method):
    path = rezipped(folder, prefix, method)
    assert codes(check_submission(path, MANIFEST)) == {}
    assert np.array_equal(open_submission(path, MANIFEST).read(MITO), IDS)


def test_three_folders_around_the_crops_are_too_many(folder):
    assert codes(check_submission(rezipped(folder, "a/b/c/"), MANIFEST)) == {"no_targets": "reject"}


def test_crops_may_lack_their_prefix(folder):
    (folder / "crop557").rename(folder / "557")
    assert np.array_equal(open_submission(rezipped(folder), MANIFEST).read(MITO), IDS)


def test_a_folder_is_read_like_a_zip(folder):
    assert codes(check_submission(folder, MANIFEST)) == {}
    assert np.array_equal(open_submission(folder, MANIFEST).read(MITO), IDS)


def test_what_operating_systems_add_disturbs_nothing(folder):
    (folder / "__MACOSX").mkdir()
    (folder / "__MACOSX" / "._x").write_bytes(b"")
    (folder / "crop557" / ".DS_Store").write_bytes(b"")
    assert codes(check_submission(rezipped(folder, "results/"), MANIFEST)) == {}


@pytest.mark.parametrize("zarr_format", [2, 3])
def test_arrays_of_both_formats_are_accepted(tmp_path, zarr_format):
    array = zarr.create_array(
        tmp_path / "f" / MITO.path, shape=SHAPE, dtype="u4", zarr_format=zarr_format
    )
    array[:] = IDS
    assert np.array_equal(open_submission(rezipped(tmp_path / "f"), MANIFEST).read(MITO), IDS)


def test_a_group_is_read_at_the_level_of_the_crop(tmp_path):
    create_volume(tmp_path / "f" / MITO.path, MITO.grid, "u2", multiscale=True)[:] = IDS
    path = rezipped(tmp_path / "f")
    assert check_submission(path, MANIFEST).targets[MITO.path] == "ok"
    assert np.array_equal(open_submission(path, MANIFEST).read(MITO), IDS)


def test_another_grid_is_sampled_at_the_nearest_voxel(tmp_path):
    fine = VoxelGrid((40, 60, 80), (4.0, 2.0, 2.0), (98.0, 199.0, 299.0))
    doubled = IDS.repeat(2, axis=0).repeat(2, axis=1).repeat(2, axis=2)
    create_volume(tmp_path / "f" / MITO.path, fine, "u2")[:] = doubled
    assert np.array_equal(open_submission(rezipped(tmp_path / "f"), MANIFEST).read(MITO), IDS)


def test_a_larger_array_at_another_place_is_cut_to_the_crop(tmp_path):
    around = VoxelGrid((22, 30, 40), (8.0, 4.0, 4.0), (92.0, 200.0, 300.0))
    create_volume(tmp_path / "f" / MITO.path, around, "u2")[1:21] = IDS
    report = check_submission(tmp_path / "f", MANIFEST)
    assert "partial_cover" not in codes(report)
    assert np.array_equal(open_submission(tmp_path / "f", MANIFEST).read(MITO), IDS)


def test_an_array_over_a_part_of_the_crop_is_scored_and_said_so(tmp_path):
    part = VoxelGrid((10, 30, 40), (8.0, 4.0, 4.0), (180.0, 200.0, 300.0))
    create_volume(tmp_path / "f" / MITO.path, part, "u2")[:] = IDS[10:]
    assert codes(check_submission(tmp_path / "f", MANIFEST))["partial_cover"] == "ignored"
    read = open_submission(tmp_path / "f", MANIFEST).read(MITO)
    assert not read[:10].any()
    assert np.array_equal(read[10:], IDS[10:])


def test_an_offset_repeated_at_another_voxel_size_is_pointed_out(tmp_path):
    doubled = IDS.repeat(2, axis=0).repeat(2, axis=1).repeat(2, axis=2)
    meant = VoxelGrid((40, 60, 80), (4.0, 2.0, 2.0), (98.0, 199.0, 299.0))
    for name, offset in (("repeated", MITO.grid.offset), ("meant", meant.offset)):
        fine = VoxelGrid(meant.shape, meant.voxel_size, offset)
        create_volume(tmp_path / name / MITO.path, fine, "u2")[:] = doubled
    report = check_submission(tmp_path / "repeated", MANIFEST)
    assert codes(report)["corner_offset"] == "ignored"
    assert report.targets[MITO.path] == "ok"
    hint = next(p for p in report.problems if p.code == "corner_offset")
    assert "[98.0, 199.0, 299.0]" in hint.remedy
    assert "corner_offset" not in codes(check_submission(tmp_path / "meant", MANIFEST))
    official = get_protocol("cellmap-2026.1")
    again = check_submission(tmp_path / "repeated", MANIFEST, official)
    assert "corner_offset" not in codes(again)


def test_zarr_v3_is_missing_only_where_the_protocol_says_so(tmp_path):
    stored = zarr.create_array(
        tmp_path / "f" / MITO.path, shape=IDS.shape, dtype="u2", zarr_format=3
    )
    stored[:] = IDS
    submission = open_submission(tmp_path / "f", MANIFEST)
    official = get_protocol("cellmap-2026.1")
    assert submission.quirks(MITO, official) == {"reads_v3"}
    assert submission.open(MITO, official) is None
    assert submission.quirks(MITO, get_protocol("crista-1")) == set()
    assert np.array_equal(submission.read(MITO), IDS)


# ------------------------------------------------------------------------------ what is wrong


def test_a_missing_array_is_named_and_the_rest_is_fine(folder):
    shutil.rmtree(folder / "crop557" / "er")
    report = check_submission(rezipped(folder), MANIFEST)
    assert report.accepted
    assert report.targets == {"crop557/er": "missing", "crop557/mito": "ok"}
    (problem,) = report.problems
    assert (problem.code, problem.crop, problem.label) == ("missing_array", "crop557", "er")
    assert open_submission(rezipped(folder), MANIFEST).read(ER) is None


def test_unknown_crops_and_labels_are_ignored_with_a_note(folder):
    shutil.copytree(folder / "crop557" / "er", folder / "crop557" / "golgi")
    shutil.copytree(folder / "crop557", folder / "crop999")
    report = check_submission(rezipped(folder), MANIFEST)
    assert report.accepted
    assert codes(report) == {"unknown_crop": "ignored", "unknown_label": "ignored"}
    assert set(report.targets.values()) == {"ok"}


def test_thousands_of_unknown_crops_do_not_flood_the_report(folder):
    for number in range(200):
        (folder / f"x{number}").mkdir()
        (folder / f"x{number}" / "a").write_bytes(b"")
    assert len(check_submission(rezipped(folder), MANIFEST).problems) == 50


def test_an_archive_without_any_target_is_rejected_with_what_it_holds(folder):
    (folder / "crop557").rename(folder / "crop558")
    report = check_submission(rezipped(folder), MANIFEST)
    assert not report.accepted
    (problem,) = report.problems
    assert problem.code == "no_targets"
    assert "crop558" in problem.message
    assert "crop557/er" in problem.message
    with pytest.raises(SubmissionError, match="crop558"):
        open_submission(rezipped(folder), MANIFEST)


@pytest.mark.parametrize("content", [b"", b"no zip", b"PK\x03\x04 and no end"])
def test_what_is_no_zip_is_rejected_and_all_targets_are_missing(tmp_path, content):
    (tmp_path / "s.zip").write_bytes(content)
    report = check_submission(tmp_path / "s.zip", MANIFEST)
    assert codes(report) == {"not_a_zip": "reject"}
    assert set(report.targets.values()) == {"missing"}


@pytest.mark.parametrize(
    ("code", "changes"),
    [
        ("wrong_shape", {"shape": [30, 20, 40]}),
        ("wrong_shape", {"shape": [1, 20, 30, 40]}),
        ("wrong_shape", {"shape": [2000, 2000, 2000]}),
        ("wrong_dtype", {"dtype": "|O"}),
        ("wrong_dtype", {"dtype": "<U8"}),
        ("wrong_codec", {"compressor": {"id": "pickle"}}),
        ("wrong_codec", {"dtype": "|u1", "filters": [{"id": "pickle"}]}),
        ("bad_metadata", {"zarr_format": 7}),
    ],
)
def test_a_bad_array_is_unreadable_and_the_rest_goes_on(folder, code, changes):
    path = changed(folder, **changes)
    report = check_submission(path, MANIFEST)
    assert report.accepted
    assert codes(report) == {code: "unscored"}
    assert report.targets == {"crop557/er": "ok", "crop557/mito": "unreadable"}
    assert report.problems[0].message.startswith("crop557/mito: ")
    submission = open_submission(path, MANIFEST)
    with pytest.raises(Unreadable):
        submission.read(MITO)
    assert np.array_equal(submission.read(ER), MASK)


def test_without_lengths_the_shape_must_fit(folder):
    (folder / "crop557" / "mito" / ".zattrs").unlink()
    assert codes(check_submission(rezipped(folder), MANIFEST)) == {}
    report = check_submission(changed(folder, shape=[20, 30, 41]), MANIFEST)
    assert codes(report) == {"wrong_shape": "unscored"}
    assert "(20, 30, 41); expected (20, 30, 40)" in report.problems[0].message


def test_an_array_beside_the_crop_is_unreadable(folder):
    lengths = {"voxel_size": [8, 4, 4], "translation": [1e6, 0, 0]}
    (folder / "crop557" / "mito" / ".zattrs").write_text(json.dumps(lengths))
    report = check_submission(rezipped(folder), MANIFEST)
    assert codes(report) == {"bad_metadata": "unscored"}
    assert "outside the crop" in report.problems[0].message


def test_a_label_folder_without_metadata_is_named(folder):
    (folder / "crop557" / "mito" / ".zarray").unlink()
    report = check_submission(rezipped(folder), MANIFEST)
    assert codes(report) == {"bad_metadata": "unscored"}


@pytest.mark.parametrize("content", [b"damaged", b"", bytes(100)])
def test_a_damaged_chunk_spoils_its_target_alone(folder, content):
    chunk = folder / "crop557" / "mito" / "0" / "0" / "0"
    assert chunk.is_file()
    chunk.write_bytes(content)
    for path in (folder, rezipped(folder)):
        submission = open_submission(path, MANIFEST)
        with pytest.raises(Unreadable, match="damaged"):
            submission.read(MITO)
        assert np.array_equal(submission.read(ER), MASK)


@pytest.mark.parametrize("place", [0.1, 0.5, 0.9])
def test_a_zip_with_a_flipped_bit_is_unreadable_there_alone(tmp_path, place):
    path = written(tmp_path / "s.zip", mito=IDS, er=MASK)
    with zipfile.ZipFile(path) as archive:
        chunk = archive.getinfo("crop557/mito/0/0/0")
    content = bytearray(path.read_bytes())
    content[chunk.header_offset + 60 + int(place * (chunk.compress_size - 60))] ^= 1
    path.write_bytes(content)
    submission = open_submission(path, MANIFEST)
    with pytest.raises(Unreadable):
        submission.read(MITO)
    assert np.array_equal(submission.read(ER), MASK)


def test_a_chunk_that_unfolds_beyond_its_size_is_unreadable(folder):
    chunk = folder / "crop557" / "mito" / "0" / "0" / "0"
    chunk.write_bytes(zlib.compress(bytes(50 << 20), 9))
    path = changed(folder, compressor={"id": "zlib", "level": 1})
    with pytest.raises(Unreadable):
        open_submission(path, MANIFEST).read(MITO)


def test_every_problem_has_two_sentences_and_goes_into_json(folder):
    shutil.rmtree(folder / "crop557" / "er")
    report = check_submission(changed(folder, dtype="|O"), MANIFEST)
    values = json.loads(json.dumps(report.to_json()))
    assert values["accepted"] is True
    assert values["targets"] == {"crop557/er": "missing", "crop557/mito": "unreadable"}
    assert len(values["problems"]) == 2
    for problem in values["problems"]:
        assert {"code", "severity", "blame", "crop", "label", "docs"} < problem.keys()
        assert problem["expected"]
        assert problem["got"]
        assert problem["message"].endswith(".")
        assert problem["remedy"].endswith(".")
