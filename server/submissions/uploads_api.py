"""Uploads over HTTP: begin, send in parts, finish, discard.  One sees those of one's own teams.

The resources speak tus 1.0.0, so that standard clients work, and JSON beside it.
"""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.http import HttpRequest, UnreadablePostError
from django.shortcuts import get_object_or_404
from django.urls import path, reverse
from django.utils.timezone import now
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers, status
from rest_framework.generics import ListAPIView
from rest_framework.parsers import BaseParser, JSONParser
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from server.accounts.models import Team
from server.accounts.teams import team_of
from server.api import asker
from server.challenges.models import Phase
from server.errors import Refused
from server.submissions import arriving, storage, tus, uploads
from server.submissions.models import Upload

MOST_PARTS = 100  # whose addresses one answer has


class UploadRequest(serializers.Serializer[Any]):
    """What is coming: for which phase and team, how many bytes, and (better) their SHA-256."""

    challenge = serializers.SlugField()
    phase = serializers.SlugField()
    team = serializers.SlugField(required=False, allow_blank=True, default="")
    filename = serializers.CharField(max_length=500)
    size = serializers.IntegerField(min_value=1)
    sha256 = serializers.RegexField(r"^[0-9a-f]{64}$", required=False, allow_blank=True, default="")


class UploadSerializer(serializers.ModelSerializer[Upload]):
    """An upload, how its bytes may come, how much of its digest is computed, what went wrong."""

    challenge = serializers.CharField(source="phase.challenge.slug", read_only=True)
    phase = serializers.CharField(source="phase.slug", read_only=True)
    team = serializers.CharField(source="team.slug", read_only=True)
    offset = serializers.SerializerMethodField(help_text="Bytes the server has.")
    part_size = serializers.SerializerMethodField()
    direct = serializers.SerializerMethodField(
        help_text="True if parts may be put into the storage itself: GET …/parts/ says where."
    )
    submission = serializers.SerializerMethodField()

    class Meta:
        model = Upload
        fields = (
            *("id", "challenge", "phase", "team", "status", "filename", "size", "offset"),
            *("part_size", "direct", "sha256", "verified", "trouble", "submission"),
            *("created", "expires"),
        )

    def get_offset(self, upload: Upload) -> int:
        """Bytes received so far, from the first on without a gap."""
        return uploads.seen(upload)

    def get_part_size(self, upload: Upload) -> int:
        """Bytes that fit well into one request."""
        return upload.part_size or int(settings.UPLOAD_PART_BYTES)

    def get_direct(self, upload: Upload) -> bool:
        """Whether `…/parts/` has addresses."""
        return storage.of(upload).direct

    def get_submission(self, upload: Upload) -> int | None:
        """Number of the submission it was made; null before."""
        return getattr(getattr(upload, "submission", None), "pk", None)


class PartSerializer(serializers.Serializer[Any]):
    """Bytes [offset, offset + length) of the file, and where to PUT them within an hour."""

    number = serializers.IntegerField()
    offset = serializers.IntegerField()
    length = serializers.IntegerField()
    url = serializers.URLField()


class Bytes(BaseParser):
    """Leaves the body unread: the view streams it to the storage."""

    media_type = tus.PART

    def parse(self, stream: Any, media_type: Any = None, parser_context: Any = None) -> Any:
        """The stream itself."""
        return stream


class Resumable(APIView):
    """What both resources of the tus protocol do with every request and answer."""

    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
        """A sender whose network allows POST alone says in a header what it means."""
        request.method = tus.overridden(request) or request.method
        return super().dispatch(request, *args, **kwargs)

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        """Another version of the protocol is refused before anything is looked at."""
        tus.refuse_other_version(request)
        super().initial(request, *args, **kwargs)

    def get_permissions(self) -> Any:
        """Everybody may ask what the server can do."""
        return [] if self.request.method == "OPTIONS" else super().get_permissions()

    @extend_schema(exclude=True)
    def options(self, request: HttpRequest, *args: Any, **kwargs: Any) -> Response:
        """What the server can do, in headers."""
        open_now = (phase for phase in Phase.objects.all() if phase.is_open(now()))
        largest = max((phase.max_bytes for phase in open_now), default=0)
        return Response(status=status.HTTP_204_NO_CONTENT, headers=tus.abilities(largest))

    def finalize_response(self, request: Any, response: Any, *args: Any, **kwargs: Any) -> Any:
        """Each answer names the version, refusals too."""
        response = super().finalize_response(request, response, *args, **kwargs)
        response.headers["Tus-Resumable"] = tus.VERSION
        if response.status_code == status.HTTP_412_PRECONDITION_FAILED:
            response.headers["Tus-Version"] = tus.VERSION
        return response


