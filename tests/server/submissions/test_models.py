import pytest

from server.accounts.models import AuditEvent
from server.errors import IllegalTransition
from server.submissions.models import Evaluation, Item, Submission, Upload
from tests.server.making import stored

S = Submission.Status


@pytest.fixture
def submission(phase, people) -> Submission:
    team = people.ada.own_team
    return Submission.objects.create(
        upload=stored(phase, team, b"abc"), phase=phase, team=team, user=people.ada,
        method="M", status=S.RECEIVED,
    )  # fmt: skip


def test_a_step_moves_the_row_and_writes_who_did_it(submission, people):
    assert submission.advance(S.CANCELLED, by=people.ada, note="changed her mind")
    assert Submission.objects.get().status == "cancelled"
    event = AuditEvent.objects.get(kind="submission")
    assert (event.actor, event.key) == (people.ada, str(submission.pk))
    assert (event.before, event.after, event.note) == ("received", "cancelled", "changed her mind")


def test_of_two_that_move_the_same_row_one_wins(submission):
    twin = Submission.objects.get()
    assert submission.advance(S.CHECKING)
    assert not twin.advance(S.CANCELLED)
    assert twin.status == "checking"  # and now knows how things are
    assert AuditEvent.objects.filter(kind="submission").count() == 1


def test_a_step_the_table_does_not_know_is_a_mistake_of_ours(submission):
    with pytest.raises(IllegalTransition, match="received → scored"):
        submission.advance(S.SCORED)
    assert not AuditEvent.objects.filter(kind="submission").exists()


@pytest.mark.parametrize("model", [Upload, Submission, Evaluation])
def test_steps_lead_to_known_states_and_ends_lead_nowhere(model):
    known = set(model.Status)
    assert set(model.STEPS) <= known
    assert set().union(*model.STEPS.values()) <= known
    ends = known - set(model.STEPS)
    assert "scored" not in model.STEPS
    assert ends


def test_every_state_has_a_next_step():
    assert set(Submission.NEXT_STEP) == set(S)


def test_teams_see_their_own_and_organisers_see_all(submission, people):
    assert list(Submission.objects.of(people.ada)) == [submission]
    assert list(Submission.objects.of(people.bob)) == []
    assert list(Submission.objects.of(people.staff)) == [submission]


def test_progress_counts_the_newest_evaluation_only(submission):
    truth = submission.phase.truth
    for done in (3, 1):
        evaluation = Evaluation.objects.create(
            submission=submission, truth=truth, protocol=submission.phase.protocol,
            evaluator="0", status=Evaluation.Status.SCORING,
        )  # fmt: skip
        for number in range(4):
            Item.objects.create(
                evaluation=evaluation, target=f"c/{number}", crop="c", label=str(number), voxels=1,
                status=Item.Status.SCORED if number < done else Item.Status.QUEUED,
            )  # fmt: skip
    row = Submission.objects.with_progress().get()
    assert (row.items_done, row.items_total) == (1, 4)
    assert row.evaluation == evaluation


def test_without_an_evaluation_there_is_nothing_to_count(submission):
    row = Submission.objects.with_progress().get()
    assert (row.items_done, row.items_total, row.evaluation) == (0, 0, None)
