"""What a run keeps on disk.  Loading never runs code: tensors and JSON only.

config.json               every setting, given or by default, with labels, kinds, voxel size and the
                          fingerprint of the network filled in
best_model.safetensors    the weights to predict with; best_model.pth: the same for torch.load
results.json              scores and thresholds on the validation voxels, timings, light of crops
last.pt                   all that is needed to go on: weights, averages, optimiser, iteration
start.json                of a run that began with another one: what that had learnt from
checkpoints/              the averaged weights of some iterations
progress.jsonl            what happened (journal.py);  curves_*.png: the same as pictures
lock, STOP                who trains here now; a file that asks to stop

An ensemble is a folder of runs, fold-0, fold-1, …, with ensemble.json.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from baselines.config import Config, ConfigError, load_config, to_json
from baselines.config.rules import settings_of
from baselines.models import Network, build_model
from baselines.objects.heads import Heads, heads_of
from baselines.runs.journal import Event, events_of, line_of, up_to
from baselines.runs.weights import load_state, load_weights, save_state, save_weights
from evaluator.digest import json_digest
from evaluator.manifest import Kind


@dataclass(frozen=True, slots=True)
class Run:
    """A run's folder, which may be empty yet.

    imported: a file of weights and one of settings that lie elsewhere, in place of the folder's.
    """

    folder: Path
    imported: tuple[Path, Path] | None = None

    @classmethod
    def of(cls, model: Path, config: Path) -> Run:
        """A trained network without its folder: best_model.pth or .safetensors, and config.json."""
        return cls(model.parent, (model, config))

    @property
    def weights(self) -> Path:
        """The weights to predict with."""
        return self.imported[0] if self.imported else self.folder / "best_model.safetensors"

    @property
    def settings(self) -> Path:
        """The stored settings."""
        return self.imported[1] if self.imported else self.folder / "config.json"

    @property
    def lock(self) -> Path:
        """Who trains here."""
        return self.folder / "lock"

    @property
    def stop(self) -> Path:
        """A file that asks the training to stop."""
        return self.folder / "STOP"

    def begin(self, config: Config) -> None:
        """Store the settings; an earlier run in this folder must have had the same."""
        if self.settings.is_file() and (old := load_config(self.settings)) != config:
            before = {key: value for key, value, _ in settings_of(old)}
            changed = [key for key, value, _ in settings_of(config) if before[key] != value]
            raise ConfigError(
                f"{self.folder} holds a run with other settings ({', '.join(changed)}): "
                "continue it with the same ones, or choose another folder."
            )
        self.folder.mkdir(parents=True, exist_ok=True)
        write(self.settings, to_json(config))

    def config(self) -> Config:
        """The settings of the run.  Raises ConfigError if the folder holds no run."""
        if not self.settings.is_file():
            raise ConfigError(
                f"{self.folder} holds no run: {self.settings.name} is missing. "
                "`baselines train` makes one."
            )
        return load_config(self.settings)

    def heads(self) -> Heads:
        """The channels of the network."""
        return heads_in(self.config())

    def log(self, event: Event) -> None:
        """Add a line to progress.jsonl."""
        with (self.folder / "progress.jsonl").open("a", encoding="utf-8") as file:
            file.write(line_of(event) + "\n")

    def events(self) -> list[Event]:
        """What progress.jsonl tells."""
        path = self.folder / "progress.jsonl"
        return events_of(path.read_text("utf-8")) if path.is_file() else []

    def rewind(self, iteration: int) -> None:
        """Forget what was told after an iteration: it is going to happen again."""
        kept = up_to(self.events(), iteration)
        write(self.folder / "progress.jsonl", "".join(line_of(event) + "\n" for event in kept))

    def save_last(self, state: dict[str, Any]) -> None:
        """Keep the state to go on from, in place of an older one."""
        save_state(state, self.folder / "last.pt")

    def load_last(self) -> dict[str, Any] | None:
        """The state to go on from; None for a new run."""
        path = self.folder / "last.pt"
        return load_state(path) if path.is_file() else None

    @property
    def goes_on(self) -> bool:
        """Whether there is something to go on from, or nothing left to do."""
        return (self.folder / "last.pt").is_file() or bool(self.results().get("finished"))

    def learnt(self) -> list[tuple[str, dict[str, Any]]]:
        """Crops that its weights learnt from, in this run or before it: names and boxes.

        The boxes are those of results.json; of a run that is not finished its own are missing.
        """
        before = self._stored("start.json").get("learnt", [])
        return [*self.results().get("split", {}).items(), *((name, box) for name, box in before)]

    def save_start(self, other: Run) -> None:
        """Keep what another run, with which this one begins, has learnt from."""
        write(self.folder / "start.json", json.dumps({"learnt": other.learnt()}, indent=1) + "\n")

    def save_best(self, weights: dict[str, Tensor], fingerprint: str) -> None:
        """Keep the weights to predict with, in both formats."""
        save_weights(weights, self.folder / "best_model.pth", fingerprint)
        save_weights(weights, self.weights, fingerprint)

    def save_checkpoint(
        self, weights: dict[str, Tensor], fingerprint: str, *, iteration: int, keep: int
    ) -> None:
        """Keep the weights of an iteration, and so many such checkpoints in all."""
        folder = self.folder / "checkpoints"
        if keep:
            folder.mkdir(exist_ok=True)
            save_weights(weights, folder / f"{iteration:09}.safetensors", fingerprint)
        for old in sorted(folder.glob("*.safetensors"))[: -keep or None]:
            old.unlink()

    def save_results(self, results: dict[str, Any]) -> None:
        """Keep results.json."""
        write(self.folder / "results.json", json.dumps(results, indent=1) + "\n")

    def results(self) -> dict[str, Any]:
        """What results.json says; empty if the run has not been validated."""
        return self._stored("results.json")

    def _stored(self, name: str) -> dict[str, Any]:
        """A table of the folder; empty if there is none."""
        path = self.folder / name
        if not path.is_file():
            return {}
        try:
            return dict(json.loads(path.read_text("utf-8")))
        except (ValueError, TypeError) as error:
            raise ConfigError(f"{path} is damaged ({error}): train again.") from error

    def model(self) -> Network:
        """The trained network.  Raises ConfigError if there are no weights, or others."""
        config = self.config()
        if not self.weights.is_file():
            raise ConfigError(f"{self.folder} has no {self.weights.name} yet: train it first.")
        with torch.device("meta"):  # no weights are drawn that would be overwritten
            model = network_of(config)
        weights, fingerprint = load_weights(self.weights)
        wanted = {name: tuple(value.shape) for name, value in model.state_dict().items()}
        given = {name: tuple(value.shape) for name, value in weights.items()}
        other = fingerprint and config.trained.fingerprint not in ("", fingerprint)
        if wanted != given or other:
            raise ConfigError(
                f"Model file invalid: {self.weights} does not hold the weights of the network in "
                f"{self.settings}; both files must come from the same training session."
            )
        model.load_state_dict(weights, assign=True)
        return model


def heads_in(config: Config) -> Heads:
    """The channels of the network that a run's settings describe."""
    z, y, x = config.data.voxel_size
    kinds = {label: Kind(kind) for label, kind in config.trained.kinds.items()}
    planar = config.model.dims == 2
    return heads_of(config.data.labels, kinds, config.objects, (z, y, x), planar=planar)


