"""Whose turn it is.  A message in the queue says only that something waits; the rows say what.

First what people wait for, then what runs in the background (re-scoring).  Among teams, the one of
whose targets the fewest are being scored, then the one that was served longest ago.  Of a team,
its oldest evaluation, and of that the target whose `place` comes first.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from django.conf import settings
from django.db import transaction
from django.db.models import Count, Exists, F, OuterRef, Q, QuerySet, Subquery
from django.db.models.functions import Coalesce
from django.utils.timezone import now

from server import queue, scoring
from server.accounts.models import Team
from server.submissions import leases
from server.submissions.models import Evaluation, Item

SCORE_JOB = "server.submissions.items.work"
TOKENS = 64  # messages that wait at most; each target that is taken asks for the next
TRIES = 100
Status = Item.Status


def places(items: Iterable[scoring.Item]) -> list[scoring.Item]:
    """The order in which one evaluation's targets are scored.

    First the smallest target of each label, so that every label shows a value early; then the
    rest; both by size.
    """
    by_size = sorted(items, key=lambda item: (item.voxels, item.target))
    first: dict[str, scoring.Item] = {}
    for item in by_size:
        first.setdefault(item.label, item)
    heads = {item.target for item in first.values()}
    return sorted(by_size, key=lambda item: item.target not in heads)


def waiting(queues: Iterable[str], *, at: datetime) -> QuerySet[Item]:
    """Targets of these queues that may be taken at this moment, by a worker of this version."""
    rows = Item.objects.filter(
        status=Status.QUEUED, queue__in=tuple(queues), evaluation__status__in=Evaluation.LIVE,
        evaluation__evaluator=scoring.version(),
    )  # fmt: skip
    return rows.filter(Q(due=None) | Q(due__lte=at))


def upcoming(queues: Iterable[str], *, at: datetime) -> Item | None:
    """The target whose turn it is; None if nothing waits."""
    for background in (False, True):
        rows = waiting(queues, at=at).filter(background=background)
        team = teams_in_order(rows).values_list("pk", flat=True).first()
        if team is not None:
            return rows.filter(team=team).order_by("evaluation_id", "place", "pk").first()
    return None


def teams_in_order(rows: QuerySet[Item]) -> QuerySet[Team]:
    """The teams of these targets, whose turn comes first first."""
    held = Item.objects.filter(status=Status.SCORING, team=OuterRef("pk")).order_by()
    count = held.values("team").annotate(count=Count("pk")).values("count")
    return (
        Team.objects.filter(Exists(rows.filter(team=OuterRef("pk"))))
        .annotate(held=Coalesce(Subquery(count), 0))
        .order_by("held", F("served").asc(nulls_first=True), "pk")
    )


def claim(queues: Iterable[str]) -> Item | None:
    """Take the target whose turn it is.  None: nothing waits."""
    queues = tuple(queues)
    for _ in range(TRIES):
        at = now()
        item = upcoming(queues, at=at)
        if item is None:
            return None
        if leases.take(item, at=at):
            if item.team_id is not None:
                Team.objects.filter(pk=item.team_id).update(served=at)
            return item
    return None


def top_up() -> None:
    """Let a message wait for each waiting target, once the present transaction has committed.

    Never more than `TOKENS`: whoever takes one asks again.  A queue server that is away is
    served by the reconciler.
    """
    transaction.on_commit(_top_up)


def _top_up() -> None:
    for name in (queue.SCORE, queue.SCORE_LARGE):
        number = waiting((name,), at=now())[:TOKENS].count()
        if number:
            queue.fill(name, SCORE_JOB, number, timeout_s=settings.ITEM_TIMEOUT_S)
