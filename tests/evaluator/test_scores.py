import json
import math
import random
from dataclasses import fields, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evaluator import (
    Counts,
    Manifest,
    Status,
    Sums,
    TargetScore,
    __version__,
    get_protocol,
    json_digest,
    label_score,
    pool,
)
from tests.evaluator.shapes import target

RULES = get_protocol("crista-1")
WHOLE = st.integers(0, 10**9)
COUNTS = st.builds(Counts, WHOLE, WHOLE, WHOLE)
FLOATS = st.floats(0, 1e6, allow_nan=False)
KINDS = {Counts: COUNTS, int: WHOLE, float: FLOATS}
SUMS = st.builds(
    Sums, **{item.name: KINDS[type(getattr(Sums(), item.name))] for item in fields(Sums)}
)
OFFICIAL = get_protocol("cellmap-2026.1")


def scored(crop: str, label: str, sums: Sums, status: Status = Status.SCORED) -> TargetScore:
    return TargetScore(f"crop{crop}", label, status, 1000, sums, f"digest of {crop}/{label}")


def manifest(*names: tuple[str, str, str]) -> Manifest:
    """From (crop, label, kind)."""
    targets = [target(kind, crop=crop, label=label) for crop, label, kind in names]
    return Manifest(tuple(sorted(targets, key=lambda t: t.path)))


def result(wanted: Manifest, *scores: TargetScore):
    return pool(wanted, scores, protocol=RULES)


def test_counts_add():
    assert Counts(1, 2, 3) + Counts(10, 20, 30) == Counts(11, 22, 33)


def test_ratios_of_counts():
    assert Counts(2, 1, 1).iou == 0.5
    assert Counts(2, 1, 1).f1 == 4 / 6


def test_where_nothing_is_to_be_found_and_nothing_was_the_ratios_are_one():
    assert Counts().iou == Counts().f1 == 1.0


@given(parts=st.lists(SUMS, max_size=6), seed=st.integers(0, 99))
def test_totals_are_the_same_to_the_last_bit_in_any_order(parts, seed):
    shuffled = parts.copy()
    random.Random(seed).shuffle(shuffled)
    assert Sums.total(shuffled) == Sums.total(parts)


@given(sums=SUMS, status=st.sampled_from(Status))
def test_a_target_score_survives_json(sums, status):
    score = scored("1", "mito", sums, status)
    assert TargetScore.from_json(json.loads(json.dumps(score.to_json()))) == score


def test_the_total_of_nothing_is_nothing():
    assert Sums.total([]) == Sums()


def test_an_instance_label_is_scored_by_objects():
    sums = Sums(
        voxels=Counts(50, 25, 25),
        objects=Counts(tp=3, fp=1, fn=1),
        good=Counts(tp=2, fp=2, fn=2),
        strict=Counts(tp=1, fp=3, fn=3),
        iou=2.0,
        good_iou=1.6,
        best_iou=3.0,
        distances=5,
        distance_nm=40.0,
        distance_score=4.0,
        surface_nm=6.0,
        splits=1,
        merges=2,
        vi_voxels=10,
        vi_overlap=5.0,
        vi_truth=15.0,
        vi_pred=10.0,
        rand_overlap=30,
        rand_truth=50,
        rand_pred=30,
    )
    row = label_score(target().label, sums)
    assert row == {
        "kind": "instance",
        "score": math.sqrt(0.75 * 0.8),
        "iou": 0.5,
        "dice": 100 / 150,
        "f1": 0.75,
        "f1_50": 0.5,
        "f1_75": 0.25,
        "pq": 0.4,
        "sq": 0.8,
        "rq": 0.5,
        "mean_iou": 2 / 3,
        "hausdorff_score": 0.8,
        "hausdorff_nm": 8.0,
        "best_iou": 0.75,
        "surface_nm": 2.0,
        "vi_split": 1.0,
        "vi_merge": 0.5,
        "rand_error": 0.25,
        "splits": 1,
        "merges": 2,
        "combined": math.sqrt(0.75 * 0.8),
        "tp": 3,
        "fp": 1,
        "fn": 1,
    }


def test_a_semantic_label_is_scored_by_voxels_and_has_no_object_scores():
    row = label_score(target("semantic").label, Sums(voxels=Counts(2, 1, 1)))
    assert (row["score"], row["iou"], row["dice"]) == (0.5, 0.5, 4 / 6)
    assert (row["tp"], row["fp"], row["fn"]) == (2, 1, 1)
    absent = ("f1", "pq", "mean_iou", "hausdorff_score", "hausdorff_nm", "combined")
    assert {row[name] for name in absent} == {None}


def test_instance_and_semantic_rows_have_the_same_fields():
    rows = [label_score(target(kind).label, Sums()) for kind in ("instance", "semantic")]
    assert rows[0].keys() == rows[1].keys()


def test_mean_iou_of_no_match_is_nothing_rather_than_a_number():
    assert label_score(target().label, Sums(objects=Counts(fn=1)))["mean_iou"] is None


def test_a_label_pools_sums_not_ratios():
    wanted = manifest(("1", "er", "semantic"), ("2", "er", "semantic"))
    found = result(
        wanted,
        scored("1", "er", Sums(voxels=Counts(tp=90, fn=10))),
        scored("2", "er", Sums(voxels=Counts(tp=0, fn=100))),
    )
    assert found.labels["er"]["iou"] == 90 / 200


def test_the_overall_score_is_the_geometric_mean_of_both_kinds():
    names = [("1", "er", "semantic"), ("1", "pm", "semantic"), ("1", "mito", "instance")]
    found = result(
        manifest(*names),
        scored("1", "er", Sums(voxels=Counts(tp=1, fn=1))),
        scored("1", "pm", Sums(voxels=Counts(tp=1))),
        scored("1", "mito", Sums(objects=Counts(tp=1), distances=1, distance_score=1.0)),
    )
    assert found.semantic == 0.75
    assert found.instance == 1.0
    assert found.overall == math.sqrt(0.75)


