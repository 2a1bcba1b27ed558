"""Pages that stand alone: well-formed, escaped, and telling what the result tells."""

import re
import xml.etree.ElementTree as ET

import pytest

from evaluator import Status, Sums
from evaluator.protocol import rules
from evaluator.results.compare import compare, comparison_page
from evaluator.results.html import Html, bar, el, facts, join, page, table
from evaluator.results.page import result_page
from evaluator.results.saved import saved
from evaluator.results.tables import Sheet
from tests.evaluator.made_results import result, values

OFFICIAL = "cellmap-2026.1"


def parsed(text: str) -> ET.Element:
    """The page as XML, which every page of ours is."""
    assert text.startswith("<!doctype html>\n")
    return ET.fromstring(text.removeprefix("<!doctype html>\n"))


def words(root: ET.Element) -> str:
    return " ".join(" ".join(root.itertext()).split())


def test_text_and_attributes_are_escaped():
    made = el("p", "<b>&", title='"><script>', class_="a", aria_label="x")
    assert made == (
        '<p title="&quot;&gt;&lt;script&gt;" class="a" aria-label="x">&lt;b&gt;&amp;</p>'
    )  # fmt: skip


def test_what_no_page_may_hold_is_replaced():
    assert el("p", "a\x00b\ud800c\nd") == "<p>a\ufffdb\ufffdc\nd</p>"


def test_markup_goes_in_as_it_is():
    assert el("p", el("b", "x"), "<") == "<p><b>x</b>&lt;</p>"
    assert join([Html("<i></i>"), Html("<b></b>")]) == "<i></i><b></b>"


@pytest.mark.parametrize(
    ("value", "width"), [(0.0, "0.00%"), (0.5, "50.00%"), (1.0, "100.00%"), (7.0, "100.00%")]
)
def test_a_bar_is_as_long_as_its_value(value, width):
    rects = list(ET.fromstring(bar(value)).iter("rect"))
    assert rects[1].get("width") == width


def test_no_value_has_no_bar():
    assert bar(None) == "–"


def test_a_table_scrolls_by_itself_and_can_be_reached_with_the_keyboard():
    root = ET.fromstring(table(Sheet(("a", "b"), (("x<", 1),)), called="Things"))
    assert (root.get("role"), root.get("aria-label"), root.get("tabindex")) == (
        "region", "Things", "0",
    )  # fmt: skip
    assert [cell.get("scope") for cell in root.iter("th")] == ["col", "col", "row"]
    assert root.find(".//td").get("class") == "n"


def test_a_mark_stands_in_place_of_a_cell():
    made = table(Sheet(("a", "b"), (("x", 1),)), called="T", marks={(0, 1): el("i", "one")})
    assert "<i>one</i>" in made
    assert ">1<" not in made


def test_columns_of_long_text_keep_some_width():
    made = table(Sheet(("a", "b", "c"), (("x", "word " * 9, "y"),)), called="T")
    root = ET.fromstring(made)
    assert [cell.get("class") for cell in root.iter("td")] == ["long", "t"]


def test_facts_are_a_list_of_terms():
    root = ET.fromstring(facts([("a<", "b>")]))
    assert [child.tag for child in root] == ["dt", "dd"]
    assert words(root) == "a< b>"


def test_a_page_fetches_nothing_and_runs_nothing():
    text = result_page(result(protocol=OFFICIAL))
    for forbidden in ("http:", "https:", "<script", "@import", "url(", "<link", "src="):
        assert forbidden not in text


def test_a_page_has_one_heading_a_language_and_a_title():
    root = parsed(page("A & B", el("p", "x")))
    assert root.get("lang") == "en"
    assert root.findtext("head/title") == "A & B"
    assert [h.text for h in root.iter("h1")] == ["A & B"]


def test_the_page_of_a_result_tells_its_scores_and_digests():
    told = result()
    text = words(parsed(result_page(told)))
    assert f"overall {told.values['overall']:.4f}" in text
    assert f"semantic {60 / 110:.4f}" in text
    for digest in (told.digest, *(told.values[k] for k in ("manifest", "truth", "submission"))):
        assert digest in text
    assert "crop2/mito instance scored 1.0000 1000" in text


