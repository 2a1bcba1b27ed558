"""Fetching the phantom from a folder, a web server and a bucket: whole, once, and again."""

import csv
import hashlib
import json
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import zarr

from baselines.box import Box
from baselines.config import Config, build
from baselines.data.crops import load_crops
from baselines.fetching.fetch import Estimate, check_room, estimate_bytes, fetch
from baselines.fetching.fetch_plan import Choice, plan_fetch
from baselines.fetching.fetched import LEDGER, FetchedFolder, fetched_boxes
from baselines.fetching.published import CELLMAP, Layout, choose, layout_of
from baselines.fetching.store import open_store
from baselines.layout import DataError, DataFolder, Purpose
from evaluator.errors import EvaluatorError
from evaluator.geometry import VoxelGrid
from evaluator.manifest import (
    Crop,
    Kind,
    Label,
    Target,
    format_labels,
    format_manifest,
    load_manifest,
)
from evaluator.volume import create_volume, open_volume
from tests.baselines.serving import bucket_server, web_server


@pytest.fixture
def web(phantom):
    with web_server(phantom.root) as web:
        yield web


def run(store, dest, *, crops="all", labels=(), choice=None, **given):
    said = []
    wanted = choose(store, layout_of(store), crops=crops, labels=labels)
    done = fetch(store, wanted, dest, choice or Choice(), progress=said.append, **given)
    return done, said


def chunks(paths):
    """Of some paths, those of chunks: they end with a number."""
    return [path for path in paths if path.rpartition("/")[2].isdigit()]


def files(root):
    return {
        str(file.relative_to(root)): file.read_bytes()
        for file in sorted(root.rglob("*")) if file.is_file()
    }  # fmt: skip


def same_training_crops(dest, phantom):
    """The manifest and every array of the training crops are those that were published."""
    manifest = phantom.manifest(Purpose.TRAIN)
    assert DataFolder(dest).manifest(Purpose.TRAIN) == manifest
    for target in manifest.targets:
        ours, theirs = (
            open_volume(d.label(Purpose.TRAIN, target)) for d in (DataFolder(dest), phantom)
        )
        assert np.array_equal(ours.read(), theirs.read())
    for crop in manifest.crops:
        ours, theirs = (
            open_volume(d.raw(Purpose.TRAIN, crop)) for d in (DataFolder(dest), phantom)
        )
        assert ours.grid == theirs.grid
        assert np.array_equal(ours.read(), theirs.read())


def test_a_folder_a_web_server_and_a_bucket_give_the_same_training_crops(phantom, web, tmp_path):
    with bucket_server(phantom.root) as endpoint:
        stores = {
            "folder": open_store(str(phantom.root)),
            "web": open_store(web.url),
            "bucket": open_store("s3://open-data/of/all", endpoint=endpoint),
        }
        for name, store in stores.items():
            run(store, tmp_path / name)
    same_training_crops(tmp_path / "bucket", phantom)
    contents = [files(tmp_path / name) for name in stores]
    assert contents[0] == contents[1] == contents[2]
    published = files(phantom.root)
    own = {LEDGER, "train.csv", "labels.toml"}
    assert all(
        content == published[name] for name, content in contents[0].items() if name not in own
    )
    assert not any(name.startswith(("hidden", "challenge")) for name in contents[0])


def test_it_says_how_much_it_will_be_before_anything_is_written(phantom, tmp_path):
    done, said = run(open_store(str(phantom.root)), tmp_path / "d", dry_run=True)
    assert done.files == 0
    assert not (tmp_path / "d").exists()
    assert said[-1].startswith("to fetch: ")
    assert "chunks, about" in said[-1]


def test_the_estimate_is_near_what_arrives(phantom, tmp_path):
    store = open_store(str(phantom.root))
    plan = plan_fetch(store, choose(store, layout_of(store)), Choice())
    estimate = estimate_bytes(store, plan, plan.paths())
    done, _ = run(store, tmp_path)
    assert estimate.files == len(plan.paths()) == done.files + done.absent
    assert 0.7 * done.bytes <= estimate.stored <= 1.4 * done.bytes
    assert done.bytes < estimate.decoded


