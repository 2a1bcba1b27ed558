"""Targets taken and scored by hand, as a worker would, in the order a test wants."""

from collections.abc import Iterable
from datetime import datetime, timedelta

from django.utils.timezone import now

from server.submissions import intake, items, leases
from server.submissions.models import Evaluation, Item, Submission
from tests.server.making import entered


def checked(phase, person, data: bytes) -> Evaluation:
    """An accepted submission's evaluation, its targets waiting."""
    submission = entered(phase, person, data)
    intake.check(submission.pk)
    return Submission.objects.get(pk=submission.pk).evaluation


def score_one(row: Evaluation, target: str) -> None:
    """Take a target and score it; nothing if it does not wait."""
    item = row.items.get(target=target)
    if leases.take(item, at=now()):
        items.work_on(item)


def score(row: Evaluation, targets: Iterable[str] = ()) -> None:
    for target in list(targets) or list(row.items.values_list("target", flat=True)):
        score_one(row, target)
    row.refresh_from_db()


def hold(item: Item, *, until: datetime | None = None, by: str = "elsewhere 1 2") -> Item:
    """As if another worker had taken the target."""
    until = until or now() + timedelta(seconds=60)
    Evaluation.objects.filter(pk=item.evaluation_id).update(status="scoring")
    Submission.objects.filter(evaluations=item.evaluation_id).update(status="scoring")
    fields = {"status": "scoring", "attempts": item.attempts + 1, "begun": now(), "worker": by}
    Item.objects.filter(pk=item.pk).update(lease=until, **fields)
    item.refresh_from_db()
    return item
