"""What tables beside the data say: parts of groups, specimens of datasets, what was fetched.

specimens.toml          # optional: datasets that are not named are specimens of their own
"jrc_mus-liver" = "mouse 1"
"jrc_mus-kidney" = "mouse 1"
"""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path

from baselines.box import Box
from baselines.config import DataConfig
from baselines.fetching.fetched import fetched_boxes, was_fetched
from baselines.layout import DataError
from evaluator.manifest import Label


def contents_of(labels: Mapping[str, Label]) -> dict[str, tuple[str, ...]]:
    """Of each group, the labels it consists of; ids that no label has are left out."""
    names = {label.id: name for name, label in labels.items()}
    return {
        name: tuple(names[part] for part in label.contains if part in names)
        for name, label in labels.items()
        if label.contains and all(part in names for part in label.contains)
    }


def specimens_of(root: Path) -> dict[str, str]:
    """The specimen of datasets, by dataset.  Raises DataError if the table cannot be read."""
    path = root / "specimens.toml"
    if not path.is_file():
        return {}
    try:
        table = tomllib.loads(path.read_text("utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise DataError(f"{path} cannot be read: {error}. Mend it, or remove it.") from error
    if wrong := [name for name, specimen in table.items() if not isinstance(specimen, str)]:
        raise DataError(f'{path}: {wrong[0]} needs the form "dataset" = "specimen".')
    return table


def are_black(root: Path, config: DataConfig, *, ours: bool) -> bool:
    """Whether chunks of raw that have no file are black; else nobody knows what is there.

    They are if the settings say so, and in a data folder of ours that nothing was fetched into: it
    was written as a whole.  A tree may be a part of what is published, whoever copied it.
    """
    return config.absent == "black" or (ours and not was_fetched(root))


def fetched_below(root: Path) -> Callable[[Path], list[Box]]:
    """Which boxes of an array's folder were fetched, as the ledger in `root` says."""
    return lambda folder: fetched_boxes(root, folder.relative_to(root).as_posix())
