"""What is wrong with data is found, all of it, in the seeds' own words, before any training."""

import json
import shutil

import numpy as np
import pytest
import tifffile
from PIL import Image
from typer.testing import CliRunner

from baselines.cli import app
from baselines.config import Config, build
from baselines.data.crops import load_crops
from baselines.inspecting import extents
from baselines.inspecting.findings import CHECKS, Severity, text_of
from baselines.inspecting.inspection import inspect, require_sound
from baselines.layout import DataError, Purpose
from evaluator.volume import open_volume
from tests.baselines.trees import RAW, block, pyramid, specimen, tree

PHANTOM = {"voxel_size": [8.0, 8.0, 8.0]}


def stack(path, values):
    tifffile.imwrite(path, values, photometric="minisblack")


def look(folder, *, data=None, **given):
    settings = {"data": {"voxel_size": [8.0, 4.0, 4.0], **(data or {})}}
    return inspect(folder, build(Config, settings | given, where=""), progress=lambda _: None)


def rules(inspection, severity=Severity.ERROR):
    return sorted({f.rule for f in inspection.findings if f.severity is severity})


def said(inspection):
    return " | ".join(finding.message for finding in inspection.findings)


def texture(seed, shape=(4, 24, 24)):
    return np.random.default_rng(seed).integers(40, 200, shape).astype(np.uint8)


@pytest.fixture
def folder(tmp_path):
    """Five stacks and their masks of two classes, as a lab would keep them."""
    for name in ("images", "masks"):
        (tmp_path / name).mkdir()
    for k in range(5):
        mask = np.zeros((4, 24, 24), np.uint8)
        mask[1:3, 4:10, 4:10], mask[2, 15:18, 15:18] = 1, 2
        stack(tmp_path / f"images/s{k}.tif", texture(k))
        stack(tmp_path / f"masks/s{k}_mask.tif", mask)
    return tmp_path


def test_sound_data_pass_every_check_and_are_described(folder):
    found = look(folder)
    assert found.sound
    assert found.findings == ()
    assert [crop.shape for crop in found.crops] == [(4, 24, 24)] * 5
    assert {name: e.voxels for name, e in found.crops[0].labels.items()} == {
        "class1": 72, "class2": 9,
    }  # fmt: skip
    lines = list(text_of(found))
    assert [line for line in lines if line.startswith("OK")] == [
        f"OK   {check}" for check in CHECKS
    ]
    assert (
        "class1 (semantic): annotated in 5 crops, absent in 0 of them, 360 voxels, 3.125 % of what "
        "was annotated"
    ) in lines


def test_objects_are_told_of_instance_labels_and_of_no_others(folder):
    found = look(folder, data={"classes": {"dot": "2:instance", "dirt": "1:semantic"}})
    lines = list(text_of(found))
    said_of = {name: next(n for n in lines if n.startswith(name)) for name in ("dot", "dirt")}
    assert said_of["dot"].endswith("absent in 0 of them, 45 voxels, 5 objects by voxels: 8+: 5")
    assert "object" not in said_of["dirt"]
    labels = found.to_json()["crops"][0]["labels"]
    assert labels["dot"] == {
        "voxels": 9, "annotated": 2304, "share": 9 / 2304,
        "objects": {"count": 1, "sizes": {8: 1}, "reach": (1, 3, 3), "whole": True},
    }  # fmt: skip
    assert labels["dirt"] == {
        "voxels": 72, "annotated": 2304, "share": 0.03125, "objects": None,
    }  # fmt: skip


def test_it_is_told_where_only_the_middle_was_measured_and_where_there_is_no_object(
    folder, monkeypatch
):
    instance = {"classes": {"blob": "1:instance"}}
    monkeypatch.setattr(extents, "_MOST", 2 * 24 * 24)
    (line,) = [n for n in text_of(look(folder, data=instance)) if n.startswith("blob")]
    assert line.endswith("5 objects by voxels: 64+: 5 (of 5 large crops planes in the middle)")
    for k in range(5):
        stack(folder / f"masks/s{k}_mask.tif", np.zeros((4, 24, 24), np.uint8))
    (line,) = [n for n in text_of(look(folder, data=instance)) if n.startswith("blob")]
    assert "absent in 5 of them, 0 voxels, 0 objects (" in line


def test_the_phantom_is_sound(phantom):
    found = look(phantom.root, data=PHANTOM)
    assert found.sound, said(found)
    assert len(found.crops) == 2


