"""The leaderboard's page: the present board, and those of older editions."""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils.timezone import now
from django.views.decorators.http import require_POST, require_safe

from server.accounts.models import Team
from server.accounts.session import SignedIn
from server.challenges.contents import phase_card
from server.challenges.models import Edition, Phase
from server.errors import Refused
from server.leaderboard import editions
from server.leaderboard.api import asked_phase
from server.leaderboard.boards import shown_board
from server.submissions import selection
from server.submissions.models import Submission

MANY_LABELS = 12  # beyond these a list to choose from is easier to use than buttons


@require_safe
def leaderboard(request: HttpRequest, slug: str, phase: str) -> HttpResponse:
    """The table, overall or by one label."""
    context = _context(request, asked_phase(slug, phase), None)
    return render(request, "leaderboard/leaderboard.html", context)


@require_safe
def edition(request: HttpRequest, slug: str, phase: str, number: int) -> HttpResponse:
    """The board of one edition, and what it changed; its address keeps showing it."""
    found = editions.one(request.user, slug, phase, number)
    context = _context(request, found.phase, found)
    context["report"] = editions.report(found, request.user)
    return render(request, "leaderboard/leaderboard.html", context)


@login_required
@require_POST
def choose(request: SignedIn, pk: int) -> HttpResponse:
    """Put an own submission on the board, or take it off with `chosen=no`."""
    mine = Submission.objects.of(request.user).filter(team__in=Team.objects.of(request.user))
    row = get_object_or_404(mine, pk=pk)
    act = selection.unchoose if request.POST.get("chosen") == "no" else selection.choose
    try:
        act(row, by=request.user, at=now())
        messages.success(request, "Your team's choice is stored.")
    except Refused as refusal:
        messages.warning(request, refusal.sentence)
    return redirect(row)


def _context(request: HttpRequest, phase: Phase, found: Edition | None) -> dict[str, Any]:
    try:
        board = shown_board(request, phase, found)
    except Refused as refusal:
        raise Http404(refusal.sentence) from refusal
    labels = board.truth.labels
    return {
        "board": board,
        "card": phase_card(phase, now()),
        "challenge": phase.challenge,
        "phases": phase.challenge.phases.all(),
        "editions": list(editions.seen(phase, request.user)),
        "labels": labels,
        "many": len(labels) > MANY_LABELS,
        "kinds": {label["kind"] for label in labels},
    }
