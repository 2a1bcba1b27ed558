"""The table of what was asked for names tests that exist."""

import ast
import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
ROW = re.compile(r"^\| (S\d-[XE]?\d+) \| (.+?) \| (.+) \|$", re.MULTILINE)
NAMED = re.compile(r"`([\w/]+\.py)::(test_\w+)`")


def rows() -> list[tuple[str, str, str]]:
    return ROW.findall((ROOT / "docs" / "acceptance.md").read_text("utf-8"))


def defined_in(file: str) -> set[str]:
    tree = ast.parse((ROOT / "tests" / file).read_text("utf-8"))
    return {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}


def test_every_test_in_the_table_exists():
    named = {pair for _, _, shown in rows() for pair in NAMED.findall(shown)}
    there = {file: defined_in(file) for file, _ in named}
    assert sorted(pair for pair in named if pair[1] not in there[pair[0]]) == []


def test_every_row_is_shown_by_a_test_or_a_command_and_stands_there_once():
    names = [name for name, _, _ in rows()]
    assert len(names) > 190
    assert len(set(names)) == len(names)
    assert [name for name, _, shown in rows() if "`" not in shown] == []


def test_rows_follow_each_other():
    keys = [re.fullmatch(r"(S\d)-([XE]?)(\d+)", name).groups() for name, _, _ in rows()]
    order = [(part, kind, int(number)) for part, kind, number in keys]
    assert order == sorted(order)
