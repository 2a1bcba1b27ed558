"""Uploads and submissions over HTTP.  Everything starts from what the asker may see."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.http import Http404, HttpResponse, UnreadablePostError
from django.shortcuts import get_object_or_404
from django.urls import path
from django.utils.timezone import now
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers, status
from rest_framework.generics import GenericAPIView, ListAPIView
from rest_framework.parsers import BaseParser
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from server.accounts.models import Team
from server.accounts.teams import team_of
from server.api import asker
from server.challenges.models import Phase
from server.errors import Refused
from server.submissions import evaluation, intake, uploads
from server.submissions.models import Submission, Upload


class UploadRequest(serializers.Serializer[Any]):
    """What is coming: for which phase and team, how many bytes, and (better) their SHA-256."""

    challenge = serializers.SlugField()
    phase = serializers.SlugField()
    team = serializers.SlugField(required=False, allow_blank=True, default="")
    filename = serializers.CharField(max_length=500)
    size = serializers.IntegerField(min_value=1)
    sha256 = serializers.RegexField(r"^[0-9a-f]{64}$", required=False, allow_blank=True, default="")


class UploadSerializer(serializers.ModelSerializer[Upload]):
    """An upload, and how its bytes may come."""

    offset = serializers.IntegerField(read_only=True)
    part_size = serializers.SerializerMethodField()

    class Meta:
        model = Upload
        fields = (
            *("id", "status", "filename", "size", "offset", "part_size", "sha256"),
            *("created", "expires"),
        )

    def get_part_size(self, upload: Upload) -> int:
        """Bytes that fit well into one request."""
        return int(settings.UPLOAD_PART_BYTES)


class Bytes(BaseParser):
    """Leaves the body unread: the view streams it to disk."""

    media_type = "application/offset+octet-stream"

    def parse(self, stream: Any, media_type: Any = None, parser_context: Any = None) -> Any:
        """The stream itself."""
        return stream


class Uploads(ListAPIView[Upload]):
    """Uploads of one's own teams."""

    serializer_class = UploadSerializer

    def get_queryset(self) -> Any:
        """Those that still hold bytes."""
        if getattr(self, "swagger_fake_view", False):
            return Upload.objects.none()
        rows = Upload.objects.exclude(status=Upload.Status.EXPIRED)
        return rows.filter(team__in=Team.objects.of(asker(self.request)), submission=None)

    @extend_schema(request=UploadRequest, responses={201: UploadSerializer})
    def post(self, request: Request) -> Response:
        """Begin an upload.  Whatever would refuse the submission refuses it before byte one."""
        asked = UploadRequest(data=request.data)
        asked.is_valid(raise_exception=True)
        wish = asked.validated_data
        team = team_of(asker(request), wish["team"])
        upload = uploads.begin(
            team=team, user=asker(request), phase=_phase(wish["challenge"], wish["phase"]),
            filename=wish["filename"], size=wish["size"], sha256=wish["sha256"], at=now(),
        )  # fmt: skip
        return Response(UploadSerializer(upload).data, status=status.HTTP_201_CREATED)


DIGITS = 18  # of a number of bytes
OFFSET = OpenApiParameter(
    "Upload-Offset", int, OpenApiParameter.HEADER, description="Bytes the server has."
)


class OneUpload(APIView):
    """One upload: how far it is, its next part, its end."""

    parser_classes = (Bytes,)

    @extend_schema(responses={200: UploadSerializer})
    def get(self, request: Request, key: str) -> Response:
        """How far it is; HEAD gives the same as `Upload-Offset`."""
        upload = _own_upload(request, key)
        return Response(UploadSerializer(upload).data, headers=_offset(upload, upload.offset))

    @extend_schema(
        request={Bytes.media_type: OpenApiTypes.BINARY}, parameters=[OFFSET], responses={204: None}
    )
    def patch(self, request: Request, key: str) -> Response:
        """Append a part at `Upload-Offset`; the answer carries the new one."""
        upload = _own_upload(request, key)
        if request.content_type.partition(";")[0] != Bytes.media_type:
            raise Refused("wrong_content_type", f"Send a part as {Bytes.media_type}.", status=415)
        offset, length = _number(request, "Upload-Offset"), _number(request, "Content-Length")
        try:
            end = uploads.write(upload, offset=offset, length=length, stream=request._request)
        except UnreadablePostError as error:
            raise Refused(
                "cut_short", "The connection broke. Ask with HEAD and go on.", status=400
            ) from error
        return Response(status=status.HTTP_204_NO_CONTENT, headers=_offset(upload, end))

    @extend_schema(responses={204: None})
    def delete(self, request: Request, key: str) -> Response:
        """Discard it and its bytes."""
        uploads.discard(_own_upload(request, key), by=asker(request))
        return Response(status=status.HTTP_204_NO_CONTENT)


