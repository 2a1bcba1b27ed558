"""What could not be scored, for organisers: the targets in trouble, and another try."""

from __future__ import annotations

from typing import Any

from django.shortcuts import get_object_or_404
from django.urls import path
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.generics import ListAPIView
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from server.api import Organising, asker
from server.submissions import intake
from server.submissions.evaluation import BAD
from server.submissions.models import Item, Submission


class TroubleSerializer(serializers.ModelSerializer[Item]):
    """A target without a score.  trouble: what went wrong last; it may tell of the truth."""

    submission = serializers.IntegerField(source="evaluation.submission_id")

    class Meta:
        model = Item
        fields = (
            *("id", "submission", "evaluation", "target", "status", "blame", "trouble"),
            *("attempts", "deaths", "worker", "changed"),
        )


class Trouble(ListAPIView[Item]):
    """Targets in quarantine, and those that have failed."""

    permission_classes = (Organising,)
    serializer_class = TroubleSerializer
    queryset = Item.objects.filter(status__in=BAD).select_related("evaluation").order_by("-changed")

    @extend_schema(operation_id="trouble_list")
    def get(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """The latest first."""
        return super().get(request, *args, **kwargs)


class TryAgainSerializer(serializers.ModelSerializer[Submission]):
    """A submission that is tried again."""

    class Meta:
        model = Submission
        fields = ("id", "status")


class TryAgain(APIView):
    """Another try for what could not be scored."""

    permission_classes = (Organising,)

    @extend_schema(request=None, responses=TryAgainSerializer)
    def post(self, request: Request, key: int) -> Response:
        """Check or score again what failed; what has a score keeps it, and no quota is used."""
        submission = get_object_or_404(Submission, pk=key)
        intake.try_again(submission, by=asker(request))
        submission.refresh_from_db()
        return Response(TryAgainSerializer(submission).data)


urlpatterns = [
    path("trouble/", Trouble.as_view(), name="api-trouble"),
    path("submissions/<int:key>/try-again/", TryAgain.as_view(), name="api-try-again"),
]
