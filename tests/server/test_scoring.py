import dataclasses
import json

import numpy as np
import pytest
import zarr

from server import scoring


@pytest.fixture
def rules(bundle_folder) -> scoring.Rules:
    return scoring.Rules(
        (bundle_folder / "manifest.csv").read_text(), (bundle_folder / "labels.toml").read_text(),
        "crista-1", bundle_folder / "truth.zarr",
    )  # fmt: skip


def test_items_come_smallest_first_and_then_by_name(rules):
    items = scoring.items(rules)
    assert len(items) == 6
    assert items == sorted(items, key=lambda item: (item.voxels, item.target))
    assert {item.label for item in items} == {"membrane", "mito", "nucleus"}
    assert all(item.target == f"{item.crop}/{item.label}" for item in items)
    assert {item.voxels for item in items} == {16 * 32 * 32}


def test_a_good_archive_is_accepted_and_a_bad_one_named(rules, packed, tmp_path):
    assert scoring.check(packed, rules, called="mine.zip")[0] is True
    bad = tmp_path / "bad.zip"
    bad.write_bytes(b"PK no")
    accepted, report = scoring.check(bad, rules, called="mine.zip")
    assert not accepted
    assert report["problems"][0]["code"] == "not_a_zip"


def test_the_participant_reads_the_name_they_gave_the_file_and_never_ours(rules, tmp_path):
    kept = tmp_path / "5f0c2c1e-0000-4000-8000-000000000000.zip"
    kept.write_bytes(b"PK no")
    _, report = scoring.check(kept, rules, called="my results.zip")
    message = report["problems"][0]["message"]
    assert message.startswith("my results.zip ")
    assert kept.stem not in json.dumps(report)
    assert str(tmp_path) not in json.dumps(report)


def test_scores_pass_through_json_without_losing_a_bit(rules, packed):
    scores = [scoring.score_item(item.target, packed, rules) for item in scoring.items(rules)]
    again = json.loads(json.dumps(scores))
    one = scoring.combine(scores, rules)
    assert scoring.combine(reversed(again), rules) == one
    assert set(json.loads(one)) == {
        "schema", "protocol", "evaluator", "manifest", "truth", "submission", "overall",
        "instance", "semantic", "labels", "targets", "beside",
    }  # fmt: skip


def test_first_values_know_only_the_labels_that_have_one(rules, packed):
    item = next(item for item in scoring.items(rules) if item.label == "mito")
    score = scoring.score_item(item.target, packed, rules)
    assert scoring.first_values({}, rules) == {}
    values = scoring.first_values({item.target: score}, rules)
    assert list(values) == ["mito"]
    assert 0 < values["mito"]["score"] <= 1


def test_the_truths_digest_is_the_one_that_results_carry(rules, packed):
    scores = [scoring.score_item(item.target, packed, rules) for item in scoring.items(rules)]
    result = json.loads(scoring.combine(scores, rules))
    assert result["truth"] == scoring.digest_of(scoring.truth_digests(rules))


def test_a_truth_in_order_has_no_mistakes(rules):
    assert scoring.truth_mistakes(rules) == []


def test_a_truth_that_cannot_be_read_is_a_sentence(rules, tmp_path):
    first = scoring.items(rules)[0].target
    (tmp_path / first).mkdir(parents=True)
    elsewhere = scoring.Rules(rules.manifest_csv, rules.labels_toml, rules.protocol, tmp_path)
    mistakes = scoring.truth_mistakes(elsewhere)
    assert len(mistakes) == 6
    assert sum("has no truth" in mistake for mistake in mistakes) == 5


def test_the_digest_does_not_depend_on_how_the_truth_is_chunked(rules, tmp_path):
    item = scoring.items(rules)[0]
    source = zarr.open_array(str(rules.truth / item.target), mode="r")
    for target in scoring.items(rules):
        array = zarr.open_array(str(rules.truth / target.target), mode="r")
        zarr.create_array(
            str(tmp_path / target.target), data=np.asarray(array[:]), chunks=(7, 8, 9)
        )
    assert source.chunks != (7, 8, 9)
    other = scoring.Rules(rules.manifest_csv, rules.labels_toml, rules.protocol, tmp_path)
    assert scoring.truth_digests(other) == scoring.truth_digests(rules)


