"""A request that is sent twice is carried out once: `Idempotency-Key` on any POST of the API.

What a request changes and the answer that is kept for it commit in one transaction.  So a repeat
finds either both, and gets the same answer again, or neither, and is carried out.  Refusals change
nothing and are not kept: after one, the same key may try again.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from datetime import datetime, timedelta

from django.db import transaction
from django.http import HttpRequest, HttpResponse, HttpResponseBase, UnreadablePostError
from django.utils.timezone import now
from rest_framework.exceptions import AuthenticationFailed
from rest_framework.request import Request

from server.accounts.models import Answered, User
from server.api import TokenAuthentication, problem_page
from server.errors import Refused
from server.throttling import PersonRate

HEADER = "Idempotency-Key"
REPLAYED = "Idempotent-Replayed"
KEPT = timedelta(hours=24)
MAX_BODY = 2**20  # bytes
MAX_KEY = 200
MEANT = ("Content-Type", "Upload-Length", "Upload-Metadata")  # headers that say what is asked

Answer = Callable[[HttpRequest], HttpResponseBase]


class Once:
    """Middleware, the innermost: answers a repeated POST as it was answered the first time."""

    def __init__(self, get_response: Answer) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        key = request.headers.get(HEADER)
        if key is None or request.method != "POST" or not request.path.startswith("/api/"):
            return self.get_response(request)
        user = _asker(request)
        if user is None:  # who asks for a token, or may not ask at all: the view says which
            return self.get_response(request)
        try:
            return _answer(request, user, _sound(key), self.get_response)
        except Refused as refusal:
            return problem_page(refusal)


def forget(*, at: datetime) -> int:
    """Remove the answers that need not be kept any longer; how many."""
    return Answered.objects.filter(created__lt=at - KEPT).delete()[0]


def _answer(request: HttpRequest, user: User, key: str, view: Answer) -> HttpResponseBase:
    """The kept answer, or the view's.  Refused: the key is another request's, or under way."""
    asked = _digest(request)
    rows = Answered.objects.filter(user=user, key=key)
    rows.filter(created__lt=now() - KEPT).delete()
    Answered.objects.get_or_create(user=user, key=key, defaults={"asked": asked})
    with transaction.atomic():  # holds the row: a twin finds it locked
        row = rows.select_for_update(skip_locked=True).first()
        if row is None:
            raise Refused(
                "under_way",
                f"The first request with this {HEADER} is still being carried out. Repeat it in a "
                "few seconds.",
            )
        if row.asked != asked:
            raise Refused(
                "key_reused",
                f"This {HEADER} belongs to another request of yours. Make a new key for each thing "
                "that is to happen, and repeat a key only with the very same request.",
                status=422,
            )
        if row.status:
            return _replay(row, request, user)
        response = view(request)
        kept = 200 <= response.status_code < 300
        if kept:
            _keep(row, request, response)
        transaction.set_rollback(response.status_code >= 500)
    if not kept:
        row.delete()
    return response


def _keep(row: Answered, request: HttpRequest, response: HttpResponseBase) -> None:
    """Remember an answer; of one that shows a secret, only that it was given."""
    row.status = response.status_code
    view = getattr(request.resolver_match, "func", None)
    secret = getattr(getattr(view, "cls", None), "secret_answer", False)
    if isinstance(response, HttpResponse) and not secret:
        row.body = {"headers": dict(response.headers), "text": response.content.decode()}
    row.save(update_fields=["status", "body"])


def _replay(row: Answered, request: HttpRequest, user: User) -> HttpResponse:
    """The kept answer.  Refused: its secret was shown once; or too many requests."""
    throttle, again = PersonRate(), Request(request)
    again.user = user
    if not throttle.allow_request(again, None):
        raise Refused("throttled", "Too many requests. Wait a little and try again.", status=429)
    if row.body is None:
        raise Refused(
            "answered_once",
            f"This was done on {row.created:%d %B %Y at %H:%M UTC}, and its answer held a secret "
            "that is shown once. If you have lost it, revoke it and ask with a new key.",
        )
    answer = HttpResponse(row.body["text"], status=row.status, headers=row.body["headers"])
    answer.headers[REPLAYED] = "true"
    return answer


def _asker(request: HttpRequest) -> User | None:
    try:
        known = TokenAuthentication().authenticate(request)
    except AuthenticationFailed:
        return None
    user = known[0] if known else request.user
    return user if isinstance(user, User) else None


def _sound(key: str) -> str:
    if not 0 < len(key) <= MAX_KEY or not key.isascii() or not key.isprintable():
        raise Refused(
            "bad_key", f"{HEADER} takes 1 to {MAX_KEY} printable ASCII characters.", status=400
        )
    return key


def _digest(request: HttpRequest) -> str:
    """SHA-256 of all that says what is asked.  Refused: more than may be held in memory."""
    try:
        size = int(request.headers.get("Content-Length") or 0)
        if size > MAX_BODY:
            raise Refused(
                "too_long_to_repeat",
                f"With {HEADER} a body has at most {MAX_BODY} bytes. Send this one without it.",
                status=413,
            )
        body = request.body
    except (ValueError, UnreadablePostError) as error:
        raise Refused("cut_short", "The connection broke. Send it again.", status=400) from error
    told = [request.method or "", request.get_full_path()]
    told += [request.headers.get(name, "") for name in MEANT]
    return hashlib.sha256("\n".join(told).encode() + b"\n" + body).hexdigest()
