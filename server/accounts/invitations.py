"""Links that let a person, or a whole team, into a team.  Signed, not stored; a week long.

Each carries its team's key: a new key ends all links that are about.
"""

from __future__ import annotations

from django.core import signing
from django.db import transaction
from django.utils.crypto import get_random_string

from server.accounts import audit
from server.accounts.models import Team, User
from server.errors import Refused

LASTS_S = 7 * 24 * 3600
JOIN = "team-invitation"
MERGE = "team-merge"


def invitation(team: Team) -> str:
    """The signed text that lets whoever holds it into a team."""
    return signing.dumps([team.slug, team.invitation_key], salt=JOIN)


def invited_to(text: str) -> Team:
    """The team a link leads into.  Refused: it is damaged, withdrawn, too old, or no team's."""
    return _team_of(text, salt=JOIN)


def merge_offer(team: Team) -> str:
    """The signed text that lets the owner of another team merge it into this one."""
    return signing.dumps([team.slug, team.invitation_key], salt=MERGE)


def offered_by(text: str) -> Team:
    """The team that offers to take in another.  Refused as `invited_to`."""
    return _team_of(text, salt=MERGE)


@transaction.atomic
def withdraw(team: Team, *, by: User) -> None:
    """End all links into a team that are about.  New ones can be made at once."""
    team.invitation_key = get_random_string(16)
    team.save(update_fields=["invitation_key"])
    audit.record("team", team.slug, after="links withdrawn", by=by)


def _team_of(text: str, *, salt: str) -> Team:
    try:
        slug, key = signing.loads(text, salt=salt, max_age=LASTS_S)
    except signing.SignatureExpired as error:
        raise Refused(
            "old_invitation", "This invitation is over a week old. Ask the team for a new link."
        ) from error
    except (signing.BadSignature, ValueError) as error:  # of another purpose, or of an older form
        raise _no_invitation() from error
    team = Team.objects.filter(slug=slug, person=None, merged_into=None).first()
    if team is None:
        raise _no_invitation()
    if team.invitation_key != key:
        raise Refused(
            "withdrawn_invitation",
            "The team has withdrawn this invitation. Ask one of its owners for a new link.",
        )
    return team


def _no_invitation() -> Refused:
    return Refused(
        "no_invitation",
        "This invitation is not valid. Copy the whole link, or ask the team for a new one.",
        status=404,
    )
