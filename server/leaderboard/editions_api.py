"""Editions over HTTP: older boards for everybody, re-scoring for organisers."""

from __future__ import annotations

from typing import Any

from django.http import HttpResponse
from django.shortcuts import get_object_or_404
from django.urls import path
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.generics import ListAPIView
from rest_framework.permissions import BasePermission
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from server import scoring
from server.api import OpenToRead, Organising, asker
from server.challenges.editions import propose
from server.challenges.models import Edition, Phase, ProtocolVersion
from server.errors import Refused
from server.leaderboard import editions
from server.leaderboard.boards import LABEL, BoardSerializer, shown_board, table
from server.submissions import rescoring


class EditionSerializer(serializers.ModelSerializer[Edition]):
    """A phase's board under one truth version and one protocol."""

    truth = serializers.IntegerField(source="truth.number", help_text="Number of the version.")
    protocol = serializers.CharField(source="protocol.name")

    class Meta:
        model = Edition
        fields = ("number", "state", "truth", "protocol", "note", "created", "published")


class ProgressSerializer(serializers.Serializer[Any]):
    """How far re-scoring is."""

    submissions = serializers.IntegerField()
    waiting = serializers.IntegerField(help_text="Submissions without a score under it yet.")
    broken = serializers.IntegerField(help_text="Submissions whose scoring under it failed.")
    items = serializers.IntegerField(help_text="Targets of all evaluations.")
    scored = serializers.IntegerField(help_text="Targets that have their score.")
    computed = serializers.IntegerField(help_text="Those whose score was not known before.")
    complete = serializers.BooleanField()


class EditionDetail(EditionSerializer):
    """The same with its report: what it changed, as the asker may see it."""

    report = serializers.SerializerMethodField()
    progress = serializers.SerializerMethodField()

    class Meta:
        model = Edition
        fields = (*EditionSerializer.Meta.fields, "report", "progress")

    @extend_schema(responses={(200, "application/json"): OpenApiTypes.OBJECT})
    def get_report(self, edition: Edition) -> dict[str, Any] | None:
        """Causes, targets, rows; null before it is complete, and for a first edition."""
        return editions.report(edition, self.context["request"].user)

    @extend_schema(responses=ProgressSerializer(allow_null=True))
    def get_progress(self, edition: Edition) -> dict[str, Any] | None:
        """For organisers; null for all others."""
        viewer = self.context["request"].user
        return rescoring.progress(edition).to_json() if viewer.is_staff else None


class PlanSerializer(serializers.Serializer[Any]):
    """What re-scoring takes."""

    submissions = serializers.IntegerField()
    items = serializers.IntegerField(help_text="Targets of all submissions.")
    computed = serializers.IntegerField(help_text="Those whose score is not known yet.")
    voxels = serializers.IntegerField(help_text="Of the targets to compute.")
    seconds = serializers.FloatField(allow_null=True, help_text="Of one worker; null: unknown.")


class Proposal(serializers.Serializer[Any]):
    """What the new board is to be made under; what is left out stays as it is."""

    truth = serializers.IntegerField(required=False, min_value=1, max_value=2**31 - 1)
    protocol = serializers.CharField(required=False, max_length=40)
    note = serializers.CharField(required=False, default="", max_length=1000, allow_blank=True)


class Editions(ListAPIView[Edition]):
    """The editions of a phase, newest first."""

    serializer_class = EditionSerializer

    def get_permissions(self) -> list[BasePermission]:
        """Everybody reads; organisers propose."""
        return [Organising() if self.request.method == "POST" else OpenToRead()]

    def get_queryset(self) -> Any:
        """Those that are or were published; all of them for an organiser."""
        if getattr(self, "swagger_fake_view", False):
            return Edition.objects.none()
        return editions.seen(_phase(**self.kwargs), self.request.user)

    @extend_schema(request=Proposal, responses={201: EditionSerializer})
    def post(self, request: Request, slug: str, phase: str) -> Response:
        """Propose an edition under a truth version and a protocol; nothing is scored yet."""
        asked = Proposal(data=request.data)
        asked.is_valid(raise_exception=True)
        wish, found = asked.validated_data, _phase(slug, phase)
        edition = propose(
            found, truth=_truth(found, wish.get("truth")), by=asker(request), note=wish["note"],
            protocol=_protocol(found, wish.get("protocol")),
        )  # fmt: skip
        return Response(EditionSerializer(edition).data, status=201)


class OneEdition(APIView):
    """One edition."""

    permission_classes: tuple[Any, ...] = (OpenToRead,)

    @extend_schema(responses=EditionDetail)
    def get(self, request: Request, slug: str, phase: str, number: int) -> Response:
        """What it was made under, and what it changed."""
        return self.shown(request, editions.one(request.user, slug, phase, number))

    def shown(self, request: Request, edition: Edition) -> Response:
        """An edition as the asker may see it."""
        return Response(EditionDetail(edition, context={"request": request}).data)


