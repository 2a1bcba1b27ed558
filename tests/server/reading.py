"""Read pages as people of all kinds do, and find what no page may have."""

from __future__ import annotations

import re
from html.parser import HTMLParser

from django.test import Client

from server.accounts.models import User


def signed_in(user: User) -> Client:
    """A browser in which somebody has logged in."""
    client = Client()
    client.force_login(user)
    return client


def text_of(answer, *, status: int = 200) -> str:
    """A page's HTML, which is well made and within the content policy."""
    assert answer.status_code == status
    html = answer.content.decode()
    assert not faults(html), faults(html)
    return html


def faults(html: str) -> list[str]:
    """What the content policy or a reader with a screen reader would stumble over."""
    reader = _Reader()
    reader.feed(html)
    found = list(reader.faults)
    if reader.headings.count("h1") > 1 or ("<body" in html and "h1" not in reader.headings):
        found.append(f"{reader.headings.count('h1')} first headings")
    doubles = {name for name in reader.ids if reader.ids.count(name) > 1}
    found += [f"id {name} twice" for name in sorted(doubles)]
    found += [f"label for missing {name}" for name in reader.labelled - set(reader.ids)]
    found += [f"aria points to missing {name}" for name in reader.pointed - set(reader.ids)]
    found += [f"field {name} without label" for name in sorted(reader.fields - reader.labelled)]
    return found


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.faults: list[str] = []
        self.headings: list[str] = []
        self.ids: list[str] = []
        self.labelled: set[str] = set()
        self.pointed: set[str] = set()
        self.fields: set[str] = set()

    def handle_starttag(self, tag, attrs):
        values = dict(attrs)
        if "id" in values:
            self.ids.append(values["id"])
        if re.fullmatch("h[1-6]", tag):
            self.headings.append(tag)
        if tag == "style" or "style" in values or any(name.startswith("on") for name in values):
            self.faults.append(f"inline style or handler in <{tag}>")
        if tag == "script" and "src" not in values and values.get("type") != "application/json":
            self.faults.append("inline script")
        if tag == "label" and "for" in values:
            self.labelled.add(values["for"])
        if tag in ("input", "select", "textarea") and values.get("type") not in ("hidden", "radio"):
            self.fields.add(values.get("id", values.get("name", "")))
        if tag == "img" and "alt" not in values:
            self.faults.append("image without alternative text")
        if tag == "th" and "scope" not in values and "class" in values:
            self.faults.append("heading of a table without scope")
        if tag in ("a", "button") and values.get("tabindex", "0") not in ("0", "-1"):
            self.faults.append("tab order by number")
        for name in ("aria-labelledby", "aria-describedby"):
            self.pointed |= set((values.get(name) or "").split())
