"""The networks: name -> how to make one."""

from __future__ import annotations

from collections.abc import Callable

from baselines.config import ConfigError, ModelConfig
from baselines.models.unet import UNet

__all__ = ["MODELS", "UNet", "build_model"]

MODELS: dict[str, Callable[..., UNet]] = {"unet": UNet}


def build_model(config: ModelConfig, *, labels: int, voxel_size: tuple[float, ...]) -> UNet:
    """A network that turns raw (N, 1, Z, Y, X) into logits (N, labels, Z, Y, X)."""
    if config.name not in MODELS:
        raise ConfigError(f"model.name {config.name} is unknown; known are: {', '.join(MODELS)}.")
    return MODELS[config.name](config, labels=labels, voxel_size=voxel_size)
