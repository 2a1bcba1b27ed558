"""Uploads over HTTP: begin, send in parts, finish, discard.  One sees those of one's own teams."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.http import UnreadablePostError
from django.shortcuts import get_object_or_404
from django.urls import path
from django.utils.timezone import now
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers, status
from rest_framework.generics import ListAPIView
from rest_framework.parsers import BaseParser
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from server.accounts.models import Team
from server.accounts.teams import team_of
from server.api import asker
from server.challenges.models import Phase
from server.errors import Refused
from server.submissions import uploads
from server.submissions.models import Upload


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
        upload = own_upload(request, key)
        return Response(UploadSerializer(upload).data, headers=_offset(upload, upload.offset))

    @extend_schema(
        request={Bytes.media_type: OpenApiTypes.BINARY}, parameters=[OFFSET], responses={204: None}
    )
    def patch(self, request: Request, key: str) -> Response:
        """Append a part at `Upload-Offset`; the answer carries the new one."""
        upload = own_upload(request, key)
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
        uploads.discard(own_upload(request, key), by=asker(request))
        return Response(status=status.HTTP_204_NO_CONTENT)


class FinishUpload(APIView):
    """The end of an upload."""

    @extend_schema(request=None, responses=UploadSerializer)
    def post(self, request: Request, key: str) -> Response:
        """Verify size and digest; from then on it can be submitted."""
        return Response(UploadSerializer(uploads.finish(own_upload(request, key))).data)


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


def own_upload(request: Request, key: Any) -> Upload:
    """An upload of one of the asker's teams; whatever else looks as if it did not exist."""
    rows = Upload.objects.filter(team__in=Team.objects.of(asker(request)))
    return get_object_or_404(rows.select_related("phase"), pk=key)


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
]