def test_what_is_there_is_not_asked_for_again(web, tmp_path):
    store = open_store(web.url)
    run(store, tmp_path)
    before = files(tmp_path)
    web.asked.clear()
    done, said = run(store, tmp_path)
    assert (done.files, done.absent) == (0, 0)
    assert chunks(web.asked) == []
    assert files(tmp_path) == before
    assert any(line.startswith("to fetch: 0 of") for line in said)


def test_a_fetch_that_was_broken_off_goes_on_where_it_was(web, phantom, tmp_path):
    store = open_store(web.url, retries=0, parallel=1)
    web.asked.clear()
    run(store, tmp_path, dry_run=True)
    web.left = len(web.asked) + 10  # so many answers for metadata and samples, and ten chunks
    with pytest.raises(DataError, match="PERMISSION_DENIED"):
        run(store, tmp_path, parallel=1)
    there = chunks(FetchedFolder.load(tmp_path).files)
    assert 0 < len(there) <= 10
    assert fetched_boxes(tmp_path, there[0].removesuffix("/0/0/0")) == []
    assert not (tmp_path / "train.csv").exists()
    web.left = None
    done, said = run(store, tmp_path)
    assert done.files + done.absent == 20 - len(there)
    assert any(line.startswith(f"to fetch: {20 - len(there)} of 20 chunks") for line in said)
    same_training_crops(tmp_path, phantom)


FETCH = """
import sys
from pathlib import Path
from baselines.fetching.fetch import fetch
from baselines.fetching.fetch_plan import Choice
from baselines.fetching.published import choose, layout_of
from baselines.fetching.store import open_store
store = open_store(sys.argv[1])
wanted = choose(store, layout_of(store))
fetch(store, wanted, Path(sys.argv[2]), Choice(), parallel=2, progress=lambda _: None)
"""


def test_killed_at_any_moment_it_ends_with_the_same_files(web, phantom, tmp_path):
    ledger = tmp_path / "killed" / LEDGER
    small = open_store(str(phantom.root))
    metadata = len(plan_fetch(small, choose(small, layout_of(small)), Choice()).metadata)
    for lines, pause in ((metadata // 2, 0.0), (metadata + 3, 0.02)):
        web.pause = pause
        process = subprocess.Popen([sys.executable, "-c", FETCH, web.url, str(tmp_path / "killed")])
        while process.poll() is None and not (
            ledger.exists() and ledger.read_bytes().count(b"\n") > lines
        ):
            time.sleep(0.002)
        process.send_signal(signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL
    web.pause = 0.0
    ledger.write_bytes(ledger.read_bytes()[:-7])  # a line that was cut off
    store = open_store(web.url)
    done, _ = run(store, tmp_path / "killed")
    run(store, tmp_path / "whole")
    assert done.files > 0
    same_training_crops(tmp_path / "killed", phantom)
    own = (LEDGER, "part")
    killed, whole = (
        {n: c for n, c in files(tmp_path / k).items() if not n.endswith(own) and ".part" not in n}
        for k in ("killed", "whole")
    )
    assert killed == whole


def test_the_ledger_holds_the_digest_of_every_file(phantom, tmp_path):
    run(open_store(str(phantom.root)), tmp_path)
    ledger = FetchedFolder.load(tmp_path)
    assert ledger.damaged() == []
    for path, (size, digest) in ledger.files.items():
        content = (tmp_path / path).read_bytes()
        assert (size, digest) == (len(content), hashlib.sha256(content).hexdigest())
    assert not any((tmp_path / path).exists() for path in ledger.absent)


def test_verify_finds_and_mends_what_was_damaged_or_lost_and_leaves_the_rest(phantom, tmp_path):
    store = open_store(str(phantom.root))
    run(store, tmp_path)
    before = files(tmp_path)
    first, second = chunks(FetchedFolder.load(tmp_path).files)[:2]
    (tmp_path / first).write_bytes(b"\0" * len(before[first]))  # of the same size
    (tmp_path / second).unlink()
    done, said = run(store, tmp_path)
    assert done.files == 1  # without looking at the content, only the lost one is missed
    done, said = run(store, tmp_path, verify=True)
    assert said[0].endswith("files: 1 damaged")
    assert f"damaged, fetched again: {first}" in said
    assert done.files == 1
    assert {n: c for n, c in files(tmp_path).items() if n != LEDGER} == {
        n: c for n, c in before.items() if n != LEDGER
    }


def test_the_test_crops_come_without_any_truth(phantom, tmp_path):
    store = open_store(str(phantom.root))
    run(store, tmp_path, crops="test")
    assert load_manifest(tmp_path / "challenge") == phantom.manifest(Purpose.HIDDEN)
    assert not (tmp_path / "train.csv").exists()
    assert not list(tmp_path.rglob("truth*"))
    (crop,) = DataFolder(tmp_path).crops(Purpose.HIDDEN)
    raw = open_volume(DataFolder(tmp_path).raw(Purpose.HIDDEN, crop))
    assert np.array_equal(raw.read(), open_volume(phantom.raw(Purpose.HIDDEN, crop)).read())


def test_single_crops_of_both_kinds_and_single_labels_are_added_to_what_is_there(phantom, tmp_path):
    store = open_store(str(phantom.root))
    run(store, tmp_path, crops="phantom-train-2", labels=["mito", "mem"])
    data = DataFolder(tmp_path)
    assert set(data.manifest(Purpose.TRAIN).by_path) == {
        "phantom-train-2/mem",
        "phantom-train-2/mito",
    }
    assert not (tmp_path / "train/phantom-train-1").exists()
    assert not (tmp_path / "train/phantom-train-2/labels/cell").exists()
    run(store, tmp_path, crops="phantom-train-1,phantom-hidden-1", labels=["mito"])
    assert set(data.manifest(Purpose.TRAIN).by_path) == {
        "phantom-train-1/mito", "phantom-train-2/mem", "phantom-train-2/mito",
    }  # fmt: skip
    assert data.crops(Purpose.HIDDEN) == ["phantom-hidden-1"]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"crops": "phantom-train-9"}, r"no crop 'phantom-train-9' \(did you mean phantom-train-"),
        ({"crops": ""}, "no crop ''"),
        ({"labels": ["mitoo"]}, r"no label 'mitoo' \(did you mean mito\?\)"),
    ],
)
def test_an_unknown_name_is_named_with_the_nearest(phantom, tmp_path, given, message):
    with pytest.raises(EvaluatorError, match=message):
        run(open_store(str(phantom.root)), tmp_path / "d", **given)
    assert not (tmp_path / "d").exists()


