"""Used, left, and when the next is free; and what organisers give beyond it."""

from __future__ import annotations

from typing import Any

from django.shortcuts import get_object_or_404
from django.urls import path
from django.utils.timezone import now
from drf_spectacular.utils import extend_schema
from rest_framework import serializers, status
from rest_framework.generics import ListAPIView
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from server.accounts.models import Team
from server.accounts.teams import team_of
from server.api import Organising, asker
from server.challenges.models import Phase
from server.submissions import grants
from server.submissions.models import Grant
from server.submissions.quota import quota


class AllowanceSerializer(serializers.Serializer[Any]):
    """One limit.  limit, left: null without one.  resets: when the next is free, if by waiting."""

    used = serializers.IntegerField()
    limit = serializers.IntegerField(allow_null=True)
    left = serializers.IntegerField(allow_null=True)
    resets = serializers.DateTimeField(allow_null=True)


class QuotaSerializer(serializers.Serializer[Any]):
    """What a team may submit to a phase now.

    refusal, code: why it may submit nothing at this moment; empty if it may.
    """

    challenge = serializers.CharField(source="phase.challenge.slug")
    phase = serializers.CharField(source="phase.slug")
    team = serializers.CharField(source="team.slug")
    per_day = AllowanceSerializer(help_text="Scored, in the last 24 hours.")
    total = AllowanceSerializer(help_text="Scored, in all.")
    attempts = AllowanceSerializer(help_text="In the last 24 hours, rejected ones included.")
    concurrent = AllowanceSerializer(help_text="Under way.")
    max_bytes = serializers.IntegerField(source="phase.max_bytes")
    closes = serializers.DateTimeField(source="phase.closes")
    refusal = serializers.CharField()
    code = serializers.CharField()


class WhoseQuota(serializers.Serializer[Any]):
    """The asker's own team of one if none is named; organisers may name any."""

    team = serializers.SlugField(required=False, allow_blank=True, default="")


class PhaseQuota(APIView):
    """Quota in a phase."""

    @extend_schema(parameters=[WhoseQuota], responses=QuotaSerializer)
    def get(self, request: Request, challenge: str, phase: str) -> Response:
        """Used, left, and the exact moment of the next one."""
        asked = WhoseQuota(data=request.query_params)
        asked.is_valid(raise_exception=True)
        team = _team(request, asked.validated_data["team"])
        found = quota(team, _phase(challenge, phase), at=now())
        return Response(QuotaSerializer(found).data)


class GrantSerializer(serializers.ModelSerializer[Grant]):
    """A grant.  what: the limit it adds to.  expires: null for as long as the phase."""

    challenge = serializers.SlugField(source="phase.challenge.slug")
    phase = serializers.SlugField(source="phase.slug")
    team = serializers.SlugField(source="team.slug")
    by = serializers.CharField(source="by.email", read_only=True, default="")

    class Meta:
        model = Grant
        fields = (
            *("id", "challenge", "phase", "team", "what", "extra", "reason", "by", "created"),
            "expires",
        )
        read_only_fields = ("id", "created")


class WhichGrants(WhoseQuota):
    """Whose grants; all of them if no team is named."""


class Grants(ListAPIView[Grant]):
    """What was given to whom, and why."""

    permission_classes = (Organising,)
    serializer_class = GrantSerializer

    def get_queryset(self) -> Any:
        """Newest first."""
        rows = Grant.objects.select_related("team", "by", "phase__challenge")
        team = self.request.query_params.get("team") if self.request else None
        return rows.filter(team__slug=team) if team else rows

    @extend_schema(parameters=[WhichGrants], responses=GrantSerializer(many=True))
    def get(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """All, or those of one team."""
        return super().get(request, *args, **kwargs)

    @extend_schema(request=GrantSerializer, responses={201: GrantSerializer})
    def post(self, request: Request) -> Response:
        """Give a team more than the phase allows; it is told, with the reason."""
        asked = GrantSerializer(data=request.data)
        asked.is_valid(raise_exception=True)
        wish = asked.validated_data
        phase = _phase(wish["phase"]["challenge"]["slug"], wish["phase"]["slug"])
        made = grants.grant(
            team=_team(request, wish["team"]["slug"]), phase=phase, what=wish["what"],
            extra=wish["extra"], reason=wish["reason"], expires=wish.get("expires"),
            by=asker(request), at=now(),
        )  # fmt: skip
        return Response(GrantSerializer(made).data, status=status.HTTP_201_CREATED)


class EndGrant(APIView):
    """Ending a grant."""

    permission_classes = (Organising,)

    @extend_schema(request=None, responses=GrantSerializer)
    def post(self, request: Request, key: int) -> Response:
        """End it now; what was submitted with it stays."""
        rows = Grant.objects.select_related("team", "by", "phase__challenge")
        row = get_object_or_404(rows, pk=key)
        grants.end(row, by=asker(request), at=now())
        return Response(GrantSerializer(row).data)


def _team(request: Request, slug: str) -> Team:
    if slug and asker(request).is_staff:
        return get_object_or_404(Team, slug=slug)
    return team_of(asker(request), slug)


def _phase(challenge: str, phase: str) -> Phase:
    rows = Phase.objects.select_related("challenge")
    return get_object_or_404(rows, challenge__slug=challenge, slug=phase)


urlpatterns = [
    path(
        "challenges/<slug:challenge>/phases/<slug:phase>/quota/",
        PhaseQuota.as_view(),
        name="api-quota",
    ),
    path("grants/", Grants.as_view(), name="api-grants"),
    path("grants/<int:key>/end/", EndGrant.as_view(), name="api-end-grant"),
]
