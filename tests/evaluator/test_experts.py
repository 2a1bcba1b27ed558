import csv
import io
import shutil
from pathlib import Path

import numpy as np
import pytest
import tifffile
import zarr
from PIL import Image
from typer.testing import CliRunner

from evaluator import EvaluatorError, Unreadable
from evaluator.cli import app
from evaluator.experts import Agreement, Method, as_csv, as_table, consensus, find_masks, open_mask
from tests.evaluator.test_consensus import drawn, fused

BALLS = drawn(2)  # four experts, one plane
EXPERTS = ["anna", "ben", "carl", "dora"]


@pytest.fixture
def parent(tmp_path) -> Path:
    """Four experts' masks of two images, as pictures."""
    for expert, ball in zip(EXPERTS, BALLS, strict=True):
        folder = tmp_path / "parent" / expert
        folder.mkdir(parents=True)
        for name, mask in (("mask1", ball[0]), ("mask2", ball[0].T)):
            Image.fromarray(mask.astype(np.uint8) * 255).save(folder / f"{name}.png")
    return tmp_path / "parent"


def rows_of(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


# ------------------------------------------------------------------------------ the folder


def test_files_of_one_name_belong_together(parent):
    found = find_masks(parent)
    assert list(found) == ["mask1", "mask2"]
    assert list(found["mask1"]) == EXPERTS


@pytest.mark.parametrize("suffix", [".png", ".tif", ".tiff", ".ome.tif", ".zarr", ".ome.zarr"])
def test_the_kind_of_file_does_not_count(tmp_path, suffix):
    paths = []
    for expert, ball in zip(EXPERTS[:2], BALLS, strict=False):
        path = tmp_path / "parent" / expert / f"img_5{suffix}"
        path.parent.mkdir(parents=True)
        if suffix == ".png":
            Image.fromarray(ball[0]).save(path)
        elif suffix.endswith("zarr"):
            zarr.create_array(path, shape=ball.shape, dtype="u1", zarr_format=2)[:] = ball
        else:
            tifffile.imwrite(path, ball[0])
        paths.append(path)
    assert find_masks(tmp_path / "parent") == {"img_5": dict(zip(EXPERTS, paths, strict=False))}
    for path, ball in zip(paths, BALLS, strict=False):
        mask = open_mask(path)
        assert mask.shape == ball.shape
        assert np.array_equal(mask.planes(0, 1) > 0, ball)


def test_other_files_and_hidden_folders_are_passed_over(parent):
    (parent / "notes.txt").write_text("x")
    (parent / ".cache").mkdir()
    (parent / "empty").mkdir()
    (parent / "anna" / "readme.md").write_text("x")
    (parent / "anna" / "._mask1.png").write_text("x")
    assert list(find_masks(parent)["mask1"]) == EXPERTS


def test_one_expert_is_not_enough(parent):
    for expert in EXPERTS[1:]:
        shutil.rmtree(parent / expert)
    with pytest.raises(EvaluatorError, match=r"1 folders with masks; expected .* two experts"):
        find_masks(parent)


def test_a_folder_that_is_not_there_is_told(tmp_path):
    with pytest.raises(EvaluatorError, match="no folder"):
        find_masks(tmp_path / "none")


def test_one_name_twice_is_refused(parent):
    tifffile.imwrite(parent / "ben" / "mask1.tif", BALLS[0][0])
    with pytest.raises(EvaluatorError, match=r"ben has two masks.*mask1\.png and mask1\.tif"):
        find_masks(parent)


def test_grey_saved_in_colours_is_read_and_colours_are_not(tmp_path):
    grey = BALLS[0][0].astype(np.uint8) * 255
    Image.fromarray(np.stack([grey] * 3, -1)).save(tmp_path / "grey.png")
    assert np.array_equal(open_mask(tmp_path / "grey.png").planes(0, 1)[0], grey)
    Image.fromarray(np.stack([grey, grey, grey * 0], -1)).save(tmp_path / "colour.png")
    with pytest.raises(Unreadable, match=r"colour\.png: it holds colours"):
        open_mask(tmp_path / "colour.png")


def test_what_is_no_picture_is_named(tmp_path):
    (tmp_path / "a.png").write_bytes(b"no picture")
    with pytest.raises(Unreadable, match=r"a\.png: it cannot be read as a picture"):
        open_mask(tmp_path / "a.png")


# ------------------------------------------------------------------------------ the consensus


def test_masks_and_tables_are_written(parent, tmp_path):
    rows = consensus(parent, tmp_path / "out")
    names = sorted(
        p.relative_to(tmp_path / "out").as_posix() for p in (tmp_path / "out").rglob("*.*")
    )
    assert names == [
        "agreement.csv", "majority/mask1.tif", "majority/mask2.tif",
        "staple/mask1.tif", "staple/mask2.tif"]  # fmt: skip
    for way in ("staple", "majority"):
        expected = fused(BALLS, way)[0]
        assert np.array_equal(tifffile.imread(tmp_path / "out" / way / "mask1.tif"), expected)
        assert np.array_equal(tifffile.imread(tmp_path / "out" / way / "mask2.tif"), expected.T)
    assert len(rows) == 2 * 2 * 4
    assert (tmp_path / "out" / "agreement.csv").read_text() == as_csv(rows)


@pytest.mark.parametrize("method", [Method.STAPLE, Method.MAJORITY])
def test_one_method_alone(parent, tmp_path, method):
    rows = consensus(parent, tmp_path / "out", method=method)
    assert {row.method for row in rows} == {method}
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["agreement.csv", method]


def test_agreement_is_what_its_definition_says(parent, tmp_path):
    rows = consensus(parent, tmp_path / "out")
    for row in (row for row in rows if row.file == "mask1"):
        mine, truth = BALLS[EXPERTS.index(row.expert)], fused(BALLS, row.method) > 0
        both = (mine & truth).sum()
        assert row.voxels == mine.sum()
        assert row.dice == pytest.approx(2 * both / (mine.sum() + truth.sum()))
        assert row.iou == pytest.approx(both / (mine | truth).sum())
        assert row.sensitivity == pytest.approx(both / truth.sum())
        assert row.specificity == pytest.approx((~mine & ~truth).sum() / (~truth).sum())
        others = [ball for ball in BALLS if ball is not mine]
        dice = [2 * (mine & other).sum() / (mine.sum() + other.sum()) for other in others]
        assert row.dice_with_others == pytest.approx(np.mean(dice))
        assert (row.estimated_sensitivity is None) == (row.method == "majority")


def test_a_stack_of_planes_stays_one(tmp_path):
    balls = drawn(1)
    for expert, ball in zip(EXPERTS, balls, strict=False):
        (tmp_path / "parent" / expert).mkdir(parents=True)
        tifffile.imwrite(tmp_path / "parent" / expert / "s.tif", ball.astype("u1"))
    consensus(tmp_path / "parent", tmp_path / "out")
    written = tifffile.imread(tmp_path / "out" / "staple" / "s.tif")
    assert np.array_equal(written, fused(balls))


def test_several_labels_have_a_row_each(tmp_path):
    truth = np.random.default_rng(0).integers(0, 3, (8, 9)).astype(np.uint8)
    for expert in EXPERTS[:3]:
        (tmp_path / "parent" / expert).mkdir(parents=True)
        Image.fromarray(truth).save(tmp_path / "parent" / expert / "m.png")
    rows = consensus(tmp_path / "parent", tmp_path / "out", method=Method.STAPLE)
    assert [(row.label, row.expert) for row in rows] == [
        (n, e) for n in (1, 2) for e in EXPERTS[:3]
    ]
    assert {row.dice for row in rows} == {1.0}
    assert np.array_equal(tifffile.imread(tmp_path / "out" / "staple" / "m.tif"), truth)


def test_undecided_voxels_get_the_label_that_was_asked_for(tmp_path):
    for expert, mask in (("a", [[0, 1, 1]]), ("b", [[0, 0, 1]])):
        (tmp_path / "p" / expert).mkdir(parents=True)
        Image.fromarray(np.array(mask, np.uint8)).save(tmp_path / "p" / expert / "m.png")
    consensus(tmp_path / "p", tmp_path / "out", method=Method.MAJORITY, undecided=300)
    assert tifffile.imread(tmp_path / "out" / "majority" / "m.tif").ravel().tolist() == [0, 300, 1]


def test_a_mask_that_some_lack_is_the_consensus_of_the_others(parent, tmp_path):
    (parent / "dora" / "mask1.png").unlink()
    rows = consensus(parent, tmp_path / "out")
    assert [row.expert for row in rows if row.file == "mask1"] == EXPERTS[:3] * 2
    expected = fused(BALLS[:3])[0]
    assert np.array_equal(tifffile.imread(tmp_path / "out" / "staple" / "mask1.tif"), expected)


def test_another_size_names_expert_file_and_both_sizes(parent, tmp_path):
    Image.fromarray(BALLS[0][0][:-1]).save(parent / "carl" / "mask2.png")
    with pytest.raises(EvaluatorError) as caught:
        consensus(parent, tmp_path / "out")
    for part in ("carl", "mask2.png", "(1, 47, 48)", "expected (1, 48, 48)", "anna's"):
        assert part in str(caught.value)
    assert not (tmp_path / "out" / "staple" / "mask2.tif").exists()


def test_a_mask_of_another_image_is_found(real_data, tmp_path):
    """In lab-mue 1051 expert 1's mask is of another field, a known fault of that data."""
    masks = real_data / "multi_expert_fluo" / "masks"
    for expert in (1, 3, 4, 5):
        (tmp_path / "parent" / f"expert_{expert}").mkdir(parents=True)
        for image in ("lab-mue_1049.png", "lab-mue_1051.png", "lab-mue_1057.png"):
            source = masks / f"expert_{expert}" / image
            shutil.copy(source, tmp_path / "parent" / f"expert_{expert}" / image)
    rows = consensus(tmp_path / "parent", tmp_path / "out", method=Method.STAPLE)
    strangers = {(row.file, row.expert) for row in rows if row.stranger}
    assert strangers == {("lab-mue_1051", "expert_1")}
    with Image.open(masks / "est_GT" / "lab-mue_1051.png") as expected:
        written = tifffile.imread(tmp_path / "out" / "staple" / "lab-mue_1051.tif")
        assert np.array_equal(written > 0, np.asarray(expected))


# ------------------------------------------------------------------------------ tables, command


def test_what_is_not_defined_is_an_empty_cell():
    row = Agreement("f", 1, "a", "majority", 5, 0.5, 1 / 3, 1.0, 1.0, None, None, None, False)
    (cells,) = rows_of(as_csv([row]))
    assert cells["iou"] == "0.333333"
    assert cells["voxels"] == "5"
    assert {cells[name] for name in ("estimated_sensitivity", "dice_with_others", "stranger")} == {
        ""
    }
    assert as_table([row]).row_count == 1


def test_the_command_prints_the_table_and_what_is_odd(parent, tmp_path):
    (parent / "dora" / "mask1.png").unlink()
    Image.fromarray(~BALLS[1][0]).save(parent / "ben" / "mask2.png")
    result = CliRunner().invoke(app, ["consensus", str(parent), "--out", str(tmp_path / "out")])
    assert result.exit_code == 0, result.output
    assert "anna" in result.output
    assert "mask1: no mask of dora" in result.output
    assert "mask2: ben agrees with nobody on label 1" in result.output
    assert "2 masks by staple and majority" in result.output


def test_the_same_masks_give_the_same_files(parent, tmp_path):
    for out in ("1", "2"):
        consensus(parent, tmp_path / out)
    for path in (tmp_path / "1").rglob("*.*"):
        other = tmp_path / "2" / path.relative_to(tmp_path / "1")
        assert path.read_bytes() == other.read_bytes()


def test_a_place_that_cannot_be_written_is_named(parent, tmp_path):
    (tmp_path / "out").write_text("x")
    result = CliRunner().invoke(app, ["consensus", str(parent), "--out", str(tmp_path / "out")])
    assert isinstance(result.exception, EvaluatorError)
    assert "out" in str(result.exception)
    assert "cannot be read or written" in str(result.exception)
