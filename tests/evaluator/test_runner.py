import json
import os
import zipfile
from pathlib import Path

import numpy as np
import pytest
import zarr

from evaluator import (
    Counts,
    EvaluatorError,
    Manifest,
    ManifestError,
    Status,
    SubmissionError,
    array_digest,
    create_volume,
    get_protocol,
    json_digest,
    load_manifest,
    open_volume,
    pool,
    score_submission,
    score_target,
)
from tests.synthetic import predict, write_challenge, write_submission

RULES = get_protocol("crista-1")


@pytest.fixture(scope="module")
def challenge(tmp_path_factory) -> Path:
    """A challenge folder with a submission of quality 0.7 in it; tests leave it as it is."""
    folder = tmp_path_factory.mktemp("challenge")
    write_challenge(folder, size=32)
    write_submission(folder / "s.zip", folder, quality=0.7)
    return folder


@pytest.fixture(scope="module")
def manifest(challenge) -> Manifest:
    return load_manifest(challenge)


def scored(challenge: Path, manifest: Manifest, submission: Path, **settings: object):
    return score_submission(
        submission, truth=challenge / "truth.zarr", manifest=manifest, protocol=RULES, **settings
    )


def same_but_for_the_digest(one, other) -> bool:
    a, b = json.loads(one.to_json()), json.loads(other.to_json())
    return a | {"submission": ""} == b | {"submission": ""}


def test_the_truth_itself_scores_one(challenge, manifest):
    result = scored(challenge, manifest, challenge / "truth.zarr")
    assert (result.overall, result.instance, result.semantic) == (1.0, 1.0, 1.0)


def test_worse_predictions_score_less(challenge, manifest, tmp_path):
    scores = []
    for quality in (1.0, 0.8, 0.3):
        write_submission(tmp_path / "s.zip", challenge, quality=quality)
        scores.append(scored(challenge, manifest, tmp_path / "s.zip").overall)
    assert scores[0] == 1.0
    assert scores == sorted(scores, reverse=True)
    assert len(set(scores)) == 3


def test_two_processes_give_the_same_bytes_as_one(challenge, manifest):
    one = scored(challenge, manifest, challenge / "s.zip")
    two = scored(challenge, manifest, challenge / "s.zip", jobs=2)
    assert one.to_json() == two.to_json()


def test_targets_scored_apart_pool_to_the_same_bytes(challenge, manifest):
    whole = scored(challenge, manifest, challenge / "s.zip")
    apart = [
        score_target(
            target,
            truth=challenge / "truth.zarr",
            submission=challenge / "s.zip",
            manifest=manifest,
            protocol=RULES,
        )
        for target in reversed(manifest.targets)
    ]
    pooled = pool(manifest, apart, protocol=RULES)
    assert pooled.to_json() == whole.to_json()


def test_how_the_arrays_are_stored_changes_nothing(challenge, manifest, tmp_path):
    """Zip or folder, chunks, width of ids, byte order, format, group or array: the same scores."""
    expected = scored(challenge, manifest, challenge / "s.zip")
    with zipfile.ZipFile(challenge / "s.zip") as archive:
        archive.extractall(tmp_path / "folder")
    assert same_but_for_the_digest(scored(challenge, manifest, tmp_path / "folder"), expected)
    arrays = predict(challenge, quality=0.7)
    for number, (dtype, chunks, zarr_format) in enumerate(
        [("u8", (16, 32, 32), 2), (">i4", (5, 7, 9), 2), ("f4", (8, 8, 8), 3)]
    ):
        folder = tmp_path / str(number)
        for path, array in arrays.items():
            kept = zarr.create_array(
                folder / path,
                shape=array.shape,
                chunks=chunks,
                dtype=dtype,
                zarr_format=zarr_format,
            )
            kept[:] = array
        assert same_but_for_the_digest(scored(challenge, manifest, folder), expected)
    for path, array in arrays.items():
        grid = manifest.by_path[path].grid
        create_volume(tmp_path / "ome" / path, grid, array.dtype, multiscale=True)[:] = array
    assert same_but_for_the_digest(scored(challenge, manifest, tmp_path / "ome"), expected)


