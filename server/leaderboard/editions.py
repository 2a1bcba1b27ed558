"""The editions of a phase and their reports, as one viewer may see them."""

from __future__ import annotations

from typing import Any

from django.db.models import QuerySet
from django.shortcuts import get_object_or_404

from server.accounts.models import Team
from server.challenges.editions import SHOWN
from server.challenges.models import Edition, Phase


def seen(phase: Phase, viewer: Any) -> QuerySet[Edition]:
    """Those that are or were published, newest first; all of them for an organiser."""
    rows = phase.editions.select_related("truth", "protocol", "phase__challenge")
    return rows if viewer.is_authenticated and viewer.is_staff else rows.filter(state__in=SHOWN)


def one(viewer: Any, slug: str, phase: str, number: int) -> Edition:
    """An edition by its address; Http404 for one that the viewer may not see."""
    found = get_object_or_404(Phase, challenge__slug=slug, slug=phase)
    return get_object_or_404(seen(found, viewer), number=number)


def report(edition: Edition, viewer: Any) -> dict[str, Any] | None:
    """What the edition changed, with the rows, ranks and scores the viewer may see.

    None before it was complete, and for a phase's first edition.
    """
    if edition.diff is None:
        return None
    if viewer.is_authenticated and viewer.is_staff:
        return dict(edition.diff)
    phase = edition.phase
    mine = set(Team.objects.of(viewer).values_list("slug", flat=True))
    ranked = phase.sight(viewer, own=False).entry
    rows = [_row(row, phase, viewer, own=row["team"] in mine, ranked=ranked)
            for row in edition.diff["rows"]]  # fmt: skip
    return {
        **{key: edition.diff[key] for key in ("before", "after", "causes")},
        "targets": edition.diff["targets"] if phase.sight(viewer, own=True).targets else [],
        "rows": [row for row in rows if row is not None],
    }


def _row(
    row: dict[str, Any], phase: Phase, viewer: Any, *, own: bool, ranked: bool
) -> dict[str, Any] | None:
    sight = phase.sight(viewer, own=own)
    if not sight.entry:
        return None
    hidden: dict[str, Any] = {"score": [sight.number(score) for score in row["score"]]}
    if not ranked:
        hidden |= {"rank": [None, None], "moved": False}
    if not own:
        hidden["submission"] = [None, None]
    if not sight.targets:
        hidden["targets"] = []
    return row | hidden