def test_a_store_without_a_manifest_publishes_no_data(tmp_path):
    with pytest.raises(DataError, match=r"publishes no data: at its root neither train\.csv nor"):
        layout_of(open_store(str(tmp_path)))


def test_a_store_of_training_crops_alone_has_no_test_crops(phantom, tmp_path):
    (tmp_path / "train.csv").write_bytes((phantom.root / "train.csv").read_bytes())
    (tmp_path / "labels.toml").write_bytes((phantom.root / "labels.toml").read_bytes())
    store = open_store(str(tmp_path))
    with pytest.raises(DataError, match=r"challenge/manifest\.csv is missing: there are no such"):
        choose(store, layout_of(store), crops="test")


def test_a_dataset_cannot_lead_out_of_the_folder(phantom, tmp_path):
    rows = list(csv.reader((phantom.root / "train.csv").read_text().splitlines()))
    text = "\n".join(
        ",".join([row[0], row[1].replace("phantom", "../.."), *row[2:]]) for row in rows
    )
    (tmp_path / "train.csv").write_text(text + "\n")
    (tmp_path / "labels.toml").write_bytes((phantom.root / "labels.toml").read_bytes())
    with pytest.raises(DataError, match=r"dataset '\.\./\.\.' is not made of letters"):
        run(open_store(str(tmp_path)), tmp_path / "d")


@pytest.mark.parametrize("template", ["{dataset}/../{crop}", "{nonsense}/raw"])
def test_a_template_cannot_lead_out_of_the_folder_or_hold_unknown_names(phantom, template):
    store = open_store(str(phantom.root))
    with pytest.raises(DataError, match=r"may hold \{dataset\}, \{crop\} and no"):
        choose(store, layout_of(store, raw=template))


