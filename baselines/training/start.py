"""The weights of another run to begin with: what means the same is taken over, the rest is new.

Both networks are alike but for their outputs.  Channels of a label that both learn in the same way
are taken over by its name.  A run keeps what it must know of the other one in its own folder: it
goes on without it.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from baselines.config import Config, ConfigError, ModelConfig
from baselines.config.explaining import shown
from baselines.config.rules import settings_of
from baselines.data.crops import TrainingCrop
from baselines.models import Network, build_model
from baselines.objects.heads import Head, Heads
from baselines.predicting.learnt import met
from baselines.runs.checkpoint import Run, heads_in
from baselines.volumes.levels import alike, part_of
from evaluator.digest import file_digest

SETTINGS = "config.json"
MODEL_FILES = (".pth", ".safetensors")


@dataclass(frozen=True)
class Start:
    """A run, `there`, that another one, `here`, begins with.

    config: of the one that begins, with labels, kinds and voxel size filled in.
    """

    run: Run
    config: Config

    @functools.cached_property
    def there(self) -> Config:
        """The settings there."""
        return self.run.config()

    @functools.cached_property
    def digest(self) -> str:
        """SHA-256 of the weights."""
        return file_digest(self.run.weights)

    @property
    def taken(self) -> list[Head]:
        """Labels here whose channels both networks have."""
        known = {head.label: head for head in self.run.heads()}
        return [h for h in heads_in(self.config) if h.label in known and same(h, known[h.label])]

    def network(self) -> Network:
        """The trained network there.

        Raises ConfigError if it differs in more than its outputs, or its weights cannot be used.
        """
        if differing := self._differing(f"model.{known.name}" for known in fields(ModelConfig)):
            raise self._other(differing)
        network, here = self.run.model(), bare(self.config)
        if self._body(network) != self._body(here) or network.multiple != here.multiple:
            # The same settings make other levels for other voxels, and for other patches.
            raise self._other(self._differing(("data.voxel_size", "training.patch")))
        return network

    def _differing(self, keys: Iterable[str]) -> dict[str, tuple[Any, Any]]:
        """Of some settings those that differ: the values here and there."""
        here, there = (
            {key: value for key, value, _ in settings_of(config)}
            for config in (self.config, self.there)
        )
        return {key: (here[key], there[key]) for key in keys if here[key] != there[key]}

    def _body(self, network: Network) -> dict[str, list[int]]:
        """The shapes of a network's tensors, along axes that do not count channels."""
        return {
            name: [n for k, n in enumerate(value.shape) if k not in self.axes.get(name, ())]
            for name, value in network.state_dict().items()
        }

    def _other(self, differing: Mapping[str, tuple[Any, Any]]) -> ConfigError:
        """What is said of a network that is not alike."""
        both = "; ".join(
            f"{key} is {shown(here)} here and {shown(there)} there"
            for key, (here, there) in differing.items()
        )
        sets = " ".join(f"--set '{key}={shown(there)}'" for key, (_, there) in differing.items())
        advice = f"Take what it has, with {sets}, or begin" if sets else "Begin"
        return ConfigError(
            f"training.start {self.run.folder} holds a network of another shape: "
            f"{both or 'it comes from another version'}. {advice} with new weights."
        )

    @functools.cached_property
    def axes(self) -> dict[str, tuple[int, ...]]:
        """Per tensor of outputs, the axes that grow with the number of channels."""
        one, more = (bare(self.config, more=n).state_dict() for n in (0, 1))
        differ = {
            name: tuple(k for k, n in enumerate(value.shape) if n != more[name].shape[k])
            for name, value in one.items()
        }
        return {name: axes for name, axes in differ.items() if axes}

    @torch.no_grad()
    def give(self, network: Network, model: Network) -> None:
        """Copy weights of the network there into that here; those of new channels stay."""
        here, there = heads_in(self.config), self.run.heads()
        rows = [_rows(heads, [head.label for head in self.taken]) for heads in (here, there)]
        given = network.state_dict()
        for name, value in model.state_dict().items():
            if name not in self.axes:
                value.copy_(given[name])
                continue
            into = _index(value, self.axes[name], rows[0], model.channels)
            source = _index(given[name], self.axes[name], rows[1], network.channels)
            value[into] = given[name][source]

    def sentences(self, crops: Sequence[TrainingCrop]) -> Iterator[str]:
        """What a person should know of it before training."""
        taken = [head.label for head in self.taken]
        new = [label for label in self.config.data.labels if label not in taken]
        kept = f"taken over are the channels of {', '.join(taken)}" if taken else (
            "both learn no label in the same way (there "
            f"{', '.join(self.there.data.labels)}), so no channel is taken over"
        )  # fmt: skip
        yield f"begins with {self.run.weights}: {kept}; new: {', '.join(new) or 'none'}"
        sizes = [c.data.voxel_size for c in (self.there, self.config)]
        if not alike(*sizes):
            there, here = (" × ".join(f"{n:g}" for n in size) for size in sizes)
            yield (
                f"warning: {self.run.folder} was trained at {there} nm (Z, Y, X), this run is at "
                f"{here} nm: the same structures have another size in voxels."
            )
        yield from self._seen(crops)

    def _seen(self, crops: Sequence[TrainingCrop]) -> Iterator[str]:
        """Whether the run there has learnt from what validates here."""
        kept = [crop for crop in crops if crop.validation]
        if kept and not self.run.results().get("split"):
            yield (
                f"warning: {self.run.folder} does not say which crops it was trained on: if some "
                "of them validate here, their Dice is too good."
            )
        seen = [
            crop.name for crop in kept if crop.where and any(
                met(Path(crop.where), part_of(crop.grid, box), [self.run])
                for box in crop.validation
            )
        ]  # fmt: skip
        if seen:
            names = ", ".join(seen[:4]) + (f" and {len(seen) - 4} more" if len(seen) > 4 else "")
            yield (
                f"warning: {self.run.folder} was trained on what validates here, of {names}: their "
                "Dice is too good. Choose another split, such as split.kind = 'file', or trust "
                "crops alone that neither was trained on."
            )


