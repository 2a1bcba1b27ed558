"""Submissions over HTTP.  Everything starts from what the asker may see."""

from __future__ import annotations

import hashlib
from typing import Any

from django.http import Http404, HttpResponse
from django.shortcuts import get_object_or_404
from django.urls import URLPattern, URLResolver, include, path
from django.utils.cache import get_conditional_response
from django.utils.timezone import now
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers, status
from rest_framework.generics import GenericAPIView
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from server.api import asker
from server.submissions import intake, merging_views, progress, quota_api, trouble_api, uploads_api
from server.submissions.models import Submission
from server.submissions.uploads_api import own_upload


class SubmissionRequest(serializers.Serializer[Any]):
    """A finished upload, and the name its method has on the board."""

    upload = serializers.UUIDField()
    method = serializers.CharField(max_length=120)
    description = serializers.CharField(
        required=False, allow_blank=True, default="", max_length=10_000
    )


class LabelProgress(serializers.Serializer[Any]):
    """How far one label is, and its score as far as it is known."""

    label = serializers.CharField()  # type: ignore[assignment]  # a field of every field, too
    kind = serializers.CharField()
    done = serializers.IntegerField()
    total = serializers.IntegerField()
    score = serializers.FloatField(allow_null=True)


class SubmissionSerializer(serializers.ModelSerializer[Submission]):
    """A submission as its viewer may see it: scores by the phase's rule."""

    challenge = serializers.CharField(source="phase.challenge.slug")
    phase = serializers.CharField(source="phase.slug")
    team = serializers.CharField(source="team.slug")
    next_step = serializers.CharField()
    done = serializers.IntegerField(source="items_done", help_text="Targets scored.")
    total = serializers.IntegerField(
        source="items_total", help_text="Targets to score; 0 before it was accepted."
    )
    overall = serializers.SerializerMethodField()
    url = serializers.SerializerMethodField()

    class Meta:
        model = Submission
        fields = (
            *("id", "challenge", "phase", "team", "method", "description", "status", "message"),
            *("blame", "incident", "next_step", "quota_used", "created", "done", "total"),
            *("overall", "chosen", "disqualified", "url"),
        )

    def get_overall(self, submission: Submission) -> float | None:
        """The overall score, when there is one and the viewer may see it."""
        scored = submission.evaluation
        sight = submission.sight(self.context["request"].user)
        return sight.number(scored.overall) if scored else None

    def get_url(self, submission: Submission) -> str:
        """Its page."""
        return str(self.context["request"].build_absolute_uri(submission.get_absolute_url()))


class SubmissionDetail(SubmissionSerializer):
    """The same, with the check's report, the labels, and when it will be ready."""

    labels = serializers.SerializerMethodField()
    queue_position = serializers.SerializerMethodField()
    eta_seconds = serializers.SerializerMethodField()

    class Meta:
        model = Submission
        fields = (
            *SubmissionSerializer.Meta.fields,
            *("report", "labels", "queue_position", "eta_seconds"),
        )

    def get_queue_position(self, submission: Submission) -> int | None:
        """How many targets of others are scored before its next one; null if none of its waits."""
        standing = self.context["standing"]
        return standing.position if standing else None

    def get_eta_seconds(self, submission: Submission) -> int | None:
        """Seconds until it is scored, by its voxels and the present speed; null if not known."""
        standing = self.context["standing"]
        return standing.eta_s if standing else None

    @extend_schema(responses=LabelProgress(many=True))
    def get_labels(self, submission: Submission) -> list[dict[str, Any]]:
        """Empty before it was accepted."""
        sight = submission.sight(self.context["request"].user)
        scored = submission.evaluation
        rows = progress.labels(scored) if scored else []
        return [row | {"score": sight.of_label(row["score"])} for row in rows]


class Wanted(serializers.Serializer[Any]):
    """Which submissions a list is to hold; all without a challenge, all its phases without one."""

    challenge = serializers.SlugField(required=False, allow_blank=True, default="")
    phase = serializers.SlugField(required=False, allow_blank=True, default="")


