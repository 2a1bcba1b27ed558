"""Pages about submissions: mine, one, and the one that uploads."""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.core.paginator import Paginator
from django.db.models import Prefetch
from django.http import HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils.timezone import now
from django.views.decorators.cache import never_cache
from django.views.decorators.http import condition, require_POST, require_safe

from server import scoring
from server.accounts.models import Team
from server.accounts.session import SignedIn
from server.challenges.models import Challenge
from server.errors import Refused
from server.notices.models import Receipt
from server.submissions import intake, pages, progress, selection
from server.submissions.models import Evaluation, Submission
from server.submissions.quota import Quota, quota

PER_PAGE = 50
HEAVY = ("result", "labels", "timings")


@login_required
@require_safe
def submissions(request: SignedIn) -> HttpResponse:
    """Those of the asker's teams, newest first; all of them for an organiser."""
    light = Prefetch("evaluations", Evaluation.objects.defer(*HEAVY))
    rows = Submission.objects.of(request.user).with_progress().prefetch_related(None)
    rows = rows.prefetch_related(light).order_by("-created")
    page = Paginator(rows, PER_PAGE).get_page(request.GET.get("page"))
    shown = [(row, _overall(row, request.user)) for row in page]
    return render(request, "submissions/submissions.html", {"page": page, "rows": shown})


@login_required
@never_cache
@require_safe
def submission(request: SignedIn, pk: int) -> HttpResponse:
    """How one stands, whose move it is, its scores, its report, its history.

    Notices about it count as read by whoever opens it.
    """
    context = _details(request, pk)
    told = Receipt.objects.of(request.user).about(context["submission"].get_absolute_url())
    told.unread().update(read=now())
    return render(request, "submissions/submission.html", context)


def _tag(request: SignedIn, pk: int) -> str | None:
    light = Prefetch("evaluations", Evaluation.objects.defer(*HEAVY))
    row = Submission.objects.of(request.user).prefetch_related(light).filter(pk=pk).first()
    return pages.state_tag(row, request.user.pk) if row else None


@login_required
@require_safe
@condition(etag_func=_tag)
def submission_live(request: SignedIn, pk: int) -> HttpResponse:
    """The part of its page that changes; 304 if nothing has."""
    return render(request, "submissions/live.html", _details(request, pk))


@login_required
@require_POST
def cancel_submission(request: SignedIn, pk: int) -> HttpResponse:
    """Stop it."""
    row = get_object_or_404(Submission.objects.of(request.user), pk=pk)
    try:
        intake.cancel(row, by=request.user)
        messages.success(request, "The submission is cancelled.")
    except Refused as refusal:
        messages.warning(request, refusal.sentence)
    return redirect(row)


@login_required
@never_cache
@require_safe
def upload(request: SignedIn, slug: str) -> HttpResponse:
    """Choose phase, name and file; `upload.js` sends it in parts through the API."""
    challenge = get_object_or_404(Challenge, slug=slug)
    at = now()
    phases = [phase for phase in challenge.phases.all() if phase.is_open(at)]
    teams = list(Team.objects.of(request.user))
    quotas = [quota(team, phase, at=at) for phase in phases for team in teams]
    context = {
        "challenge": challenge,
        "phases": phases,
        "teams": teams,
        "quotas": quotas,
        "wished": request.GET.get("phase", ""),
    }
    return render(request, "submissions/upload.html", context)


def _overall(row: Submission, viewer: Any) -> float | None:
    """The overall score as its team may see it: `of` gave only rows of the viewer's own teams."""
    scored = row.evaluation
    return row.phase.sight(viewer, own=True).number(scored.overall) if scored else None


def _details(request: SignedIn, pk: int) -> dict[str, Any]:
    rows = Submission.objects.of(request.user).select_related("user")
    row = get_object_or_404(rows, pk=pk)
    events = list(pages.history(row))
    report = row.report or {}
    return {
        "submission": row,
        "etag": pages.state_tag(row, request.user.pk),
        "way": pages.way(row.status, pages.times(row, events)),
        "blame": pages.BLAME.get(row.blame, ""),
        "failure": pages.failure(row),
        "events": events,
        "groups": scoring.problem_groups(report.get("problems", [])),
        "checked": row.report is not None,
        "quota": _quota(row, request.user),
        "told": Receipt.objects.of(request.user).about(row.get_absolute_url()),
        "may_choose": selection.may_choose(row, at=now()),
    } | _scores(row, request.user)


def _quota(row: Submission, viewer: Any) -> Quota | None:
    """What the team may still submit, for its members while the phase is open."""
    at = now()
    member = row.team.memberships.filter(user=viewer).exists()
    return quota(row.team, row.phase, at=at) if member and row.phase.is_open(at) else None


def _scores(row: Submission, viewer: Any) -> dict[str, Any]:
    """Labels, progress and scores as the viewer may see them."""
    sight, scored = row.sight(viewer), row.evaluation
    if scored is None:
        return {"sight": sight, "evaluation": None, "labels": []}
    labels = [
        label | {"score": sight.of_label(label["score"]), **_parts(scored, label, sight)}
        for label in progress.labels(scored)
    ]
    standing = progress.standing(scored)
    return {
        "sight": sight,
        "evaluation": scored,
        "labels": labels,
        "standing": standing,
        "eta": pages.about(standing.eta_s),
        "labels_begun": sum(label["done"] > 0 for label in labels),
        "labels_done": sum(label["done"] == label["total"] for label in labels),
        "overall": sight.number(scored.overall),
        "instance": sight.of_label(scored.instance),
        "semantic": sight.of_label(scored.semantic),
        "beside": scoring.quirks_of(scored.result) if sight.result and scored.result else {},
    }


PARTS = ("iou", "dice", "f1", "pq", "hausdorff_score")


def _parts(scored: Evaluation, label: dict[str, Any], sight: Any) -> dict[str, Any]:
    """What a label's score is made of, once the evaluation is complete."""
    found = scored.labels.get(label["label"], {})
    return {part: sight.of_label(found.get(part)) for part in PARTS}
