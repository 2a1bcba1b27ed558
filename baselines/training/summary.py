"""What a training is going to do, before it does it: a summary to review."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rich.console import Group, RenderableType
from rich.table import Table

from baselines.box import Box
from baselines.config import Config, advice
from baselines.data.crops import TrainingCrop
from baselines.runs.checkpoint import heads_in, network_of
from baselines.training.memory import counted
from baselines.training.schedule import Schedule
from baselines.training.start import start_of


@dataclass(frozen=True, slots=True)
class LabelRow:
    """One label: its kind, its channels, the crops that annotate it, its voxels to train on."""

    label: str
    kind: str
    channels: tuple[str, ...]
    crops: int
    voxels: int


@dataclass(frozen=True, slots=True)
class Summary:
    """facts: what, and how much of it.  remarks: sentences about what is unusual."""

    facts: dict[str, str]
    labels: tuple[LabelRow, ...]
    remarks: tuple[str, ...]


def summarise(config: Config, crops: Sequence[TrainingCrop], schedule: Schedule) -> Summary:
    """config: with labels, kinds and voxel size filled in.  Raises ConfigError for a network that
    cannot be, or a patch that does not go through it.
    """
    model = network_of(config)
    model.check_patch(config.training.patch)
    weights = sum(weight.numel() for weight in model.parameters())
    begins = _begins(config, crops) if config.training.start else []
    facts = {
        **_data_facts(config, crops),
        "network": _network(config),
        "channels": str(heads_in(config).channels),
        "weights": f"{weights / 1e6:.2f} million",
        "memory": f"about {counted(config) / 1e9:.2f} GB to train",
        **_training_facts(config, schedule),
    }
    return Summary(facts, _label_rows(config, crops), (*begins, *_remarks(config, crops)))


def table_of(summary: Summary) -> RenderableType:
    """A summary for a terminal."""
    facts = Table(show_header=False, box=None, padding=(0, 2, 0, 0))
    for name, value in summary.facts.items():
        facts.add_row(name, value)
    labels = Table("label", "kind", "learns", "crops", "voxels", box=None, padding=(0, 2, 0, 0))
    for row in summary.labels:
        learns = ", ".join(row.channels[:3]) + (" …" if len(row.channels) > 3 else "")
        labels.add_row(row.label, row.kind, learns, str(row.crops), f"{row.voxels:,}")
    return Group(facts, "", labels, *(f"note: {remark}" for remark in summary.remarks))


def sizes(values: Sequence[float]) -> str:
    """(Z, Y, X) in words: 8 x 4 x 4."""
    return " x ".join(f"{value:g}" for value in values)


def _data_facts(config: Config, crops: Sequence[TrainingCrop]) -> dict[str, str]:
    training = [box for crop in crops for box in crop.training]
    validation = [box for crop in crops for box in crop.validation]
    split = config.split
    how = {
        "planes": f"the last {split.fraction:.0%} of the planes of each crop",
        "random": f"{split.fraction:.0%} of the {split.by}s",
        "kfold": f"fold {split.fold} of at most {split.folds}, by {split.by}",
        "file": split.file,
    }[split.kind]
    return {
        "run": config.name + (f" (preset {config.preset})" if config.preset else ""),
        "crops": str(len(crops)),
        "voxel size": f"{sizes(config.data.voxel_size)} nm",
        "trained on": f"{_voxels(training):,} voxels in {len(training)} boxes",
        "validated on": f"{_voxels(validation):,} voxels in {len(validation)} boxes: {how}",
    }


def _network(config: Config) -> str:
    model = config.model
    kind = f"{model.dims}D" if not model.context else f"2.5D ({2 * model.context + 1} planes)"
    extra = ", deep supervision" if model.deep_supervision else ""
    return (
        f"{model.name} {kind}, {model.block} blocks, {model.levels} levels, "
        f"{model.width} to {min(model.most, model.width * 2 ** (model.levels - 1))} channels{extra}"
    )


def _training_facts(config: Config, schedule: Schedule) -> dict[str, str]:
    training = config.training
    parts = f" in {training.accumulate} parts" if training.accumulate > 1 else ""
    until = f", or {training.seconds:g} s" if training.seconds else ""
    every = f"{schedule.validate_every:,} iterations" if schedule.validate_every else "at the end"
    tiles = f", on {training.validation_tiles:,} tiles" if training.validation_tiles else ""
    nanometres = [n * size for n, size in zip(training.patch, config.data.voxel_size, strict=True)]
    return {
        "patch": f"{sizes(training.patch)} voxels, {sizes(nanometres)} nm",
        "batch": f"{training.batch}{parts}",
        "iterations": f"{schedule.iterations:,} ({schedule.epochs} epochs){until}",
        "saved every": f"{schedule.save_every:,} iterations",
        "validated every": every + tiles,
        "learning rate": f"{training.lr:g}, {training.schedule}",
        "loss": config.loss.kind,
        "augmentation": "on" if config.augment.enabled else "off",
    }


def _label_rows(config: Config, crops: Sequence[TrainingCrop]) -> tuple[LabelRow, ...]:
    return tuple(
        LabelRow(
            head.label, config.trained.kinds.get(head.label, "semantic"), head.channels,
            sum(head.label in crop.known for crop in crops),
            sum(crop.count.get(head.label, 0) for crop in crops),
        )
        for head in heads_in(config)
    )  # fmt: skip


def _remarks(config: Config, crops: Sequence[TrainingCrop]) -> list[str]:
    remarks = advice(config)
    for row in _label_rows(config, crops):
        if row.voxels == 0:
            remarks.append(f"{row.label} has no voxel in the training boxes.")
    if not any(crop.validation for crop in crops):
        remarks.append("nothing is kept to validate on: thresholds stay at 0.5.")
    return remarks


def _begins(config: Config, crops: Sequence[TrainingCrop]) -> list[str]:
    """What there is to say of weights that come from another run.  Raises ConfigError if unlike."""
    start = start_of(config)
    start.network()
    return list(start.sentences(crops))


def _voxels(boxes: Sequence[Box]) -> int:
    return sum(box.voxels for box in boxes)
