"""Results that somebody else wrote, or damaged: a sentence or a page, never a traceback."""

import copy
import io
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from rich.console import Console

from evaluator import EvaluatorError, Status
from evaluator.results.compare import compare, comparison_lines, comparison_page
from evaluator.results.page import result_page
from evaluator.results.saved import Saved, saved
from evaluator.results.tables import label_sheet, print_result, target_sheet
from tests.evaluator.made_results import result, values

PATTERNS = values(
    protocol="cellmap-2026.1",
    quirks={"crop1/mito": ("collides",)},
    status={"crop2/er": Status.MISSING},
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(), inner, max_size=2),
    max_leaves=3,
)


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The way to every value inside JSON values."""
    inner = dict(enumerate(value)) if isinstance(value, list) else value
    for key, part in inner.items() if isinstance(inner, dict) else ():
        yield (*path, key)
        yield from places(part, (*path, key))


PLACES = list(places(PATTERNS))


def changed(path: tuple[Any, ...], value: Any) -> dict[str, Any]:
    made = copy.deepcopy(PATTERNS)
    at: Any = made
    for key in path[:-1]:
        at = at[key]
    at[path[-1]] = value
    return made


def without(path: tuple[Any, ...]) -> dict[str, Any]:
    made = copy.deepcopy(PATTERNS)
    at: Any = made
    for key in path[:-1]:
        at = at[key]
    del at[path[-1]]
    return made


def tell_everything(told: Saved) -> None:
    """Every way in which a result is told; pages are well-formed."""
    console = Console(file=io.StringIO(), width=100)
    for targets in (True, False):
        print_result(told, console, targets=targets)
    label_sheet(told).to_csv()
    target_sheet(told).to_csv()
    ET.fromstring(result_page(told).split("\n", 1)[1])


@settings(max_examples=200, deadline=None)
@given(path=st.sampled_from(PLACES), value=JSON)
@example(path=("beside", "instance"), value=float("inf"))
def test_a_result_with_anything_anywhere_is_refused_or_told(path, value):
    try:
        told = saved("r.json", changed(path, value))
    except EvaluatorError:
        return
    tell_everything(told)


@pytest.mark.parametrize("path", PLACES, ids=lambda path: ".".join(map(str, path)))
def test_a_result_that_lacks_something_is_refused_or_told(path):
    try:
        told = saved("r.json", without(path))
    except EvaluatorError:
        return
    tell_everything(told)


@settings(max_examples=100, deadline=None)
@given(path=st.sampled_from(PLACES), value=JSON)
def test_a_comparison_with_anything_is_refused_or_told(path, value):
    try:
        found = compare(saved("a", copy.deepcopy(PATTERNS)), saved("b", changed(path, value)))
    except EvaluatorError:
        return
    list(comparison_lines(found))
    ET.fromstring(comparison_page(found).split("\n", 1)[1])


@pytest.mark.parametrize(
    "name", ["<script>", "a\x00b", "[bold]x[/bold]", "\x1b[31mred", "]]>", "&amp;", "\ud800"]
)
def test_a_file_may_be_called_anything(name):
    told = result(name)
    ET.fromstring(result_page(told).split("\n", 1)[1])
    assert "<script>" not in result_page(told)


@pytest.mark.parametrize("text", ["\x1b[31m", "\x00", "\ud800", "\ufffe", "é", "x" * 201])
@pytest.mark.parametrize("key", ["evaluator", "protocol", "truth"])
def test_text_that_no_evaluator_writes_is_refused_and_not_repeated_as_it_is(key, text):
    with pytest.raises(EvaluatorError, match="is a damaged result") as refused:
        saved("r.json", values() | {key: text})
    assert str(refused.value).isprintable()
    assert len(str(refused.value)) < 300


def test_markup_in_the_text_of_a_stranger_is_text():
    told = saved("r.json", values() | {"evaluator": "<b>[red]x[/red]</b>"})
    console = Console(file=io.StringIO(), width=100)
    print_result(told, console, targets=False)
    assert "evaluator <b>[red]x[/red]</b>" in console.file.getvalue()
    assert "<b>[red]" not in result_page(told)
