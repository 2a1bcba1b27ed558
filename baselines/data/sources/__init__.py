"""What a folder of data offers, in whichever layout it lies."""

from __future__ import annotations

from pathlib import Path

from baselines.config import DataConfig
from baselines.data.sources.crista import crista_source
from baselines.data.sources.images import images_source
from baselines.data.sources.source import Source, SourceCrop
from baselines.data.sources.template import has_crops, template_source
from baselines.layout import DataError, DataFolder

__all__ = ["Source", "SourceCrop", "open_source"]

_OPENERS = {"crista": crista_source, "template": template_source, "images": images_source}


def open_source(data: DataFolder | Path, config: DataConfig) -> Source:
    """The annotated crops of a folder; nothing of them is read yet.

    Raises DataError if there are none.
    """
    root = data.root if isinstance(data, DataFolder) else data
    if not root.is_dir():
        raise DataError(
            f"{root} is no folder: give the folder of data, or make one with `baselines phantom`, "
            "`import-stack` or `fetch`."
        )
    layout = config.layout if config.layout != "auto" else _layout_of(root, config)
    return _OPENERS[layout](root, config)


def _layout_of(root: Path, config: DataConfig) -> str:
    if (root / "train.csv").is_file() and (root / "train").is_dir():
        return "crista"
    if (root / config.images).exists() and (root / config.masks).exists():
        return "images"
    if has_crops(root, config):
        return "template"
    raise DataError(
        f"{root} has no annotated crops: expected train.csv and train/ (make them with `baselines "
        f"phantom` or `baselines import-stack`), or {config.images} and {config.masks}, or arrays "
        f"such as {config.truth} (get them with `baselines fetch`)."
    )
