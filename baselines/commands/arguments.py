"""What commands have in common: options, and texts that become values."""

from __future__ import annotations

import math
import re
import sys
from pathlib import Path
from typing import Annotated

import typer

from baselines.layout import DataError
from evaluator.geometry import Shape

Data = Annotated[Path, typer.Option("--data", help="The data folder.")]
Device = Annotated[str, typer.Option(help="auto, cpu or cuda.")]
Sets = Annotated[
    list[str] | None, typer.Option("--set", help="key=value, as in training.iterations=100.")
]


def say(text: str) -> None:
    """Progress, on stderr, so that output can be piped."""
    print(text, file=sys.stderr, flush=True)


def triple_of(text: str, option: str) -> tuple[float, float, float]:
    """Three numbers above 0, "Z,Y,X"."""
    try:
        z, y, x = map(float, text.split(","))
    except ValueError:
        raise DataError(f"{option} needs three numbers Z,Y,X, not {text!r}.") from None
    if not all(0 < value < math.inf for value in (z, y, x)):
        raise DataError(f"{option} needs numbers above 0, not {text!r}.")
    return (z, y, x)


def shape_of(text: str, option: str = "--shape") -> Shape:
    """Three whole numbers above 0, "Z,Y,X"."""
    z, y, x = triple_of(text, option)
    shape = (int(z), int(y), int(x))
    if shape != (z, y, x):
        raise DataError(f"{option} needs whole numbers, not {text!r}.")
    return shape


def counts_of(text: str) -> dict[str, int]:
    """Crops per split, "train:2,hidden:1"."""
    if not re.fullmatch(r"(train|hidden):\d+(,(train|hidden):\d+)*", text):
        raise DataError(f"--crops needs the form train:2,hidden:1, not {text!r}.")
    counts = {name: int(n) for name, n in (part.split(":") for part in text.split(","))}
    if not any(counts.values()):
        raise DataError(f"--crops needs at least one crop, not {text!r}.")
    return counts


def names_of(text: str) -> list[str]:
    """Names between commas, "557,558"; [] for ""."""
    return [name.strip() for name in text.split(",") if name.strip()]


def numbers_of(text: str, option: str) -> tuple[int, ...]:
    """Whole numbers from 0, "0,2"."""
    if not re.fullmatch(r"\d+(,\d+)*", text):
        raise DataError(f"{option} needs numbers such as 0,2, not {text!r}.")
    return tuple(map(int, text.split(",")))


def range_of(text: str) -> tuple[int, ...]:
    """First and last, "3:7"; () for ""."""
    if not text:
        return ()
    if not re.fullmatch(r"\d+:\d+", text):
        raise DataError(f"--planes needs the form FIRST:LAST, not {text!r}.")
    first, last = map(int, text.split(":"))
    return (first, last)
