"""Notices and webhooks over HTTP."""

from __future__ import annotations

from typing import Any

from django.shortcuts import get_object_or_404
from django.urls import path
from django.utils.timezone import now
from drf_spectacular.utils import extend_schema
from rest_framework import serializers, status
from rest_framework.exceptions import PermissionDenied
from rest_framework.generics import GenericAPIView, ListAPIView
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from server.accounts.models import Scope, Token
from server.accounts.teams import team_of
from server.api import asker
from server.notices import muting, webhooks
from server.notices.models import Delivery, Receipt, Webhook


class NoticeSerializer(serializers.ModelSerializer[Receipt]):
    """What happened, and whether its reader has seen it."""

    kind = serializers.ChoiceField(source="notice.kind", choices=muting.CHOICES)
    team = serializers.SlugField(source="notice.team.slug", allow_null=True, default=None)
    subject = serializers.CharField(source="notice.subject")
    text = serializers.CharField(source="notice.text")
    url = serializers.SerializerMethodField()
    facts = serializers.DictField(source="notice.facts")
    created = serializers.DateTimeField(source="notice.created")

    class Meta:
        model = Receipt
        fields = ("id", "kind", "team", "subject", "text", "url", "facts", "created", "read")

    def get_url(self, receipt: Receipt) -> str:
        """The page about it."""
        return str(self.context["request"].build_absolute_uri(receipt.notice.path))


class WantedNotices(serializers.Serializer[Any]):
    """Which notices a list is to hold."""

    unread = serializers.BooleanField(required=False, default=False)


class SeenNotices(serializers.Serializer[Any]):
    """Notices that have been seen; all of them if none are named."""

    ids = serializers.ListField(
        child=serializers.IntegerField(min_value=1, max_value=2**63 - 1), required=False,
        max_length=1000,
    )  # fmt: skip


class Unread(serializers.Serializer[Any]):
    """How many have not been seen."""

    unread = serializers.IntegerField()


class Mails(serializers.Serializer[Any]):
    """Kinds that send no e-mail; they appear on the site all the same."""

    muted = serializers.ListField(child=serializers.ChoiceField(choices=muting.CHOICES))


class WebhookRequest(serializers.Serializer[Any]):
    """Where to post.  team: one of the asker's own; organisers: the organisers' webhook instead.

    kinds: which notices; none named: all.
    """

    url = serializers.CharField(max_length=500)
    team = serializers.SlugField(required=False, allow_blank=True, default="")
    organisers = serializers.BooleanField(required=False, default=False)
    kinds = serializers.ListField(
        child=serializers.ChoiceField(choices=muting.CHOICES), required=False, default=list
    )


class WebhookSerializer(serializers.ModelSerializer[Webhook]):
    """A webhook.  team: null for one of the organisers'."""

    team = serializers.SlugField(source="team.slug", allow_null=True, default=None)
    kinds = serializers.ListField(child=serializers.CharField())

    class Meta:
        model = Webhook
        fields = ("id", "team", "url", "kinds", "created")


class NewWebhook(WebhookSerializer):
    """The same with its secret, which is shown this once."""

    secret = serializers.CharField()

    class Meta:
        model = Webhook
        fields = (*WebhookSerializer.Meta.fields, "secret")


class DeliverySerializer(serializers.ModelSerializer[Delivery]):
    """One notice on its way to a webhook.  answer: what came back last.  due: the next try."""

    kind = serializers.CharField(source="notice.kind")
    subject = serializers.CharField(source="notice.subject")

    class Meta:
        model = Delivery
        fields = ("id", "kind", "subject", "status", "attempts", "answer", "changed", "due")


class Notices(GenericAPIView[Receipt]):
    """What happened."""

    serializer_class = NoticeSerializer

    @extend_schema(operation_id="notices_list", parameters=[WantedNotices],
                   responses=NoticeSerializer(many=True))  # fmt: skip
    def get(self, request: Request) -> Response:
        """One's own, newest first."""
        asked = WantedNotices(data=request.query_params)
        asked.is_valid(raise_exception=True)
        rows = Receipt.objects.of(request.user).select_related("notice__team")
        rows = rows.unread() if asked.validated_data["unread"] else rows
        page = self.get_serializer(self.paginate_queryset(rows), many=True)
        return self.get_paginated_response(page.data)


