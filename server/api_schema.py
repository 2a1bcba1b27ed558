"""What all addresses of the API have in common, said once in its OpenAPI description.

How each refuses, what its answers tell of the throttle, and that a POST may be repeated.
"""

from __future__ import annotations

from typing import Any

from drf_spectacular.openapi import AutoSchema
from rest_framework.permissions import SAFE_METHODS

from server.api import PROBLEM, OpenToRead
from server.idempotency import HEADER, MAX_KEY, REPLAYED

REFUSALS = {
    "400": "The request has mistakes; `errors` names them by field.",
    "401": "Nobody is logged in, or the token is wrong or has expired.",
    "403": "The asker may not do that.",
    "404": "There is nothing that the asker may see.",
    "409": "A rule, or the state things are in, says no.",
    "413": "The body is longer than may be.",
    "415": "This Content-Type is not taken here.",
    "422": "The Idempotency-Key belongs to another request.",
    "429": "Too many requests; `Retry-After` tells how many seconds to wait.",
    "default": "Any other refusal, or a mistake of ours.",
}
PROBLEM_SCHEMA = {
    "type": "object",
    "description": "Why a request was refused (RFC 9457).",
    "required": ["type", "title", "status", "detail", "code"],
    "properties": {
        "type": {"type": "string", "description": "about:blank: `code` tells which."},
        "title": {"type": "string", "description": "The status in words."},
        "status": {"type": "integer"},
        "detail": {"type": "string", "description": "What is so, and what to do next."},
        "code": {"type": "string", "description": "A word that scripts can rely on."},
        "errors": {"description": "Mistakes by field, where the request has some."},
    },
}
KEY_PARAMETER = {
    "name": HEADER,
    "in": "header",
    "required": False,
    "schema": {"type": "string", "minLength": 1, "maxLength": MAX_KEY, "pattern": "^[ -~]+$"},
    "description": "Any text of your own, such as a UUID. The same request with the same key is "
    "carried out once; for 24 hours a repeat gets the first answer again, marked "
    f"`{REPLAYED}: true`.",
}
RATES = {
    "RateLimit-Limit": "Requests that may be made in a minute.",
    "RateLimit-Remaining": "How many of them are left.",
    "RateLimit-Reset": "Seconds until one more is free.",
}


class Described(AutoSchema):
    """What is open to everybody is described so."""

    def get_auth(self) -> list[dict[str, Any]]:
        """The ways to say who asks; {} means that nobody need say it."""
        ways = list(super().get_auth())
        read = self.method in SAFE_METHODS and OpenToRead in self.view.permission_classes
        return [*ways, {}] if read else ways


def complete(result: dict[str, Any], **_: Any) -> dict[str, Any]:
    """The generated description with what all its operations share."""
    parts = result.setdefault("components", {})
    parts.setdefault("schemas", {})["Problem"] = PROBLEM_SCHEMA
    parts["headers"] = {
        name: {"description": text, "schema": {"type": "integer"}} for name, text in RATES.items()
    }
    parts["responses"] = {_name(status): _problem(text) for status, text in REFUSALS.items()}
    for path in result["paths"].values():
        for method, operation in path.items():
            _complete(operation, method)
    return result


def _complete(operation: dict[str, Any], method: str) -> None:
    if method == "post":
        operation.setdefault("parameters", []).append(KEY_PARAMETER)
    answers = operation["responses"]
    for answer in answers.values():
        answer["headers"] = answer.get("headers", {}) | _rates()
    for status in _refusals(operation, method):
        answers.setdefault(status, {"$ref": f"#/components/responses/{_name(status)}"})


def _refusals(operation: dict[str, Any], method: str) -> list[str]:
    """The statuses that an operation may refuse with."""
    found = {"429", "default"}
    places = {parameter["in"] for parameter in operation.get("parameters", [])}
    found |= {"404"} if "path" in places else set()
    found |= {"400"} if "query" in places else set()
    found |= {"401", "403"} if {} not in operation.get("security", [{}]) else set()
    if method != "get":
        found |= {"400", "401", "409", "413", "415"}
    return sorted(found | ({"422"} if method == "post" else set()))


def _name(status: str) -> str:
    return f"Problem{status.removeprefix('default')}"


def _rates() -> dict[str, Any]:
    return {name: {"$ref": f"#/components/headers/{name}"} for name in RATES}


def _problem(text: str) -> dict[str, Any]:
    schema = {"$ref": "#/components/schemas/Problem"}
    answer = {"description": text, "content": {PROBLEM: {"schema": schema}}}
    return answer | {"headers": _rates()}
