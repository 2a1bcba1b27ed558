"""The help article of every setting, and the page made of them."""

import ast
import re
from pathlib import Path

import pytest

from baselines.config import Config, ConfigError
from baselines.config.explaining import explain, settings_page, shown
from baselines.config.rules import settings_of

ROOT = Path(__file__).resolve().parents[3]
DOCS = ROOT / "docs"


@pytest.mark.parametrize("key", [key for key, _, _ in settings_of(Config())])
def test_every_setting_has_an_article_that_names_it_and_says_what_it_means(key):
    first, about, allowed = explain(key).splitlines()[:3]
    assert first.startswith(f"{key} = ")
    assert len(about.strip()) > 10
    assert allowed.strip()


def test_an_article_gives_default_bounds_unit_and_what_presets_say():
    said = explain("training.lr")
    assert "training.lr = 0.001" in said
    assert "from 1e-08 to 1" in said
    assert "preset fast: 0.002" in said
    assert "in preset workspace: from 1e-05 to 0.002" in said
    assert "nm" in explain("data.voxel_size").splitlines()[2]


def test_an_article_names_the_choices():
    assert '"dice_bce", "bce", "dice"' in explain("loss.kind")
    assert "32, 48, 64, 96, 128, 256" in explain("training.patch")


def test_a_section_is_explained_line_by_line():
    said = explain("split").splitlines()
    assert all(line.startswith("split.") for line in said)
    assert len(explain("").splitlines()) == sum(1 for _ in settings_of(Config()))


@pytest.mark.parametrize(
    ("key", "near"),
    [("lr", "training.lr"), ("training.bach", "training.batch"), ("los.kind", "loss.kind")],
)
def test_a_setting_that_there_is_not_is_answered_with_the_nearest(key, near):
    with pytest.raises(ConfigError, match=rf"there is no setting .* Did you mean .*{near}"):
        explain(key)


def test_the_page_of_settings_is_up_to_date():
    written = (DOCS / "settings.md").read_text("utf-8")
    assert written == settings_page(), "write it again: baselines explain --page > docs/settings.md"


def test_the_page_has_a_row_for_every_setting():
    rows = re.findall(r"^\| `([a-z0-9_.]+)` \|", settings_page(), re.MULTILINE)
    assert rows == [key for key, _, _ in settings_of(Config())]


@pytest.mark.parametrize(
    ("value", "text"),
    [(True, "true"), ("a", '"a"'), ((1, 2), "[1, 2]"), ({}, "{}"), ({"a": 0.5}, "{ a = 0.5 }"),
     (0.001, "0.001"), ((), "[]")],
)  # fmt: skip
def test_values_are_shown_as_they_are_written_in_a_file(value, text):
    assert shown(value) == text


def test_every_setting_is_read_by_something_else_than_the_settings():
    files = [p for p in (ROOT / "baselines").rglob("*.py") if "config" not in p.parts]
    nodes = [node for path in files for node in ast.walk(ast.parse(path.read_text("utf-8")))]
    read = {node.attr for node in nodes if isinstance(node, ast.Attribute)}
    keys = [key for key, _, _ in settings_of(Config())]
    assert [key for key in keys if key.rpartition(".")[2] not in read | {"task", "preset"}] == []
