"""Is the site there, and can it do its work?  For load balancers and for people."""

from __future__ import annotations

import shutil

from django.conf import settings
from django.db import OperationalError, connection
from django.http import HttpRequest, JsonResponse
from django.views.decorators.http import require_safe

from server import queue


@require_safe
def alive(request: HttpRequest) -> JsonResponse:
    """200 while the process answers at all."""
    return JsonResponse({"status": "alive"})


@require_safe
def ready(request: HttpRequest) -> JsonResponse:
    """200 if the database answers.  Without the queue the site works, and scoring waits."""
    database = _database_answers()
    state = {
        "database": database,
        "queue": queue.is_reachable(),
        "free_bytes": shutil.disk_usage(settings.STATE_DIR).free,
    }
    return JsonResponse(state, status=200 if database else 503)


def _database_answers() -> bool:
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
    except OperationalError:
        return False
    return True