@pytest.mark.parametrize("place", ["images/s1.tif", "masks/s1_mask.tif"])
def test_an_empty_file_is_named(folder, place):
    (folder / place).write_bytes(b"")
    found = look(folder)
    assert not found.sound
    assert f"empty file (0 bytes): {place.rpartition('/')[2]}" in said(found)


def test_a_damaged_file_is_named(folder):
    (folder / "images/s3.tif").write_bytes(b"II*\0 but nothing more")
    assert "unreadable" in rules(look(folder))
    assert "s3.tif" in said(look(folder))


def test_all_zero_and_uniform_images_are_rejected(folder):
    stack(folder / "images/s1.tif", np.zeros((4, 24, 24), np.uint8))
    stack(folder / "images/s2.tif", np.full((4, 24, 24), 9, np.uint8))
    found = look(folder)
    assert rules(found) == ["all-zero", "uniform"]
    assert "all pixels are zero (no data): s1.tif" in said(found)
    assert "uniform intensity (no contrast): s2.tif, every pixel is 9" in said(found)


def test_empty_resin_in_data_with_a_manifest_is_a_warning_only(phantom, tmp_path):
    shutil.copytree(phantom.root, tmp_path / "d")
    shutil.rmtree(tmp_path / "d/train/phantom-train-2/raw/s0/0")
    assert not open_volume(tmp_path / "d/train/phantom-train-2/raw").read().any()
    found = look(tmp_path / "d", data=PHANTOM)
    assert "all-zero" in rules(found, Severity.WARNING)
    assert found.sound


@pytest.mark.parametrize("shape", [(3, 24, 24), (4, 23, 24), (4, 24, 25)])
def test_another_number_of_slices_another_height_or_width_is_rejected_with_both_shapes(
    folder, shape
):
    stack(folder / "masks/s2_mask.tif", np.ones(shape, np.uint8))
    found = look(folder)
    assert rules(found) == ["dimensions"]
    z, y, x = shape
    assert f"s2_mask.tif has {z} slices of {y} x {x}, its image s2.tif 4 slices of 24 x 24" in said(
        found
    )


def test_all_mistakes_are_told_at_once(folder):
    stack(folder / "masks/s0_mask.tif", np.ones((4, 24, 9), np.uint8))
    stack(folder / "masks/s1_mask.tif", np.ones((2, 24, 24), np.uint8))
    stack(folder / "images/s3.tif", np.zeros((4, 24, 24), np.uint8))
    found = look(folder)
    assert rules(found) == ["all-zero", "dimensions"]
    assert sorted(f.crop for f in found.findings if f.severity is Severity.ERROR) == [
        "s0",
        "s1",
        "s3",
    ]
    assert [crop.name for crop in found.crops] == ["s2", "s3", "s4"]


def test_a_mask_that_is_missing_is_named(folder):
    (folder / "masks/s4_mask.tif").unlink()
    found = look(folder)
    assert rules(found) == ["data"]
    assert "s4" in said(found)


def test_more_classes_than_allowed_are_listed(folder):
    mask = np.arange(4 * 24 * 24, dtype=np.uint16).reshape(4, 24, 24) % 12
    stack(folder / "masks/s0_mask.tif", mask)
    found = look(folder)
    assert rules(found) == ["classes"]
    assert "masks hold 11 classes (1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11)" in said(found)
    assert look(folder, data={"max_classes": 11}).sound


def test_colour_palettes_and_single_bits_are_no_images_but_masks_may_be(folder):
    for part in ("images", "masks"):
        shutil.rmtree(folder / part)
        (folder / part).mkdir()
    grey = Image.fromarray(texture(0)[0])
    modes = {"rgb": grey.convert("RGB"), "palette": grey.convert("P"), "bits": grey.convert("1")}
    mask = Image.fromarray(np.where(texture(1)[0] > 100, 255, 0).astype(np.uint8))
    for name, image in modes.items():
        image.save(folder / f"images/{name}.png")
        mask.save(folder / f"masks/{name}.png")
    tifffile.imwrite(
        folder / "images/colour.tif", np.zeros((24, 24, 3), np.uint8), photometric="rgb"
    )
    mask.save(folder / "masks/colour.png")
    tifffile.imwrite(folder / "images/waves.tif", np.zeros((24, 24), np.complex64))
    mask.save(folder / "masks/waves.png")
    found = look(folder)
    kinds = {"rgb.png": "in colour", "colour.tif": "in colour", "palette.png": "an indexed palette",
             "bits.png": "1 bit per pixel", "waves.tif": "of the type complex64"}  # fmt: skip
    for name, kind in kinds.items():
        assert f"{name} is {kind}; expected one channel of 8 or 16 bits" in said(found)
    for name in modes:
        grey.save(folder / f"images/{name}.png")
        mask.convert("1").save(folder / f"masks/{name}.png")
    for name in ("images/colour.tif", "masks/colour.png", "images/waves.tif", "masks/waves.png"):
        (folder / name).unlink()
    assert look(folder).sound