class Uploads(Resumable, ListAPIView[Upload]):
    """Uploads of one's own teams."""

    serializer_class = UploadSerializer
    parser_classes = (JSONParser, Bytes)

    def get_queryset(self) -> Any:
        """Those that still hold bytes and wait to be sent or submitted."""
        if getattr(self, "swagger_fake_view", False):
            return Upload.objects.none()
        rows = Upload.objects.exclude(status=Upload.Status.EXPIRED).filter(submission=None)
        rows = rows.filter(team__in=Team.objects.of(asker(self.request)))
        return rows.select_related("team", "phase__challenge")

    @extend_schema(request=UploadRequest, responses={201: UploadSerializer, 200: UploadSerializer})
    def post(self, request: Request) -> Response:
        """Begin an upload.  Whatever would refuse the submission refuses it before byte one.

        200, and where it stands, if one of the same size and SHA-256 was begun already.  A tus
        client sends headers instead of JSON, and may send the first bytes along.
        """
        speaks_tus = tus.is_creation(request)
        asked = UploadRequest(data=tus.creation(request) if speaks_tus else request.data)
        asked.is_valid(raise_exception=True)
        wish, at = asked.validated_data, now()
        upload = uploads.begin(
            team=team_of(asker(request), wish["team"]), user=asker(request),
            phase=_phase(wish["challenge"], wish["phase"]), filename=wish["filename"],
            size=wish["size"], sha256=wish["sha256"], at=at,
        )  # fmt: skip
        if speaks_tus and is_part(request):
            _append(upload, request, offset=0)
        return self._begun(request, upload, new=speaks_tus or upload.created == at)

    def _begun(self, request: Request, upload: Upload, *, new: bool) -> Response:
        where = reverse("api-upload", args=[upload.pk])
        answer = UploadSerializer(upload).data
        headers = tus.state(upload, answer["offset"])
        headers["Location"] = request.build_absolute_uri(where)
        made = status.HTTP_201_CREATED if new else status.HTTP_200_OK
        return Response(answer, status=made, headers=headers)


OFFSET = OpenApiParameter(
    "Upload-Offset", int, OpenApiParameter.HEADER, description="Bytes the server has."
)
CHECKSUM = OpenApiParameter(
    "Upload-Checksum", str, OpenApiParameter.HEADER,
    description="An algorithm (sha1, sha256, md5, crc32), a space, the part's digest in base64.",
)  # fmt: skip


class OneUpload(Resumable):
    """One upload: how far it is, its next part, its end."""

    parser_classes = (Bytes,)

    @extend_schema(responses={200: UploadSerializer})
    def get(self, request: Request, key: str) -> Response:
        """How far it is: bytes received, bytes verified; and why, if it was removed."""
        upload = own_upload(request, key)
        answer = UploadSerializer(upload).data
        return Response(answer, headers=tus.state(upload, answer["offset"]))

    @extend_schema(exclude=True)
    def head(self, request: Request, key: str) -> Response:
        """The same in headers.  410: there is nothing to take up any more."""
        upload = own_upload(request, key)
        if upload.status == Upload.Status.EXPIRED:
            raise uploads.over(upload)
        headers = tus.state(upload, uploads.seen(upload))
        return Response(headers={**headers, "Upload-Metadata": tus.metadata_of(upload)})

    @extend_schema(
        request={Bytes.media_type: OpenApiTypes.BINARY}, parameters=[OFFSET, CHECKSUM],
        responses={204: None},
    )  # fmt: skip
    def patch(self, request: Request, key: str) -> Response:
        """Append a part at `Upload-Offset`; the answer carries the new one."""
        upload = own_upload(request, key)
        if not is_part(request):
            raise Refused("wrong_content_type", f"Send a part as {tus.PART}.", status=415)
        end = _append(upload, request, offset=tus.number(request, "Upload-Offset"))
        return Response(status=status.HTTP_204_NO_CONTENT, headers=tus.state(upload, end))

    @extend_schema(responses={204: None})
    def delete(self, request: Request, key: str) -> Response:
        """Discard it and its bytes."""
        uploads.discard(own_upload(request, key), by=asker(request))
        return Response(status=status.HTTP_204_NO_CONTENT)


class UploadParts(APIView):
    """Parts that may be put into the storage itself."""

    @extend_schema(responses=PartSerializer(many=True))
    def get(self, request: Request, key: str) -> Response:
        """The next parts that the storage lacks, at most 100; none when all are there."""
        upload = own_upload(request, key)
        found = storage.missing(upload, most=MOST_PARTS) if upload.status == "open" else []
        return Response(PartSerializer(found, many=True).data)


class FinishUpload(APIView):
    """The end of an upload."""

    @extend_schema(request=None, responses=UploadSerializer)
    def post(self, request: Request, key: str) -> Response:
        """All parts are sent.  Its digest is verified from now on; it can be submitted at once."""
        return Response(UploadSerializer(uploads.finish(own_upload(request, key))).data)


def is_part(request: Request) -> bool:
    """True if the body is bytes of a file."""
    return str(request.content_type).partition(";")[0] == tus.PART


def _append(upload: Upload, request: Request, *, offset: int) -> int:
    """The new offset.  Refused (400): the connection broke, which the sender will hardly read."""
    length = tus.number(request, "Content-Length")
    try:
        with arriving.body(request._request, silence_s=settings.UPLOAD_SILENCE_S) as stream:
            return uploads.write(
                upload, offset=offset, length=length, stream=stream,
                checksum=tus.checksum(request),
            )  # fmt: skip
    except UnreadablePostError as error:
        raise Refused(
            "cut_short", "The connection broke. Ask with HEAD and go on.", status=400
        ) from error


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
    return get_object_or_404(rows.select_related("team", "phase__challenge"), pk=key)


urlpatterns = [
    path("uploads/", Uploads.as_view(), name="api-uploads"),
    path("uploads/<uuid:key>/", OneUpload.as_view(), name="api-upload"),
    path("uploads/<uuid:key>/parts/", UploadParts.as_view(), name="api-upload-parts"),
    path("uploads/<uuid:key>/finish/", FinishUpload.as_view(), name="api-upload-finish"),
]
