import json
import os
import random
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path

import pytest
from django.db import connection, connections
from django.utils.timezone import now

from evaluator import get_protocol, json_digest, load_manifest, score_submission
from server import queue
from server.accounts.models import AuditEvent
from server.challenges.models import TruthVersion
from server.submissions import evaluation, intake
from server.submissions.models import Evaluation, Item, Submission
from tests.server.making import entered


@pytest.fixture
def accepted(phase, people, queue_up, packed) -> Evaluation:
    """A checked submission, its items waiting; the queue is empty."""
    submission = entered(phase, people.ada, packed.read_bytes())
    intake.check(submission.pk)
    queue_up.flushall()
    return submission.evaluation


def score(row: Evaluation, targets: list[str] | None = None) -> None:
    for target in targets or row.items.values_list("target", flat=True):
        evaluation.score_item(row.pk, target)
    row.refresh_from_db()


def local_result(packed: Path, folder: Path) -> str:
    """What a participant gets who scores the same file at home."""
    result = score_submission(
        packed, truth=folder / "truth.zarr", manifest=load_manifest(folder),
        protocol=get_protocol("crista-1"), jobs=1,
    )  # fmt: skip
    result = result[0] if isinstance(result, tuple) else result
    return result.to_json()


def test_a_submission_is_scored_by_a_worker_from_end_to_end(phase, people, work, packed):
    submission = entered(phase, people.ada, packed.read_bytes())
    work()
    submission.refresh_from_db()
    row = submission.evaluation
    assert (submission.status, row.status, row.items.count()) == ("scored", "scored", 6)
    result = json.loads(row.result)
    assert (row.overall, row.instance, row.semantic) == (
        result["overall"], result["instance"], result["semantic"],
    )  # fmt: skip
    assert row.labels == result["labels"]
    assert set(row.timings) == {target["crop"] + "/" + target["label"] for target in
                                result["targets"]}  # fmt: skip
    moves = AuditEvent.objects.filter(kind="submission").order_by("pk")
    assert [event.after for event in moves] == [
        "received", "checking", "queued", "scoring", "scored",
    ]  # fmt: skip


def test_the_result_is_what_the_evaluator_prints_at_home(accepted, packed, bundle_folder):
    score(accepted)
    assert accepted.result == local_result(packed, bundle_folder)


def test_the_result_names_the_very_truth_version(accepted, phase):
    score(accepted)
    result = json.loads(accepted.result)
    assert result["truth"] == phase.truth.digest
    assert result["manifest"] == phase.truth.manifest_digest
    sent = {item.target: item.score["pred_digest"] for item in accepted.items.all()}
    assert result["submission"] == json_digest(sent)


def test_the_order_of_the_jobs_changes_no_byte(accepted, phase, people, packed):
    score(accepted)
    other = entered(phase, people.bob, packed.read_bytes())
    intake.check(other.pk)
    targets = list(other.evaluation.items.values_list("target", flat=True))
    random.Random(3).shuffle(targets)
    score(other.evaluation, targets)
    assert other.evaluation.result == accepted.result


def test_a_job_that_runs_twice_or_late_changes_nothing(accepted):
    score(accepted)
    before = Evaluation.objects.values().get(), list(Item.objects.values())
    score(accepted)
    assert (Evaluation.objects.values().get(), list(Item.objects.values())) == before


def test_jobs_beside_each_other_publish_once_and_count_each_target_once(accepted):
    targets = list(accepted.items.values_list("target", flat=True)) * 2

    def job(target: str) -> None:
        try:
            evaluation.score_item(accepted.pk, target)
        finally:
            connections.close_all()

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(job, targets))
    accepted.refresh_from_db()
    assert accepted.status == "scored"
    assert set(accepted.items.values_list("attempts", flat=True)) == {1}
    published = AuditEvent.objects.filter(kind="evaluation", after="scored")
    assert published.count() == 1


def test_the_first_item_shows_that_scoring_has_begun(accepted):
    first = accepted.items.first()
    evaluation.score_item(accepted.pk, first.target)
    accepted.refresh_from_db()
    assert (accepted.status, accepted.submission.status) == ("scoring", "scoring")
    assert accepted.result == ""
    first.refresh_from_db()
    assert (first.status, first.attempts, first.lease) == ("scored", 1, None)


def test_progress_gives_a_first_value_and_then_the_final_one(accepted):
    assert {row["score"] for row in evaluation.progress(accepted)} == {None}
    first = accepted.items.first()
    evaluation.score_item(accepted.pk, first.target)
    rows = {row["label"]: row for row in evaluation.progress(accepted)}
    assert list(rows) == ["membrane", "mito", "nucleus"]
    assert (rows[first.label]["done"], rows[first.label]["total"]) == (1, 2)
    assert 0 < rows[first.label]["score"] <= 1
    assert [row["score"] for name, row in rows.items() if name != first.label] == [None, None]
    score(accepted)
    for row in evaluation.progress(accepted):
        assert row["score"] == accepted.labels[row["label"]]["score"]
        assert (row["done"], row["total"]) == (2, 2)


