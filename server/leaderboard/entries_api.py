"""What stands on the board, decided over HTTP: by its team where they choose, by organisers."""

from __future__ import annotations

from typing import Any

from django.shortcuts import get_object_or_404
from django.urls import path
from django.utils.timezone import now
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.generics import GenericAPIView
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from server.accounts.models import Team
from server.api import Organising, asker
from server.submissions import selection
from server.submissions.models import Submission
from server.submissions.targets import target_scores


class EntrySerializer(serializers.ModelSerializer[Submission]):
    """What was decided about a submission."""

    class Meta:
        model = Submission
        fields = ("id", "chosen", "disqualified")
        read_only_fields = fields


class Reason(serializers.Serializer[Any]):
    """Why; the team is shown it."""

    reason = serializers.CharField(max_length=2000)


class TargetScore(serializers.Serializer[Any]):
    """The score of one target."""

    target = serializers.CharField()
    score = serializers.FloatField(allow_null=True)


class ChooseSubmission(APIView):
    """The choice of a team."""

    @extend_schema(request=None, responses=EntrySerializer)
    def post(self, request: Request, key: int) -> Response:
        """Put it on the board, in place of the one chosen before."""
        row = selection.choose(own_submission(request, key), by=asker(request), at=now())
        return Response(EntrySerializer(row).data)

    @extend_schema(responses={200: EntrySerializer})
    def delete(self, request: Request, key: int) -> Response:
        """Take the choice back: the team's last entry stands again."""
        row = selection.unchoose(own_submission(request, key), by=asker(request), at=now())
        return Response(EntrySerializer(row).data)


class DisqualifySubmission(APIView):
    """A ruling of the organisers."""

    permission_classes = (Organising,)

    @extend_schema(request=Reason, responses=EntrySerializer)
    def post(self, request: Request, key: int) -> Response:
        """Take it off every board; its team is told the reason."""
        asked = Reason(data=request.data)
        asked.is_valid(raise_exception=True)
        row = get_object_or_404(Submission.objects.of(request.user), pk=key)
        reason = asked.validated_data["reason"]
        return Response(
            EntrySerializer(selection.disqualify(row, by=asker(request), reason=reason)).data
        )

    @extend_schema(responses={200: EntrySerializer})
    def delete(self, request: Request, key: int) -> Response:
        """Put it back on the boards."""
        row = get_object_or_404(Submission.objects.of(request.user), pk=key)
        return Response(EntrySerializer(selection.reinstate(row, by=asker(request))).data)


class SubmissionTargets(GenericAPIView[Submission]):
    """The score of each target, where the phase shows as much."""

    serializer_class = TargetScore
    queryset = Submission.objects.all()

    @extend_schema(operation_id="submissions_targets_list", responses=TargetScore(many=True))
    def get(self, request: Request, key: int) -> Response:
        """Sorted by target; empty where they are not shown, and before there are any."""
        row = get_object_or_404(Submission.objects.of(request.user), pk=key)
        sight, scored = row.sight(request.user), row.evaluation
        scores = target_scores(scored) if scored is not None and sight.targets else {}
        rows = [{"target": name, "score": sight.of_target(scores[name])} for name in sorted(scores)]
        return self.get_paginated_response(self.paginate_queryset(rows))


def own_submission(request: Request, key: int) -> Submission:
    """A submission of one of the asker's teams: what stands for it is for its members to say.

    Http404 for any other, to organisers too.
    """
    rows = Submission.objects.of(request.user).filter(team__in=Team.objects.of(asker(request)))
    return get_object_or_404(rows, pk=key)


urlpatterns = [
    path("submissions/<int:key>/choose/", ChooseSubmission.as_view(), name="api-choose"),
    path(
        "submissions/<int:key>/disqualify/", DisqualifySubmission.as_view(), name="api-disqualify"
    ),
    path("submissions/<int:key>/targets/", SubmissionTargets.as_view(), name="api-targets"),
]
