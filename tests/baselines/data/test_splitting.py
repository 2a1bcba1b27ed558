"""`baselines split` on real folders: filters, words, and training that reads what it wrote."""

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from baselines.box import Box
from baselines.cli import app
from baselines.config import Config, build
from baselines.data.crops import load_crops
from baselines.data.split_file import Row, RowBlock, SplitFile, read_split
from baselines.data.splitting import describe, make_split
from baselines.layout import DataError, DataFolder, Purpose
from baselines.training.sampling import Patches, cut
from evaluator.geometry import VoxelGrid
from evaluator.manifest import Crop, Kind, Label, Target
from evaluator.volume import create_volume, open_volume


def config(data=None, **split) -> Config:
    return build(Config, {"data": data or {}, "split": split}, where="")


def split_of(folder, **given):
    return make_split(folder, config(**given), progress=lambda _: None)


def folder_of(root, crops):
    """A data folder of crops of 6 planes: {crop: {label: (voxels, nm)}}; two crops per specimen."""
    data = DataFolder(root)
    numbers = {name: k + 1 for k, name in enumerate(sorted({n for c in crops.values() for n in c}))}
    for k, (crop, labels) in enumerate(crops.items()):
        grid = VoxelGrid((6, 16, 16), (8.0, 8.0, 8.0), (0.0, 0.0, 1000.0 * k))
        raw = np.random.default_rng(k).integers(1, 255, grid.shape, np.uint8)
        create_volume(data.raw(Purpose.TRAIN, crop), grid, np.uint8, multiscale=True)[:] = raw
        targets = []
        for name, (voxels, size) in labels.items():
            shape = tuple(int(n * 8 // size) for n in grid.shape)
            offset = tuple(o - 4.0 + size / 2 for o in grid.offset)
            place = VoxelGrid(shape, (size,) * 3, offset)
            target = Target(
                Crop(crop, f"d{k // 2}"), Label(name, numbers[name], Kind.SEMANTIC), place
            )
            array = create_volume(data.label(Purpose.TRAIN, target), place, np.uint8)
            ids = np.zeros(shape, np.uint8)
            ids.flat[:voxels] = 1
            array[:] = ids
            targets.append(target)
        data.add_targets(Purpose.TRAIN, targets)
    return root


def test_counts_are_those_of_the_arrays_and_paths_lead_to_them(phantom):
    made = split_of(phantom.root, kind="kfold")
    assert [row.name for row in made.rows] == ["phantom-train-1", "phantom-train-2"]
    for row in made.rows:
        assert open_volume(phantom.root / row.raw).shape == (12, 64, 64)
        for label, path in row.paths.items():
            ids = open_volume(phantom.root / path).read()
            assert row.voxels[label] == np.count_nonzero(ids)
    assert made.about["folds"] == 2
    assert set(made.about["labels"]) <= set(made.rows[0].voxels)


def test_training_reads_what_was_written(phantom, tmp_path):
    out = tmp_path / "split.toml"
    done = CliRunner().invoke(
        app, ["split", str(phantom.root), "--out", str(out), "-c", "cell,mem", "--kind", "kfold"]
    )
    assert done.exit_code == 0, done.output
    assert "fold 0: validates on 1 of 2 crops" in done.output
    for fold in (0, 1):
        settings = config({"labels": ["cell", "mem"]}, kind="file", file=str(out), fold=fold)
        _, crops = load_crops(phantom, settings, progress=lambda _: None)
        for crop, row in zip(crops, read_split(out).rows, strict=True):
            assert bool(crop.validation) == (row.fold == fold)
            assert bool(crop.training) == (row.fold != fold)


def test_a_label_that_nobody_annotated_is_an_error_or_left_out(tmp_path):
    root = folder_of(tmp_path, {
        "a": {"mito": (9, 8.0), "ribo": (0, 8.0)}, "b": {"mito": (5, 8.0)}, "c": {"mito": (3, 8.0)},
    })  # fmt: skip
    labels = ["mito", "ribo"]
    with pytest.raises(
        DataError, match=r"no annotated voxels for ribo \(annotated in 1 of 3 crops"
    ):
        split_of(root, data={"labels": labels})
    made = split_of(root, data={"labels": labels, "skip_empty": True})
    assert made.about["labels"] == ["mito"]


def test_empty_crops_are_kept_as_negatives_unless_they_are_to_be_dropped(tmp_path):
    root = folder_of(tmp_path, {
        "a": {"mito": (9, 8.0)}, "empty": {"mito": (0, 8.0)}, "b": {"mito": (5, 8.0)},
    })  # fmt: skip
    assert [row.name for row in split_of(root).rows] == ["a", "b", "empty"]
    made = split_of(root, data={"drop_empty": True})
    assert [row.name for row in made.rows] == ["a", "b"]


def test_annotations_that_are_too_coarse_are_left_out_unless_allowed(tmp_path):
    root = folder_of(tmp_path, {
        "a": {"nuc": (9, 8.0), "mito": (4, 8.0)}, "b": {"nuc": (2, 16.0), "mito": (4, 8.0)},
    })  # fmt: skip
    strict = split_of(root, data={"voxel_size": [8.0, 8.0, 8.0]})
    assert [sorted(row.voxels) for row in strict.rows] == [["mito", "nuc"], ["mito"]]
    loose = split_of(root, data={"voxel_size": [8.0, 8.0, 8.0], "allow_coarse": ["nuc"]})
    assert loose.rows[1].voxels["nuc"] > 0


def test_the_command_leaves_out_empty_crops_and_keeps_the_share_that_it_is_told(tmp_path):
    crops = {f"c{k}": {"mito": (9, 8.0)} for k in range(10)} | {"empty": {"mito": (0, 8.0)}}
    root, out = folder_of(tmp_path / "data", crops), tmp_path / "s.toml"
    words = ["split", str(root), "--out", str(out), "-c", "mito", "-s", "8,8,8", "--drop-empty"]
    done = CliRunner().invoke(app, [*words, "--fraction", "0.3"])
    assert done.exit_code == 0, done.output
    rows = read_split(out).rows
    assert sorted(row.name for row in rows) == sorted(set(crops) - {"empty"})
    settings = config(kind="file", file=str(out))
    _, read = load_crops(DataFolder(root), settings, progress=lambda _: None)
    assert sum(bool(crop.validation) for crop in read) == 3
    assert sum(bool(crop.training) for crop in read) == 7


def test_datasets_stay_together(tmp_path):
    root = folder_of(tmp_path, {f"c{k}": {"mito": (3, 8.0)} for k in range(6)})
    made = split_of(root, kind="kfold", by="dataset", folds=3)
    folds = {
        row.dataset: {r.fold for r in made.rows if r.dataset == row.dataset} for row in made.rows
    }
    assert sorted(folds) == ["d0", "d1", "d2"]
    assert sorted(fold for (fold,) in folds.values()) == [0, 1, 2]


def test_specimens_of_several_datasets_stay_together(tmp_path):
    root = folder_of(tmp_path, {f"c{k}": {"mito": (3, 8.0)} for k in range(6)})
    (root / "specimens.toml").write_text('d0 = "mouse"\nd2 = "mouse"\n')
    made = split_of(root, kind="kfold", by="specimen")
    assert made.about["folds"] == 2
    assert len({row.fold for row in made.rows if row.specimen == "mouse"}) == 1


def test_fifteen_images_and_masks_make_five_folds(tmp_path):
    for name in ("images", "masks"):
        (tmp_path / name).mkdir()
    for k in range(15):
        values = np.random.default_rng(k).integers(0, 255, (16, 16), np.uint8)
        Image.fromarray(values).save(tmp_path / f"images/img_{k}.png")
        Image.fromarray((values > 128).astype(np.uint8) * 255).save(
            tmp_path / f"masks/img_{k}_mask.png"
        )
    made = split_of(tmp_path, kind="kfold")
    assert sorted(row.fold for row in made.rows) == sorted([0, 1, 2, 3, 4] * 3)
    assert made.rows[0].raw == "images/img_0.png"
    assert made.rows[0].paths == {"class1": "masks/img_0_mask.png"}


def one_image(root, validated):
    """A single image of 16 x 200, dark but for the columns of some box, and a mask of it."""
    (root / "images").mkdir()
    (root / "masks").mkdir()
    random = np.random.default_rng(3)
    values = random.integers(1, 50, (16, 200), np.uint8)
    values[:, validated] = 200
    Image.fromarray(values).save(root / "images/em.png")
    ids = (random.random((16, 200)) > 0.6).astype(np.uint8)
    ids[:, :100] *= random.integers(0, 2, 100, np.uint8)
    Image.fromarray(ids).save(root / "masks/em_mask.png")
    return ids


SMALL = ["--set", "training.patch=[1, 16, 16]", "--set", "model.levels=1"]


def test_two_folds_of_one_image_are_blocks_in_a_file_that_training_reads(tmp_path):
    ids, out = one_image(tmp_path, slice(0, 0)), tmp_path / "split.toml"
    done = CliRunner().invoke(
        app, ["split", str(tmp_path), "--out", str(out), "--folds", "2", *SMALL]
    )
    assert done.exit_code == 0, done.output
    (row,) = read_split(out).rows
    counts = [int(ids[:, :100].sum()), int(ids[:, 100:].sum())]
    assert [block.voxels for block in row.blocks] == [{"class1": count} for count in counts]
    assert f"fold 1: validates on 1 of 1 crops (a block): class1 {counts[1]:,}" in done.output
    for fold in (0, 1):
        _, (crop,) = load_crops(
            tmp_path, config(kind="file", file=str(out), fold=fold), progress=lambda _: None
        )
        here, left = ((0, 100), (108, 200)) if fold == 0 else ((100, 200), (0, 92))
        assert [(b.start[2], b.stop[2]) for b in crop.validation] == [here]
        assert [(b.start[2], b.stop[2]) for b in crop.training] == [left]


@pytest.mark.parametrize("fold", [0, 1, 2])
def test_no_patch_holds_a_voxel_that_validates_nor_learns_in_the_gap(tmp_path, fold):
    """Three blocks of 66 columns: the pieces of 66 - 32 beside them are shorter than a patch."""
    ends = [0, 66, 133, 200]
    one_image(tmp_path, slice(ends[fold], ends[fold + 1]))
    settings = build(
        Config,
        {
            "split": {"kind": "kfold", "folds": 3, "fold": fold},
            "model": {"levels": 1, "context": 0},
            "training": {"patch": [1, 64, 64], "batch": 8, "workers": 0},
        },
        where="",
    )
    labels, crops = load_crops(tmp_path, settings, progress=lambda _: None)
    (crop,) = crops
    assert [(b.start[2], b.stop[2]) for b in crop.validation] == [(ends[fold], ends[fold + 1])]
    patches = Patches(crops, labels, settings)
    bright = crop.light.normalise(np.full((1, 1, 1), 120, np.uint8)).item()
    for iteration in range(12):
        batch = patches.batch(iteration)
        assert batch.raw.max() < bright
        assert batch.known.any()
    near = (max(ends[fold] - 32, 0), min(ends[fold + 1] + 32, 200))
    _, _, known = cut(crop, Box((0, 0, 0), (1, 16, 200)), labels, boxes=crop.training)
    seen = known.any(axis=(0, 1, 2))
    assert not seen[near[0] : near[1]].any()
    assert seen[: near[0]].all()
    assert seen[near[1] :].all()


def test_what_is_lacking_in_a_fold_is_said():
    rows = (
        Row("a", 0, voxels={"mito": 5, "nuc": 0}),
        Row("b", 1, voxels={"mito": 7, "nuc": 9}),
    )
    assert list(describe(SplitFile(rows))) == [
        "fold 0: validates on 1 of 2 crops: mito 5, nuc 0",
        "warning: fold 0 has no nuc to validate on",
        "fold 1: validates on 1 of 2 crops: mito 7, nuc 9",
        "warning: fold 1 has no nuc to train on",
    ]
    blocks = tuple(
        RowBlock(fold, ((0, 0, 0), (8, 8, 8)), {"mito": n}) for fold, n in ((0, 5), (1, 0))
    )
    assert list(describe(SplitFile((Row("a", -1, voxels={"mito": 5}, blocks=blocks),)))) == [
        "fold 0: validates on 1 of 1 crops (a block): mito 5",
        "warning: fold 0 has no mito to train on",
        "fold 1: validates on 1 of 1 crops (a block): mito 0",
        "warning: fold 1 has no mito to validate on",
    ]
    assert list(describe(SplitFile((Row("a", -1),)))) == [
        "all 1 crops train: nothing is kept to validate on"
    ]


def test_an_impossible_kind_names_those_that_are(phantom, tmp_path):
    out = tmp_path / "s.toml"
    done = CliRunner().invoke(
        app, ["split", str(phantom.root), "--out", str(out), "--kind", "kfolds"]
    )
    assert "split.kind is one of planes, random, kfold, file" in str(done.exception)
    assert not out.exists()
