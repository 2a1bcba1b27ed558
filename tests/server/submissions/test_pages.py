from datetime import timedelta

import pytest
from django.utils.timezone import now

from server.accounts.models import AuditEvent
from server.challenges.models import Phase
from server.submissions.models import Item, Submission
from server.submissions.pages import about, failure, history, state_tag, times, way
from tests.server import entries
from tests.server.making import person

at = entries.BEGAN
LATER = at + timedelta(minutes=1)


def told(stages):
    return [(stage.title, stage.state) for stage in stages]


def test_a_live_submission_shows_what_is_done_what_happens_now_and_what_will():
    stages = way("queued", {"received": at, "checking": at, "queued": LATER})
    assert told(stages) == [
        ("Received", "done"), ("Check", "done"), ("Waiting", "now"),
        ("Scoring", "todo"), ("Scored", "todo"),
    ]  # fmt: skip
    assert [stage.at for stage in stages] == [at, at, LATER, None, None]


def test_a_scored_submission_has_only_done_stages():
    assert {state for _, state in told(way("scored", {"received": at}))} == {"done"}


def test_a_submission_sent_back_to_received_does_not_show_the_time_of_its_lost_check():
    stages = way("received", {"received": LATER, "checking": at})
    assert told(stages)[:2] == [("Received", "now"), ("Check", "todo")]
    assert stages[1].at is None


@pytest.mark.parametrize(
    ("status", "title"),
    [("rejected", "Rejected"), ("failed", "Failed"), ("cancelled", "Cancelled")],
)
def test_one_that_ended_badly_shows_the_stages_it_reached_and_its_end(status, title):
    stages = way(status, {"received": at, "checking": at, status: LATER})
    assert told(stages) == [("Received", "done"), ("Check", "done"), (title, "bad")]
    assert stages[-1].at == LATER


@pytest.mark.django_db
def test_history_holds_submission_upload_and_evaluations_and_nothing_of_others():
    phase = entries.phase(entries.challenge())
    ada = person("Ada")
    mine, other = (entries.submission(phase, ada.own_team) for _ in range(2))
    scoring = entries.evaluation(mine)
    for kind, key in (("upload", mine.upload_id), ("evaluation", scoring.pk), ("team", mine.pk)):
        AuditEvent.objects.create(kind=kind, key=str(key), after="x", at=now())
    entries.evaluation(other)
    events = list(history(mine))
    assert [event.kind for event in events] == ["upload", "evaluation", "submission"]
    assert times(mine, events) == {"received": mine.created}


@pytest.mark.django_db
def test_the_tag_changes_with_every_scored_target_every_state_and_every_viewer():
    phase = entries.phase(entries.challenge())
    row = entries.submission(phase, person("Ada").own_team)
    seen = {state_tag(row, 1), state_tag(row, 2)}
    scoring = entries.evaluation(row, done=1)
    seen.add(state_tag(row, 1))
    assert state_tag(row, 1) in seen
    Item.objects.filter(evaluation=scoring).update(status="scored")
    seen.add(state_tag(row, 1))
    Submission.objects.filter(pk=row.pk).update(status="scored")
    row.refresh_from_db()
    seen.add(state_tag(row, 1))
    assert len(seen) == 5
    assert all(tag.startswith('"') and tag.endswith('"') for tag in seen)


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (None, ""),
        (0, "about 10 seconds"),
        (31, "about 40 seconds"),
        (91, "about 2 minutes"),
        (5400, "about 90 minutes"),
        (5401, "about 2 hours"),
    ],
)
def test_a_wait_is_told_in_steps_that_do_not_flicker(seconds, words):
    assert about(seconds) == words


def failed(blame, *, report=None, checks=1, items=()):
    """A failed submission of a new person's.  items: (status, trouble) of its first targets."""
    team = person(f"P{Submission.objects.count()}").own_team
    phase = Phase.objects.first() or entries.phase(entries.challenge())
    row = entries.submission(phase, team, status="failed", blame=blame)
    rows = entries.evaluation(row, status="failed").items.order_by("pk")
    for item, (status, trouble) in zip(rows, items, strict=False):
        Item.objects.filter(pk=item.pk).update(status=status, trouble=trouble)
    Submission.objects.filter(pk=row.pk).update(report=report, checks=checks)
    row.refresh_from_db()
    return row


@pytest.mark.django_db
def test_a_failure_has_the_code_of_what_went_wrong():
    died = [("quarantined", "the score stage died: signal 9")]
    memory = [("quarantined", "the score stage died: memory")]
    truth = [("failed", "crop1/mito has no truth")]
    assert failure(failed("organiser", report={}, items=died)) == "quarantined"
    assert failure(failed("organiser", report={}, items=memory)) == "over_limits"
    assert failure(failed("organiser", report={}, items=memory + died)) == "quarantined"
    assert failure(failed("organiser", report={}, items=truth)) == "truth_unreadable"
    assert failure(failed("system", report={}, items=truth)) == "incident"
    assert failure(failed("system", checks=2)) == "check_died"
    assert failure(failed("system")) == "incident"


@pytest.mark.django_db
def test_what_did_not_fail_has_no_code_of_a_failure():
    row = failed("organiser", report={})
    row.status = "scored"
    assert failure(row) == ""
