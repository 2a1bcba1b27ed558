"""Pages that stand alone: one file, no script, nothing fetched; light and dark, narrow and wide.

Every text is escaped on its way into an element; only an `Html` goes in as it is.  What comes out
is well-formed XML as well.
"""

from __future__ import annotations

from collections.abc import Iterable
from html import escape

from evaluator.results.tables import SHORT, Cell, Sheet, shown


class Html(str):
    """Text that is markup already."""

    __slots__ = ()


Content = str | Html
LONG = 24  # characters beyond which a column of text keeps some width


def el(name: str, *content: Content, **attributes: str | float) -> Html:
    """An element.  Attributes: `class_` for class, underscores for hyphens."""
    told = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{_escaped(str(value))}"'
        for key, value in attributes.items()
    )
    inner = "".join(part if isinstance(part, Html) else _escaped(part) for part in content)
    return Html(f"<{name}{told}>{inner}</{name}>" if inner else f"<{name}{told}></{name}>")


def _escaped(text: str) -> str:
    """Text of anybody as text of a page, without what no page may hold."""
    return escape("".join(c if c.isprintable() or c == "\n" else "\ufffd" for c in text))


def join(parts: Iterable[Html]) -> Html:
    """Elements one after the other."""
    return Html("".join(parts))


def table(sheet: Sheet, *, called: str, marks: dict[tuple[int, int], Html] | None = None) -> Html:
    """A table that scrolls by itself where it is too wide.

    called: what it is, for those who do not see it.  marks: markup in place of some cells.
    """
    marks = marks or {}
    numbers = [
        any(isinstance(row[column], int | float) for row in sheet.rows)
        for column in range(len(sheet.columns))
    ]
    lengths = [
        max((len(str(row[x])) for row in sheet.rows), default=0) for x in range(len(numbers))
    ]
    kinds = [
        "n" if number else "long" if length > LONG else "t"
        for number, length in zip(numbers, lengths, strict=True)
    ]
    head = join(
        el("th", SHORT.get(name, name), scope="col", class_=kind)
        for name, kind in zip(sheet.columns, kinds, strict=True)
    )
    rows = join(
        el("tr", join(_cell(cell, marks.get((y, x)), kinds[x], first=x == 0)
                      for x, cell in enumerate(row)))
        for y, row in enumerate(sheet.rows)
    )  # fmt: skip
    inner = el("table", el("thead", el("tr", head)), el("tbody", rows))
    return el("div", inner, class_="scroll", role="region", aria_label=called, tabindex="0")


def bar(value: float | None) -> Html:
    """A value from 0 to 1 as a number and a bar."""
    if value is None:
        return Html("–")
    share = max(0.0, min(1.0, value))
    strip = el(
        "svg",
        el("rect", width="100%", height="8", class_="track"),
        el("rect", width=f"{share:.2%}", height="8", class_="fill"),
        width="72", height="8", aria_hidden="true",
    )  # fmt: skip
    return el("span", el("b", shown(value)), strip, class_="bar")


def facts(pairs: Iterable[tuple[str, str]]) -> Html:
    """Names and what they are, one below the other."""
    return el("dl", join(Html(el("dt", name) + el("dd", text)) for name, text in pairs))


def page(title: str, *parts: Html) -> str:
    """A whole page under one heading."""
    meta = (
        '<meta charset="utf-8" />'
        '<meta name="viewport" content="width=device-width, initial-scale=1" />'
        '<meta name="color-scheme" content="light dark" />'
    )
    head = el("head", Html(meta), el("title", title), Html(f"<style>{STYLE}</style>"))
    body = el("body", el("main", el("h1", title), *parts))
    return f"<!doctype html>\n{el('html', head, body, lang='en')}\n"


def _cell(cell: Cell, mark: Html | None, kind: str, *, first: bool) -> Html:
    content = shown(cell) if mark is None else mark
    return el("th", content, scope="row") if first else el("td", content, class_=kind)


STYLE = """
:root { color-scheme: light dark; --back: #ffffff; --text: #1b1b1f; --soft: #53555e;
  --line: #c9ccd4; --track: #dfe3ea; --fill: #0b5cad; --pool: #b3420f; --band: #f4f5f8; }
@media (prefers-color-scheme: dark) { :root { --back: #14161a; --text: #ececf0; --soft: #b0b2bd;
  --line: #444852; --track: #343842; --fill: #7db5f5; --pool: #ffa26b; --band: #1c1f25; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--back); color: var(--text);
  font: 16px/1.5 system-ui, sans-serif; }
main { max-width: 72rem; margin: 0 auto; padding: 1rem; }
h1 { font-size: 1.6rem; margin: .5rem 0; overflow-wrap: anywhere; }
h2 { font-size: 1.2rem; margin: 2rem 0 .5rem; }
h3 { font-size: 1rem; margin: 1rem 0 .25rem; }
p, li { max-width: 46rem; }
.soft { color: var(--soft); }
.overall { display: flex; flex-wrap: wrap; gap: .5rem 2.5rem; }
.overall div { min-width: 7rem; }
.overall b { display: block; font-size: 1.9rem; font-variant-numeric: tabular-nums; }
.scroll { overflow-x: auto; border: 1px solid var(--line); border-radius: 6px; max-height: 40rem; }
.scroll:focus-visible, summary:focus-visible { outline: 3px solid var(--fill);
  outline-offset: 2px; }
table { border-collapse: collapse; width: 100%; font-size: .9rem; }
th, td { padding: .3rem .6rem; text-align: left; vertical-align: top;
  border-bottom: 1px solid var(--line); }
tr:last-child > * { border-bottom: 0; }
thead th { position: sticky; top: 0; white-space: nowrap; background: var(--band);
  color: var(--soft); }
tbody th { font-weight: 600; white-space: nowrap; }
.n { text-align: right; white-space: nowrap; font-variant-numeric: tabular-nums; }
.long { min-width: 14rem; }
.bar { display: inline-flex; align-items: center; gap: .5rem; }
.bar b { font-weight: 400; }
svg { display: block; overflow: visible; }
.track { fill: var(--track); } .fill { fill: var(--fill); } .pool { fill: var(--pool); }
.dot { fill: var(--fill); fill-opacity: .75; stroke: var(--back); }
.worst { fill: var(--back); stroke: var(--fill); stroke-width: 1.5; }
.axis { stroke: var(--line); }
.link { stroke: var(--fill); stroke-width: 2; }
svg text { fill: var(--soft); font-size: 12px; }
.strips { display: grid; grid-template-columns: minmax(5rem, auto) 1fr 3.5rem;
  gap: 0 .75rem; align-items: center; font-size: .9rem; }
.strips span:nth-child(3n) { text-align: right; font-variant-numeric: tabular-nums; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .2rem 1rem; font-size: .9rem; }
dt { color: var(--soft); } dd { margin: 0; overflow-wrap: anywhere; }
summary { cursor: pointer; font-weight: 600; margin: 1rem 0 .5rem; }
@media (max-width: 40rem) { dl { grid-template-columns: 1fr; } dd { margin-bottom: .4rem; } }
"""
