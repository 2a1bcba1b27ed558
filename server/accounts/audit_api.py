"""The record of what happened, for organisers and their scripts."""

from __future__ import annotations

from typing import Any

from django.http import StreamingHttpResponse
from django.urls import path
from django_filters.rest_framework import DjangoFilterBackend
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.generics import GenericAPIView, ListAPIView
from rest_framework.request import Request

from server.accounts import audit
from server.accounts.models import AuditEvent
from server.accounts.records import EventFilter, exported
from server.api import Organising


class EventSerializer(serializers.ModelSerializer[AuditEvent]):
    """An event.  actor: an e-mail address, empty for the system.  number, digest: once sealed."""

    actor = serializers.CharField(source="actor_name", read_only=True)

    class Meta:
        model = AuditEvent
        fields = ("number", "at", "actor", "kind", "key", "before", "after", "note", "digest")


class Events(ListAPIView[AuditEvent]):
    """Who changed what, newest first."""

    permission_classes = (Organising,)
    serializer_class = EventSerializer
    filter_backends = (DjangoFilterBackend,)
    filterset_class = EventFilter
    queryset = AuditEvent.objects.all()


class EventLines(GenericAPIView[AuditEvent]):
    """The same as one file in the order of the chain, as JSON Lines."""

    permission_classes = (Organising,)
    filter_backends = (DjangoFilterBackend,)
    filterset_class = EventFilter
    queryset = AuditEvent.objects.all()
    kind = "jsonl"

    @extend_schema(responses={(200, "application/x-ndjson"): OpenApiTypes.STR})
    def get(self, request: Request) -> StreamingHttpResponse:
        """All events, or those that were asked for."""
        audit.seal()
        rows: Any = self.filter_queryset(audit.chain())
        return exported(rows, self.kind)


class EventTable(EventLines):
    """The same as CSV."""

    kind = "csv"

    @extend_schema(responses={(200, "text/csv"): OpenApiTypes.STR})
    def get(self, request: Request) -> StreamingHttpResponse:
        """All events, or those that were asked for."""
        return super().get(request)


urlpatterns = [
    path("audit/", Events.as_view(), name="api-audit"),
    path("audit.jsonl", EventLines.as_view(), name="api-audit-lines"),
    path("audit.csv", EventTable.as_view(), name="api-audit-table"),
]
