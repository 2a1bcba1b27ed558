"""The present board over HTTP, as JSON and as CSV: the same rows as the page's."""

from __future__ import annotations

from django.http import HttpResponse
from django.shortcuts import get_object_or_404
from django.urls import URLPattern, path
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from server.api import OpenToRead
from server.challenges.models import Phase
from server.leaderboard import editions_api, entries_api
from server.leaderboard.boards import LABEL, BoardSerializer, shown_board, table


class BoardJson(APIView):
    """The board of a phase."""

    permission_classes = (OpenToRead,)

    @extend_schema(parameters=[LABEL], responses=BoardSerializer)
    def get(self, request: Request, slug: str, phase: str) -> Response:
        """Its rows as the asker may see them, best first."""
        return Response(BoardSerializer(shown_board(request, asked_phase(slug, phase))).data)


class BoardCsv(APIView):
    """The board of a phase as a table for other programs."""

    permission_classes = (OpenToRead,)

    @extend_schema(parameters=[LABEL], responses={(200, "text/csv"): OpenApiTypes.STR})
    def get(self, request: Request, slug: str, phase: str) -> HttpResponse:
        """The same rows; an empty cell is a number the asker may not see."""
        return table(shown_board(request, asked_phase(slug, phase)), f"board-{slug}-{phase}.csv")


def asked_phase(slug: str, phase: str) -> Phase:
    """The phase an address names, with all that its board needs.  Http404 if there is none."""
    rows = Phase.objects.select_related("challenge", "truth", "protocol")
    return get_object_or_404(rows, challenge__slug=slug, slug=phase)


PHASE = "challenges/<slug:slug>/phases/<slug:phase>"
urlpatterns: list[URLPattern] = [
    path(f"{PHASE}/board/", BoardJson.as_view(), name="api-board"),
    path(f"{PHASE}/board.csv", BoardCsv.as_view(), name="api-board-csv"),
    *editions_api.urlpatterns,
    *entries_api.urlpatterns,
]