class FinishUpload(APIView):
    """The end of an upload."""

    @extend_schema(request=None, responses=UploadSerializer)
    def post(self, request: Request, key: str) -> Response:
        """Verify size and digest; from then on it can be submitted."""
        return Response(UploadSerializer(uploads.finish(_own_upload(request, key))).data)


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
            *("overall", "url"),
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
    """The same, with the check's report and the labels."""

    labels = serializers.SerializerMethodField()

    class Meta:
        model = Submission
        fields = (*SubmissionSerializer.Meta.fields, "report", "labels")

    @extend_schema(responses=LabelProgress(many=True))
    def get_labels(self, submission: Submission) -> list[dict[str, Any]]:
        """Empty before it was accepted."""
        sight = submission.sight(self.context["request"].user)
        scored = submission.evaluation
        rows = evaluation.progress(scored) if scored else []
        return [row | {"score": sight.number(row["score"])} for row in rows]


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
            upload=_own_upload(request, wish["upload"]), user=asker(request), at=now(),
            method=wish["method"], description=wish["description"],
        )  # fmt: skip
        return Response(_detail(request, submission.pk), status=status.HTTP_201_CREATED)


class OneSubmission(APIView):
    """One submission."""

    @extend_schema(responses=SubmissionDetail)
    def get(self, request: Request, key: int) -> Response:
        """How it stands, label by label."""
        return Response(_detail(request, key))


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


def _phase(challenge: str, phase: str) -> Phase:
    found = Phase.objects.filter(challenge__slug=challenge, slug=phase)
    row = found.select_related("challenge", "truth").first()
    if row is None:
        raise Refused(
            "unknown_phase",
            f"There is no phase {phase!r} of a challenge {challenge!r}. GET /api/challenges/ lists "
            "them.",
            status=404,
        )
    return row


def _own_upload(request: Request, key: Any) -> Upload:
    """An upload of one of the asker's teams; whatever else looks as if it did not exist."""
    rows = Upload.objects.filter(team__in=Team.objects.of(asker(request)))
    return get_object_or_404(rows.select_related("phase"), pk=key)


def _own_submission(request: Request, key: int) -> Submission:
    return get_object_or_404(Submission.objects.of(request.user).with_progress(), pk=key)


def _detail(request: Request, key: int) -> dict[str, Any]:
    submission = _own_submission(request, key)
    return dict(SubmissionDetail(submission, context={"request": request}).data)


def _offset(upload: Upload, offset: int) -> dict[str, str]:
    return {
        "Upload-Offset": str(offset),
        "Upload-Length": str(upload.size),
        "Cache-Control": "no-store",
    }


def _number(request: Request, header: str) -> int:
    text = request.headers.get(header, "")
    if not text.isdecimal() or len(text) > DIGITS:
        raise Refused(
            "missing_header", f"Send the header {header} with a number of bytes.", status=400
        )
    return int(text)


urlpatterns = [
    path("uploads/", Uploads.as_view(), name="api-uploads"),
    path("uploads/<uuid:key>/", OneUpload.as_view(), name="api-upload"),
    path("uploads/<uuid:key>/finish/", FinishUpload.as_view(), name="api-upload-finish"),
    path("submissions/", Submissions.as_view(), name="api-submissions"),
    path("submissions/<int:key>/", OneSubmission.as_view(), name="api-submission"),
    path("submissions/<int:key>/result/", SubmissionResult.as_view(), name="api-result"),
    path("submissions/<int:key>/cancel/", CancelSubmission.as_view(), name="api-cancel"),
]
