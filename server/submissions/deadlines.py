"""Tell teams that a phase closes within a day, once for each date it closes on."""

from __future__ import annotations

from datetime import datetime, timedelta

from django.db.models import Q
from django.urls import reverse

from server.accounts.models import Team
from server.challenges.models import Phase
from server.moments import in_words
from server.notices import outbox
from server.notices.models import Notice
from server.submissions.quota import quota

BEFORE = timedelta(hours=24)


def tell(*, at: datetime) -> int:
    """Tell every team that has begun with a phase that closes soon; how many teams that were."""
    soon = Phase.objects.filter(opens__lte=at, closes__gt=at, closes__lte=at + BEFORE)
    return sum(_tell(phase, at=at) for phase in soon.select_related("challenge"))


def _tell(phase: Phase, *, at: datetime) -> int:
    begun = Q(submissions__phase=phase) | Q(uploads__phase=phase)
    teams = Team.objects.filter(begun, merged_into=None, baseline=False).distinct()
    names = {f"{_series(phase)}{team.pk}": team for team in teams}
    told = Notice.objects.filter(once__startswith=_series(phase)).values_list("once", flat=True)
    missing = set(names) - set(told)
    return sum(_tell_team(names[once], phase, once=once, at=at) for once in sorted(missing))


def _series(phase: Phase) -> str:
    """Begins the names of all notices about this date; a phase that is extended gets others."""
    return f"deadline-{phase.pk}-{phase.closes:%Y%m%d%H%M}-"


def _tell_team(team: Team, phase: Phase, *, once: str, at: datetime) -> bool:
    left = quota(team, phase, at=at)
    notice = outbox.tell(
        "deadline", team=team, once=once, subject=f"{phase} closes on {in_words(phase.closes)}",
        text=f"{team} can submit until then; what arrived before it closes is still scored. "
        f"{left.refusal or 'An upload that is not finished goes on where it stopped.'}",
        path=reverse("upload", args=[phase.challenge.slug]) + f"?phase={phase.slug}",
        facts={"challenge": phase.challenge.slug, "phase": phase.slug,
               "closes": phase.closes.isoformat()},
    )  # fmt: skip
    return notice is not None
