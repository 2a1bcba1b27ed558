import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import tifffile
import zarr
from click.testing import Result
from typer.testing import CliRunner

from evaluator import (
    Kind,
    Manifest,
    SubmissionError,
    SubmissionWriter,
    Unreadable,
    VoxelGrid,
    check_submission,
    create_volume,
    format_labels,
    format_manifest,
    open_submission,
    pack_folder,
)
from evaluator.cli import app
from evaluator.predictions import find_predictions
from tests.evaluator.shapes import target

SHAPE = (20, 30, 40)
PLACE = {"shape": SHAPE, "voxel_size": (8.0, 4.0, 4.0), "offset": (100.0, 200.0, 300.0)}
MITO = target("instance", crop="557", label="mito", **PLACE)
ER = target("semantic", crop="557", label="er", **PLACE)
MANIFEST = Manifest((ER, MITO))
IDS = np.random.default_rng(0).integers(0, 300, SHAPE).astype(np.uint16)
MASK = IDS % 2 == 0


@pytest.fixture
def folder(tmp_path) -> Path:
    """Predictions of both targets as plain arrays."""
    create_volume(tmp_path / "f" / MITO.path, MITO.grid, "u8")[:] = IDS
    create_volume(tmp_path / "f" / ER.path, ER.grid, "bool", chunks=(7, 7, 7))[:] = MASK
    return tmp_path / "f"


@pytest.fixture
def expected(tmp_path) -> bytes:
    """The submission with both arrays, as the Python interface writes it."""
    with SubmissionWriter(tmp_path / "expected.zip", MANIFEST) as writer:
        writer.write(MITO, IDS)
        writer.write(ER, MASK)
    return (tmp_path / "expected.zip").read_bytes()


def packed(folder: Path, **options: bool) -> bytes:
    out = folder.parent / "packed.zip"
    pack_folder(folder, MANIFEST, out, **options)
    assert check_submission(out, MANIFEST).problems == ()
    return out.read_bytes()


def replaced(folder: Path) -> Path:
    shutil.rmtree(folder / "crop557" / "mito")
    return folder / "crop557"


# ------------------------------------------------------------------------------ sources


def test_zarr_arrays_become_the_same_bytes_as_writing_them(folder, expected):
    assert packed(folder) == expected


@pytest.mark.parametrize("name", ["mito", "mito.zarr", "mito.ome.zarr"])
@pytest.mark.parametrize("zarr_format", [2, 3])
def test_plain_arrays_of_both_formats(folder, expected, name, zarr_format):
    path = replaced(folder) / name
    zarr.create_array(path, shape=SHAPE, dtype=">u4", chunks=(9, 30, 11), zarr_format=zarr_format)[
        :
    ] = IDS
    assert packed(folder) == expected


def test_an_ome_zarr_group_0_4(folder, expected):
    create_volume(replaced(folder) / "mito.zarr", MITO.grid, "i8", multiscale=True)[:] = IDS
    assert packed(folder) == expected


def test_an_ome_zarr_group_0_5_gives_the_level_of_the_crop(folder, expected):
    path = replaced(folder) / "mito"
    group = zarr.open_group(path, mode="w", zarr_format=3)
    datasets = []
    for level, factor in enumerate((1, 2)):
        array = IDS.repeat(2, 0).repeat(2, 1).repeat(2, 2) if factor == 1 else IDS
        group.create_array(str(level), shape=array.shape, dtype="u2")[:] = array
        size = [4.0 * factor, 2.0 * factor, 2.0 * factor]
        offset = [100.0, 200.0, 300.0] if factor == 2 else [98.0, 199.0, 299.0]
        steps = [{"type": "scale", "scale": size}, {"type": "translation", "translation": offset}]
        datasets.append({"path": str(level), "coordinateTransformations": steps})
    axes = [{"name": axis, "type": "space", "unit": "nanometer"} for axis in "zyx"]
    image = {"axes": axes, "datasets": datasets}
    group.attrs["ome"] = {"version": "0.5", "multiscales": [image]}
    assert packed(folder) == expected


@pytest.mark.parametrize("name", ["mito.tif", "mito.tiff", "mito.TIF", "mito.ome.tif"])
@pytest.mark.parametrize("compression", [None, "zlib"])
def test_a_tiff_stack_without_spacing(folder, expected, name, compression):
    tifffile.imwrite(replaced(folder) / name, IDS, compression=compression)
    assert packed(folder) == expected


