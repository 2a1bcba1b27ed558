"""The page behind a link for merging, and the same over the API."""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import path
from django.utils.timezone import now
from django.views.decorators.http import require_http_methods
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from server.accounts.invitations import offered_by
from server.accounts.models import Membership, Team, User
from server.accounts.session import SignedIn
from server.accounts.teams import team_of
from server.accounts.teams_api import TeamSerializer
from server.api import asker
from server.errors import Refused
from server.submissions import merging


@login_required
@require_http_methods(["GET", "POST"])
def merge_team(request: SignedIn, text: str) -> HttpResponse:
    """What each of the asker's teams would bring into another; merged only when confirmed."""
    try:
        into = offered_by(text)
        if request.method == "POST":
            rows = Team.objects.of(request.user)
            team = get_object_or_404(rows, slug=request.POST.get("team", ""))
            merging.merge(team, offer=text, by=request.user, at=now())
            messages.success(request, f"{team} is part of {into} now.")
            return redirect("team", into.slug)
    except Refused as refusal:
        messages.error(request, refusal.sentence)
        return redirect("teams")
    owned = Team.objects.of(request.user).filter(
        memberships__user=request.user, memberships__role=Membership.Role.OWNER
    )
    choices = [_choice(team, into, request.user) for team in owned.exclude(pk=into.pk)]
    return render(request, "submissions/merge.html", {"into": into, "choices": choices})


def _choice(team: Team, into: Team, user: User) -> dict[str, Any]:
    """A team, what it would bring, and why it may not; "" if it may."""
    at = now()
    rows = [row for row in merging.together(team, into, at=at) if row.team]
    try:
        merging.refuse_merge(team, into, by=user, at=at)
    except Refused as refusal:
        return {"team": team, "rows": rows, "refusal": refusal.sentence}
    return {"team": team, "rows": rows, "refusal": ""}


class MergeRequest(serializers.Serializer[Any]):
    """offer: the text at the end of the link that an owner of the other team gave."""

    offer = serializers.CharField(max_length=500)


class MergeTeam(APIView):
    """Merging."""

    @extend_schema(request=MergeRequest, responses=TeamSerializer)
    def post(self, request: Request, slug: str) -> Response:
        """Merge this team of the asker's into the one that made the offer, for good."""
        asked = MergeRequest(data=request.data)
        asked.is_valid(raise_exception=True)
        team = team_of(asker(request), slug)
        offer = asked.validated_data["offer"]
        into = merging.merge(team, offer=offer, by=asker(request), at=now())
        return Response(TeamSerializer(into).data)


urlpatterns = [path("teams/<slug:slug>/merge/", MergeTeam.as_view(), name="api-merge-team")]
pages = [path("teams/merge/<str:text>/", merge_team, name="merge-team")]