class EditionBoard(APIView):
    """The board of an edition, which its address keeps showing."""

    permission_classes = (OpenToRead,)

    @extend_schema(parameters=[LABEL], responses=BoardSerializer)
    def get(self, request: Request, slug: str, phase: str, number: int) -> Response:
        """Its rows as the asker may see them, best first."""
        edition = editions.one(request.user, slug, phase, number)
        return Response(BoardSerializer(shown_board(request, edition.phase, edition)).data)


class EditionCsv(APIView):
    """The board of an edition as a table for other programs."""

    permission_classes = (OpenToRead,)

    @extend_schema(parameters=[LABEL], responses={(200, "text/csv"): OpenApiTypes.STR})
    def get(self, request: Request, slug: str, phase: str, number: int) -> HttpResponse:
        """The same rows; an empty cell is a number the asker may not see."""
        edition = editions.one(request.user, slug, phase, number)
        name = f"board-{slug}-{phase}-edition-{number}.csv"
        return table(shown_board(request, edition.phase, edition), name)


class PlanEdition(APIView):
    """The cost of an edition."""

    permission_classes = (Organising,)

    @extend_schema(responses=PlanSerializer)
    def get(self, request: Request, slug: str, phase: str, number: int) -> Response:
        """What re-scoring under it takes, before anything is begun."""
        edition = editions.one(request.user, slug, phase, number)
        return Response(rescoring.plan(edition).to_json())


class RescoreEdition(OneEdition):
    """Re-scoring."""

    permission_classes = (Organising,)
    http_method_names = ("post", "options")

    @extend_schema(request=None, responses=EditionDetail)
    def post(self, request: Request, slug: str, phase: str, number: int) -> Response:
        """Score all submissions under it, beside the board; again what failed."""
        edition = editions.one(request.user, slug, phase, number)
        rescoring.begin(edition, by=asker(request))
        rescoring.settle(edition)
        return self.shown(request, edition)


class PublishEdition(OneEdition):
    """Publishing."""

    permission_classes = (Organising,)
    http_method_names = ("post", "options")

    @extend_schema(request=None, responses=EditionDetail)
    def post(self, request: Request, slug: str, phase: str, number: int) -> Response:
        """Make it the phase's board; the one before stays readable at its own address."""
        edition = editions.one(request.user, slug, phase, number)
        return self.shown(request, rescoring.publish(edition, by=asker(request)))


class DiscardEdition(OneEdition):
    """Discarding."""

    permission_classes = (Organising,)
    http_method_names = ("post", "options")

    @extend_schema(request=None, responses=EditionDetail)
    def post(self, request: Request, slug: str, phase: str, number: int) -> Response:
        """Drop it; the board stays as it is."""
        edition = editions.one(request.user, slug, phase, number)
        return self.shown(request, rescoring.discard(edition, by=asker(request)))


def _phase(slug: str, phase: str) -> Phase:
    rows = Phase.objects.select_related("challenge", "truth", "protocol")
    return get_object_or_404(rows, challenge__slug=slug, slug=phase)


def _truth(phase: Phase, number: int | None) -> Any:
    """A truth version by its number; the present one without."""
    if number is None:
        return phase.truth
    found = phase.challenge.truths.filter(number=number).first()
    if found is None:
        known = ", ".join(str(row.number) for row in phase.challenge.truths.order_by("number"))
        raise Refused(
            "unknown_truth",
            f"There is no truth version {number} of {phase.challenge}. There are {known}; "
            "`manage.py load_challenge` makes new ones.",
            status=404,
        )
    return found


def _protocol(phase: Phase, name: str | None) -> ProtocolVersion:
    """A protocol as the installed evaluator has it; the phase's without a name."""
    if name is None:
        return phase.protocol
    if name not in scoring.protocols():
        known = ", ".join(scoring.protocols())
        raise Refused("unknown_protocol", f"There is no protocol {name!r}: {known}.", status=404)
    return ProtocolVersion.present(name)


EDITIONS = "challenges/<slug:slug>/phases/<slug:phase>/editions/"
ONE = f"{EDITIONS}<int:number>/"
urlpatterns = [
    path(EDITIONS, Editions.as_view(), name="api-editions"),
    path(ONE, OneEdition.as_view(), name="api-edition"),
    path(f"{ONE}board/", EditionBoard.as_view(), name="api-edition-board"),
    path(f"{ONE}board.csv", EditionCsv.as_view(), name="api-edition-board-csv"),
    path(f"{ONE}plan/", PlanEdition.as_view(), name="api-edition-plan"),
    path(f"{ONE}rescore/", RescoreEdition.as_view(), name="api-edition-rescore"),
    path(f"{ONE}publish/", PublishEdition.as_view(), name="api-edition-publish"),
    path(f"{ONE}discard/", DiscardEdition.as_view(), name="api-edition-discard"),
]
