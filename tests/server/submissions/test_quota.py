"""What counts against a team's quota, and what does not."""

from datetime import timedelta

import pytest
from django.utils.timezone import now

from server.accounts.teams import create_team
from server.challenges.models import Phase
from server.errors import Refused
from server.submissions import evaluation, intake
from server.submissions.models import Submission
from tests.server.making import entered, stored

DATA = b"no zip"


@pytest.fixture
def once(phase) -> Phase:
    """A phase that takes one submission a day."""
    phase.per_day = 1
    phase.save()
    return phase


def may_submit(phase: Phase, user) -> bool:
    try:
        entered(phase, user, DATA)
    except Refused as refusal:
        return refusal.code != "over_quota"
    return True


def end(submission: Submission, status: str, **fields) -> None:
    Submission.objects.filter(pk=submission.pk).update(status=status, **fields)


def test_a_scored_submission_counts(once, people, queue_up):
    end(entered(once, people.ada, DATA), "scored")
    assert not may_submit(once, people.ada)


def test_a_rejected_submission_is_free(once, people, work):
    entered(once, people.ada, DATA)
    work()
    assert Submission.objects.get().status == "rejected"
    assert may_submit(once, people.ada)


def test_a_submission_that_failed_by_our_fault_is_free(once, people, queue_up):
    submission = entered(once, people.ada, DATA)
    evaluation.fail(submission, error=MemoryError("ours"), during="a test")
    assert may_submit(once, people.ada)


def test_a_submission_cancelled_before_scoring_is_free(once, people, queue_up):
    intake.cancel(entered(once, people.ada, DATA), by=people.ada)
    assert may_submit(once, people.ada)


def test_a_submission_cancelled_during_scoring_counts(once, people, queue_up):
    submission = entered(once, people.ada, DATA)
    end(submission, "scoring")
    submission.refresh_from_db()
    intake.cancel(submission, by=people.ada)
    assert not may_submit(once, people.ada)


def test_the_quota_comes_back_24_hours_after_it_was_used(once, people, queue_up):
    submission = entered(once, people.ada, DATA)
    end(submission, "scored", created=now() - timedelta(hours=23, minutes=59))
    assert not may_submit(once, people.ada)
    end(submission, "scored", created=now() - timedelta(hours=24))
    assert may_submit(once, people.ada)


def test_each_team_has_its_own_quota(once, people, queue_up):
    end(entered(once, people.ada, DATA), "scored")
    assert may_submit(once, people.bob)


def test_a_person_may_submit_for_each_of_their_teams(once, people, queue_up):
    end(entered(once, people.ada, DATA), "scored")
    team = create_team(people.ada, name="Deep Cells")
    upload = stored(once, team, DATA, user=people.ada)
    made = intake.submit(upload=upload, user=people.ada, method="M", at=now())
    assert made.team == team


def test_each_phase_has_its_own_quota(once, people, queue_up):
    end(entered(once, people.ada, DATA), "scored")
    other = Phase.objects.create(
        challenge=once.challenge, truth=once.truth, protocol=once.protocol, slug="other",
        title="Other", opens=once.opens,
        closes=once.closes, per_day=1,
    )  # fmt: skip
    assert may_submit(other, people.ada)


def test_a_phase_may_allow_two_at_once_but_not_three(phase, people, queue_up):
    phase.concurrent = 2
    phase.save()
    entered(phase, people.ada, DATA)
    entered(phase, people.ada, DATA)
    with pytest.raises(Refused) as refusal:
        entered(phase, people.ada, DATA)
    assert refusal.value.code == "already_running"
    assert "2 submissions under way" in refusal.value.sentence


def test_a_refused_submission_uses_nothing_and_its_upload_stays(once, people, queue_up):
    end(entered(once, people.ada, DATA), "scored")
    upload = stored(once, people.ada.own_team, DATA, user=people.ada)
    with pytest.raises(Refused):
        intake.submit(upload=upload, user=people.ada, method="M", at=now())
    assert Submission.objects.count() == 1
    assert upload.path.exists()
    tomorrow = now() + timedelta(hours=25)
    assert intake.submit(upload=upload, user=people.ada, method="M", at=tomorrow)