def test_a_tiff_stack_with_the_spacing_of_the_target(folder, expected):
    tifffile.imwrite(
        replaced(folder) / "mito.tif",
        IDS,
        imagej=True,
        resolution=(250, 250),
        metadata={"axes": "ZYX", "spacing": 0.008, "unit": "um"},
    )
    assert packed(folder) == expected


def test_a_folder_of_single_planes_in_natural_order(folder, expected):
    place = replaced(folder) / "mito"
    place.mkdir()
    for z, plane in enumerate(IDS):
        tifffile.imwrite(place / f"z{z}.tif", plane)
    assert packed(folder) == expected


@pytest.mark.parametrize("around", ["results", "a/b"])
def test_one_or_two_folders_may_lie_around_the_crops(folder, expected, around):
    inner = folder.parent / "outer" / around
    inner.parent.mkdir(parents=True)
    folder.rename(inner)
    assert packed(folder.parent / "outer") == expected


def test_crops_may_lack_their_prefix(folder, expected):
    (folder / "crop557").rename(folder / "557")
    assert packed(folder) == expected


def test_hidden_files_and_metadata_of_groups_are_passed_over(folder, expected):
    for name in (".DS_Store", ".zgroup", ".zattrs", "zarr.json", "Thumbs.db"):
        (folder / name).write_text("{}")
        (folder / "crop557" / name).write_text("{}")
    report = pack_folder(folder, MANIFEST, folder.parent / "packed.zip")
    assert report.problems == ()
    assert packed(folder) == expected


# ------------------------------------------------------------------------------ other grids


def test_another_grid_is_refused_with_both_grids_and_the_way_out(folder, tmp_path):
    fine = VoxelGrid((40, 60, 80), (4.0, 2.0, 2.0), (98.0, 199.0, 299.0))
    create_volume(folder / MITO.path, fine, "u2")
    with pytest.raises(SubmissionError) as caught:
        pack_folder(folder, MANIFEST, tmp_path / "packed.zip")
    for part in ("crop557/mito", "(40, 60, 80)", "(4.0, 2.0, 2.0)", "(98.0, 199.0, 299.0)",
                 str(SHAPE), "(8.0, 4.0, 4.0)", "(100.0, 200.0, 300.0)", "--resample"):  # fmt: skip
        assert part in str(caught.value)
    assert not (tmp_path / "packed.zip").exists()


def test_another_grid_is_taken_onto_the_targets_on_demand(folder, expected):
    fine = VoxelGrid((40, 60, 80), (4.0, 2.0, 2.0), (98.0, 199.0, 299.0))
    for path, array in ((MITO.path, IDS), (ER.path, MASK)):
        doubled = array.repeat(2, 0).repeat(2, 1).repeat(2, 2)
        create_volume(folder / path, fine, array.dtype)[:] = doubled
    assert packed(folder, resample=True) == expected


def test_a_tiff_on_another_grid_begins_at_the_corner_of_the_crop(folder, expected):
    doubled = IDS.repeat(2, 0).repeat(2, 1).repeat(2, 2)
    tifffile.imwrite(
        replaced(folder) / "mito.tif",
        doubled,
        imagej=True,
        resolution=(500, 500),
        metadata={"axes": "ZYX", "spacing": 0.004, "unit": "um"},
    )
    with pytest.raises(SubmissionError, match="--resample"):
        packed(folder)
    assert packed(folder, resample=True) == expected
    assert sorted(path.name for path in folder.parent.iterdir()) == [
        "expected.zip", "f", "packed.zip"]  # fmt: skip


def test_half_a_voxel_beside_the_target_is_another_grid(folder):
    beside = VoxelGrid(SHAPE, (8.0, 4.0, 4.0), (100.0, 202.0, 300.0))
    create_volume(folder / MITO.path, beside, "u2")[:] = IDS
    with pytest.raises(SubmissionError, match="another grid"):
        packed(folder)


def test_what_is_lost_in_writing_a_length_is_no_other_grid(folder, expected):
    near = VoxelGrid(SHAPE, (8.0000001, 4.0, 4.0), (100.0001, 200.0, 300.0))
    create_volume(folder / MITO.path, near, "u2")[:] = IDS
    assert packed(folder) == expected


def test_a_part_of_the_crop_is_packed_and_said_so(folder, tmp_path):
    part = VoxelGrid((10, 30, 40), (8.0, 4.0, 4.0), (180.0, 200.0, 300.0))
    create_volume(folder / MITO.path, part, "u2")[:] = IDS[10:]
    report = pack_folder(folder, MANIFEST, tmp_path / "packed.zip", resample=True)
    assert [problem.code for problem in report.problems] == ["partial_cover"]
    read = open_submission(tmp_path / "packed.zip", MANIFEST).read(MITO)
    assert not read[:10].any()
    assert np.array_equal(read[10:], IDS[10:])


