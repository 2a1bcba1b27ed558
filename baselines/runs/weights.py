"""Files of tensors.  Reading one never runs code: pickles with anything else in them are refused.

A file of weights carries the fingerprint of its network: .safetensors as metadata, .pth as one more
tensor of bytes.
"""

from __future__ import annotations

import os
import pickle
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from torch import Tensor

from baselines.config import ConfigError

MOST_BYTES = 2_000_000_000  # of a file of weights
_MARK = "fingerprint"


def save_weights(weights: dict[str, Tensor], path: Path, fingerprint: str) -> None:
    """Write weights as .pth or .safetensors.  Raises ConfigError above MOST_BYTES."""
    plain = {name: value.detach().cpu().contiguous() for name, value in weights.items()}
    size = sum(value.nbytes for value in plain.values())
    if size > MOST_BYTES:
        raise ConfigError(
            f"the weights take {size / 1e9:.1f} GB, a model file at most {MOST_BYTES / 1e9:.0f}: "
            "choose a smaller model.width, model.most or model.levels."
        )
    temporary = path.with_name(path.name + ".new")
    if path.suffix == ".pth":
        mark = torch.tensor(list(fingerprint.encode()), dtype=torch.uint8)
        torch.save({**plain, _MARK: mark}, temporary)
    else:
        temporary.write_bytes(safetensors.torch.save(plain, {_MARK: fingerprint}))
    os.replace(temporary, path)


def load_weights(path: Path) -> tuple[dict[str, Tensor], str]:
    """Weights and their fingerprint ("" if the file has none).

    Raises ConfigError, "Model file invalid", for a file that is too large, is no file of weights,
    would run code, or holds values that are not finite.
    """
    if path.stat().st_size > MOST_BYTES + 2**20:
        raise invalid(path, f"it has more than {MOST_BYTES / 1e9:.0f} GB")
    try:
        found, fingerprint = _read_pth(path) if path.suffix == ".pth" else _read_safetensors(path)
    except (safetensors.SafetensorError, pickle.UnpicklingError, RuntimeError, EOFError,
            KeyError, ValueError) as error:  # fmt: skip
        raise invalid(path, "it is damaged, or not a file of weights") from error
    if not all(bool(value.isfinite().all()) for value in found.values()):
        raise invalid(path, "some of its weights are not finite")
    return found, fingerprint


def invalid(path: Path, why: str) -> ConfigError:
    """What is said of a model file that cannot be used."""
    return ConfigError(
        f"Model file invalid: {path}: {why}. "
        "Copy it again from where it was trained, or train again."
    )


def _read_pth(path: Path) -> tuple[dict[str, Tensor], str]:
    found = _unpickled(path)
    if not isinstance(found, dict) or not all(isinstance(v, Tensor) for v in found.values()):
        raise ValueError("not a dictionary of tensors")
    mark = found.pop(_MARK, None)
    return found, bytes(mark.tolist()).decode() if mark is not None else ""


def _unpickled(path: Path) -> Any:
    """Tensors and plain values of a file.  Raises ValueError, too, for one that was cut off."""
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except OSError as error:
        if error.filename is not None:  # else it is torch's word for a zip without its end
            raise
        raise ValueError("cut off") from error


def _read_safetensors(path: Path) -> tuple[dict[str, Tensor], str]:
    with safetensors.safe_open(path, framework="pt") as file:
        said = file.metadata() or {}
    return safetensors.torch.load_file(path), said.get(_MARK, "")


def save_state(state: dict[str, Any], path: Path) -> None:
    """Write tensors and plain values, in place of an older file at once."""
    temporary = path.with_name(path.name + ".new")
    torch.save(state, temporary)
    os.replace(temporary, path)


def load_state(path: Path) -> dict[str, Any]:
    """What `save_state` wrote.  Raises ConfigError for anything else."""
    try:
        state: dict[str, Any] = _unpickled(path)
    except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError) as error:
        raise ConfigError(f"{path} is not the state of a run: remove it to begin anew.") from error
    return state