def network_of(config: Config) -> Network:
    """The network that a run's settings describe, untrained."""
    return build_model(
        config.model, channels=heads_in(config).channels, voxel_size=config.data.voxel_size,
        patch=config.training.patch,
    )  # fmt: skip


def fingerprint_of(config: Config, model: nn.Module) -> str:
    """A digest of the network's shapes, of what its channels and voxels mean, and of its start."""
    shapes = {name: list(value.shape) for name, value in model.state_dict().items()}
    names, voxel_size = heads_in(config).names, config.data.voxel_size
    seed, start = config.training.seed, config.trained.start_digest
    known = [config.model.name, names, voxel_size, seed, shapes]
    return json_digest([*known, start] if start else known)


def members(path: Path) -> list[Run]:
    """The runs of an ensemble, or the one run of a folder.  Raises ConfigError for neither."""
    index = path / "ensemble.json"
    if not index.is_file():
        run = Run(path)
        run.config()
        return [run]
    try:
        names = json.loads(index.read_text("utf-8"))["members"]
        runs = [Run(path / str(name)) for name in names]
    except (ValueError, TypeError, KeyError) as error:
        raise ConfigError(f"{index} is damaged ({error}): train the folds again.") from error
    if missing := [run.folder.name for run in runs if not run.weights.is_file()]:
        raise ConfigError(
            f"{path} lacks the weights of {', '.join(missing)}: train these folds first."
        )
    return runs


def save_ensemble(path: Path, names: Iterable[str]) -> None:
    """Write ensemble.json: which folders hold the members."""
    write(path / "ensemble.json", json.dumps({"members": list(names)}, indent=1) + "\n")


def write(path: Path, content: str) -> None:
    """A text file that readers never meet half written: beside it first, then renamed."""
    temporary = path.with_name(path.name + ".new")
    temporary.write_text(content, "utf-8")
    os.replace(temporary, path)
