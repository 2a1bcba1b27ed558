"""Editions for organisers: what each was made under, what it changes, and what becomes of it."""

from __future__ import annotations

from functools import partial
from typing import Any

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString

from server.accounts.admin import ReadOnly, each
from server.challenges.models import Edition, ProtocolVersion
from server.submissions import rescoring


@admin.register(Edition)
class Editions(ReadOnly):
    """Boards of phases.  Draft ones come with a new truth, or from `manage.py rescore`."""

    list_display = ("phase", "number", "state", "truth", "protocol", "how_far", "page", "published")
    list_filter = ("state", "phase")
    list_select_related = ("phase__challenge", "truth__challenge", "protocol")
    actions = ("show_plan", "rescore", "publish", "discard")

    @admin.display(description="progress")
    def how_far(self, edition: Edition) -> str:
        """How many of its items were recomputed."""
        return str(rescoring.progress(edition)) if edition.state in ("scoring", "ready") else ""

    @admin.display(description="report")
    def page(self, edition: Edition) -> SafeString:
        """Its page, with the report."""
        phase = edition.phase
        names = [phase.challenge.slug, phase.slug, edition.number]
        return format_html('<a href="{}">board and report</a>', reverse("edition", args=names))

    @admin.action(description="Show what re-scoring would take")
    def show_plan(self, request: Any, queryset: QuerySet[Edition]) -> None:
        """Scope and time, as messages."""
        for edition in queryset:
            plan = rescoring.plan(edition)
            pace = "unknown time" if plan.seconds is None else f"about {plan.seconds:.0f} s"
            messages.info(
                request,
                f"{edition}: {plan.computed} of {plan.items} items of {plan.submissions} "
                f"submissions to compute, {plan.voxels:,} voxels, {pace} of one worker.",
            )

    @admin.action(description="Re-score beside the board")
    def rescore(self, request: Any, queryset: QuerySet[Edition]) -> None:
        """Begin, or try again what failed."""
        act = partial(rescoring.begin, by=request.user)
        each(request, queryset, act, done="Re-scoring of {} is under way.")

    @admin.action(description="Publish: make it the board")
    def publish(self, request: Any, queryset: QuerySet[Edition]) -> None:
        """Only what is complete."""
        act = partial(rescoring.publish, by=request.user)
        each(request, queryset, act, done="{} is published.")

    @admin.action(description="Discard: the board stays as it is")
    def discard(self, request: Any, queryset: QuerySet[Edition]) -> None:
        """Only what is not published."""
        act = partial(rescoring.discard, by=request.user)
        each(request, queryset, act, done="{} is discarded.")


@admin.register(ProtocolVersion)
class Protocols(ReadOnly):
    """States of the rules of scoring, never edited."""

    list_display = ("name", "digest", "evaluator", "created")
