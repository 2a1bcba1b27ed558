"""A result as a page: scores, every target as a dot, what changed them, what they were made of."""

from __future__ import annotations

from collections.abc import Iterable

from evaluator.manifest import Kind
from evaluator.protocol import PROTOCOLS, rules
from evaluator.results.html import Html, bar, el, facts, join, page, table
from evaluator.results.saved import PARTS, Row, Saved
from evaluator.results.tables import (
    COUNTS,
    counted,
    difference_sheet,
    label_sheet,
    shown,
    target_sheet,
)
from evaluator.scores import Status

LANES = 3  # heights at which dots of one label lie, so that equal ones show
TOLD = ("score", "iou", "f1", "pq", "hausdorff_score", "hausdorff_nm", *COUNTS)


def result_page(result: Saved) -> str:
    """The page of a result, as text of one HTML file that needs nothing else."""
    return page(
        f"Result {result.name}",
        _overall(result),
        el("h2", "Labels"),
        _labels(result),
        el("h2", "Targets"),
        _plots(result),
        _targets(result),
        _quirks(result),
        _protocol(result),
        el("h2", "Made of"),
        _digests(result),
    )


def _overall(result: Saved) -> Html:
    values, beside = result.values, result.beside
    numbers = join(
        el("div", el("span", part, class_="soft"), el("b", shown(values[part]))) for part in PARTS
    )
    told = el("p", f"Protocol {values['protocol']}, evaluator {values['evaluator']}.")
    if beside:
        parts = ", ".join(f"{part} {shown(beside[part])}" for part in PARTS)
        told = Html(told + el("p", f"{beside['protocol']} says: {parts}."))
    return Html(el("div", numbers, class_="overall") + told)


def _labels(result: Saved) -> Html:
    sheet = label_sheet(result, names=TOLD)
    column = sheet.columns.index("score")
    marks = {
        (y, column): bar(result.labels[str(row[0])]["score"]) for y, row in enumerate(sheet.rows)
    }
    every = table(label_sheet(result), called="All metrics of the labels")
    return Html(
        table(sheet, called="Scores of the labels", marks=marks)
        + el("details", el("summary", "All metrics"), every)
    )


def _plots(result: Saved) -> Html:
    """A strip per label: a dot per target, a bar where the label's pooled score is."""
    parts = [
        el(
            "p",
            "One dot per crop, from 0 on the left to 1 on the right; an open dot is missing or "
            "unreadable. The upright bar is the label's score, pooled over its crops.",
            class_="soft",
        )
    ]
    for kind in Kind:
        names = sorted(name for name, row in result.labels.items() if row["kind"] == kind)
        if names:
            strips = [_strip(result, name) for name in names]
            axis = Html("<span></span>" + _axis() + "<span></span>")
            parts += [el("h3", f"{kind.capitalize()} labels")]
            parts += [el("div", join([*strips, axis]), class_="strips")]
    return join(parts)


def _strip(result: Saved, label: str) -> Html:
    rows = [row for row in result.rows if row.label == label and row.score is not None]
    pooled = result.labels[label]["score"]
    ends = el("line", x1=_x(0), x2=_x(1), y1="16", y2="16", class_="axis")
    pool = el("rect", x=_x(pooled), y="3", width="3", height="26", class_="pool")
    dots = join(_dot(row, lane=index % LANES) for index, row in enumerate(rows))
    said = f"{label}: {counted(len(rows), 'crop')}, pooled score {shown(pooled)}"
    plot = el(
        "svg", ends, pool, dots, width="100%", height="32", role="img", aria_label=said
    )  # fmt: skip
    return join([el("span", label), plot, el("span", shown(pooled))])


def _dot(row: Row, *, lane: int) -> Html:
    hollow = row.status in (Status.MISSING, Status.UNREADABLE)
    return el(
        "circle",
        el("title", f"{row.crop}: {shown(row.score)}, {row.status}"),
        cx=_x(row.score or 0.0), cy=str(9 + 7 * lane), r="4.5",
        class_="worst" if hollow else "dot",
    )  # fmt: skip


def _axis() -> Html:
    ticks = join(
        el("text", f"{tick:g}", x=_x(tick), y="14", text_anchor="middle")
        for tick in (0.0, 0.25, 0.5, 0.75, 1.0)
    )
    return el("svg", ticks, width="100%", height="20", aria_hidden="true")


def _x(score: float) -> str:
    """Where a score lies in a strip, with room for a dot at both ends."""
    return f"{3 + 94 * max(0.0, min(1.0, score)):.3f}%"


def _targets(result: Saved) -> Html:
    inner = table(target_sheet(result), called="Scores of the targets")
    found = [row.status.value for row in result.rows]
    told = ", ".join(f"{found.count(s)} {s}" for s in Status if found.count(s))
    return el(
        "details", el("summary", f"{counted(len(found), 'target')}: {told}"), inner, open="open"
    )


def _quirks(result: Saved) -> Html:
    """The rules that changed a target, with reasons and targets."""
    names = sorted({name for row in result.rows for name in row.quirks})
    if not names:
        return Html("")
    items = join(_quirk(name, result.rows) for name in names)
    beside = f", and what {result.beside['protocol']} says is in the table" if result.beside else ""
    told = (
        f"Rules of {result.values['protocol']} that are not the sound ones and had an effect here"
        f"{beside}."
    )
    return Html(el("h2", "What changed scores") + el("p", told) + el("ul", items))


def _quirk(name: str, rows: Iterable[Row]) -> Html:
    touched = [row.path for row in rows if name in row.quirks]
    where = el("span", f"{counted(len(touched), 'target')}: {', '.join(touched)}", class_="soft")
    return el("li", el("b", name), f": {rules().get(name, '')} ", where)


def _protocol(result: Saved) -> Html:
    """How the protocol differs from the others that are known."""
    ours = PROTOCOLS.get(result.values["protocol"])
    if ours is None:
        return Html("")
    parts = [el("h2", f"The protocol {ours.name}"), el("p", ours.summary)]
    for theirs in PROTOCOLS.values():
        if theirs != ours:
            sheet = difference_sheet(ours, theirs)
            title = f"{len(sheet.rows)} rules differ from {theirs.name}"
            called = f"Differences from {theirs.name}"
            parts.append(el("details", el("summary", title), table(sheet, called=called)))
    return join(parts)


def _digests(result: Saved) -> Html:
    told = [(f"{name} (SHA-256)", result.values[name]) for name in ("manifest", "truth")]
    told += [
        ("submission (SHA-256)", result.values["submission"]),
        ("this result (SHA-256)", result.digest),
    ]
    return facts(told)