def test_an_array_beside_the_crop_is_refused_even_with_resampling(folder):
    far = VoxelGrid(SHAPE, (8.0, 4.0, 4.0), (1e6, 200.0, 300.0))
    create_volume(folder / MITO.path, far, "u2")[:] = IDS
    with pytest.raises(Unreadable, match=r"crop557/mito: .*outside the crop"):
        packed(folder, resample=True)


@pytest.mark.parametrize("resample", [False, True])
def test_a_stack_without_spacing_must_have_the_shape(folder, tmp_path, resample):
    tifffile.imwrite(replaced(folder) / "mito.tif", IDS[1:])
    with pytest.raises(Unreadable) as caught:
        pack_folder(folder, MANIFEST, tmp_path / "packed.zip", resample=resample)
    for part in ("crop557/mito", "mito.tif", "(19, 30, 40)", "expected (20, 30, 40)"):
        assert part in str(caught.value)


# ------------------------------------------------------------------------------ what is wrong


def test_what_is_missing_is_told_and_the_rest_packed(folder, tmp_path):
    shutil.rmtree(folder / "crop557" / "er")
    report = pack_folder(folder, MANIFEST, tmp_path / "packed.zip")
    assert report.targets == {"crop557/er": "missing", "crop557/mito": "ok"}
    (problem,) = report.problems
    assert (problem.code, problem.crop, problem.label) == ("missing_array", "crop557", "er")
    assert check_submission(tmp_path / "packed.zip", MANIFEST).targets == report.targets


def test_unknown_names_are_told_with_the_nearest_known_one(folder, tmp_path):
    create_volume(folder / "crop557" / "mitoo.zarr", MITO.grid, "u1")
    create_volume(folder / "crop575" / "mito", MITO.grid, "u1")
    create_volume(folder / "crop557" / "xyz", MITO.grid, "u1")
    report = pack_folder(folder, MANIFEST, tmp_path / "packed.zip")
    told = {problem.message.split()[0]: problem for problem in report.problems}
    assert told.keys() == {"crop557/mitoo", "crop575", "crop557/xyz"}
    assert {problem.severity for problem in report.problems} == {"ignored"}
    assert told["crop557/mitoo"].remedy.endswith("(did you mean mito?).")
    assert told["crop575"].remedy.endswith("(did you mean crop557?).")
    assert "label of the manifest" in told["crop557/xyz"].remedy


def test_two_predictions_for_one_target_are_refused(folder):
    tifffile.imwrite(folder / "crop557" / "mito.tif", IDS)
    with pytest.raises(SubmissionError, match=r"crop557/mito is there twice: .*mito.* and .*\.tif"):
        find_predictions(folder, MANIFEST)


def test_a_crop_with_and_without_its_prefix_is_there_twice(folder):
    shutil.copytree(folder / "crop557", folder / "557")
    with pytest.raises(SubmissionError, match="twice"):
        find_predictions(folder, MANIFEST)


@pytest.mark.parametrize("name", ["", "other/x"])
def test_a_folder_without_any_prediction_says_what_it_holds(tmp_path, name):
    (tmp_path / "f" / name).mkdir(parents=True)
    with pytest.raises(SubmissionError, match=r"none of the 2 targets: found .*crop557/er"):
        pack_folder(tmp_path / "f", MANIFEST, tmp_path / "packed.zip")
    assert not (tmp_path / "packed.zip").exists()


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("mito.tif", b"no tiff", "cannot be read as a TIFF stack"),
        ("mito.zarr", None, "no Zarr array and no TIFF file"),
        ("mito.txt", b"hm", "unknown"),
    ],
)
def test_what_cannot_be_read_names_file_and_target(folder, tmp_path, name, content, sentence):
    path = replaced(folder) / name
    path.write_bytes(content) if content else path.mkdir()
    out = tmp_path / "packed.zip"
    if sentence == "unknown":
        assert pack_folder(folder, MANIFEST, out).problems[0].code == "unknown_label"
        return
    with pytest.raises(Unreadable) as caught:
        pack_folder(folder, MANIFEST, out)
    for part in ("crop557/mito", name, sentence):
        assert part in str(caught.value)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["f"]


def test_a_damaged_chunk_names_file_and_target_and_leaves_nothing(folder, tmp_path):
    (folder / "crop557" / "mito" / "0" / "0" / "0").write_bytes(b"damaged")
    with pytest.raises(Unreadable, match=r"crop557/mito: .*mito: a chunk is damaged"):
        pack_folder(folder, MANIFEST, tmp_path / "packed.zip")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["f"]


