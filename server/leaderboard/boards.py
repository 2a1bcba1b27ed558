"""A board as JSON and as CSV, and how an address asks for one."""

from __future__ import annotations

import csv
from typing import Any

from django.http import HttpResponse
from drf_spectacular.utils import OpenApiParameter
from rest_framework import serializers

from server.challenges.models import Edition, Phase
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


def shown_board(request: Any, phase: Phase, edition: Edition | None = None) -> Board:
    """The board an address asks for; edition: None for the present one.

    Refused (404): the label of its query is not scored in it.
    """
    label = request.GET.get("label", "")
    known = [each["name"] for each in (edition or phase).truth.labels]
    if label and label not in known:
        raise Refused(
            "unknown_label",
            f"{phase.title} scores no label {label!r}. It scores {', '.join(known)}.",
            status=404,
        )
    return board(phase, viewer=request.user, label=label, edition=edition)


def table(board: Board, name: str) -> HttpResponse:
    """A board as a CSV file of this name; an empty cell is a number that is not shown."""
    answer = HttpResponse(content_type="text/csv; charset=utf-8")
    answer["Content-Disposition"] = f'attachment; filename="{name}"'
    writer = csv.writer(answer, lineterminator="\n")
    writer.writerow(COLUMNS)
    for row in StandingSerializer(board.rows, many=True).data:
        writer.writerow([_cell(row[column]) for column in COLUMNS])
    return answer


def _cell(value: Any) -> Any:
    """A cell no spreadsheet takes for a formula; empty for None."""
    if isinstance(value, str) and value.startswith(FORMULA):
        return f"'{value}"
    return "" if value is None else value
