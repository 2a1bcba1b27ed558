"""The stages of scoring in processes of their own give the bytes that one process gives."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import zarr

from server import scoring, stages
from tests.server.stages.targets import TARGET, made, sent

PROTOCOLS = ["crista-1", "cellmap-2026.1"]


@pytest.fixture(params=PROTOCOLS)
def rules(bundle_folder, request) -> scoring.Rules:
    return scoring.Rules(
        (bundle_folder / "manifest.csv").read_text(), (bundle_folder / "labels.toml").read_text(),
        request.param, bundle_folder / "truth.zarr",
    )  # fmt: skip


def by_stages(target: str, submission: Path, rules: scoring.Rules, base: Path) -> dict:
    with stages.scratch(base) as into:
        return stages.score(target, stages.ingest(target, submission, rules, into=into), rules)


def same_bytes(target: str, submission: Path, rules: scoring.Rules, base: Path) -> dict:
    """The score of a target, which both ways gave."""
    score = by_stages(target, submission, rules, base)
    assert json.dumps(score) == json.dumps(scoring.score_item(target, submission, rules))
    return score


def ids(shape=(16, 24, 32), dtype="u2") -> np.ndarray:
    """Boxes of 4 voxels, each with an id of its own, and gaps between them."""
    z, y, x = (index // 4 for index in np.indices(shape))
    return np.where((z + y + x) % 2, z * 48 + y * 8 + x + 1, 0).astype(dtype)


def test_of_a_whole_submission(rules, packed, tmp_path):
    scores = [same_bytes(i.target, packed, rules, tmp_path) for i in scoring.items(rules)]
    here = [scoring.score_item(item.target, packed, rules) for item in scoring.items(rules)]
    assert scoring.combine(scores, rules) == scoring.combine(here, rules)


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("dtype", ["?", "u1", ">u2", "<i4", ">u8", "f4", ">f8"])
def test_of_every_kind_of_number_in_either_order(tmp_path, dtype, order, protocol):
    pred = np.roll(ids(), 1, axis=2) % 200
    rules = made(tmp_path, ids(), protocol=protocol)
    submission = sent(tmp_path, pred.astype(dtype), order=order, chunks=(5, 7, 9))
    assert same_bytes(TARGET, submission, rules, tmp_path / "s")["status"] == "scored"


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_of_zarr_v3(tmp_path, protocol):
    rules = made(tmp_path, ids(), protocol=protocol)
    submission = sent(tmp_path, ids(), zarr_format=3)
    status = {"crista-1": "scored", "cellmap-2026.1": "missing"}[protocol]
    assert same_bytes(TARGET, submission, rules, tmp_path / "s")["status"] == status


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_of_what_is_resampled_and_moved(tmp_path, protocol):
    rules = made(tmp_path, ids(), protocol=protocol)
    place = {"voxel_size": [8.0, 8.0, 8.0], "translation": [2.0, 2.0, 6.0]}
    submission = sent(tmp_path, ids((8, 12, 16)), attributes=place)
    assert same_bytes(TARGET, submission, rules, tmp_path / "s")["status"] == "scored"


def test_of_what_two_protocols_read_differently_there_are_two_blocks(tmp_path):
    rules = made(tmp_path, ids(), protocol="cellmap-2026.1")
    voxels = ids().size
    plain = stages.ingest(TARGET, sent(tmp_path, ids()), rules, into=tmp_path)
    place = {"voxel_size": [8.0, 8.0, 8.0], "translation": [2.0, 2.0, 2.0]}
    other = sent(tmp_path, ids((8, 12, 16)), attributes=place)
    assert plain.size == 2 * voxels
    assert stages.ingest(TARGET, other, rules, into=tmp_path).size == 4 * voxels


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_of_a_truth_with_a_mask(tmp_path, protocol):
    rules = made(tmp_path, ids(), protocol=protocol)
    mask = np.zeros(ids().shape, "u1")
    mask[4:] = 1
    place = tmp_path / "truth" / f"{TARGET}_mask"
    zarr.create_array(place, data=mask, zarr_format=2)
    score = same_bytes(TARGET, sent(tmp_path, ids()), rules, tmp_path / "s")
    assert score["masked"] is True


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_of_what_is_missing(tmp_path, protocol):
    rules = made(tmp_path, ids(), protocol=protocol)
    wanted = rules.manifest_csv.splitlines()
    other = wanted[1].replace("1,", "2,", 1)
    both = replace(rules, manifest_csv="\n".join([*wanted, other]) + "\n")
    shutil.copytree(rules.truth / "crop1", rules.truth / "crop2")
    score = same_bytes("crop2/mito", sent(tmp_path, ids()), both, tmp_path / "s")
    assert (score["status"], score["pred_digest"]) == ("missing", "")


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_of_what_is_damaged(tmp_path, protocol):
    rules = made(tmp_path, ids(), protocol=protocol)
    submission = sent(tmp_path, ids())
    (submission / TARGET / "0.0.0").write_bytes(b"\x28\xb5\x2f\xfdnonsense")
    with stages.scratch(tmp_path / "s") as into:
        read = stages.ingest(TARGET, submission, rules, into=into)
        assert read.size == 0
    score = same_bytes(TARGET, submission, rules, tmp_path / "s")
    assert (score["status"], score["pred_digest"]) == ("unreadable", "")


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_of_fractions_where_ids_belong(tmp_path, protocol):
    """Only whoever scores can find this out."""
    rules = made(tmp_path, ids(), protocol=protocol)
    submission = sent(tmp_path, ids(dtype="f4") + 0.5)
    same_bytes(TARGET, submission, rules, tmp_path / "s")


def test_an_unchanged_array_has_an_unchanged_content(tmp_path):
    rules = made(tmp_path, ids())
    first = stages.ingest(TARGET, sent(tmp_path, ids()), rules, into=tmp_path)
    stored = sent(tmp_path, ids(dtype=">u2"), chunks=(3, 5, 7), compressors=None)
    again = stages.ingest(TARGET, stored, rules, into=tmp_path)
    assert first.folder != again.folder
    assert first.content == again.content
    changed = ids()
    changed[0, 0, 0] += 1
    other = stages.ingest(TARGET, sent(tmp_path, changed), rules, into=tmp_path)
    assert other.content != first.content
    wider = stages.ingest(TARGET, sent(tmp_path, ids(dtype="u4")), rules, into=tmp_path)
    assert wider.content != first.content


def test_the_order_of_memory_is_part_of_the_content(tmp_path):
    """One protocol numbers components by it."""
    rules = made(tmp_path, ids(), protocol="cellmap-2026.1")
    one = stages.ingest(TARGET, sent(tmp_path, ids()), rules, into=tmp_path)
    two = stages.ingest(TARGET, sent(tmp_path, ids(), order="F"), rules, into=tmp_path)
    assert one.content != two.content


def test_a_check_in_a_child_finds_what_it_finds_here(rules, packed):
    found = stages.check(packed, rules, called="mine.zip")
    assert found == scoring.check(packed, rules, called="mine.zip")
    assert found[0] is True


def test_what_is_no_zip_is_rejected_under_the_participants_name(rules, tmp_path):
    (tmp_path / "kept.zip").write_bytes(b"PK no")
    accepted, report = stages.check(tmp_path / "kept.zip", rules, called="mine.zip")
    assert not accepted
    assert report["problems"][0]["message"].startswith("mine.zip ")
    assert str(tmp_path) not in json.dumps(report)


def test_reading_what_must_be_rejected_is_refused_in_words(rules, tmp_path):
    (tmp_path / "kept.zip").write_bytes(b"PK no")
    target = scoring.items(rules)[0].target
    with pytest.raises(stages.StageRefused) as refused:
        stages.ingest(target, tmp_path / "kept.zip", rules, into=tmp_path)
    assert (refused.value.stage, refused.value.blame) == ("ingest", "participant")
    assert str(tmp_path) not in refused.value.sentence
    assert [path.name for path in tmp_path.iterdir()] == ["kept.zip"]


@pytest.mark.parametrize("stage", ["check", "ingest"])
def test_bytes_that_are_not_in_the_storage_are_our_fault(rules, tmp_path, stage):
    ways = {
        "check": lambda: stages.check(tmp_path / "gone.zip", rules, called="mine.zip"),
        "ingest": lambda: stages.ingest("crop1/mito", tmp_path / "gone.zip", rules, into=tmp_path),
    }
    with pytest.raises(stages.StageRefused) as refused:
        ways[stage]()
    assert (refused.value.stage, refused.value.blame) == (stage, "system")
    assert list(tmp_path.iterdir()) == []


def test_a_truth_that_is_wrong_is_the_organisers_fault(tmp_path):
    rules = made(tmp_path, ids())
    read = stages.ingest(TARGET, sent(tmp_path, ids()), rules, into=tmp_path)
    shutil.rmtree(rules.truth)
    with pytest.raises(stages.StageRefused) as refused:
        stages.score(TARGET, read, rules)
    assert (refused.value.stage, refused.value.blame) == ("score", "organiser")
    assert "truth of crop1/mito" in refused.value.sentence
    assert str(tmp_path) not in refused.value.sentence


def test_reading_works_where_there_is_no_truth_at_all(tmp_path):
    rules = made(tmp_path, ids())
    shutil.rmtree(rules.truth)
    read = stages.ingest(TARGET, sent(tmp_path, ids()), rules, into=tmp_path)
    assert read.size == ids().nbytes


def test_blocks_hold_nothing_but_voxels(tmp_path):
    rules = made(tmp_path, ids())
    stored = sent(tmp_path, ids(dtype=">u2"), order="F", chunks=(5, 7, 9))
    read = stages.ingest(TARGET, stored, rules, into=tmp_path)
    assert sorted(path.name for path in read.folder.iterdir()) == ["0.raw", "facts.json"]
    assert (read.folder / "0.raw").read_bytes() == ids(dtype="<u2").tobytes()


def test_scoring_opens_no_submission(tmp_path):
    rules = made(tmp_path, ids())
    submission = sent(tmp_path, ids())
    expected = scoring.score_item(TARGET, submission, rules)
    read = stages.ingest(TARGET, submission, rules, into=tmp_path)
    shutil.rmtree(submission)
    assert json.dumps(stages.score(TARGET, read, rules)) == json.dumps(expected)


@pytest.mark.parametrize("change", ["longer", "shorter", "other", "link"])
def test_blocks_that_changed_after_they_were_read_are_not_scored(tmp_path, change):
    rules = made(tmp_path, ids())
    read = stages.ingest(TARGET, sent(tmp_path, ids()), rules, into=tmp_path)
    block = read.folder / "0.raw"
    content = block.read_bytes()
    match change:
        case "longer":
            block.write_bytes(content + b"\0")
        case "shorter":
            block.write_bytes(content[:-1])
        case "other":
            block.write_bytes(content[::-1])
        case "link":
            block.rename(tmp_path / "elsewhere")
            block.symlink_to(tmp_path / "elsewhere")
    with pytest.raises((stages.StageDied, OSError)):
        stages.score(TARGET, read, rules)
