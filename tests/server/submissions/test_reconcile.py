from datetime import timedelta
from io import StringIO

import pytest
from django.core.management import call_command
from django.utils.timezone import now

from server import queue, scoring
from server.notices.models import Notice
from server.submissions import evaluation, intake, items, leases
from server.submissions.models import Evaluation, Item, Submission
from server.submissions.upkeep import Reconciled, reconcile, take_back_orphans
from tests.server.making import entered
from tests.server.taking import checked, hold, score_one

LATER = timedelta(minutes=5)


@pytest.fixture
def accepted(phase, people, queue_up, packed) -> Evaluation:
    return checked(phase, people.ada, packed.read_bytes())


def status() -> str:
    return Submission.objects.get().status


def done(at=None) -> dict[str, int]:
    """What reconciling did to submissions; mails and the audit are others' business."""
    found = reconcile(at=at or now() + LATER)
    assert found.away == {}
    return {k: v for k, v in found.done.items() if k not in ("notices", "audit")}


def test_a_site_in_order_needs_nothing(accepted):
    assert done() == {}
    assert str(Reconciled()) == "nothing to do"
    assert queue.length(queue.SCORE) == 6


def test_a_lost_queue_loses_no_check(phase, people, work, queue_up, packed):
    entered(phase, people.ada, packed.read_bytes())
    queue_up.flushall()
    assert done(at=now()) == {}  # too early to tell
    assert done() == {"checks": 1}
    assert done() == {}  # asked for once
    work()
    assert status() == "scored"


def test_a_check_whose_worker_died_is_made_again(phase, people, work, queue_up, packed):
    submission = entered(phase, people.ada, packed.read_bytes())
    queue_up.flushall()
    submission.advance(Submission.Status.CHECKING, checks=1, lease=leases.until())
    assert done(at=now()) == {}  # it gave a sign of life a moment ago
    assert done() == {"checks": 1}
    work()
    assert status() == "scored"


def test_a_check_that_brings_two_workers_down_fails_and_organisers_are_told(
    phase, people, queue_up, packed
):
    submission = entered(phase, people.ada, packed.read_bytes())
    submission.advance(Submission.Status.CHECKING, checks=2, lease=now())
    assert done() == {"checks": 1}
    submission.refresh_from_db()
    assert (submission.status, submission.blame) == ("failed", "system")
    assert submission.quota_used is False
    assert Notice.objects.filter(kind="failed", staff=True).count() == 1


def test_a_lost_queue_loses_no_score(accepted, work, queue_up):
    score_one(accepted, accepted.items.first().target)
    queue_up.flushall()
    assert done() == {"messages": 5}
    assert done() == {}  # asked for once
    work()
    assert status() == "scored"


def test_a_target_whose_worker_died_goes_to_another(accepted, work):
    first = hold(accepted.items.first())
    assert done(at=now()) == {}  # its lease runs
    assert done()["leases"] == 1
    Item.objects.update(due=None)
    work()
    first.refresh_from_db()
    assert (status(), first.attempts, first.deaths) == ("scored", 2, 1)


def test_a_worker_that_begins_takes_back_what_the_dead_of_its_machine_held(accepted):
    mine, dead, elsewhere = accepted.items.all()[:3]
    hold(mine, by=leases.holder())
    gone = leases.holder().rsplit(" ", 1)[0] + " 1"  # this process number, at another time
    hold(dead, by=gone)
    hold(elsewhere, by="another-machine 1234 pid 77 1")
    assert take_back_orphans() == 1
    assert set(accepted.items.filter(status="scoring")) == {mine, elsewhere}


def test_scores_whose_last_worker_died_before_the_result_are_published(accepted):
    *others, last = accepted.items.all()
    for item in others:
        score_one(accepted, item.target)
    path, rules = accepted.submission.upload.path, evaluation.rules(accepted)
    score = scoring.score_item(last.target, path, rules)
    Item.objects.filter(pk=last.pk).update(status="scored", score=score)  # and then: killed
    assert status() == "scoring"
    assert done(at=now()) == {"results": 1}
    assert status() == "scored"
    assert done(at=now()) == {}


def test_what_another_evaluator_began_is_begun_anew(accepted, work):
    score_one(accepted, accepted.items.first().target)
    Evaluation.objects.update(evaluator="0.0.1")
    items.work()
    assert accepted.items.filter(status="scored").count() == 1  # its targets are not ours to take
    assert done()["renewed"] == 1
    assert not accepted.items.exclude(status="queued").exists()
    work()
    accepted.refresh_from_db()
    assert (accepted.status, accepted.evaluator) == ("scored", scoring.version())


def test_without_a_queue_server_everything_else_is_put_right(accepted, monkeypatch):
    for item in accepted.items.all():
        score_one(accepted, item.target)
    Evaluation.objects.update(status="scoring")
    Submission.objects.update(status="scoring")
    phase, user = accepted.submission.phase, accepted.submission.user
    Submission.objects.update(status="scored")
    late = entered(phase, user, b"no zip")
    Submission.objects.exclude(pk=late.pk).update(status="scoring")
    Submission.objects.filter(pk=late.pk).update(changed=now() - LATER)
    monkeypatch.setenv("REDIS_URL", "redis://127.0.0.1:1/0")
    found = reconcile(at=now())
    assert found.done["results"] == 1
    assert found.away["checks"] == "ConnectionError"
    assert "checks has to wait (ConnectionError)" in str(found)


def test_the_command_says_what_it_did(phase, people, queue_up):
    entered(phase, people.ada, b"abc")
    queue_up.flushall()
    Submission.objects.update(changed=now() - LATER)
    out = StringIO()
    call_command("reconcile", stdout=out)
    assert out.getvalue().startswith("1 checks")


def test_a_check_that_waits_in_the_queue_is_not_asked_for_again(phase, people, queue_up):
    submission = entered(phase, people.ada, b"abc")
    Submission.objects.update(changed=now() - LATER)
    assert done() == {}
    assert f"check-{submission.pk}" in queue.waiting(queue.CHECK)
    intake.check(submission.pk)
    assert status() == "rejected"


def test_a_broken_row_holds_up_no_other_step_and_does_not_stay_stuck(accepted):
    for item in accepted.items.all():
        score_one(accepted, item.target)
    Evaluation.objects.update(status="scoring", result="")
    Submission.objects.update(status="scoring")
    Item.objects.filter(evaluation=accepted, place=0).update(score={"no": "score"})
    assert "results" in reconcile(at=now()).done
    submission = Submission.objects.get()
    assert (submission.status, submission.blame, submission.quota_used) == (
        "failed", "system", False,
    )  # fmt: skip