class Submissions(GenericAPIView[Submission]):
    """Submissions of one's own teams."""

    serializer_class = SubmissionSerializer

    def get_queryset(self) -> Any:
        """Newest first; all of them for an organiser."""
        if getattr(self, "swagger_fake_view", False):
            return Submission.objects.none()
        return Submission.objects.of(self.request.user).with_progress()

    @extend_schema(
        operation_id="submissions_list",
        parameters=[Wanted],
        responses=SubmissionSerializer(many=True),
    )
    def get(self, request: Request) -> Response:
        """All, or those of one challenge, or of one phase of it."""
        asked = Wanted(data=request.query_params)
        asked.is_valid(raise_exception=True)
        wish = asked.validated_data
        rows = self.get_queryset()
        if wish["challenge"]:
            rows = rows.filter(phase__challenge__slug=wish["challenge"])
        if wish["phase"]:
            rows = rows.filter(phase__slug=wish["phase"])
        page = self.get_serializer(self.paginate_queryset(rows), many=True)
        return self.get_paginated_response(page.data)

    @extend_schema(request=SubmissionRequest, responses={201: SubmissionDetail})
    def post(self, request: Request) -> Response:
        """Enter a finished upload under a method's name; it is checked, then scored."""
        asked = SubmissionRequest(data=request.data)
        asked.is_valid(raise_exception=True)
        wish = asked.validated_data
        submission = intake.submit(
            upload=own_upload(request, wish["upload"]), user=asker(request), at=now(),
            method=wish["method"], description=wish["description"],
        )  # fmt: skip
        return Response(_detail(request, submission.pk), status=status.HTTP_201_CREATED)


MARK = OpenApiParameter(
    "If-None-Match", str, OpenApiParameter.HEADER, description="The ETag of an earlier answer."
)


class OneSubmission(APIView):
    """One submission."""

    @extend_schema(parameters=[MARK], responses={200: SubmissionDetail, 304: None})
    def get(self, request: Request, key: int) -> Response:
        """How it stands, label by label; 304 if that is as it was at the mark in If-None-Match."""
        submission = _own_submission(request, key)
        etag = _mark(request, submission)
        headers = {"ETag": etag, "Cache-Control": "private, no-cache"}
        same = get_conditional_response(request._request, etag=etag)
        if same is not None and same.status_code == status.HTTP_304_NOT_MODIFIED:
            return Response(status=same.status_code, headers=headers)
        return Response(_described(request, submission), headers=headers)


class CancelSubmission(APIView):
    """Stopping a submission."""

    @extend_schema(request=None, responses=SubmissionDetail)
    def post(self, request: Request, key: int) -> Response:
        """Stop it.  Quota comes back unless scoring has begun."""
        intake.cancel(_own_submission(request, key), by=asker(request))
        return Response(_detail(request, key))


class SubmissionResult(APIView):
    """The result itself."""

    @extend_schema(responses={200: OpenApiTypes.OBJECT})
    def get(self, request: Request, key: int) -> HttpResponse:
        """Exactly the canonical JSON that `evaluator score` prints for the same bytes and truth."""
        submission = _own_submission(request, key)
        scored = submission.evaluation
        if not submission.sight(request.user).result or not scored or not scored.result:
            raise Http404
        return HttpResponse(scored.result, content_type="application/json")


def _own_submission(request: Request, key: int) -> Submission:
    return get_object_or_404(Submission.objects.of(request.user).with_progress(), pk=key)


def _detail(request: Request, key: int) -> dict[str, Any]:
    return _described(request, _own_submission(request, key))


def _described(request: Request, submission: Submission) -> dict[str, Any]:
    row = submission.evaluation
    context = {"request": request, "standing": progress.standing(row) if row else None}
    return dict(SubmissionDetail(submission, context=context).data)


def _mark(request: Request, submission: Submission) -> str:
    """An ETag that changes whenever the answer may: the viewer's sight is a part of it."""
    told = (submission.chosen, submission.disqualified, request.get_host())
    text = f"{progress.tag(submission)} {submission.sight(request.user)} {told}"
    return f'W/"{hashlib.sha256(text.encode()).hexdigest()[:32]}"'


urlpatterns: list[URLPattern | URLResolver] = [
    path("", include(uploads_api.urlpatterns)),
    path("", include(quota_api.urlpatterns)),
    path("", include(trouble_api.urlpatterns)),
    path("", include(merging_views.urlpatterns)),
    path("submissions/", Submissions.as_view(), name="api-submissions"),
    path("submissions/<int:key>/", OneSubmission.as_view(), name="api-submission"),
    path("submissions/<int:key>/result/", SubmissionResult.as_view(), name="api-result"),
    path("submissions/<int:key>/cancel/", CancelSubmission.as_view(), name="api-cancel"),
]