def test_a_disk_that_is_too_small_is_said_before_the_first_byte(tmp_path):
    with pytest.raises(DataError, match="take fewer crops, less padding"):
        check_room(tmp_path / "not" / "there", Estimate(files=1, decoded=10**18, stored=10**18))
    check_room(tmp_path / "not" / "there", Estimate(files=1, decoded=10, stored=10))


def published_like_the_challenge(root, phantom):
    """The phantom as a tree of the challenge: one dataset per crop, no labels.toml."""
    manifest = phantom.manifest(Purpose.TRAIN).part(labels=["mito", "mem"])
    rename = {crop: f"ds{k}" for k, crop in enumerate(manifest.crops)}
    for crop, dataset in rename.items():
        raw = root / CELLMAP.raw.format(dataset=dataset)
        raw.parent.mkdir(parents=True)
        raw.symlink_to(phantom.raw(Purpose.TRAIN, crop))
    targets = []
    for t in manifest.targets:
        dataset = rename[t.crop.folder]
        truth = root / CELLMAP.truth.format(dataset=dataset, crop=t.crop.folder, label=t.label.name)
        truth.parent.mkdir(parents=True, exist_ok=True)
        truth.symlink_to(phantom.label(Purpose.TRAIN, t))
        targets.append(type(t)(type(t.crop)(t.crop.name, dataset), t.label, t.grid))
    (root / CELLMAP.manifest).write_text(format_manifest(targets))
    (root / "labels.toml").write_text(format_labels(manifest.labels.values()))
    return targets


def test_the_tree_of_the_challenge_is_mirrored_and_padding_takes_in_more_raw(phantom, tmp_path):
    targets = published_like_the_challenge(tmp_path / "store", phantom)
    store = open_store(str(tmp_path / "store"))
    assert layout_of(store) == CELLMAP
    assert isinstance(layout_of(store, raw="{dataset}/x"), Layout)
    run(store, tmp_path / "d")
    assert load_manifest(tmp_path / "d" / CELLMAP.manifest).targets == tuple(
        sorted(targets, key=lambda t: t.path)
    )
    raw = "ds0/ds0.zarr/recon-1/em/fibsem-uint8"
    assert np.array_equal(
        open_volume(tmp_path / "d" / raw).read(),
        open_volume(phantom.raw(Purpose.TRAIN, "phantom-train-1")).read(),
    )
    (box,) = fetched_boxes(tmp_path / "d", f"{raw}/s0")
    assert box.shape == (12, 64, 64)
    assert (tmp_path / "d/ds0/ds0.zarr/recon-1/labels/groundtruth/phantom-train-1/mito").is_dir()


def test_boxes_of_a_folder_that_was_not_fetched_are_unknown(phantom):
    assert fetched_boxes(phantom.root, "train/phantom-train-1/raw/s0") == []


def test_lines_of_the_ledger_that_make_no_sense_count_for_nothing(tmp_path):
    (tmp_path / LEDGER).write_text(
        '\n{"path": "a", "bytes": 3, "sha256": "x"}\n{"path": "b", "by\n[1]\n{"path": "c"}\n'
        '{"path": "d", "absent": true}\n{"array": "r/s0", "box": [[0, 0, 0], [1, 2, 3]]}'
    )
    ledger = FetchedFolder.load(tmp_path)
    assert (set(ledger.files), ledger.absent) == ({"a"}, {"d"})
    assert not ledger.has("a")  # entered, but not there
    assert ledger.has("d")
    ledger.keep("a", b"new")
    assert json.loads((tmp_path / LEDGER).read_text().splitlines()[-1])["bytes"] == 3
    assert FetchedFolder.load(tmp_path).has("a")
    assert fetched_boxes(tmp_path, "r/s0")[0].shape == (1, 2, 3)