@pytest.mark.parametrize(("kind", "absent"), [("semantic", "instance"), ("instance", "semantic")])
def test_with_one_kind_of_labels_its_mean_is_the_overall_score(kind, absent):
    sums = Sums(Counts(tp=1, fn=1), Counts(tp=1), distances=1, distance_score=1.0)
    found = result(manifest(("1", "er", kind)), scored("1", "er", sums))
    assert found.overall == getattr(found, kind)
    assert getattr(found, absent) is None


def test_a_missing_target_stays_in_the_denominator():
    wanted = manifest(("1", "er", "semantic"), ("2", "er", "semantic"))
    worst = Sums(voxels=Counts(fp=900, fn=100))
    found = result(
        wanted,
        scored("1", "er", Sums(voxels=Counts(tp=100))),
        scored("2", "er", worst, Status.MISSING),
    )
    assert found.labels["er"]["score"] == 100 / 1100


def test_pooling_needs_exactly_one_score_per_target():
    wanted = manifest(("1", "er", "semantic"), ("2", "er", "semantic"))
    one = scored("1", "er", Sums())
    for wrong in ([one], [one, one], [one, scored("2", "er", Sums()), scored("3", "er", Sums())]):
        with pytest.raises(ValueError, match="exactly one score"):
            result(wanted, *wrong)


def test_the_json_has_the_promised_fields_and_is_canonical():
    wanted = manifest(("1", "er", "semantic"), ("2", "er", "semantic"))
    scores = [scored(crop, "er", Sums(voxels=Counts(tp=1, fn=2))) for crop in "12"]
    text = result(wanted, *scores).to_json()
    assert text == result(wanted, *reversed(scores)).to_json()
    values = json.loads(text)
    assert values.keys() == {
        "schema", "protocol", "evaluator", "manifest", "truth", "submission",
        "overall", "instance", "semantic", "labels", "targets", "beside",
    }  # fmt: skip
    assert (values["schema"], values["protocol"]) == (1, "crista-1")
    assert values["evaluator"] == __version__
    assert values["manifest"] == wanted.digest
    assert values["truth"] == json_digest({f"crop{n}/er": f"digest of {n}/er" for n in "12"})
    assert [t["crop"] for t in values["targets"]] == ["crop1", "crop2"]
    assert values["targets"][0].keys() == {
            "crop", "label", "status", "voxels", "sums", "quirks", "beside",
        }  # fmt: skip


def test_no_number_in_a_result_can_be_nan():
    wanted = manifest(("1", "er", "semantic"), ("1", "mito", "instance"))
    text = result(wanted, scored("1", "er", Sums()), scored("1", "mito", Sums())).to_json()
    assert "NaN" not in text
    assert json.loads(text)["overall"] == 1.0


def official(wanted: Manifest, *scores: TargetScore):
    beside = [replace(score, beside=score) for score in scores]
    return pool(wanted, beside, protocol=OFFICIAL)


def test_a_kind_without_labels_is_zero_where_the_protocol_says_so():
    wanted = manifest(("1", "er", "semantic"))
    found = official(wanted, scored("1", "er", Sums(voxels=Counts(tp=1, fn=1))))
    assert (found.overall, found.instance, found.semantic) == (0.0, 0.0, 0.5)
    assert (found.beside.overall, found.beside.instance) == (0.5, None)


def test_a_mask_is_a_label_that_nobody_sent_where_the_protocol_says_so():
    wanted = manifest(("1", "er", "semantic"), ("2", "er", "semantic"))
    masked = replace(scored("1", "er", Sums(voxels=Counts(tp=1))), masked=True)
    found = official(wanted, masked, scored("2", "er", Sums(voxels=Counts(tp=1))))
    assert (found.labels["er_mask"]["iou"], found.labels["er_mask"]["fn"]) == (0.0, 1000)
    assert found.semantic == 0.5
    path = [(score.path, score.status, score.quirks) for score in found.targets]
    assert ("crop1/er_mask", Status.MISSING, ("mask_labels",)) in path
    assert len(path) == 3
    assert set(found.beside.labels) == {"er"}
    assert found.truth == result(wanted, *found.beside.targets).truth


def test_the_json_tells_what_the_protocol_beside_says():
    wanted = manifest(("1", "er", "semantic"))
    bad, good = (scored("1", "er", Sums(voxels=Counts(tp=1, fn=fn))) for fn in (1, 0))
    quirky = replace(bad, quirks=("snaps_offsets",), beside=good)
    found = pool(wanted, [quirky], protocol=OFFICIAL)
    values = json.loads(found.to_json())
    assert values["beside"].keys() == {"protocol", "overall", "instance", "semantic", "labels"}
    assert (values["semantic"], values["beside"]["semantic"]) == (0.5, 1.0)
    row = values["targets"][0]
    assert row["quirks"] == ["snaps_offsets"]
    assert (row["sums"]["voxels"]["fn"], row["beside"]["sums"]["voxels"]["fn"]) == (1, 0)
    assert TargetScore.from_json(json.loads(json.dumps(quirky.to_json()))) == quirky


def test_a_skipped_target_drops_out_of_the_pool():
    wanted = manifest(("1", "mito", "instance"), ("2", "mito", "instance"))
    whole = Sums(objects=Counts(tp=2), distances=2, distance_score=2.0)
    found = official(
        wanted, scored("1", "mito", whole), scored("2", "mito", Sums(), Status.SKIPPED)
    )
    assert found.labels["mito"]["combined"] == 1.0