def test_float_images_are_taken_with_a_note_and_nan_is_refused(folder):
    stack(folder / "images/s0.tif", texture(0).astype(np.float32))
    found = look(folder)
    assert found.sound
    assert "s0.tif holds float32; grey values of 8 or 16 bits are usual." in said(found)
    values = texture(0).astype(np.float32)
    values[0, 0, 0] = np.nan
    stack(folder / "images/s0.tif", values)
    assert rules(look(folder)) == ["not-finite"]


def test_an_image_of_other_brightness_and_one_out_of_focus_stand_out(folder):
    stack(folder / "images/s1.tif", texture(1) // 4)
    found = look(folder)
    assert found.sound
    assert rules(found, Severity.WARNING) == ["intensity"]
    assert {f.crop for f in found.findings} == {"s1"}
    blurred = texture(2).astype(float)
    for axis in (1, 2):
        blurred = (blurred + np.roll(blurred, 1, axis) + np.roll(blurred, 2, axis)) / 3
    stack(folder / "images/s2.tif", blurred.astype(np.uint8))
    assert ("focus", "s2") in {(f.rule, f.crop) for f in look(folder).findings}


def test_a_label_that_nobody_annotated_is_named_with_how_often_it_was_looked_for(phantom, tmp_path):
    shutil.copytree(phantom.root, tmp_path / "d")
    for crop in phantom.manifest(Purpose.TRAIN).crops:
        shutil.rmtree(tmp_path / "d/train" / crop / "labels/ves/0", ignore_errors=True)
    asked = {"labels": ["cell", "ves"]} | PHANTOM
    found = look(tmp_path / "d", data=asked)
    assert rules(found) == ["no-voxels"]
    assert "no annotated voxels for class(es): ves (annotated in 2 of 2 crops)" in said(found)
    assert look(tmp_path / "d", data=asked | {"skip_empty": True}).sound
    assert look(tmp_path / "d", data={"labels": ["cell"]} | PHANTOM).sound
    every = look(tmp_path / "d", data=PHANTOM)
    assert every.sound
    assert rules(every, Severity.WARNING) == ["no-voxels"]
    assert "ves (annotated in 2 of 2 crops). It is left out." in said(every)
    assert rules(look(tmp_path / "d", data=PHANTOM | {"labels": ["ves"], "skip_empty": True})) == [
        "no-voxels"
    ]


def test_a_label_that_there_is_not_is_answered_with_the_nearest(phantom):
    found = look(phantom.root, data={"labels": ["mitoo"]})
    assert rules(found) == ["no-voxels"]
    assert "(did you mean mito?)" in said(found)
    assert "cell, ecs, er" in said(found)


def test_a_damaged_chunk_is_told_with_its_array_and_no_label_is_called_empty_for_it(
    phantom, tmp_path
):
    shutil.copytree(phantom.root, tmp_path / "d")
    chunks = (tmp_path / "d/train").glob("*/raw/s0/0/0/0")
    places = [chunk.parents[2] for chunk in chunks if chunk.write_bytes(b"no chunk at all")]
    found = look(tmp_path / "d", data={"labels": ["mito"]})
    assert rules(found) == ["unreadable"]
    assert len(places) == 2
    for place in places:
        assert f"{place}: a chunk is damaged" in said(found)


def test_patches_smaller_than_objects_get_a_note_but_not_in_z_of_a_planar_network(folder):
    instance = {"classes": {"blob": "1:instance"}}
    note = look(folder, data=instance, training={"patch": [1, 4, 32]})
    assert rules(note, Severity.NOTE) == ["patch"]
    assert "blob: 95 % of its objects fit into (2, 6, 6) voxels (Z, Y, X)" in said(note)
    wide = look(folder, data=instance, training={"patch": [1, 16, 16]})
    assert rules(wide, Severity.NOTE) == []
    # What is no object, as membranes are none, need not fit into anything.
    assert look(folder, training={"patch": [1, 4, 32]}).findings == ()


def test_an_unknown_voxel_size_is_told_once(folder):
    found = look(folder, data={"voxel_size": []})
    assert [f.rule for f in found.findings] == ["voxel-size"]
    assert "1 nm is assumed. Set data.voxel_size" in said(found)


def test_a_folder_without_data_is_one_finding_and_no_check_is_called_passed(tmp_path):
    found = look(tmp_path)
    assert rules(found) == ["data"]
    assert "has no annotated crops" in said(found)
    assert [line[:4] for line in text_of(found)] == ["FAIL", "    "]
    assert "is no folder" in said(look(tmp_path / "nowhere"))


def test_a_crop_that_lies_outside_its_raw_is_a_warning_and_an_error_if_there_is_no_other(tmp_path):
    near = tree(tmp_path / "near", mito=block())
    tree(near, crop="crop8", corner=(9000.0,) * 3, mito=block())
    size = {"voxel_size": [4.0] * 3}
    found = look(near, data=size)
    assert rules(found) == []
    assert [(f.rule, f.crop) for f in found.findings] == [("left-out", "crop8")]
    assert "crop8 is left out: it lies outside its raw" in said(found)
    assert "WARN annotations lie in raw that is there" in list(text_of(found))
    far = tree(tmp_path / "far", corner=(9000.0,) * 3, mito=block())
    assert rules(look(far, data=size)) == ["left-out"]
    assert rules(look(near, data={"voxel_size": [1.0] * 3})) == ["left-out"]


def test_chunks_of_raw_that_are_missing_are_told_once_before_training_and_once_by_inspect(tmp_path):
    pyramid(tmp_path / RAW.format("jrc_a"), {4.0: specimen()}, chunks=8)
    tree(tmp_path, mito=block())
    (tmp_path / RAW.format("jrc_a") / "s0/3.3.3").unlink()
    found = look(tmp_path, data={"voxel_size": [4.0] * 3})
    assert found.sound
    assert [(f.rule, f.crop) for f in found.findings] == [("raw", "crop7")]
    assert "lacks 1 chunk at 4,4,4 nm" in said(found)
    heard = []
    config = build(Config, {"data": {"voxel_size": [4.0] * 3}}, where="")
    require_sound(tmp_path, config, progress=heard.append)
    assert heard == []  # it is for `load_crops` to say
    load_crops(tmp_path, config, progress=heard.append)
    assert len(heard) == 1
    assert "lacks 1 chunk" in heard[0]
    assert look(tmp_path, data={"voxel_size": [4.0] * 3, "absent": "black"}).findings == ()


def test_a_file_at_fault_is_told_once(folder):
    image = folder / "images/s1.tif"
    tifffile.imwrite(image, np.zeros((24, 24, 3), np.uint8), photometric="rgb")
    found = look(folder)
    assert said(found).count("s1.tif") == 1
    assert rules(found) == ["dtype"]


def test_training_is_refused_with_every_error_and_hears_the_warnings(folder):
    config = build(Config, {}, where="")
    heard = []
    require_sound(folder, config, progress=heard.append)
    assert heard == ["warning: images do not say their voxel size: 1 nm is assumed. "
                     "Set data.voxel_size."]  # fmt: skip
    stack(folder / "images/s1.tif", np.zeros((4, 24, 24), np.uint8))
    stack(folder / "masks/s2_mask.tif", np.ones((2, 24, 24), np.uint8))
    with pytest.raises(DataError) as caught:
        require_sound(folder, config, progress=heard.append)
    assert "no data): s1.tif" in str(caught.value)
    assert "s2_mask.tif has 2 slices" in str(caught.value)


def test_the_command_prints_a_list_or_json_and_its_status_says_whether_training_would_work(folder):
    size = ["--set", "data.voxel_size=[8.0, 4.0, 4.0]"]
    good = CliRunner().invoke(app, ["inspect", str(folder), *size])
    assert good.exit_code == 0
    assert "OK   files can be read" in good.stdout
    stack(folder / "masks/s2_mask.tif", np.ones((2, 24, 24), np.uint8))
    bad = CliRunner().invoke(app, ["inspect", str(folder), *size])
    assert bad.exit_code == 2
    assert "FAIL each image has its annotation, of its shape" in bad.stdout
    found = CliRunner().invoke(app, ["inspect", str(folder), *size, "--json"])
    assert found.exit_code == 2
    table = json.loads(found.stdout)
    assert table["sound"] is False
    assert table["findings"][0]["rule"] == "dimensions"
    assert table["crops"][0]["labels"]["class1"]["share"] == 0.03125
