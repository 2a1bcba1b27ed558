"""Extra submissions that organisers give a team, each with its reason."""

from __future__ import annotations

from datetime import datetime

from django.db import transaction
from django.urls import reverse

from server.accounts import audit
from server.accounts.models import Team, User
from server.challenges.models import Phase
from server.errors import Refused
from server.moments import in_words
from server.notices import outbox
from server.submissions.models import Grant

MOST = 1000


@transaction.atomic
def grant(
    *, team: Team, phase: Phase, what: str, extra: int, reason: str, by: User, at: datetime,
    expires: datetime | None = None,
) -> Grant:  # fmt: skip
    """Give a team more than the phase allows, and tell it.  Refused: it would change nothing.

    what: the limit it adds to.  expires: None for as long as the phase.
    """
    Team.objects.select_for_update().get(pk=team.pk)  # a merge waits, or was first
    wish = Grant(team=team, phase=phase, what=what, extra=extra, reason=reason.strip(), by=by,
                 created=at, expires=expires)  # fmt: skip
    refuse_senseless(wish, at=at)
    wish.save()
    until = f", until {in_words(expires)}" if expires else ""
    audit.record("grant", str(wish.pk), after=f"{wish} in {phase}{until}", by=by, note=wish.reason)
    outbox.tell(
        "granted", team=team, subject=f"{extra} more in {phase.title}",
        text=f"The organisers gave {team} {extra} more submissions, {wish.get_what_display()}, in "
        f"{phase.title}{until}. Their reason: {wish.reason}",
        path=reverse("upload", args=[phase.challenge.slug]),
        facts={"grant": wish.pk, "what": what, "extra": extra, "phase": phase.slug},
    )  # fmt: skip
    return wish


def refuse_senseless(wish: Grant, *, at: datetime) -> None:
    """Refused if a grant gives nothing, gives it to nobody, or says no reason."""
    if not wish.reason.strip():
        raise _no("Say why: the team and the audit show the reason.")
    if not 1 <= wish.extra <= MOST:
        raise _no(f"Give between 1 and {MOST:,} more.")
    if wish.expires is not None and wish.expires <= at:
        raise _no("It would have expired already. Choose a later moment, or none.")
    if wish.team.merged_into_id:
        raise _no(f"{wish.team} is part of {wish.team.merged_into} now. Give it to that team.")
    base = {Grant.What.PER_DAY: wish.phase.per_day, Grant.What.TOTAL: wish.phase.total}
    if not base.get(Grant.What(wish.what), wish.phase.attempts_per_day):
        raise _no(f"{wish.phase.title} has no limit there: nothing needs to be granted.")


@transaction.atomic
def end(grant: Grant, *, by: User, at: datetime) -> None:
    """End a grant now; what was submitted with it stays.  Refused: it has ended."""
    lasting = Grant.objects.filter(pk=grant.pk).exclude(expires__lte=at)
    if not lasting.update(expires=at):
        raise Refused("ended", "This grant has ended already; nothing was changed.")
    grant.refresh_from_db()
    audit.record("grant", str(grant.pk), before=str(grant), after="ended", by=by)


def _no(sentence: str) -> Refused:
    return Refused("senseless_grant", sentence, status=400)
