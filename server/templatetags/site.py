"""What pages say in more than one place: times, scores, bars, states, Markdown."""

from __future__ import annotations

import re
from datetime import datetime

import markdown
import nh3
from django import template
from django.conf import settings
from django.utils import timezone
from django.utils.formats import date_format
from django.utils.html import escape, format_html
from django.utils.safestring import SafeString, mark_safe

register = template.Library()

CHIPS = {
    "received": "wait",
    "checking": "run",
    "queued": "wait",
    "scoring": "run",
    "scored": "ok",
    "rejected": "bad",
    "failed": "bad",
}
NO_SCORE = "–"
CODE = re.compile(r"`([^`]+)`")


@register.simple_tag
def site_name() -> str:
    """The name of this site."""
    return settings.SITE_NAME


@register.simple_tag
def site_url() -> str:
    """The address people use, without a slash at the end."""
    return settings.SITE_URL


@register.simple_tag
def when(at: datetime | None, style: str = "j M Y, H:i") -> str:
    """A moment in UTC, readable by people and by programs; empty for None."""
    if at is None:
        return ""
    at = timezone.localtime(at, timezone.get_default_timezone())
    zone = " UTC" if "H" in style else ""
    return format_html(
        '<time datetime="{}">{}{}</time>', at.isoformat(), date_format(at, style), zone
    )


@register.filter
def score(value: float | None) -> str:
    """Three decimals; a dash if there is no score, or none to be shown."""
    return NO_SCORE if value is None else f"{value:.3f}"


@register.simple_tag
def score_bar(value: float | None, low: float | None = None, high: float | None = None) -> str:
    """A score in [0, 1] as a bar, with a line from low to high if an interval is known.

    The number stands beside it in text, so readers of the page's words are told nothing twice.
    Empty for None.
    """
    if value is None:
        return ""
    interval = "" if low is None or high is None else _interval(low, high)
    return format_html(
        '<svg class="bar" viewBox="0 0 100 8" preserveAspectRatio="none" aria-hidden="true">'
        '<rect class="track" y="1" width="100" height="6"/>'
        '<rect class="fill" y="1" width="{}" height="6"/>{}</svg>',
        _percent(value),
        interval,
    )


def _interval(low: float, high: float) -> SafeString:
    return format_html(
        '<path class="range" d="M{0} 4H{1}M{0} 1V7M{1} 1V7"/>', _percent(low), _percent(high)
    )


def _percent(value: float) -> str:
    return f"{100 * min(max(value, 0.0), 1.0):.2f}"


@register.filter
def sentence(text: str) -> SafeString:
    """A sentence of ours with its `commands` set as code; everything in it is escaped first."""
    return mark_safe(CODE.sub(r"<code>\1</code>", escape(text)))


@register.simple_tag
def chip(status: str, label: str = "") -> str:
    """A state as a small coloured word; the colour repeats what the word says."""
    return format_html('<span class="chip {}">{}</span>', CHIPS.get(status, ""), label or status)


@register.filter(name="markdown")
def render_markdown(text: str) -> SafeString:
    """HTML from an organiser's Markdown, without scripts, styles, frames or event handlers.

    Headings begin at the second level: the page has its own first one.
    """
    extensions = ["tables", "fenced_code", "sane_lists", "toc"]
    html = markdown.markdown(
        text, extensions=extensions, extension_configs={"toc": {"baselevel": 2}}
    )
    return mark_safe(nh3.clean(html, url_schemes={"http", "https", "mailto"}))