def test_the_truth_digest_is_that_of_the_content(challenge, manifest, tmp_path):
    digests = {}
    for path, target in manifest.by_path.items():
        values = open_volume(challenge / "truth.zarr" / path).read()
        digests[path] = array_digest(values)
        create_volume(tmp_path / path, target.grid, values.dtype, chunks=(3, 5, 7))[:] = values
    here = scored(challenge, manifest, challenge / "s.zip")
    there = score_submission(
        challenge / "s.zip", truth=tmp_path, manifest=manifest, protocol=RULES
    )  # fmt: skip
    assert here.truth == json_digest(digests)
    assert here.to_json() == there.to_json()


def test_each_target_is_told_once_the_smallest_first(challenge, manifest):
    told = []
    scored(challenge, manifest, challenge / "s.zip", progress=lambda s, t: told.append((s.path, t)))
    assert sorted(path for path, _ in told) == sorted(manifest.by_path)
    assert all(seconds >= 0 for _, seconds in told)


def test_a_missing_and_an_unreadable_target_count_as_worst(challenge, manifest, tmp_path):
    with zipfile.ZipFile(challenge / "s.zip") as archive:
        archive.extractall(tmp_path / "s")
    for file in (tmp_path / "s" / "crop1" / "mito").rglob("0"):
        if file.is_file():
            file.write_bytes(b"damaged")
    (tmp_path / "s" / "crop2" / "mito" / ".zarray").write_text("{}")
    for file in [*(tmp_path / "s" / "crop1" / "membrane").rglob("*")][::-1]:
        file.rmdir() if file.is_dir() else file.unlink()
    for jobs in (1, 2):
        result = scored(challenge, manifest, tmp_path / "s", jobs=jobs)
        status = {score.path: score.status for score in result.targets}
        assert status["crop1/mito"] == status["crop2/mito"] == Status.UNREADABLE
        assert status["crop1/membrane"] == Status.MISSING
        assert status["crop2/membrane"] == Status.SCORED
        assert result.labels["mito"]["score"] == 0.0
    sums = {score.path: score.sums for score in result.targets}
    assert sums["crop1/mito"].objects == Counts(fn=6)
    assert sums["crop1/membrane"].voxels.tp == 0


def test_a_probability_for_an_instance_label_is_unreadable(challenge, manifest, tmp_path):
    for path, target in manifest.by_path.items():
        create_volume(tmp_path / "p" / path, target.grid, "f4")[:] = 0.75
    result = scored(challenge, manifest, tmp_path / "p")
    assert {score.status for score in result.targets if score.label == "mito"} == {"unreadable"}
    assert {score.status for score in result.targets if score.label == "membrane"} == {"scored"}


def test_what_is_rejected_is_not_scored(challenge, manifest, tmp_path):
    (tmp_path / "s.zip").write_bytes(b"no zip")
    with pytest.raises(SubmissionError, match="not a zip"):
        scored(challenge, manifest, tmp_path / "s.zip")


class Deadly:
    """Ends the process that receives it, as running out of memory would."""

    def __reduce__(self):
        return os._exit, (9,)


def test_a_process_that_dies_is_an_error_with_a_way_out(challenge, manifest):
    with pytest.raises(EvaluatorError, match=r"memory ran out\. Try again with --jobs 1"):
        score_submission(
            challenge / "s.zip",
            truth=challenge / "truth.zarr",
            manifest=manifest,
            protocol=Deadly(),
            jobs=2,
        )


def test_truth_that_is_not_there_is_the_organisers_mistake(challenge, manifest, tmp_path):
    for jobs in (1, 2):
        with pytest.raises(ManifestError, match=r"truth of crop\d/\w+ cannot be read") as caught:
            score_submission(
                challenge / "s.zip", truth=tmp_path, manifest=manifest, protocol=RULES, jobs=jobs
            )
        assert str(tmp_path) not in str(caught.value)


def test_truth_of_another_shape_or_kind_is_the_organisers_mistake(challenge, manifest, tmp_path):
    target = manifest.by_path["crop1/mito"]
    one = Manifest((target,))
    create_volume(tmp_path / target.path, target.grid, "f4")[:] = 0.5
    with pytest.raises(ManifestError, match="float32 and holds fractions; expected object ids"):
        score_submission(challenge / "s.zip", truth=tmp_path, manifest=one, protocol=RULES)
    other = zarr.create_array(tmp_path / target.path, shape=(3, 3, 3), dtype="u1", overwrite=True)
    other[:] = np.ones((3, 3, 3))
    with pytest.raises(ManifestError, match=r"shape \(3, 3, 3\); the manifest says \(16, 32, 32\)"):
        score_submission(challenge / "s.zip", truth=tmp_path, manifest=one, protocol=RULES)
