"""How the API knows who asks, and how it says no: problem details with a code and a next step.

The framework loads this module while it loads its own views, so nothing here may import those.
"""

from __future__ import annotations

from datetime import timedelta
from http import HTTPStatus
from typing import Any, cast

from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBase, JsonResponse
from django.utils.timezone import now
from django.views import defaults
from rest_framework import exceptions
from rest_framework.authentication import BaseAuthentication, SessionAuthentication
from rest_framework.pagination import PageNumberPagination
from rest_framework.permissions import SAFE_METHODS, BasePermission
from rest_framework.request import Request
from rest_framework.response import Response

from server.accounts.models import Scope, Token, User
from server.errors import Refused

PROBLEM = "application/problem+json"
OTHER_TITLES = {460: "Checksum Mismatch"}  # of resumable uploads; no general status
SENTENCES = {
    "not_authenticated": "You are not logged in. Send a token as `Authorization: Bearer …`, or log "
    "in on the site; `evaluator login` makes a token.",
    "not_found": "There is nothing here that you may see. Check the address, and whether you are "
    "logged in as a member of the right team.",
    "throttled": "Too many requests. Wait a little and try again.",
    "parse_error": "The body is not JSON. Send JSON with `Content-Type: application/json`.",
    "unsupported_media_type": "This address does not take that Content-Type. Send JSON, or bytes "
    "as `application/offset+octet-stream` when you upload.",
}


class TokenAuthentication(BaseAuthentication):
    """`Authorization: Bearer crista_…`."""

    def authenticate(self, request: Request | HttpRequest) -> tuple[User, Token] | None:
        """The token's owner; None if the header names no token at all."""
        kind, _, text = request.headers.get("Authorization", "").partition(" ")
        if kind.lower() != "bearer":
            return None
        digest = Token.digest_of(text.strip())
        token = Token.objects.select_related("user").filter(digest=digest).first()
        if token is None or not token.user.is_active:
            raise _Unauthorised(
                "wrong_token",
                "This token is not known here: it was mistyped, revoked, or belongs to another "
                "server. Make a new one with `evaluator login`.",
            )
        if token.expires <= now():
            raise _Unauthorised(
                "expired_token",
                f"This token expired on {token.expires:%d %B %Y}. Make a new one with "
                "`evaluator login`.",
            )
        if token.last_used is None or now() - token.last_used > timedelta(minutes=1):
            Token.objects.filter(pk=token.pk).update(last_used=now())
        return token.user, token

    def authenticate_header(self, request: Request) -> str:
        """Makes refusals 401, not 403."""
        return "Bearer"


class SiteSession(SessionAuthentication):
    """The site's own log-in, with its protection against forged requests."""


class WithinScope(BasePermission):
    """Somebody asks, and the token (if it is one) may read, or may submit."""

    code = "outside_scope"
    message = (
        "This token may not do that. Make one that may read and submit with `evaluator login`."
    )

    def has_permission(self, request: Request, view: Any) -> bool:
        """True for a session; a token needs the scope that the method asks for."""
        if not request.user.is_authenticated:
            return False
        scope = Scope.READ if request.method in SAFE_METHODS else Scope.SUBMIT
        return not isinstance(request.auth, Token) or request.auth.allows(scope)


class OpenToRead(WithinScope):
    """Everybody may read."""

    def has_permission(self, request: Request, view: Any) -> bool:
        """True for reading; the rest as `WithinScope`."""
        if request.method in SAFE_METHODS and not isinstance(request.auth, Token):
            return True
        return super().has_permission(request, view)


class Organising(WithinScope):
    """Organisers only, and a token only if it may organise."""

    message = (
        "Only organisers may do that, and a token only with the scope `organise`. Log in as one on "
        "the site, or make such a token there."
    )

    def has_permission(self, request: Request, view: Any) -> bool:
        """True for staff; reading takes the scope `organise` too."""
        if not request.user.is_authenticated or not request.user.is_staff:
            return False
        return not isinstance(request.auth, Token) or request.auth.allows(Scope.ORGANISE)


def asker(request: Request) -> User:
    """Who asks.  Only for views whose permissions have made sure that it is a person."""
    return cast(User, request.user)


class Pages(PageNumberPagination):
    """Lists come in pages of 50: {"count", "next", "previous", "results"}."""

    page_size = 50
    page_size_query_param = "page_size"
    max_page_size = 500


class _Unauthorised(exceptions.AuthenticationFailed):
    def __init__(self, code: str, sentence: str) -> None:
        super().__init__(sentence, code)


def problem(status: int, code: str, sentence: str, **more: Any) -> dict[str, Any]:
    """A problem-details document.  code: a word for scripts.  sentence: what to do next, too."""
    title = OTHER_TITLES.get(status) or HTTPStatus(status).phrase
    detail = {"type": "about:blank", "title": title, "status": status}
    return detail | {"detail": sentence, "code": code} | more


def problem_page(refusal: Refused) -> JsonResponse:
    """A refusal from outside the framework's views."""
    body = problem(refusal.status, refusal.code, refusal.sentence)
    return JsonResponse(body, status=refusal.status, content_type=PROBLEM)


def problem_response(error: Exception, context: dict[str, Any]) -> Response | None:
    """Any refusal as problem details; None for a mistake of ours, which must be seen."""
    if isinstance(error, Refused):
        body = problem(error.status, error.code, error.sentence)
        return Response(body, status=error.status, content_type=PROBLEM)
    if isinstance(error, Http404):
        error = exceptions.NotFound()
    elif isinstance(error, PermissionDenied):
        error = exceptions.PermissionDenied()
    if not isinstance(error, exceptions.APIException):
        return None
    headers = {}
    if challenge := getattr(error, "auth_header", None):
        headers["WWW-Authenticate"] = challenge
    if (wait := getattr(error, "wait", None)) is not None:
        headers["Retry-After"] = str(max(1, round(wait)))
    body = _described(error)
    return Response(body, status=error.status_code, headers=headers, content_type=PROBLEM)


def _described(error: exceptions.APIException) -> dict[str, Any]:
    if isinstance(error, exceptions.ValidationError):
        sentence = f"The request has mistakes: {'; '.join(_mistakes(error.detail))}. Mend them."
        return problem(400, "invalid", sentence, errors=error.detail)
    codes = error.get_codes()
    code = codes if isinstance(codes, str) else error.default_code
    return problem(error.status_code, code, SENTENCES.get(code, str(error.detail)))


def _mistakes(detail: Any, field: str = "") -> list[str]:
    """`size: must be at least 1` for each mistake, however deep it lies."""
    if isinstance(detail, dict):
        return [text for key, value in detail.items() for text in _mistakes(value, key)]
    if isinstance(detail, list):
        return [text for value in detail for text in _mistakes(value, field)]
    text = str(detail).rstrip(".")
    return [f"{field}: {text}" if field and field != "non_field_errors" else text]


def not_found(request: HttpRequest, exception: Exception) -> HttpResponseBase:
    """404: problem details below /api/, a page elsewhere."""
    if request.path.startswith("/api/"):
        body = problem(404, "not_found", SENTENCES["not_found"])
        return JsonResponse(body, status=404, content_type=PROBLEM)
    return defaults.page_not_found(request, exception)


def broken(request: HttpRequest) -> HttpResponse:
    """500: the same for a mistake of ours; the log has the rest."""
    if request.path.startswith("/api/"):
        sentence = "Something broke on our side, and it is in our log. Try again in a minute."
        body = problem(500, "broken", sentence)
        return JsonResponse(body, status=500, content_type=PROBLEM)
    return defaults.server_error(request)
