"""Pages about the codes of problems: what one means, why it comes, what to do.

They are `docs/problems/<code>.md`, written once for the site and for whoever reads the sources.
"""

from __future__ import annotations

import re

from django.conf import settings
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import path
from django.views.decorators.http import require_safe

from server import scoring

FOLDER = settings.BASE_DIR / "docs" / "problems"
TITLE = re.compile(r"\A# (.+)\n")
TO_OTHERS = re.compile(r"\]\((\w+)\.md\)")


@require_safe
def index(request: HttpRequest) -> HttpResponse:
    """All codes with their meaning, by who has to act."""
    return render(request, "problems/index.html", {"entries": scoring.catalogue()})


@require_safe
def problem(request: HttpRequest, code: str) -> HttpResponse:
    """What one code means."""
    entry = scoring.catalogue().get(code)
    if entry is None:
        raise Http404
    text = (FOLDER / f"{code}.md").read_text("utf-8")
    found = TITLE.match(text)
    body = TO_OTHERS.sub(r"](../\1/)", text[found.end() :] if found else text)
    title = found[1] if found else code
    return render(request, "problems/problem.html", {"code": code, "title": title, "text": body})


urlpatterns = [
    path("problems/", index, name="problems"),
    path("problems/<slug:code>/", problem, name="problem"),
]
