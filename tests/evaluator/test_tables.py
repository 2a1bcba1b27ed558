import csv
import io

import pytest
from rich.console import Console

from evaluator import Status, Sums, get_protocol
from evaluator.protocol import rules
from evaluator.results.saved import saved
from evaluator.results.tables import (
    Sheet,
    difference_sheet,
    label_sheet,
    print_result,
    print_sheet,
    protocol_sheet,
    rule_sheet,
    shown,
    summary,
    target_sheet,
)
from tests.evaluator.made_results import result, values, voxels

OFFICIAL = "cellmap-2026.1"


def printed(draw, *, width: int = 140) -> str:
    console = Console(file=io.StringIO(), width=width, highlight=False)
    draw(console)
    return console.file.getvalue()


def rows_of(text: str) -> list[list[str]]:
    return list(csv.reader(io.StringIO(text)))


def test_numbers_are_in_full_in_csv_and_short_on_the_terminal():
    sheet = Sheet(("name", "score", "n"), (("a", 1 / 3, 7), ("b", None, None)))
    assert rows_of(sheet.to_csv()) == [
        ["name", "score", "n"], ["a", "0.3333333333333333", "7"], ["b", "", ""],
    ]  # fmt: skip
    text = printed(lambda console: print_sheet(sheet, console))
    assert "0.3333 " in text
    assert "0.33333" not in text
    assert "–" in text


@pytest.mark.parametrize("start", ["=", "+", "-", "@", " ="])
def test_no_spreadsheet_takes_a_cell_for_a_formula(start):
    sheet = Sheet(("name",), ((f"{start}1+1",),))
    assert rows_of(sheet.to_csv())[1] == [f"'{start}1+1"]


@pytest.mark.parametrize("blank", ["\t", "\r", "\n", "\x00", "\u2028"])
def test_no_cell_breaks_its_line_or_hides_a_formula(blank):
    sheet = Sheet(("name",), ((f"{blank}=1{blank}",),))
    assert sheet.to_csv() == "name\n' =1 \n"


def test_a_negative_number_stays_one():
    assert Sheet(("lead",), ((-0.5,),)).to_csv() == "lead\n-0.5\n"


def test_markup_in_a_cell_is_text():
    sheet = Sheet(("name",), (("[red]a[/red]",), ("[/nothing]",)))
    text = printed(lambda console: print_sheet(sheet, console))
    assert "[red]a[/red]" in text
    assert "[/nothing]" in text


@pytest.mark.parametrize(
    ("cell", "text"), [(None, "–"), (1, "1"), (1.0, "1.0000"), (0.00004, "0.0000"), ("x", "x")]
)
def test_a_cell_is_shown_briefly(cell, text):
    assert shown(cell) == text


def test_the_table_of_labels_holds_every_metric():
    sheet = label_sheet(result())
    assert [row[0] for row in sheet.rows] == ["er", "mito"]
    assert set(result().labels["mito"]) <= set(sheet.columns)
    by_name = dict(zip(sheet.columns, sheet.rows[0], strict=True))
    assert (by_name["score"], by_name["tp"], by_name["pq"]) == (60 / 110, 60, None)
    assert "crista-1" not in sheet.columns


def test_the_table_of_labels_ends_with_the_protocol_beside():
    sheet = label_sheet(result(protocol=OFFICIAL, sums={"crop2/er": voxels(0, 0, 10)}))
    by_name = dict(zip(sheet.columns, sheet.rows[0], strict=True))
    assert (by_name["score"], by_name["crista-1"]) == (50 / 110, 60 / 110)


