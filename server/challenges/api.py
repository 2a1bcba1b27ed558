"""Challenges and their phases, for everybody to read; manifests as text."""

from __future__ import annotations

from typing import Any

from django.http import HttpResponse
from django.shortcuts import get_object_or_404
from django.urls import path
from django.utils.timezone import now
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.generics import ListAPIView, RetrieveAPIView
from rest_framework.request import Request
from rest_framework.views import APIView

from server.api import OpenToRead
from server.challenges.models import Challenge, Phase


class PhaseSerializer(serializers.ModelSerializer[Phase]):
    """A phase: when, how much, and which manifest and truth it is scored under."""

    open = serializers.SerializerMethodField()
    labels = serializers.JSONField(source="truth.labels", read_only=True)
    manifest = serializers.CharField(source="truth.manifest_digest", read_only=True)
    protocol = serializers.CharField(source="protocol.name", read_only=True)
    truth = serializers.IntegerField(source="truth.number", help_text="Number of its version.")

    class Meta:
        model = Phase
        fields = (
            *("slug", "title", "opens", "closes", "open", "visibility", "embargo", "selection"),
            *("detail", "digits", "per_day", "total", "attempts_per_day", "merge_until"),
            *("max_bytes", "concurrent", "labels", "manifest", "protocol", "truth"),
        )

    def get_open(self, phase: Phase) -> bool:
        """True if it takes submissions at this moment."""
        return phase.is_open(now())


class ChallengeSerializer(serializers.ModelSerializer[Challenge]):
    """A challenge with its phases."""

    phases = PhaseSerializer(many=True, read_only=True)

    class Meta:
        model = Challenge
        fields = ("slug", "title", "summary", "protocol", "phases")


class Challenges(ListAPIView[Challenge]):
    """All challenges."""

    permission_classes = (OpenToRead,)
    serializer_class = ChallengeSerializer
    queryset = Challenge.objects.prefetch_related("phases__truth", "phases__protocol")


class OneChallenge(RetrieveAPIView[Challenge]):
    """One challenge."""

    permission_classes = (OpenToRead,)
    serializer_class = ChallengeSerializer
    queryset = Challenge.objects.prefetch_related("phases__truth", "phases__protocol")
    lookup_field = "slug"


class ManifestText(APIView):
    """One of the two texts of a phase's manifest, exactly as scores are made under it."""

    permission_classes = (OpenToRead,)
    column = "manifest_csv"
    content_type = "text/csv; charset=utf-8"

    @extend_schema(responses={(200, "text/csv"): OpenApiTypes.STR})
    def get(self, request: Request, challenge: str, phase: str) -> HttpResponse:
        """The text."""
        row = get_object_or_404(
            Phase.objects.select_related("truth"), challenge__slug=challenge, slug=phase
        )
        text: Any = getattr(row.truth, self.column)
        return HttpResponse(text, content_type=self.content_type)


class LabelsText(ManifestText):
    """The definitions of the labels."""

    column = "labels_toml"
    content_type = "application/toml; charset=utf-8"

    @extend_schema(responses={(200, "application/toml"): OpenApiTypes.STR})
    def get(self, request: Request, challenge: str, phase: str) -> HttpResponse:
        """The text."""
        return super().get(request, challenge, phase)


PHASE = "challenges/<slug:challenge>/phases/<slug:phase>"
urlpatterns = [
    path("challenges/", Challenges.as_view(), name="api-challenges"),
    path("challenges/<slug:slug>/", OneChallenge.as_view(), name="api-challenge"),
    path(f"{PHASE}/manifest.csv", ManifestText.as_view(), name="api-manifest"),
    path(f"{PHASE}/labels.toml", LabelsText.as_view(), name="api-labels"),
]
