"""The networks: a name in the settings -> how to make one."""

from __future__ import annotations

from baselines.config import ConfigError, ModelConfig
from baselines.models.adapters import NETS, MonaiNet
from baselines.models.network import Network
from baselines.models.unet import UNet

__all__ = ["MonaiNet", "Network", "UNet", "build_model"]


def build_model(
    config: ModelConfig, *, channels: int, voxel_size: tuple[float, ...],
    patch: tuple[int, ...] = (),
) -> Network:  # fmt: skip
    """A network: raw (N, 1, Z + 2 context, Y, X) -> logits (N, channels, Z, Y, X).

    voxel_size: nm (Z, Y, X).  patch: voxels (Z, Y, X) of training patches.  Raises ConfigError for
    an unknown name, or settings that the network does not have.
    """
    if config.context and config.dims == 3:
        raise ConfigError("model.context is for planes: with model.dims = 3 it must be 0.")
    if config.name == "unet":
        return UNet(config, channels=channels, voxel_size=voxel_size, patch=patch)
    family, _, net = config.name.partition(":")
    if family != "monai" or net not in NETS:
        known = ", ".join(["unet", *(f"monai:{name}" for name in NETS)])
        raise ConfigError(f"model.name {config.name} is unknown; known are: {known}.")
    return MonaiNet(net, config, channels=channels)
