"""Make and revoke the tokens of people's scripts; each is in the record."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from django.db import transaction

from server.accounts import audit
from server.accounts.models import Scope, Token, User
from server.errors import Refused


@transaction.atomic
def issue(
    user: User, *, name: str, scopes: Iterable[str], days: int, at: datetime, by: User | None
) -> tuple[Token, str]:
    """A new token and its text.  by: who made it; nobody means the command line.

    Refused: it would organise, and the person is no organiser.
    """
    may = tuple(scope for scope in Scope.values if scope in set(scopes))
    if Scope.ORGANISE in may and not user.is_staff:
        raise Refused(
            "not_an_organiser",
            "Only organisers have tokens that organise. Ask for one that reads and submits.",
            status=403,
        )
    token, text = Token.issue(user, name=name, scopes=may, now=at, days=days)
    note = f"{name} of {user.email}: {', '.join(may)} until {token.expires:%Y-%m-%d}"
    audit.record("token", token.prefix, after="made", by=by, note=note)
    return token, text


@transaction.atomic
def revoke(token: Token, *, by: User | None) -> None:
    """From now on the token opens nothing."""
    token.delete()
    note = f"{token.name} of {token.user.email}"
    audit.record("token", token.prefix, before="valid", after="revoked", by=by, note=note)