class ReadNotices(APIView):
    """Notices that have been seen."""

    @extend_schema(request=SeenNotices, responses=Unread)
    def post(self, request: Request) -> Response:
        """Count these as read; how many are left."""
        asked = SeenNotices(data=request.data)
        asked.is_valid(raise_exception=True)
        mine = Receipt.objects.of(request.user).unread()
        named = asked.validated_data.get("ids")
        (mine if named is None else mine.filter(pk__in=named)).update(read=now())
        return Response({"unread": mine.all().count()})


class NoticeMails(APIView):
    """Which notices come by e-mail."""

    @extend_schema(responses=Mails)
    def get(self, request: Request) -> Response:
        """The kinds that do not."""
        return Response({"muted": muting.muted(asker(request))})

    @extend_schema(request=Mails, responses=Mails)
    def put(self, request: Request) -> Response:
        """Exactly these kinds do not, from now on."""
        asked = Mails(data=request.data)
        asked.is_valid(raise_exception=True)
        muting.mute(asker(request), asked.validated_data["muted"])
        return self.get(request)


class Webhooks(GenericAPIView[Webhook]):
    """Webhooks that the asker manages."""

    serializer_class = WebhookSerializer
    secret_answer = True

    @extend_schema(operation_id="webhooks_list", responses=WebhookSerializer(many=True))
    def get(self, request: Request) -> Response:
        """Of the teams one owns, and for organisers theirs."""
        page = self.paginate_queryset(webhooks.managed(asker(request)).order_by("pk"))
        return self.get_paginated_response(self.get_serializer(page, many=True).data)

    @extend_schema(request=WebhookRequest, responses={201: NewWebhook})
    def post(self, request: Request) -> Response:
        """A new one.  Its secret signs what is posted, and is shown in this answer alone."""
        asked = WebhookRequest(data=request.data)
        asked.is_valid(raise_exception=True)
        wish, user = asked.validated_data, asker(request)
        if wish["organisers"]:
            _must_organise(request)
        team = None if wish["organisers"] else team_of(user, wish["team"])
        hook = webhooks.add(user, team=team, url=wish["url"], kinds=wish["kinds"])
        return Response(NewWebhook(hook).data, status=status.HTTP_201_CREATED)


class OneWebhook(APIView):
    """One webhook."""

    @extend_schema(responses=WebhookSerializer)
    def get(self, request: Request, key: int) -> Response:
        """Where it goes, and what it is told."""
        return Response(WebhookSerializer(_managed(request, key)).data)

    @extend_schema(responses={204: None})
    def delete(self, request: Request, key: int) -> Response:
        """Post nothing there any more."""
        webhooks.remove(_managed(request, key, change=True), by=asker(request))
        return Response(status=status.HTTP_204_NO_CONTENT)


class WebhookDeliveries(ListAPIView[Delivery]):
    """What was posted to a webhook, and what came back; newest first."""

    serializer_class = DeliverySerializer

    def get_queryset(self) -> Any:
        """Those of one webhook."""
        if getattr(self, "swagger_fake_view", False):
            return Delivery.objects.none()
        hook = _managed(self.request, self.kwargs["key"])
        return hook.deliveries.select_related("notice").order_by("-changed", "pk")


class TryWebhook(APIView):
    """Whether a webhook works."""

    @extend_schema(request=None, responses={202: DeliverySerializer})
    def post(self, request: Request, key: int) -> Response:
        """Post a test to it; its deliveries tell what came back."""
        delivery = webhooks.try_out(_managed(request, key, change=True))
        return Response(DeliverySerializer(delivery).data, status=status.HTTP_202_ACCEPTED)


def _managed(request: Request, key: int, *, change: bool = False) -> Webhook:
    """One that the asker manages; whatever else looks as if it did not exist."""
    hook = get_object_or_404(webhooks.managed(asker(request)), pk=key)
    if change and hook.team is None:
        _must_organise(request)
    return hook


def _must_organise(request: Request) -> None:
    if isinstance(request.auth, Token) and not request.auth.allows(Scope.ORGANISE):
        raise PermissionDenied


urlpatterns = [
    path("notices/", Notices.as_view(), name="api-notices"),
    path("notices/read/", ReadNotices.as_view(), name="api-notices-read"),
    path("notices/mails/", NoticeMails.as_view(), name="api-notices-mails"),
    path("webhooks/", Webhooks.as_view(), name="api-webhooks"),
    path("webhooks/<int:key>/", OneWebhook.as_view(), name="api-webhook"),
    path("webhooks/<int:key>/deliveries/", WebhookDeliveries.as_view(), name="api-deliveries"),
    path("webhooks/<int:key>/test/", TryWebhook.as_view(), name="api-webhook-test"),
]
