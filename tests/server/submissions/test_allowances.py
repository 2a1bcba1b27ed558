"""Used, left, and the exact moment at which the next one is free."""

from datetime import timedelta

import pytest

from server.errors import Refused
from server.submissions.models import Grant
from server.submissions.quota import quota, refuse_submission
from tests.server import entries
from tests.server.making import moment, person

pytestmark = pytest.mark.django_db
NOON = moment("2026-03-10T12:00:00")
HOUR = timedelta(hours=1)


@pytest.fixture
def team():
    return person("Ada").own_team


def limited(**limits):
    """A phase around NOON with these limits and no other."""
    limits = {"per_day": 0, "attempts_per_day": 0, "concurrent": 0} | limits
    phase = entries.phase(entries.challenge(), **limits)
    phase.opens, phase.closes = NOON - 24 * 9 * HOUR, NOON + 24 * 9 * HOUR
    phase.save()
    return phase


def entered(phase, team, *hours_ago: float, status: str = "scored", **fields):
    return [
        entries.submission(phase, team, status=status, created=NOON - hours * HOUR, **fields)
        for hours in hours_ago
    ]


def granted(phase, team, what: str, extra: int, *, hours: float | None = None):
    expires = None if hours is None else NOON + hours * HOUR
    return Grant.objects.create(
        team=team, phase=phase, what=what, extra=extra, reason="test", expires=expires,
        created=NOON - HOUR,
    )  # fmt: skip


def refused(team, phase, at=NOON) -> str:
    with pytest.raises(Refused) as refusal:
        refuse_submission(team, phase, at=at)
    return refusal.value.sentence


def test_the_last_24_hours_count_and_the_oldest_of_them_comes_back_first(team):
    phase = limited(per_day=2)
    entered(phase, team, 25, 3)
    entered(phase, team, 2, status="rejected", quota_used=False)
    found = quota(team, phase, at=NOON)
    assert (found.per_day.used, found.per_day.left, found.refusal) == (1, 1, "")
    assert found.per_day.resets == NOON + 21 * HOUR


def test_a_submission_counts_for_24_hours_to_the_second(team):
    phase = limited(per_day=1)
    entered(phase, team, 0)
    assert "used its 1 submission per 24 hours" in refused(
        team, phase, NOON + 24 * HOUR - HOUR / 3600
    )
    refuse_submission(team, phase, at=NOON + 24 * HOUR)


def test_without_a_limit_nothing_is_left_to_count(team):
    phase = limited()
    entered(phase, team, *range(1, 20))
    found = quota(team, phase, at=NOON)
    for allowance in (found.per_day, found.total, found.attempts, found.concurrent):
        assert (allowance.limit, allowance.left) == (None, None)
    assert found.refusal == ""


def test_more_than_the_limit_waits_until_enough_of_them_have_passed(team):
    """As after a merge, or a limit that was lowered."""
    phase = limited(per_day=2)
    entered(phase, team, 20, 10, 5, 1)
    found = quota(team, phase, at=NOON).per_day
    assert (found.used, found.left, found.resets) == (4, 0, NOON + 19 * HOUR)
    refuse_submission(team, phase, at=found.resets)
    assert refused(team, phase, found.resets - HOUR / 3600)


def test_the_total_ends_for_good(team):
    phase = limited(total=2)
    entered(phase, team, 200, 100)
    entered(phase, team, 50, status="failed", quota_used=False, blame="organiser")
    found = quota(team, phase, at=NOON)
    assert (found.total.used, found.total.left, found.total.resets) == (2, 0, None)
    assert (found.code, "all its 2 submissions" in found.refusal) == ("over_total", True)


def test_rejected_ones_are_attempts_and_our_failures_are_not(team):
    phase = limited(attempts_per_day=3)
    entered(phase, team, 6, 5, status="rejected", quota_used=False)
    entered(phase, team, 4, status="failed", quota_used=False, blame="system")
    entered(phase, team, 3, status="cancelled", quota_used=False)
    assert quota(team, phase, at=NOON).attempts.left == 1
    entered(phase, team, 2, status="cancelled", report={"problems": []})
    found = quota(team, phase, at=NOON)
    assert (found.attempts.left, found.attempts.resets) == (0, NOON + 18 * HOUR)
    assert found.code == "over_attempts"
    assert "3 attempts per 24 hours" in found.refusal
    assert "free on 11 March 2026 at 06:00 UTC" in found.refusal


@pytest.mark.parametrize("status", ["scoring", "scored"])
def test_what_failed_by_our_fault_stays_free_when_it_is_tried_again(team, status):
    phase = limited(per_day=1, total=1, attempts_per_day=1)
    entered(phase, team, 4, status=status, quota_used=False)
    found = quota(team, phase, at=NOON)
    assert (found.per_day.used, found.total.used, found.attempts.used) == (0, 0, 0)


def test_what_runs_is_counted_until_it_ends(team):
    phase = limited(concurrent=1)
    (running,) = entered(phase, team, 1, status="scoring")
    found = quota(team, phase, at=NOON)
    assert (found.concurrent.used, found.concurrent.left, found.code) == (1, 0, "already_running")
    assert "has 1 submission under way" in found.refusal
    running.status = "scored"
    running.save()
    assert quota(team, phase, at=NOON).refusal == ""


def test_a_grant_adds_to_its_own_limit_while_it_lasts(team):
    phase = limited(per_day=1, total=5, attempts_per_day=9)
    entered(phase, team, 2)
    granted(phase, team, "per_day", 2, hours=3)
    found = quota(team, phase, at=NOON)
    assert (found.per_day.limit, found.per_day.left) == (3, 2)
    assert (found.total.limit, found.attempts.limit) == (5, 9)
    assert quota(team, phase, at=NOON + 3 * HOUR).per_day.left == 0


def test_the_reset_knows_that_a_grant_will_have_ended(team):
    phase = limited(per_day=1)
    entered(phase, team, 20, 10, 1)
    granted(phase, team, "per_day", 2, hours=3)
    assert quota(team, phase, at=NOON).per_day.resets == NOON + 23 * HOUR
    Grant.objects.update(expires=None)
    assert quota(team, phase, at=NOON).per_day.resets == NOON + 4 * HOUR


def test_a_grant_is_one_teams_in_one_phase(team):
    phase = limited(total=1)
    granted(phase, person("Bob").own_team, "total", 5)
    granted(entries.phase(phase.challenge, "other"), team, "total", 5)
    assert quota(team, phase, at=NOON).total.limit == 1


def test_no_limit_stays_none_whatever_was_granted(team):
    phase = limited()
    granted(phase, team, "total", 5)
    assert quota(team, phase, at=NOON).total.limit is None


def test_a_phase_that_closes_first_promises_nothing(team):
    phase = limited(per_day=1)
    entered(phase, team, 1)
    phase.closes = NOON + 2 * HOUR
    phase.save()
    assert "no other becomes free before it closes" in refused(team, phase)


def test_outside_the_phase_the_dates_are_what_is_said(team):
    phase = limited(per_day=1)
    assert quota(team, phase, at=phase.closes).code == "phase_closed"
    assert quota(team, phase, at=phase.opens - HOUR).code == "phase_not_begun"


def test_other_teams_and_phases_use_nothing_of_it(team):
    phase = limited(per_day=1, total=1, attempts_per_day=1, concurrent=1)
    entered(phase, person("Bob").own_team, 1, status="scoring")
    entered(entries.phase(phase.challenge, "other"), team, 1, status="scoring")
    assert quota(team, phase, at=NOON).refusal == ""