def test_a_challenge_may_choose_among_known_protocols():
    assert "crista-1" in scoring.protocols()


def test_a_broken_manifest_is_an_error_with_its_line(rules):
    broken = scoring.Rules("crop_name\n", rules.labels_toml, "crista-1", rules.truth)
    with pytest.raises(scoring.ManifestError, match="first line must name the columns"):
        scoring.items(broken)


def replaced(rules: scoring.Rules, **change) -> scoring.Rules:
    return dataclasses.replace(rules, **change)


def test_the_key_of_a_score_names_all_that_it_depends_on(rules):
    one, two = (item.target for item in scoring.items(rules)[:2])
    key = scoring.score_key(one, "a" * 64, "b" * 64, rules)
    others = [
        scoring.score_key(two, "a" * 64, "b" * 64, rules),
        scoring.score_key(one, "c" * 64, "b" * 64, rules),
        scoring.score_key(one, "a" * 64, "c" * 64, rules),
        scoring.score_key(one, "a" * 64, "b" * 64, replaced(rules, protocol="cellmap-2026.1")),
    ]
    text = rules.manifest_csv.replace("[8.0;4.0;4.0]", "[8.0;4.0;5.0]")
    others.append(scoring.score_key(one, "a" * 64, "b" * 64, replaced(rules, manifest_csv=text)))
    assert len({key, *others}) == 6
    assert len(key) == 64
    assert key == scoring.score_key(one, "a" * 64, "b" * 64, rules)


def test_the_key_does_not_know_where_the_truth_lies_nor_what_else_the_manifest_holds(rules):
    one, two = (item.target for item in scoring.items(rules)[:2])
    lines = rules.manifest_csv.splitlines(keepends=True)
    crop, label = (part.removeprefix("crop") for part in two.split("/"))
    fewer = "".join(x for x in lines if not (x.startswith(f"{crop},") and f",{label}," in x))
    assert len(fewer.splitlines()) == len(lines) - 1
    other = replaced(rules, manifest_csv=fewer, truth=rules.truth / "elsewhere")
    keys = {scoring.score_key(one, "a" * 64, "b" * 64, r) for r in (rules, other)}
    assert len(keys) == 1


def test_where_a_target_lies_decides_what_is_read_of_a_submission(rules):
    target = scoring.items(rules)[0].target
    moved = replaced(rules, manifest_csv=rules.manifest_csv.replace(";40.0;", ";41.0;"))
    assert scoring.ingest_key(target, rules) == scoring.ingest_key(target, rules)
    assert scoring.ingest_key(target, rules) != scoring.ingest_key(target, moved)
    keys = {scoring.score_key(target, "a" * 64, "b" * 64, r) for r in (rules, moved)}
    assert len(keys) == 1


@pytest.mark.parametrize("change", [{"crop": "crop9"}, {"pred_digest": "f" * 64}, {"voxels": 1}])
def test_a_score_of_something_else_is_not_taken(rules, packed, change):
    target = scoring.items(rules)[0].target
    score = scoring.score_item(target, packed, rules)
    sealed = scoring.Sealed([], [score["pred_digest"]], "")
    assert scoring.checked_score(target, sealed, score, rules) == score
    with pytest.raises(scoring.BlockError):
        scoring.checked_score(target, sealed, score | change, rules)


@pytest.mark.parametrize("score", [None, 5, [], {}, {"status": "scored"}, {"sums": 5}])
def test_a_score_of_another_form_is_not_taken(rules, score):
    target = scoring.items(rules)[0].target
    with pytest.raises(scoring.BlockError):
        scoring.checked_score(target, scoring.Sealed([], [""], ""), score, rules)
