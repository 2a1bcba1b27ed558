from datetime import timedelta

import pytest
from django.utils.timezone import now

from server.accounts.models import AuditEvent
from server.submissions.models import Item, Submission
from server.submissions.pages import history, state_tag, times, way
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