def test_fractions_as_ids_name_file_and_target(folder, tmp_path):
    tifffile.imwrite(replaced(folder) / "mito.tif", np.full(SHAPE, 0.5, "f4"))
    with pytest.raises(SubmissionError, match=r"crop557/mito: object ids must be whole.*mito\.tif"):
        pack_folder(folder, MANIFEST, tmp_path / "packed.zip")
    assert not (tmp_path / "packed.zip").exists()


def test_metadata_that_is_not_allowed_is_refused(folder):
    file = folder / "crop557" / "mito" / ".zarray"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"dtype": "|O"}))
    with pytest.raises(Unreadable, match="data type"):
        packed(folder)
    assert MITO.label.kind == Kind.INSTANCE


@pytest.mark.parametrize("way", ["a folder", "below a file"])
def test_a_place_that_cannot_be_written_is_named(folder, tmp_path, way):
    out = tmp_path / "out"
    out.mkdir() if way == "a folder" else out.write_text("x")
    with pytest.raises(SubmissionError, match=r"out.* cannot be read or written: "):
        pack_folder(folder, MANIFEST, out if way == "a folder" else out / "s.zip")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["f", "out"]


# ------------------------------------------------------------------------------ documentation


def test_each_source_of_the_page_is_packed(tmp_path, expected, monkeypatch):
    """The table of docs/packing.md: what its examples write, `pack` reads."""
    page = (Path(__file__).parents[2] / "docs" / "packing.md").read_text("utf-8")
    rows = [row.split("|") for row in page.splitlines() if row.startswith("|")]
    written = [row[3].strip().strip("`") for row in rows if len(row) > 3 and "mito" in row[3]]
    assert len(written) == 2
    for number, code in enumerate(written):
        folder = tmp_path / str(number)
        create_volume(folder / ER.path, ER.grid, "bool")[:] = MASK
        monkeypatch.chdir(folder)
        exec(code, {"zarr": zarr, "tifffile": tifffile, "ids": IDS})
        assert packed(folder) == expected


def test_the_python_of_the_page_runs(tmp_path, monkeypatch):
    page = (Path(__file__).parents[2] / "docs" / "packing.md").read_text("utf-8")
    code = page.split("```python\n")[1].split("```")[0]
    (tmp_path / "manifest").mkdir()
    (tmp_path / "manifest" / "manifest.csv").write_text(format_manifest(MANIFEST.targets))
    (tmp_path / "manifest" / "labels.toml").write_text(format_labels(MANIFEST.labels.values()))
    monkeypatch.chdir(tmp_path)
    exec(code, {"ids": IDS})
    assert np.array_equal(open_submission(Path("submission.zip"), MANIFEST).read(MITO), IDS)


# ------------------------------------------------------------------------------ command


def run(folder: Path, *options: str) -> Result:
    place = folder.parent / "manifest"
    place.mkdir(exist_ok=True)
    (place / "manifest.csv").write_text(format_manifest(MANIFEST.targets))
    (place / "labels.toml").write_text(format_labels(MANIFEST.labels.values()))
    out = str(folder.parent / "s.zip")
    arguments = ["pack", str(folder), "--manifest", str(place), "--out", out, *options]
    return CliRunner().invoke(app, arguments)


def test_the_command_packs_and_says_so(folder, expected):
    result = run(folder)
    assert result.exit_code == 0
    assert "Packed 2 of 2 targets" in result.output
    assert (folder.parent / "s.zip").read_bytes() == expected


def test_the_command_ends_with_1_if_a_target_is_missing(folder):
    shutil.rmtree(folder / "crop557" / "er")
    result = run(folder)
    assert result.exit_code == 1
    assert "crop557/er is missing" in result.output
    assert "Packed 1 of 2 targets" in result.output
    assert (folder.parent / "s.zip").exists()


def test_the_command_resamples_on_demand(folder, expected):
    fine = VoxelGrid((40, 60, 80), (4.0, 2.0, 2.0), (98.0, 199.0, 299.0))
    doubled = IDS.repeat(2, 0).repeat(2, 1).repeat(2, 2)
    create_volume(folder / MITO.path, fine, "u2")[:] = doubled
    assert isinstance(run(folder).exception, SubmissionError)
    assert not (folder.parent / "s.zip").exists()
    assert run(folder, "--resample").exit_code == 0
    assert (folder.parent / "s.zip").read_bytes() == expected
