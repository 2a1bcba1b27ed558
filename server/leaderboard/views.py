"""The leaderboard's page."""

from __future__ import annotations

from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils.timezone import now
from django.views.decorators.http import require_safe

from server.challenges.contents import phase_card
from server.errors import Refused
from server.leaderboard.api import asked_board

MANY_LABELS = 12  # beyond these a list to choose from is easier to use than buttons


@require_safe
def leaderboard(request: HttpRequest, slug: str, phase: str) -> HttpResponse:
    """The table, overall or by one label."""
    try:
        board = asked_board(request, slug, phase)
    except Refused as refusal:
        raise Http404(refusal.sentence) from refusal
    labels = board.phase.truth.labels
    context = {
        "board": board,
        "card": phase_card(board.phase, now()),
        "challenge": board.phase.challenge,
        "phases": board.phase.challenge.phases.all(),
        "labels": labels,
        "many": len(labels) > MANY_LABELS,
        "kinds": {label["kind"] for label in labels},
    }
    return render(request, "leaderboard/leaderboard.html", context)
