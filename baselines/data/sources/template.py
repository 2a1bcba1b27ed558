"""An OME-Zarr tree of any shape, by templates of paths; the challenge's tree is the default.

Names of levels mean nothing, `all` is never used: a class is what its own array says, and ids mean
the same in every dataset.
"""

from __future__ import annotations

import itertools
import re
from collections import Counter, defaultdict
from functools import partial
from pathlib import Path

from baselines.config import DataConfig
from baselines.data.sources.source import Open, Source, SourceCrop
from baselines.data.sources.tables import are_black, contents_of, fetched_below, specimens_of
from baselines.layout import DataError
from baselines.volumes.images import open_image
from evaluator.cellmap import labels_toml
from evaluator.manifest import Kind, Label, parse_labels

EVERYTHING = "all"  # the array of finest ids: where only a group was annotated, it holds the group
OUTSIDE = {"isg_mem": 56, "isg_lum": 57, "isg_ins": 58}  # annotated, but not in the challenge
_FIELDS = re.compile(r"\{(dataset|crop|label)\}")


def template_source(root: Path, config: DataConfig) -> Source:
    """The crops whose annotations lie where data.truth says.  Raises DataError: there are none."""
    labels = _definitions(root)
    outside = {n for n, number in OUTSIDE.items() if n in labels and labels[n].id == number}
    if asked := [name for name in config.labels if name in outside]:
        raise DataError(
            f"{', '.join(asked)}: insulin granules' parts (ids 56 to 58) are no classes of the "
            "challenge. Leave them out of data.labels."
        )
    found: dict[tuple[str, str], dict[str, Open]] = defaultdict(dict)
    for place, path in _matches(root, config.truth):
        if place["label"] not in {EVERYTHING, *outside}:
            found[place["dataset"], place["crop"]][place["label"]] = partial(open_image, path)
    if not found:
        raise DataError(
            f"{root} has no annotations such as {config.truth}: set data.truth, or get them with "
            "`baselines fetch`."
        )
    specimens = specimens_of(root)
    often = Counter(crop for _, crop in found)
    crops = [
        SourceCrop(
            crop if often[crop] == 1 else f"{dataset}-{crop}", dataset,
            specimens.get(dataset, dataset), _raw(root, config, dataset, crop), arrays,
        )
        for (dataset, crop), arrays in sorted(found.items(), key=lambda item: item[0][::-1])
    ]  # fmt: skip
    kinds = {name: Kind.SEMANTIC for crop in crops for name in crop.labels}
    kinds |= {name: label.kind for name, label in labels.items()}
    return Source(tuple(crops), kinds, contents_of(labels), masks=True)


def has_crops(root: Path, config: DataConfig) -> bool:
    """True if there is an annotation where data.truth says."""
    return next(iter(_matches(root, config.truth)), None) is not None


def _raw(root: Path, config: DataConfig, dataset: str, crop: str) -> Open:
    path = root / config.raw.format(dataset=dataset, crop=crop)
    black = are_black(root, config, ours=False)
    return partial(open_image, path, fetched=fetched_below(root), black=black)


def _definitions(root: Path) -> dict[str, Label]:
    own = root / "labels.toml"
    return parse_labels(own.read_text("utf-8") if own.is_file() else labels_toml())


def _matches(root: Path, template: str) -> list[tuple[dict[str, str], Path]]:
    """What stands for each field in the paths below a root that fit a template."""
    for name in ("dataset", "crop", "label"):
        if name != "dataset" and f"{{{name}}}" not in template:
            raise DataError(f"data.truth needs {{{name}}}, as in {DataConfig().truth}.")
    pattern, names = "", set[str]()
    for text, name in itertools.zip_longest(*[iter(_FIELDS.split(template))] * 2):
        # A field that comes again stands for the same name.
        again, first = f"(?P={name})", f"(?P<{name}>[^/]+)"
        pattern += re.escape(text) + ("" if name is None else again if name in names else first)
        names.add(name)
    found = []
    for path in sorted(root.glob(_FIELDS.sub("*", template))):
        match = re.fullmatch(pattern, path.relative_to(root).as_posix())
        if match is not None and path.is_dir():
            found.append(({"dataset": "", **match.groupdict()}, path))
    return found
