"""The table of what was asked for names tests that exist."""

import ast
import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
ROW = re.compile(r"^\| (S\d-[XE]?\d+) \| (.+?) \| (.+) \|$", re.MULTILINE)
BAR = re.compile(r"^\| ((?:COR|SEG|INS|ENS|SPD|SIZE)-\d+) \| (.+?) \| (.+) \|$", re.MULTILINE)
BARS = {
    *(f"COR-{n}" for n in (1, 2, 3, 4, 5, 7, 9, 10, 11)), *(f"SPD-{n}" for n in (1, 3, 5, 6, 7)),
    "SEG-1", "SEG-2", "INS-1", "INS-2", "ENS-1", "SIZE-1",
}  # fmt: skip
MEASURED = re.compile(r"`python -m benchmarks\.(\w+)(?: --only ([\w-]+))?`")
MADE = re.compile(r"`make ([\w-]+)`")
NAMED = re.compile(r"`([\w/]+\.py)::(test_\w+)`")


def text() -> str:
    return (ROOT / "docs" / "acceptance.md").read_text("utf-8")


def rows() -> list[tuple[str, str, str]]:
    return ROW.findall(text())


def bars() -> list[tuple[str, str, str]]:
    return BAR.findall(text())


def defined_in(file: str) -> set[str]:
    tree = ast.parse((ROOT / "tests" / file).read_text("utf-8"))
    return {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}


def test_every_test_in_the_table_exists():
    named = {pair for _, _, shown in rows() + bars() for pair in NAMED.findall(shown)}
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


def test_every_bar_stands_there_once_with_a_test_or_a_command():
    names = [name for name, _, _ in bars()]
    assert set(names) == BARS
    assert len(names) == len(BARS)
    shows = (NAMED, MEASURED, MADE)
    assert [n for n, _, shown in bars() if not any(way.search(shown) for way in shows)] == []


def test_commands_that_show_a_bar_exist():
    made = (ROOT / "Makefile").read_text("utf-8")
    for name, _, shown in bars():
        for module, only in MEASURED.findall(shown):
            source = (ROOT / "benchmarks" / f"{module}.py").read_text("utf-8")
            assert not only or (only == name and f'"{only}": ' in source)
        assert all(f"\n{target}: " in made for target in MADE.findall(shown))