def a_crop_in_large_raw(root):
    """The challenge's tree with raw of 96³ voxels at 8 and 16 nm, and a crop of 20³ in it."""
    raw = root / CELLMAP.raw.format(dataset="ds")
    image = np.random.default_rng(0).integers(1, 255, (96, 96, 96), np.uint8)
    group = zarr.open_group(raw, mode="w", zarr_format=2)
    datasets = []
    for name, step in (("s0", 1), ("s1", 2)):
        level = image[::step, ::step, ::step]
        group.create_array(name, shape=level.shape, chunks=(16, 16, 16), dtype="u1")[:] = level
        scale = {"type": "scale", "scale": [8.0 * step] * 3}
        datasets.append({"path": name, "coordinateTransformations": [scale]})
    axes = [{"name": axis, "type": "space", "unit": "nanometer"} for axis in "zyx"]
    group.attrs["multiscales"] = [{"version": "0.4", "axes": axes, "datasets": datasets}]
    grid = VoxelGrid((20, 20, 20), (8.0, 8.0, 8.0), (320.0, 320.0, 320.0))
    one = Target(Crop("7", "ds"), Label("mito", 50, Kind.SEMANTIC), grid)
    path = root / CELLMAP.truth.format(dataset="ds", crop="crop7", label="mito")
    ids = np.zeros(grid.shape, np.uint8)
    ids[5:9, 5:9, 5:9] = 1
    create_volume(path, grid, np.uint8)[:] = ids
    (root / CELLMAP.manifest).write_text(format_manifest([one]))
    (root / "labels.toml").write_text(format_labels([one.label]))
    return image


def test_training_reads_what_was_fetched_and_takes_nothing_beyond_for_data(tmp_path):
    image = a_crop_in_large_raw(tmp_path / "store")
    store = open_store(str(tmp_path / "store"))
    one_level = (8.0, 8.0, 8.0)
    run(store, tmp_path / "bare", choice=Choice(voxel_size=one_level))
    run(store, tmp_path / "wide", choice=Choice(voxel_size=one_level, padding=10))
    config = build(Config, {"training": {"patch": [32, 64, 64]}, "model": {"dims": 3}}, where="")
    for name, padding in (("bare", 0), ("wide", 10)):
        assert len(list((tmp_path / name).rglob("s0/*/*/*"))) < 6**3
        assert not list((tmp_path / name).rglob("s1"))
        _, (crop,) = load_crops(tmp_path / name, config, progress=lambda _: None)
        # Voxels 40 to 60 are annotated; where they lie in the specimen is what the grid says.
        low = [round(o / 8) + n for o, n in zip(crop.grid.offset, crop.valid.start, strict=True)]
        high = [round(o / 8) + n for o, n in zip(crop.grid.offset, crop.valid.stop, strict=True)]
        assert all(a <= 40 - padding and b >= 60 + padding for a, b in zip(low, high, strict=True))
        inside = crop.raw.read(crop.valid.start, crop.valid.stop)
        assert np.array_equal(inside, image[tuple(map(slice, low, high))])
        assert inside.min() > 0
        assert crop.count == {"mito": 64}


def test_training_and_test_crops_of_the_challenge_keep_one_table_of_labels(tmp_path):
    a_crop_in_large_raw(tmp_path / "store")
    grid = VoxelGrid((10, 10, 10), (16.0, 16.0, 16.0), (0.0, 0.0, 0.0))
    hidden = Target(Crop("9", "ds"), Label("nuc", 37, Kind.INSTANCE), grid)
    mito = load_manifest(tmp_path / "store" / CELLMAP.manifest).labels["mito"]
    (tmp_path / "store" / CELLMAP.test_manifest).write_text(format_manifest([hidden]))
    (tmp_path / "store/labels.toml").write_text(format_labels([mito, hidden.label]))
    store = open_store(str(tmp_path / "store"))
    run(store, tmp_path / "d")
    _, said = run(store, tmp_path / "d", crops="test")
    assert any(line.startswith("to fetch: ") for line in said)
    root = tmp_path / "d"
    assert load_manifest(root / CELLMAP.manifest).labels == {"mito": mito}
    assert load_manifest(root / CELLMAP.test_manifest).targets == (hidden,)
    raw = root / CELLMAP.raw.format(dataset="ds")
    assert {level.name for level in raw.iterdir() if level.is_dir()} == {"s0", "s1"}
    # The crop reaches from 316 to 476 nm, the hidden one from -8 to 152 nm; voxels begin at -8 nm.
    assert fetched_boxes(root, raw.relative_to(root).as_posix() + "/s1") == [
        Box((20, 20, 20), (31, 31, 31)), Box((0, 0, 0), (10, 10, 10)),
    ]  # fmt: skip
