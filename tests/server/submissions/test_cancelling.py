"""A submission that its team stops: what is dropped, what is never written, what it costs."""

from datetime import timedelta

import pytest
from django.utils.timezone import now

from server import scoring
from server.accounts.models import AuditEvent
from server.errors import Refused
from server.notices.models import Notice
from server.submissions import evaluation, intake, items, leases, turns
from server.submissions.models import Evaluation, Item, ItemScore, Submission
from server.submissions.quota import quota
from server.submissions.upkeep import reconcile
from tests.server import entries
from tests.server.making import person
from tests.server.taking import hold

QUEUES = ("score", "score-large")
SCORE = {"score": {"of": "made up"}}
found = items.Found(SCORE, "c" * 64, reused=False, seconds=1.0)


@pytest.fixture
def where(db):
    return entries.phase(entries.challenge(), per_day=2)


@pytest.fixture
def row(where, ada, queue_up) -> Evaluation:
    """An evaluation in the queue; nothing of it was taken."""
    team = entries.team("Lab", ada)
    made = entries.evaluation(entries.submission(where, team, status="queued"), status="queued")
    Evaluation.objects.filter(pk=made.pk).update(evaluator=scoring.version())
    Item.objects.filter(evaluation=made).update(team=team)
    return Evaluation.objects.get(pk=made.pk)


def statuses(row: Evaluation) -> list[str]:
    return list(row.items.order_by("pk").values_list("status", flat=True))


def cancelled(row: Evaluation) -> Submission:
    submission = Submission.objects.get(pk=row.submission_id)
    return intake.cancel(submission, by=submission.user)


def used(row: Evaluation) -> int:
    submission = row.submission
    return quota(submission.team, submission.phase, at=now()).per_day.used


def test_before_the_first_target_is_taken_it_costs_nothing(row):
    Submission.objects.update(created=now())
    assert used(row) == 1
    assert cancelled(row).quota_used is False
    assert used(row) == 0
    assert statuses(row) == ["cancelled"] * 3
    assert turns.claim(QUEUES) is None


def test_once_a_target_is_held_it_is_used(row):
    Submission.objects.update(created=now())
    hold(row.items.first())
    assert cancelled(row).quota_used is True
    assert used(row) == 1
    assert statuses(row) == ["cancelled"] * 3


def test_what_has_a_score_keeps_it_and_no_result_is_made_of_it(row):
    first, second, _ = row.items.order_by("pk")
    Item.objects.filter(pk=first.pk).update(status="scored", score=SCORE)
    hold(second)
    cancelled(row)
    assert statuses(row) == ["scored", "cancelled", "cancelled"]
    assert not evaluation.settle(evaluation.loaded(row.pk))
    row.refresh_from_db()
    assert (row.status, row.result, row.overall, row.labels) == ("cancelled", "", None, {})
    assert row.finished is not None


def test_a_worker_that_finishes_after_the_end_writes_nothing(row):
    """Its score may be right, and is nobody's: the row says cancelled, and stays so."""
    late = hold(row.items.first())
    cancelled(row)
    items._write(late, found)
    late.refresh_from_db()
    assert (late.status, late.score, late.content) == ("cancelled", None, "")
    assert not leases.held(late).exists()


def test_the_heartbeat_learns_that_it_is_over(row):
    late = hold(row.items.first())
    assert leases._extend(leases.held(late)) is True
    cancelled(row)
    assert leases._extend(leases.held(late)) is False
    late.refresh_from_db()
    assert late.lease is None


@pytest.mark.parametrize("died", [False, True])
def test_a_stage_that_dies_of_the_cancelling_is_no_death(row, died):
    """The stage is killed because of the cancelling: no attempt, no quarantine, nobody told."""
    late = hold(row.items.first())
    Item.objects.filter(pk=late.pk).update(deaths=1)
    late.refresh_from_db()
    cancelled(row)
    assert items.end(late, trouble="signal 9", died=died) is None
    assert not leases.give_back(late)
    late.refresh_from_db()
    assert (late.status, late.deaths, late.trouble, late.blame) == ("cancelled", 1, "", "")
    assert not Notice.objects.exists()
    assert not AuditEvent.objects.filter(kind="item").exists()


def test_a_target_claimed_in_the_same_moment_goes_nowhere(row, ada):
    """Taken before the cancelling committed, begun after it: nothing is begun."""
    taken = turns.claim(QUEUES)
    stale = evaluation.loaded(row.pk)
    cancelled(row)
    evaluation.begin(stale)
    row.refresh_from_db()
    assert (row.status, row.submission.status) == ("cancelled", "cancelled")
    taken.refresh_from_db()
    assert taken.status == "cancelled"


def test_reconciling_brings_nothing_back(row):
    hold(row.items.first(), until=now() - timedelta(hours=1))
    cancelled(row)
    Evaluation.objects.update(evaluator="0.0.1")
    for _ in range(2):
        assert not {"leases", "renewed", "results", "messages"} & set(reconcile(at=now()).done)
    assert statuses(row) == ["cancelled"] * 3
    assert Submission.objects.get().status == "cancelled"


def test_no_organiser_can_have_it_tried_again(row):
    staff = person("Organiser", is_staff=True)
    cancelled(row)
    with pytest.raises(Refused, match="only a failed one"):
        intake.try_again(Submission.objects.get(), by=staff)
    row.refresh_from_db()
    with pytest.raises(Refused, match="Nothing of this evaluation has failed"):
        evaluation.try_again(row, by=staff)
    assert statuses(row) == ["cancelled"] * 3


def test_a_fault_of_ours_that_comes_later_changes_nothing_of_it(row):
    hold(row.items.first())
    submission = cancelled(row)
    evaluation.fail(submission, error=OSError("late"), during="the check")
    submission.refresh_from_db()
    assert (submission.status, submission.blame, submission.incident) == ("cancelled", "", "")
    assert submission.quota_used is True
    assert not Notice.objects.exists()


def test_it_is_cancelled_once_and_the_audit_says_by_whom(row, ada):
    submission = cancelled(row)
    with pytest.raises(Refused, match="is cancelled already; nothing was cancelled"):
        intake.cancel(submission, by=ada)
    events = AuditEvent.objects.filter(kind="submission", after="cancelled")
    assert [(event.before, event.actor) for event in events] == [("queued", ada)]


def test_another_team_loses_nothing_by_it(row, where):
    other = entries.team("Guild", person("Bob"))
    theirs = entries.evaluation(entries.submission(where, other, status="queued"), status="queued")
    cancelled(row)
    assert statuses(theirs) == ["queued"] * 3
    assert Submission.objects.get(team=other).status == "queued"


def test_an_edition_in_preparation_stops_with_it(row):
    """A background evaluation of a cancelled submission would be scored for nobody."""
    twin = entries.evaluation(row.submission, status="queued", background=True)
    cancelled(row)
    twin.refresh_from_db()
    assert twin.status == "cancelled"
    assert statuses(twin) == ["cancelled"] * 3


def test_what_was_computed_stays_known_to_all(row):
    """A score by digest is no team's: cancelling removes none."""
    first = row.items.first()
    ItemScore.objects.create(
        key="k" * 64, target=first.target, content="c" * 64, truth_digest="t" * 64,
        protocol=row.protocol, evaluator=row.evaluator, score=SCORE, seconds=1.0,
    )  # fmt: skip
    cancelled(row)
    assert ItemScore.objects.get().score == SCORE