def begin(config: Config, run: Run, model: Network) -> tuple[Config, Start | None]:
    """The settings with where weights come from, and the start of a run that is new.

    Its network gets the weights.  A run that goes on has them: the other run is not read again.
    Raises ConfigError if `training.start` is no run, or one that does not fit.
    """
    before = run.config() if run.settings.is_file() else None
    if not config.training.start:
        return _from(config, "", ""), None
    if before and before.training.start != config.training.start:
        return config, None  # the run's folder will refuse it
    if before and run.goes_on:
        return _from(config, before.trained.start, before.trained.start_digest), None
    start = start_of(config)
    if before and before.trained.start_digest != start.digest:
        raise ConfigError(
            f"{start.run.weights} has changed since {run.folder} was begun with it: choose another "
            "folder."
        )
    start.give(start.network(), model)
    return _from(config, str(start.run.weights.resolve()), start.digest), start


def start_of(config: Config) -> Start:
    """What `training.start` names, of an ensemble the run of the same fold.

    Raises ConfigError if that is no run.
    """
    path = Path(config.training.start)
    if config.split.kind == "kfold" and (path / "ensemble.json").is_file():
        path = path / f"fold-{config.split.fold}"
    return Start(run_at(path), config)


def run_at(path: Path) -> Run:
    """The run of a folder, or of a model file in it or in its checkpoints.

    Raises ConfigError for all else; an archive and an ensemble are no single run that can be read.
    """
    if not path.exists():
        raise _unusable(path, "is missing")
    if path.suffix == ".zip":
        raise _unusable(path, f"is an archive: unpack it with `baselines import {path}`")
    if (path / "ensemble.json").is_file():
        raise _unusable(
            path, f"is an ensemble: train with --folds, or choose a run, such as {path / 'fold-0'}"
        )
    if path.is_dir():
        if not (path / SETTINGS).is_file():
            raise _unusable(path, f"holds no run: {SETTINGS} is missing")
        return Run(path)
    if path.suffix not in MODEL_FILES:
        raise _unusable(path, f"is no model file, which ends in {' or '.join(MODEL_FILES)}")
    for folder in (path.parent, path.parent.parent):
        if (folder / SETTINGS).is_file():
            return Run(folder, (path, folder / SETTINGS))
    raise _unusable(path, f"lies without its {SETTINGS}, which says what its channels mean")


def same(one: Head, other: Head) -> bool:
    """Whether the channels of a label mean the same."""
    return (one.representation, one.channels) == (other.representation, other.channels)


def bare(config: Config, *, more: int = 0) -> Network:
    """The network of some settings without weights, with so many channels more."""
    with torch.device("meta"):
        return build_model(
            config.model, channels=heads_in(config).channels + more,
            voxel_size=config.data.voxel_size, patch=config.training.patch,
        )  # fmt: skip


def _from(config: Config, weights: str, digest: str) -> Config:
    trained = dataclasses.replace(config.trained, start=weights, start_digest=digest)
    return dataclasses.replace(config, trained=trained)


def _unusable(path: Path, why: str) -> ConfigError:
    return ConfigError(
        f"training.start {path} {why}. Give the folder of a run, or a model file that lies in it."
    )


def _rows(heads: Heads, labels: Sequence[str]) -> list[int]:
    """The channels of some labels, in the order of the labels."""
    return [k for label in labels for k in range(*heads.of(label).indices(heads.channels))]


def _index(
    value: Tensor, axes: tuple[int, ...], rows: Sequence[int], channels: int
) -> tuple[Tensor, ...]:
    """Where in a tensor the rows of some channels lie, along each of its axes of channels.

    A channel may have several rows, one beside the other: as many as a stem packs.
    """
    along = []
    for axis, n in enumerate(value.shape):
        each = n // channels
        some = [row * each + k for row in rows for k in range(each)]
        along.append(torch.tensor(some, dtype=torch.long) if axis in axes else torch.arange(n))
    return torch.meshgrid(*along, indexing="ij")
