from datetime import timedelta
from io import StringIO

import pytest
from django.core.management import call_command
from django.utils.timezone import now

from server import queue, scoring
from server.submissions import evaluation, intake
from server.submissions.models import Evaluation, Item, Submission
from server.submissions.upkeep import Swept, sweep
from tests.server.making import entered

LATER = timedelta(minutes=5)


@pytest.fixture
def accepted(phase, people, queue_up, packed) -> Evaluation:
    submission = entered(phase, people.ada, packed.read_bytes())
    intake.check(submission.pk)
    return submission.evaluation


def status() -> str:
    return Submission.objects.get().status


def test_a_site_in_order_needs_nothing(accepted):
    assert sweep(at=now() + LATER) == Swept()
    assert str(Swept()) == "nothing to do"
    assert len(queue.waiting(queue.SCORE)) == 6


def test_a_lost_queue_loses_no_check(phase, people, work, queue_up, packed):
    entered(phase, people.ada, packed.read_bytes())
    queue_up.flushall()
    assert sweep(at=now()).checks == 0  # too early to tell
    assert sweep(at=now() + LATER).checks == 1
    work()
    assert status() == "scored"


def test_a_check_whose_worker_died_is_made_again(phase, people, work, queue_up, packed):
    submission = entered(phase, people.ada, packed.read_bytes())
    queue_up.flushall()
    submission.advance(Submission.Status.CHECKING)
    assert sweep(at=now() + LATER).checks == 1
    work()
    assert status() == "scored"


def test_a_lost_queue_loses_no_score(accepted, work, queue_up):
    evaluation.score_item(accepted.pk, accepted.items.first().target)
    queue_up.flushall()
    assert sweep(at=now() + LATER).requeued == 5
    assert sweep(at=now() + LATER).requeued == 0  # asked for once
    work()
    assert status() == "scored"


def test_an_item_whose_worker_died_goes_to_another(accepted, work):
    first = accepted.items.first()
    Item.objects.filter(pk=first.pk).update(status="scoring", attempts=1, lease=now())
    assert sweep(at=now() + LATER).released == 1
    work()
    first.refresh_from_db()
    assert (status(), first.attempts) == ("scored", 2)


def test_an_item_that_kills_three_workers_fails_its_submission(accepted):
    first = accepted.items.first()
    Item.objects.filter(pk=first.pk).update(status="scoring", attempts=3, lease=now())
    sweep(at=now() + LATER)
    submission = Submission.objects.get()
    assert (submission.status, submission.blame, submission.quota_used) == (
        "failed", "system", False,
    )  # fmt: skip


def test_scores_whose_last_job_died_before_the_result_are_published(accepted):
    *others, last = accepted.items.all()
    for item in others:
        evaluation.score_item(accepted.pk, item.target)
    path, rules = accepted.submission.upload.path, evaluation.rules(accepted)
    score = scoring.score_item(last.target, path, rules)
    Item.objects.filter(pk=last.pk).update(status="scored", score=score)  # and then: killed
    assert status() == "scoring"
    assert sweep(at=now()).published == 1
    assert status() == "scored"
    assert sweep(at=now()).published == 0


def test_the_command_says_what_it_did(phase, people, queue_up):
    entered(phase, people.ada, b"abc")
    queue_up.flushall()
    Submission.objects.update(changed=now() - LATER)
    out = StringIO()
    call_command("sweep", stdout=out)
    assert out.getvalue() == "1 checks\n"