def test_the_table_of_targets_names_rules_with_an_effect():
    told = result(
        protocol=OFFICIAL,
        quirks={"crop1/mito": ("collides", "components")},
        status={"crop2/mito": Status.SKIPPED},
        sums={"crop2/mito": Sums()},
    )
    sheet = target_sheet(told)
    rows = [dict(zip(sheet.columns, row, strict=True)) for row in sheet.rows]
    assert rows[1]["changed by"] == "collides components"
    assert rows[1]["crista-1"] == pytest.approx((1 / 3) ** 0.5)
    assert (rows[3]["status"], rows[3]["score"], rows[3]["crista-1"]) == ("skipped", None, 1.0)
    assert rows[0]["changed by"] == ""


def test_a_protocol_without_one_beside_has_no_columns_for_it():
    assert target_sheet(result()).columns == ("target", "kind", "status", "score", "voxels")


def test_a_narrow_terminal_gets_fewer_columns():
    wide = printed(lambda console: print_result(result(), console, targets=False))
    narrow = printed(lambda console: print_result(result(), console, targets=False), width=80)
    assert "mean_iou" in wide
    assert "mean_iou" not in narrow
    assert "score" in narrow
    assert max(map(len, narrow.splitlines()[:8])) <= 80


def test_nothing_is_cut_off_on_a_terminal_of_80_columns():
    told = result(protocol=OFFICIAL, sums={"crop1/er": voxels(10**9, 10**9, 10**9)})
    lines = printed(lambda console: print_result(told, console, targets=False), width=80)
    assert "…" not in lines
    assert "semantic" in lines


def test_a_result_ends_with_its_digest():
    told = result()
    lines = printed(lambda console: print_result(told, console, targets=True)).splitlines()
    assert lines[-1] == f"sha256 {told.digest}"
    assert lines[-2].startswith("protocol crista-1, evaluator ")


def test_what_counts_as_worst_and_what_is_left_out_is_said():
    told = result(
        status={"crop1/er": Status.MISSING, "crop1/mito": Status.SKIPPED},
        sums={"crop1/mito": Sums()},
    )
    lines = list(summary(told))
    assert "crop1/er is missing and counts as worst." in lines
    assert any(line.startswith("crop1/mito is skipped") for line in lines)
    assert not any(line.startswith("crop2") for line in lines)


def test_rules_with_an_effect_are_told_once_with_their_reason():
    quirks = {"crop1/mito": ("collides",), "crop2/mito": ("collides", "unknown_rule")}
    lines = list(summary(result(protocol=OFFICIAL, quirks=quirks)))
    assert "Rules of cellmap-2026.1 that had an effect on 2 of 4 targets:" in lines
    assert f"  collides (2): {rules()['collides']}" in lines
    assert any(line.startswith("  unknown_rule (1)") for line in lines)


def test_a_kind_without_labels_that_counts_zero_is_said():
    made = values(protocol=OFFICIAL) | {"semantic": 0.0}
    del made["labels"]["er"]
    made["targets"] = [target for target in made["targets"] if target["label"] == "mito"]
    lines = list(summary(saved("r.json", made)))
    assert any(line.startswith("There is no semantic label, which counts 0") for line in lines)
    assert not any("There is no" in line for line in summary(result(protocol=OFFICIAL)))


def test_what_the_protocol_beside_says_is_a_line():
    lines = list(summary(result(protocol=OFFICIAL)))
    assert any(line.startswith("crista-1 says  overall 0.") for line in lines)


def test_every_protocol_is_listed():
    assert [row[0] for row in protocol_sheet().rows] == ["crista-1", "cellmap-2026.1"]


def test_differences_name_both_sides_and_the_reason():
    ours, theirs = get_protocol(OFFICIAL), get_protocol("crista-1")
    rows = {row[0]: row[1:] for row in difference_sheet(ours, theirs).rows}
    assert rows["collides"] == ("True", "False", rules()["collides"])
    assert difference_sheet(ours, ours).rows == ()


def test_every_rule_of_a_protocol_is_listed_with_a_reason():
    sheet = rule_sheet(get_protocol("crista-1"))
    assert [row[0] for row in sheet.rows] == list(rules())
    assert all(row[2] for row in sheet.rows)
