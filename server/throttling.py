"""How often one may ask, told with each answer of the API.

`RateLimit-Limit` is the number of requests in a minute, `RateLimit-Remaining` how many of them are
left, `RateLimit-Reset` the seconds until one more is free.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from django.http import HttpRequest, HttpResponseBase
from rest_framework.request import Request
from rest_framework.throttling import (
    AnonRateThrottle,
    ScopedRateThrottle,
    SimpleRateThrottle,
    UserRateThrottle,
)

HEADERS = ("RateLimit-Limit", "RateLimit-Remaining", "RateLimit-Reset")
NUMBERS = "crista.rate"  # in a request's META


class _Told(SimpleRateThrottle):
    """Leaves its numbers on the request, where `RateHeaders` finds them."""

    num_requests: int
    duration: int  # seconds

    def allow_request(self, request: Request, view: Any) -> bool:
        """As the framework decides."""
        allowed = bool(super().allow_request(request, view))
        if hasattr(self, "history"):  # not where it does not concern this request
            _tell(request._request, self._numbers())
        return allowed

    def _numbers(self) -> tuple[int, int, int]:
        """Limit, remaining, seconds until the oldest request counts no more."""
        oldest = self.history[-1] if self.history else self.now
        left = max(0, self.num_requests - len(self.history))
        return self.num_requests, left, math.ceil(self.duration - (self.now - oldest))


class VisitorRate(_Told, AnonRateThrottle):
    """Of those who are not logged in, by their address."""


class PersonRate(_Told, UserRateThrottle):
    """Of a person, whatever token they use."""


class NamedRate(_Told, ScopedRateThrottle):
    """Of a view with a `throttle_scope` of its own."""


class RateHeaders:
    """Middleware: the numbers of the throttle that leaves least become headers of the answer."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        response = self.get_response(request)
        for name, number in zip(HEADERS, request.META.get(NUMBERS, ()), strict=False):
            response.headers[name] = str(number)
        return response


def _tell(request: HttpRequest, numbers: tuple[int, int, int]) -> None:
    before = request.META.get(NUMBERS)
    if before is None or numbers[1] < before[1]:
        request.META[NUMBERS] = numbers
