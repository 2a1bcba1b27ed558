"""Pages everybody may read: home, and one challenge."""

from __future__ import annotations

from django.db.models import Prefetch
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, render
from django.utils.timezone import now
from django.views.decorators.http import require_safe

from server import scoring
from server.challenges.contents import (
    ChallengeCard,
    challenge_card,
    challenge_cards,
    crops_of,
    labels_of,
)
from server.challenges.models import Challenge, Phase

PHASES = Prefetch("phases", Phase.objects.select_related("truth__challenge", "protocol"))


@require_safe
def home(request: HttpRequest) -> HttpResponse:
    """What this site is, and the challenges with their dates."""
    cards = challenge_cards(Challenge.objects.prefetch_related(PHASES), at=now())
    return render(request, "challenges/home.html", {"cards": cards})


@require_safe
def challenge(request: HttpRequest, slug: str) -> HttpResponse:
    """Overview, phases, what is scored, how to take part, rules."""
    rows = Challenge.objects.prefetch_related(PHASES)
    card = challenge_card(get_object_or_404(rows, slug=slug), at=now())
    context = {
        "card": card,
        "challenge": card.challenge,
        "current": card.current,
        "protocol": scoring.protocol_facts(_protocol(card)),
        "protocol_name": _protocol(card),
    }
    if card.current:
        truth = card.current.phase.truth
        context |= {"truth": truth, "labels": labels_of(truth), "crops": crops_of(truth)}
    return render(request, "challenges/challenge.html", context)


def _protocol(card: ChallengeCard) -> str:
    """The protocol the phase that matters now is scored under."""
    return card.current.phase.protocol.name if card.current else card.challenge.protocol
