import json
import os
import random
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from django.db import connection, connections

from evaluator import get_protocol, json_digest, load_manifest, score_submission
from server import queue
from server.accounts.models import AuditEvent
from server.challenges.models import TruthVersion
from server.notices.models import Notice
from server.submissions import evaluation, intake, items, leases
from server.submissions.models import Evaluation, Item, ItemScore, Submission
from tests.server.making import entered
from tests.server.taking import checked, hold, score, score_one


@pytest.fixture
def accepted(phase, people, queue_up, packed) -> Evaluation:
    """A checked submission, its items waiting; the queue is empty."""
    row = checked(phase, people.ada, packed.read_bytes())
    queue_up.flushall()
    return row


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


def test_the_order_of_the_work_changes_no_byte(accepted, phase, people, packed):
    score(accepted)
    ItemScore.objects.all().delete()
    other = checked(phase, people.bob, packed.read_bytes())
    targets = list(other.items.values_list("target", flat=True))
    random.Random(3).shuffle(targets)
    score(other, targets)
    assert other.result == accepted.result


def test_work_that_is_done_twice_or_late_changes_nothing(accepted):
    score(accepted)
    before = Evaluation.objects.values().get(), list(Item.objects.values())
    score(accepted)
    items.work()
    assert not evaluation.settle(accepted)
    assert (Evaluation.objects.values().get(), list(Item.objects.values())) == before


def test_workers_beside_each_other_publish_once_and_count_each_target_once(accepted):
    def job(_: int) -> None:
        try:
            items.work()
        finally:
            connections.close_all()

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(job, range(12)))
    accepted.refresh_from_db()
    assert accepted.status == "scored"
    assert set(accepted.items.values_list("attempts", flat=True)) == {1}
    published = AuditEvent.objects.filter(kind="evaluation", after="scored")
    assert published.count() == 1


def test_the_first_item_shows_that_scoring_has_begun(accepted):
    first = accepted.items.first()
    score_one(accepted, first.target)
    accepted.refresh_from_db()
    assert (accepted.status, accepted.submission.status) == ("scoring", "scoring")
    assert accepted.result == ""
    first.refresh_from_db()
    assert (first.status, first.attempts, first.lease) == ("scored", 1, None)


def test_its_team_is_told_that_it_was_scored_and_not_how(accepted):
    score(accepted)
    notice = Notice.objects.get()
    assert (notice.kind, notice.team, notice.staff) == ("scored", accepted.submission.team, False)
    assert f"{accepted.overall:.3f}" not in notice.text
    assert notice.facts == {"submission": accepted.submission_id}


def test_a_cancelled_submission_is_scored_no_further(accepted, people):
    held = hold(accepted.items.first())
    accepted.submission.refresh_from_db()
    intake.cancel(accepted.submission, by=people.ada)
    score(accepted)
    assert accepted.status == "cancelled"
    assert set(accepted.items.values_list("status", flat=True)) == {"cancelled"}
    assert not leases.held(held).exists()  # who works on it finds that out and stops
    assert not evaluation.settle(accepted)


def test_what_ends_a_re_scoring_leaves_the_submission_alone(accepted, phase):
    score(accepted)
    again = evaluation.start(
        accepted.submission, truth=phase.truth, protocol=phase.protocol, background=True
    )
    score(again)
    assert again.status == "scored"
    accepted.submission.refresh_from_db()
    assert accepted.submission.status == "scored"
    assert Notice.objects.filter(kind="scored").count() == 1


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
    assert (broken.pk, queue.length(queue.SCORE)) == (good.pk - 1, 0)


def test_what_has_ended_does_not_fail_afterwards(accepted):
    score(accepted)
    evaluation.fail(accepted.submission, error=ValueError("late"), during="nothing")
    accepted.submission.refresh_from_db()
    assert (accepted.submission.status, accepted.submission.incident) == ("scored", "")


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
