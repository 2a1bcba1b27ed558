"""The official protocol: pairs, distances and counts as the challenge's own code has them."""

import dataclasses

import numpy as np
import pytest

from evaluator import get_protocol, open_volume
from evaluator.geometry import VoxelGrid
from evaluator.manifest import Crop, Kind, Label, Target
from evaluator.matching import Pairs, match_by_flow
from evaluator.objects import find_objects
from evaluator.scoring import Scored, score_planes, worst_sums
from evaluator.slabs import Pair
from evaluator.volume import Volume

OFFICIAL = get_protocol("cellmap-2026.1")
KINDS = ("inst_", "sem_", "mask_", "truth_dtype_", "perf_mito_128", "perf_ves_128")
REFUSED = {"inst_dtype_be_uint16", "inst_truth_huge_id", "truth_dtype_float32"}  # we score them
MOVED = {"sem_prob_finer", "sem_255_finer"}  # on another grid


def inputs(golden, name: str) -> tuple[Target, Volume, Volume, Volume | None]:
    case = golden.case(name)
    row = (case / "manifest.csv").read_text().splitlines()[1].split(",")
    size, offset, shape = (tuple(map(float, cell.strip("[]").split(";"))) for cell in row[3:6])
    kind = Kind.INSTANCE if row[2] in ("mito", "ves", "cell", "nuc", "mt") else Kind.SEMANTIC
    grid = VoxelGrid(tuple(map(int, shape)), size, offset)
    target = Target(Crop(row[0], row[1]), Label(row[2], 1, kind), grid)
    truth = case / "truth.zarr" / target.path
    mask = truth.with_name(f"{row[2]}_mask")
    pred = golden.unpacked(name) / target.path
    volumes = [open_volume(path) if path.exists() else None for path in (truth, pred, mask)]
    return target, volumes[0], volumes[1], volumes[2]


def rules(golden, name: str):
    env = golden.result(name)["env"]
    most = int(env.get("MAX_OVERLAP_EDGES", OFFICIAL.most_pairs))
    return dataclasses.replace(OFFICIAL, most_pairs=most)


def scored(golden, name: str) -> tuple[Target, Scored]:
    target, truth, pred, mask = inputs(golden, name)
    return target, score_planes(target, truth, pred, rules(golden, name), mask=mask)


def test_counts_and_distance_scores_are_the_official_ones(golden):
    compared = 0
    for name in golden.names(*KINDS):
        if name in REFUSED | MOVED or golden.result(name)["status"] != "ok":
            continue
        target, found = scored(golden, name)
        expected = golden.result(name)["extended"][target.crop.folder][target.label.name]
        counts = found.sums.objects if target.label.kind == Kind.INSTANCE else found.sums.voxels
        assert dataclasses.astuple(counts) == (expected["tp"], expected["fp"], expected["fn"]), name
        assert found.status == expected["status"].split("_")[0], name
        if target.label.kind == Kind.INSTANCE:
            assert found.sums.distances == expected["n_hausdorff"], name
            official = pytest.approx(expected["hausdorff_norm_sum"], rel=1e-12)
            assert found.sums.distance_score == official, name
        compared += 1
    assert compared > 80


def test_who_is_whose_counterpart_is_decided_as_officially_ties_included(golden):
    for name in golden.names("inst_", "perf_ves_128"):
        for path, detail in golden.result(name).get("detail", {}).items():
            if not detail.get("mapping") or name in REFUSED:
                continue
            target, truth, pred, mask = inputs(golden, name)
            assert target.path == path
            objects = find_objects(
                Pair(truth, pred, mask, factors=True),
                target.grid.shape,
                components=True,
                order=pred.order,
            )
            ids = objects.truth.ids
            pairs = match_by_flow(Pairs(*objects.overlap.pairs()), ids, objects.pred.count)
            found = dict(zip(pairs.pred.tolist(), ids[pairs.truth - 1].tolist(), strict=True))
            expected = {int(pred): truth for pred, truth in detail["mapping"].items()}
            assert found == {p: int(t) for p, t in expected.items() if p}, name


def test_the_summed_distance_is_that_of_the_official_distances(golden):
    for name in golden.names("inst_"):
        for detail in golden.result(name).get("detail", {}).values():
            if detail.get("distances") is None or name in REFUSED:
                continue
            _, found = scored(golden, name)
            cap = np.float32(detail["distance_cap"])
            alone = found.sums.distances - len(detail["distances"])
            total = float(np.sum(np.float32(detail["distances"]), dtype=float)) + alone * float(cap)
            assert found.sums.distance_nm == pytest.approx(total, rel=1e-12), name


@pytest.mark.parametrize(
    ("name", "quirks"),
    [
        ("inst_perfect", set()),
        ("inst_perfect_binary", set()),
        ("inst_dilated", set()),
        ("inst_extra_fp", {"collides"}),
        ("inst_id_in_two_places", {"components"}),
        ("inst_float_probabilities", {"components", "collides"}),
        ("inst_too_many", {"skips_floods"}),
        ("inst_ratio_over_cutoff", {"skips_floods"}),
        ("inst_ratio_at_cutoff", {"collides"}),
        ("inst_too_many_edges", {"most_pairs"}),
        ("inst_tie_unequal_distance", {"collides", "flow_matching"}),
        ("mask_255_overflow", {"mask_factors"}),
        ("mask_instance", set()),
        ("sem_prob_same_vs", {"foreground_above"}),
        ("sem_perfect", set()),
        ("sem_dtype_float32", set()),
    ],
)
def test_quirks_are_named_where_they_had_an_effect(golden, name, quirks):
    assert scored(golden, name)[1].quirks == quirks


def test_missing_targets_count_as_officially(golden):
    for name in golden.names("lay_missing", "agg_"):
        case = golden.case(name)
        for row in (case / "manifest.csv").read_text().splitlines()[1:]:
            crop, _, label, size, offset, shape = row.split(",")
            expected = golden.result(name)["extended"].get(f"crop{crop}", {}).get(label)
            if not expected or expected["status"] != "missing":
                continue
            grid = [tuple(map(float, cell.strip("[]").split(";"))) for cell in (size, offset)]
            voxels = tuple(map(int, shape.strip("[]").split(";")))
            kind = Kind.INSTANCE if "n_hausdorff" in expected else Kind.SEMANTIC
            target = Target(Crop(crop, ""), Label(label, 1, kind), VoxelGrid(voxels, *grid))
            sums = worst_sums(target, open_volume(case / "truth.zarr" / target.path), OFFICIAL)
            counts = sums.objects if kind == Kind.INSTANCE else sums.voxels
            official = (expected["tp"], expected["fp"], expected["fn"])
            assert dataclasses.astuple(counts) == official, (name, row)
            assert sums.distances == expected.get("n_hausdorff", 0)
            assert sums.distance_score == 0.0
