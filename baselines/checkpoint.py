"""What a run keeps on disk.  Loading never runs code: tensors and JSON only.

config.json               every setting, given or by default, with labels and voxel size filled in
best_model.safetensors    the weights to predict with
results.json              scores and thresholds on the validation planes, timings, light of crops
last.pt                   all that is needed to go on: weights, averages, optimiser, step
progress.jsonl            a line per report;  curves.png: the same as a picture
"""

from __future__ import annotations

import json
import os
import pickle
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from torch import Tensor

from baselines.config import Config, ConfigError, load_config, to_json
from baselines.models import UNet, build_model


@dataclass(frozen=True, slots=True)
class Run:
    """A run's folder, which may be empty yet."""

    folder: Path

    @property
    def weights(self) -> Path:
        """The weights to predict with."""
        return self.folder / "best_model.safetensors"

    def begin(self, config: Config) -> None:
        """Store the settings; an earlier run in this folder must have had the same."""
        path = self.folder / "config.json"
        if path.is_file() and (old := load_config(path)) != config:
            changed = [
                k for k in config.__dataclass_fields__ if getattr(old, k) != getattr(config, k)
            ]
            raise ConfigError(
                f"{self.folder} holds a run with other settings ({', '.join(changed)}): "
                "continue it with the same ones, or choose another folder."
            )
        self.folder.mkdir(parents=True, exist_ok=True)
        _write(path, to_json(config).encode())

    def config(self) -> Config:
        """The settings of the run.  Raises ConfigError if the folder holds no run."""
        path = self.folder / "config.json"
        if not path.is_file():
            raise ConfigError(f"{self.folder} holds no run: {path.name} is missing.")
        return load_config(path)

    def log(self, line: dict[str, Any]) -> None:
        """Add a line to progress.jsonl."""
        with (self.folder / "progress.jsonl").open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")

    def lines(self) -> list[dict[str, Any]]:
        """The lines of progress.jsonl; of a step reported twice, the later one."""
        path = self.folder / "progress.jsonl"
        texts = path.read_text("utf-8").splitlines() if path.is_file() else []
        by_step = {line["step"]: line for line in map(json.loads, texts)}
        return [by_step[step] for step in sorted(by_step)]

    def save_last(self, state: dict[str, Any]) -> None:
        """Keep the state to go on from, in place of an older one."""
        temporary = self.folder / "last.pt.new"
        torch.save(state, temporary)
        temporary.replace(self.folder / "last.pt")

    def load_last(self) -> dict[str, Any] | None:
        """The state to go on from; None for a new run."""
        path = self.folder / "last.pt"
        if not path.is_file():
            return None
        try:
            state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
        except (pickle.UnpicklingError, RuntimeError, EOFError) as error:
            raise ConfigError(
                f"{path} is not the state of a run: remove it to begin anew."
            ) from error
        return state

    def save_weights(self, weights: dict[str, Tensor]) -> None:
        """Keep the weights to predict with."""
        plain = {k: v.detach().cpu().contiguous() for k, v in weights.items()}
        _write(self.weights, safetensors.torch.save(plain))

    def save_results(self, results: dict[str, Any]) -> None:
        """Keep results.json."""
        _write(self.folder / "results.json", (json.dumps(results, indent=1) + "\n").encode())

    def results(self) -> dict[str, Any]:
        """What results.json says; empty if the run has not been validated."""
        path = self.folder / "results.json"
        if not path.is_file():
            return {}
        try:
            return dict(json.loads(path.read_text("utf-8")))
        except (ValueError, TypeError) as error:
            raise ConfigError(f"{path} is damaged ({error}): train again.") from error

    def model(self) -> UNet:
        """The trained network.  Raises ConfigError if there are no weights, or others."""
        config = self.config()
        model = build_model(
            config.model, labels=len(config.data.labels), voxel_size=config.data.voxel_size
        )
        if not self.weights.is_file():
            raise ConfigError(f"{self.folder} has no {self.weights.name} yet: train it first.")
        try:
            model.load_state_dict(safetensors.torch.load_file(self.weights))
        except (safetensors.SafetensorError, RuntimeError) as error:
            raise ConfigError(
                f"{self.weights} does not hold the weights of the network in config.json."
            ) from error
        return model


def _write(path: Path, content: bytes) -> None:
    # Written beside and renamed: a reader never meets half a file.
    temporary = path.with_name(path.name + ".new")
    temporary.write_bytes(content)
    os.replace(temporary, path)
