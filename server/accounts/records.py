"""Read the record of what happened: filter it, write it as JSON Lines or CSV."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from typing import Any

import django_filters
from django.db.models import QuerySet
from django.http import StreamingHttpResponse

from server.accounts.models import AuditEvent

COLUMNS = ("number", "at", "actor", "kind", "key", "before", "after", "note", "digest")
FORMULA = ("=", "+", "-", "@", "\t", "\r")  # a spreadsheet would run a cell that begins so
TYPES = {"jsonl": "application/x-ndjson", "csv": "text/csv; charset=utf-8"}


class EventFilter(django_filters.FilterSet):  # type: ignore[misc]  # it has no types
    """Which events: of a kind, about a key, by a person, from and until a moment."""

    kind = django_filters.CharFilter()
    key = django_filters.CharFilter()
    actor = django_filters.CharFilter("actor_name", "iexact", help_text="An e-mail address.")
    since = django_filters.IsoDateTimeFilter("at", "gte")
    until = django_filters.IsoDateTimeFilter("at", "lt")

    class Meta:
        model = AuditEvent
        fields = ()


def as_row(event: AuditEvent) -> dict[str, Any]:
    """An event as it is shown and exported.  actor: an e-mail address; empty for the system."""
    row = {name: getattr(event, name) for name in COLUMNS if name not in ("at", "actor")}
    row |= {"at": event.at.isoformat(), "actor": event.actor_name}
    return {name: row[name] for name in COLUMNS}


def lines(events: QuerySet[AuditEvent], kind: str) -> Iterator[str]:
    """The text of an export, line by line.  kind: "jsonl" or "csv", which begins with a head."""
    if kind == "csv":
        yield _csv(COLUMNS)
    for event in events.iterator(1000):
        row = as_row(event)
        if kind == "csv":
            yield _csv(tuple(_harmless(value) for value in row.values()))
        else:
            yield json.dumps(row, ensure_ascii=False) + "\n"


def exported(events: QuerySet[AuditEvent], kind: str) -> StreamingHttpResponse:
    """An export as a file to download."""
    rows = events.order_by("number", "pk")
    answer = StreamingHttpResponse(lines(rows, kind), content_type=TYPES[kind])
    answer["Content-Disposition"] = f'attachment; filename="audit.{kind}"'
    return answer


def _csv(cells: tuple[Any, ...]) -> str:
    text = io.StringIO()
    csv.writer(text).writerow(cells)
    return text.getvalue()


def _harmless(value: Any) -> Any:
    """A cell that no spreadsheet takes for a formula."""
    return f"'{value}" if isinstance(value, str) and value.startswith(FORMULA) else value