def test_an_item_somebody_holds_is_left_alone(accepted):
    first = accepted.items.first()
    hold(first, until=now() + timedelta(seconds=60))
    evaluation.score_item(accepted.pk, first.target)
    first.refresh_from_db()
    assert (first.status, first.attempts) == ("scoring", 1)


def test_an_item_whose_holder_vanished_is_taken_over(accepted):
    first = accepted.items.first()
    hold(first, until=now() - timedelta(seconds=1))
    evaluation.score_item(accepted.pk, first.target)
    first.refresh_from_db()
    assert (first.status, first.attempts) == ("scored", 2)


def test_a_holder_that_comes_back_late_cannot_write(accepted):
    first = accepted.items.first()
    hold(first, until=now() - timedelta(seconds=1))
    first.refresh_from_db()
    evaluation.score_item(accepted.pk, first.target)
    assert evaluation._mine(first).update(score={"wrong": True}) == 0


def test_a_job_of_a_cancelled_submission_does_nothing(accepted, people):
    accepted.submission.refresh_from_db()
    intake.cancel(accepted.submission, by=people.ada)
    score(accepted)
    assert accepted.status == "cancelled"
    assert set(accepted.items.values_list("status", flat=True)) == {"queued"}


def test_a_worker_shows_that_it_lives_while_it_scores(accepted, settings):
    settings.ITEM_LEASE_S = 0.2
    first = accepted.items.first()
    hold(first, until=now())
    first.refresh_from_db()
    with evaluation._kept(first):
        deadline = now() + timedelta(seconds=10)
        while Item.objects.get(pk=first.pk).lease <= first.lease:
            assert now() < deadline


def test_scoring_that_breaks_is_tried_three_times_and_then_is_our_fault(
    phase, people, work, packed
):
    TruthVersion.objects.update(path="/nowhere")
    submission = entered(phase, people.ada, packed.read_bytes())
    work()
    submission.refresh_from_db()
    row = submission.evaluation
    assert (submission.status, submission.blame) == ("failed", "system")
    assert submission.quota_used is False
    assert "Something broke on our side during the scoring of" in submission.message
    assert "nowhere" not in submission.message  # where the truth lies is nobody's business
    assert row.status == "failed"
    assert max(row.items.values_list("attempts", flat=True)) == 3
    assert set(row.items.values_list("status", flat=True)) <= {"failed", "queued"}
    assert AuditEvent.objects.filter(kind="submission", after="failed").count() == 1


def test_the_worker_lives_on_after_a_failure(phase, people, work, packed):
    path = phase.truth.path
    TruthVersion.objects.update(path="/nowhere")
    broken = entered(phase, people.ada, packed.read_bytes())
    work()
    TruthVersion.objects.update(path=path)
    good = entered(phase, people.bob, packed.read_bytes())
    work()
    assert list(Submission.objects.order_by("pk").values_list("status", flat=True)) == [
        "failed", "scored",
    ]  # fmt: skip
    assert (broken.pk, queue.waiting(queue.SCORE)) == (good.pk - 1, set())


def test_what_has_ended_does_not_fail_afterwards(accepted):
    score(accepted)
    evaluation.fail(accepted.submission, error=ValueError("late"), during="nothing")
    accepted.submission.refresh_from_db()
    assert (accepted.submission.status, accepted.submission.incident) == ("scored", "")


def hold(item: Item, *, until) -> None:
    """As if another worker had taken the item."""
    Evaluation.objects.filter(pk=item.evaluation_id).update(status="scoring")
    Submission.objects.update(status="scoring")
    Item.objects.filter(pk=item.pk).update(status="scoring", attempts=1, lease=until)


def test_a_forking_worker_of_its_own_scores_what_this_process_submitted(
    phase, people, queue_up, queue_server, packed
):
    submission = entered(phase, people.ada, packed.read_bytes())
    environment = os.environ | {
        "DJANGO_SETTINGS_MODULE": "server.settings", "REDIS_URL": queue_server,
        "DATABASE_URL": database_url(),
    }  # fmt: skip
    root = Path(__file__).resolve().parents[3]
    worker = [sys.executable, "-m", "django", "worker", "--burst"]
    subprocess.run(worker, cwd=root, env=environment, check=True, timeout=120)
    submission.refresh_from_db()
    assert submission.status == "scored"
    assert set(submission.evaluation.items.values_list("attempts", flat=True)) == {1}


def database_url() -> str:
    """Where another process finds the database of this test."""
    values = connection.settings_dict
    if connection.vendor == "sqlite":
        return f"sqlite:///{values['NAME']}"
    who = f"{values['USER']}:{values['PASSWORD']}"
    return f"postgres://{who}@{values['HOST']}:{values['PORT']}/{values['NAME']}"
