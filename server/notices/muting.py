"""Which kinds of notices a person wants by e-mail: all of them, until they say otherwise."""

from __future__ import annotations

from collections.abc import Iterable

from django.db import transaction

from server.accounts.models import User
from server.notices.models import Kind, Mute

FOR_ORGANISERS = (Kind.QUARANTINED,)
CHOICES = [(str(kind.value), str(kind.label)) for kind in Kind if kind != Kind.TEST]


def muted(user: User) -> list[str]:
    """Kinds that send no e-mail, sorted."""
    return sorted(Mute.objects.filter(user=user).values_list("kind", flat=True))


def wanted(user: User) -> list[tuple[str, str, bool]]:
    """(kind, its words, True if it comes by e-mail) of every kind that concerns a person."""
    silent = muted(user)
    return [
        (kind, words, kind not in silent)
        for kind, words in CHOICES
        if user.is_staff or kind not in FOR_ORGANISERS
    ]


@transaction.atomic
def mute(user: User, kinds: Iterable[str]) -> None:
    """Exactly these kinds send no e-mail from now on.  ValueError: no such kind."""
    chosen = {Kind(kind).value for kind in kinds}
    Mute.objects.filter(user=user).exclude(kind__in=chosen).delete()
    Mute.objects.bulk_create(
        [Mute(user=user, kind=kind) for kind in sorted(chosen)], ignore_conflicts=True
    )
