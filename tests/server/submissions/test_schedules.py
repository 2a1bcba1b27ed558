"""Whatever happens in whatever order, a submission ends once, with the same bytes."""

import random
from datetime import timedelta
from itertools import pairwise

import pytest
from django.utils.timezone import now

from server.accounts.models import AuditEvent
from server.errors import IllegalTransition
from server.submissions import evaluation, intake, items, leases, uploads
from server.submissions.models import Evaluation, Item, Submission, Upload
from server.submissions.upkeep import reconcile
from tests.server.making import entered
from tests.server.submissions.test_uploads import write
from tests.server.taking import score

LATER = timedelta(minutes=5)
ENDS = {"scored", "rejected", "failed", "cancelled"}


@pytest.fixture
def accepted(phase, people, queue_up, packed) -> Evaluation:
    submission = entered(phase, people.ada, packed.read_bytes())
    intake.check(submission.pk)
    return submission.evaluation


class Accidents:
    """Things that happen to an evaluation, drawn by chance."""

    def __init__(self, row: Evaluation, queue_server, rng: random.Random) -> None:
        self.row, self.queue_server, self.rng = row, queue_server, rng

    def item(self) -> Item:
        return self.rng.choice(list(self.row.items.all()))

    def a_job_runs(self) -> None:
        items.work()

    def a_worker_vanishes(self) -> None:
        """It took an item and was never seen again."""
        waiting = self.row.items.filter(status="queued", attempts__lt=2, deaths=0)
        if item := waiting.order_by("?").first():
            leases.take(item, at=now())
            Item.objects.filter(pk=item.pk).update(lease=now())

    def a_job_raises_but_not_for_good(self) -> None:
        held = self.row.items.filter(status="scoring", attempts__lt=2).first()
        if held:
            items.end(held, trouble="for a moment")

    def the_queue_is_lost(self) -> None:
        self.queue_server.flushall()

    def a_worker_is_stopped(self) -> None:
        """It gives back what it held."""
        held = self.row.items.filter(status="scoring").first()
        if held:
            leases.give_back(held)

    def the_reconciler_comes(self) -> None:
        reconcile(at=now() + LATER)
        Item.objects.update(due=None)  # and a while passes

    def the_check_comes_again(self) -> None:
        intake.check(self.row.submission_id)


HAPPEN = [name for name in vars(Accidents) if name.startswith(("a_", "the_"))]


@pytest.mark.parametrize("seed", range(6))
def test_no_order_of_accidents_loses_or_changes_a_score(
    accepted, queue_up, work, phase, people, packed, seed
):
    rng = random.Random(seed)
    accidents = Accidents(accepted, queue_up, rng)
    for _ in range(25):
        getattr(accidents, rng.choice(HAPPEN))()
    for _ in range(3):
        accidents.the_reconciler_comes()
        work()
    accepted.refresh_from_db()
    assert (accepted.status, accepted.submission.status) == ("scored", "scored")
    assert AuditEvent.objects.filter(kind="evaluation", after="scored").count() == 1
    assert Evaluation.objects.count() == 1
    calm = entered(phase, people.bob, packed.read_bytes())
    work()
    assert calm.evaluation.result == accepted.result


@pytest.mark.parametrize("seed", range(4))
def test_steps_by_two_stale_hands_never_leave_the_table(accepted, seed):
    """Two processes that each believe an old state; every step that was made is in the audit."""
    rng = random.Random(seed)
    key = accepted.submission_id
    hands = [Submission.objects.get(pk=key) for _ in range(2)]
    moved = 0
    for _ in range(12):
        hand = rng.choice(hands)
        try:
            moved += hand.advance(rng.choice(list(Submission.Status)))
        except IllegalTransition:
            continue
    events = AuditEvent.objects.filter(kind="submission", key=str(key)).order_by("pk")
    path = [(event.before, event.after) for event in events][1:]
    assert len(path) == moved + 2  # the check had made two steps before
    assert all(after in Submission.STEPS[before] for before, after in path)
    assert all(one[1] == two[0] for one, two in pairwise(path))


@pytest.mark.parametrize("seed", range(5))
def test_any_way_of_cutting_and_repeating_parts_gives_the_file(phase, people, seed):
    rng = random.Random(seed)
    data = rng.randbytes(20_000)
    upload = uploads.begin(
        team=people.ada.own_team, user=people.ada, phase=phase, filename="x", size=len(data),
        at=now(),
    )  # fmt: skip
    while (offset := upload.offset) < len(data):
        wrong = rng.choice([offset - 1, offset + 1, 0, len(data)])
        if wrong not in (offset, -1):
            with pytest.raises(uploads.Refused):
                write(upload, data[wrong : wrong + 10] or b"x", offset=wrong)
        write(upload, data[offset : offset + rng.randint(1, 6000)], offset=offset)
    uploads.finish(Upload.objects.get())
    assert upload.path.read_bytes() == data


def test_two_that_cancel_and_score_at_once_agree_on_one_end(accepted, people):
    targets = list(accepted.items.values_list("target", flat=True))
    score(accepted, targets[:-1])
    late = accepted.items.get(target=targets[-1])
    assert leases.take(late, at=now())
    intake.cancel(Submission.objects.get(), by=people.ada)
    items.work_on(late)
    assert not evaluation.settle(evaluation.loaded(accepted.pk))
    accepted.refresh_from_db()
    assert (accepted.status, accepted.submission.status) == ("cancelled", "cancelled")
    assert accepted.result == ""
    assert accepted.submission.status in ENDS
