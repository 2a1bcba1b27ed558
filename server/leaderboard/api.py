"""The board over HTTP, as JSON and as CSV: the same rows as the page's."""

from __future__ import annotations

import csv
from typing import Any

from django.http import HttpResponse
from django.shortcuts import get_object_or_404
from django.urls import path
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from server.api import OpenToRead
from server.challenges.models import Phase
from server.errors import Refused
from server.leaderboard.standings import Board, board

COLUMNS = ("rank", "team", "method", "score", "instance", "semantic", "submitted", "baseline")
FORMULA = ("=", "+", "-", "@", "\t", "\r")
LABEL = OpenApiParameter("label", str, description="One label instead of the overall score.")


class StandingSerializer(serializers.Serializer[Any]):
    """A row of the board."""

    rank = serializers.IntegerField(allow_null=True)
    team = serializers.CharField()
    method = serializers.CharField()
    score = serializers.FloatField(allow_null=True)
    instance = serializers.FloatField(allow_null=True)
    semantic = serializers.FloatField(allow_null=True)
    submitted = serializers.DateTimeField()
    baseline = serializers.BooleanField()


class BoardSerializer(serializers.Serializer[Any]):
    """The board of a phase, best first."""

    rows = StandingSerializer(many=True)


class BoardJson(APIView):
    """The board of a phase."""

    permission_classes = (OpenToRead,)

    @extend_schema(parameters=[LABEL], responses=BoardSerializer)
    def get(self, request: Request, slug: str, phase: str) -> Response:
        """Its rows as the asker may see them, best first."""
        return Response(BoardSerializer(asked_board(request, slug, phase)).data)


class BoardCsv(APIView):
    """The board of a phase as a table for other programs."""

    permission_classes = (OpenToRead,)

    @extend_schema(parameters=[LABEL], responses={(200, "text/csv"): OpenApiTypes.STR})
    def get(self, request: Request, slug: str, phase: str) -> HttpResponse:
        """The same rows; an empty cell is a number the asker may not see."""
        answer = HttpResponse(content_type="text/csv; charset=utf-8")
        answer["Content-Disposition"] = f'attachment; filename="board-{slug}-{phase}.csv"'
        writer = csv.writer(answer, lineterminator="\n")
        writer.writerow(COLUMNS)
        for row in StandingSerializer(asked_board(request, slug, phase).rows, many=True).data:
            writer.writerow([_cell(row[column]) for column in COLUMNS])
        return answer


def asked_board(request: Any, slug: str, phase: str) -> Board:
    """The board an address asks for.  Refused (404): the label is not scored in this phase."""
    rows = Phase.objects.select_related("challenge", "truth")
    found = get_object_or_404(rows, challenge__slug=slug, slug=phase)
    label = request.GET.get("label", "")
    known = [each["name"] for each in found.truth.labels]
    if label and label not in known:
        raise Refused(
            "unknown_label",
            f"{found.title} scores no label {label!r}. It scores {', '.join(known)}.",
            status=404,
        )
    return board(found, viewer=request.user, label=label)


def _cell(value: Any) -> Any:
    """A cell no spreadsheet takes for a formula; empty for None."""
    if isinstance(value, str) and value.startswith(FORMULA):
        return f"'{value}"
    return "" if value is None else value


urlpatterns = [
    path(
        "challenges/<slug:slug>/phases/<slug:phase>/board/", BoardJson.as_view(), name="api-board"
    ),
    path(
        "challenges/<slug:slug>/phases/<slug:phase>/board.csv",
        BoardCsv.as_view(),
        name="api-board-csv",
    ),
]