def test_there_is_a_dot_per_target_that_has_a_score():
    told = result(status={"crop1/mito": Status.SKIPPED}, sums={"crop1/mito": Sums()})
    dots = list(parsed(result_page(told)).iter("circle"))
    assert [dot.findtext("title") for dot in dots] == [
        "crop1: 0.5000, scored", "crop2: 1.0000, scored", "crop2: 1.0000, scored",
    ]  # fmt: skip
    assert dots[0].get("cx") == "50.000%"


def test_a_target_that_counts_as_worst_is_an_open_dot():
    told = result(status={"crop1/er": Status.MISSING})
    kinds = [dot.get("class") for dot in parsed(result_page(told)).iter("circle")]
    assert kinds.count("worst") == 1


def test_a_plot_says_what_it_shows_to_those_who_do_not_see_it():
    plots = [s for s in parsed(result_page(result())).iter("svg") if s.get("role") == "img"]
    assert [plot.get("aria-label") for plot in plots] == [
        "er: 2 crops, pooled score 0.5455", "mito: 2 crops, pooled score 0.8018",
    ]  # fmt: skip


def test_rules_with_an_effect_are_listed_with_reason_and_targets():
    quirks = {"crop1/mito": ("collides",), "crop2/mito": ("collides",)}
    text = words(parsed(result_page(result(protocol=OFFICIAL, quirks=quirks))))
    assert "What changed scores" in text
    assert f"collides : {rules()['collides']} 2 targets: crop1/mito, crop2/mito" in text
    assert "What changed scores" not in words(parsed(result_page(result(protocol=OFFICIAL))))


def test_the_differences_of_the_protocol_are_listed():
    text = words(parsed(result_page(result(protocol=OFFICIAL))))
    assert "rules differ from crista-1" in text
    assert rules()["blurs_ids"] in text


def test_what_the_protocol_beside_says_is_told():
    assert "crista-1 says: overall" in words(parsed(result_page(result(protocol=OFFICIAL))))
    assert "says:" not in words(parsed(result_page(result())))


def test_a_result_of_an_unknown_protocol_has_a_page_too():
    text = words(parsed(result_page(saved("r.json", values() | {"protocol": "later-1"}))))
    assert "Protocol later-1" in text
    assert "rules differ" not in text


def test_names_that_look_like_markup_are_text_on_the_page():
    made = values(quirks={"crop1/er": ("<script>alert(1)</script>",)})
    text = result_page(saved("<img onerror=x>.json", made))
    assert "<script" not in text
    assert "<img" not in text
    assert "&lt;img onerror=x&gt;.json" in text


def test_a_comparison_has_a_page_that_is_well_formed():
    a, b = result("<a>.json"), result("b.json", status={"crop1/er": Status.MISSING}, pred="q")
    text = comparison_page(compare(a, b))
    told = words(parsed(text))
    assert "<a>.json and b.json" in told
    assert "B: missing" in told
    assert a.digest in told


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_and_marks_stand_out_from_the_ground(scheme):
    """WCAG 2.2: 4.5 for text, 3 for what plots show."""
    style = parsed(result_page(result())).findtext("head/style")
    blocks = re.findall(r"--(\w+): #([0-9a-f]{6})", style)
    colours = dict(blocks[:8] if scheme == "light" else blocks[8:])
    assert len(colours) == 8
    for name, least in (("text", 7), ("soft", 4.5), ("fill", 3), ("pool", 3)):
        assert contrast(colours[name], colours["back"]) >= least
    assert contrast(colours["soft"], colours["band"]) >= 4.5
    assert contrast(colours["fill"], colours["track"]) >= 3


def contrast(a: str, b: str) -> float:
    bright, dark = sorted((luminance(a), luminance(b)), reverse=True)
    return (bright + 0.05) / (dark + 0.05)


def luminance(colour: str) -> float:
    parts = [int(colour[i : i + 2], 16) / 255 for i in (0, 2, 4)]
    red, green, blue = (
        c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts
    )  # fmt: skip
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue
