"""MONAI's networks behind the same face, where MONAI is installed: `model.name = "monai:NAME"`."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from types import ModuleType
from typing import Any

from torch import Tensor, nn

from baselines.config import ConfigError, ModelConfig
from baselines.models.blocks import fold_planes, unfold_planes
from baselines.models.network import Network
from evaluator.geometry import Shape


def _widths(config: ModelConfig) -> list[int]:
    return [min(config.width * 2**level, config.most) for level in range(config.levels)]


def _unet(nets: ModuleType, config: ModelConfig, common: dict[str, Any]) -> nn.Module:
    net: nn.Module = nets.UNet(
        spatial_dims=config.dims, channels=_widths(config), strides=[2] * (config.levels - 1),
        num_res_units=2, **common,
    )  # fmt: skip
    return net


def _basic_unet(nets: ModuleType, config: ModelConfig, common: dict[str, Any]) -> nn.Module:
    widths = _widths(config)[:5]
    features = (*widths, *widths[-1:] * (5 - len(widths)), config.width)  # five levels, always
    net: nn.Module = nets.BasicUNet(spatial_dims=config.dims, features=features, **common)
    return net


def _dynunet(nets: ModuleType, config: ModelConfig, common: dict[str, Any]) -> nn.Module:
    net: nn.Module = nets.DynUNet(
        spatial_dims=config.dims, kernel_size=[3] * config.levels,
        strides=[1] + [2] * (config.levels - 1), upsample_kernel_size=[2] * (config.levels - 1),
        filters=_widths(config), res_block=config.block == "residual", **common,
    )  # fmt: skip
    return net


def _segresnet(nets: ModuleType, config: ModelConfig, common: dict[str, Any]) -> nn.Module:
    net: nn.Module = nets.SegResNet(
        spatial_dims=config.dims, init_filters=config.width,
        blocks_down=[1] + [2] * (config.levels - 1), blocks_up=[1] * (config.levels - 1), **common,
    )  # fmt: skip
    return net


# Name: how to make it, and what its sizes must be multiples of for L levels.
NETS: dict[str, tuple[Callable[..., nn.Module], Callable[[int], int]]] = {
    "UNet": (_unet, lambda levels: 2 ** (levels - 1)),
    "BasicUNet": (_basic_unet, lambda _: 16),
    "DynUNet": (_dynunet, lambda levels: 2 ** (levels - 1)),
    "SegResNet": (_segresnet, lambda levels: 2 ** (levels - 1)),
}


class MonaiNet(Network):
    """A network of MONAI; raw and logits as those of `UNet`, isotropic, without a stem.

    Of the settings it takes dims, context, width, most and levels, DynUNet the block, too.
    """

    def __init__(self, name: str, config: ModelConfig, *, channels: int) -> None:
        super().__init__(dims=config.dims, channels=channels, context=config.context)
        for key, given in (
            ("stem", config.stem > 1),
            ("deep_supervision", config.deep_supervision),
        ):
            if given:
                raise ConfigError(f"model.{key} is a setting of unet, not of monai:{name}.")
        make, multiple = NETS[name]
        self.step = multiple(config.levels)
        common = {"in_channels": 2 * config.context + 1, "out_channels": channels}
        self.net = make(_nets(name), config, common)

    @property
    def multiple(self) -> Shape:
        """The same along all axes of the network."""
        return (self.step if self.dims == 3 else 1, self.step, self.step)

    def forward(self, raw: Tensor) -> Tensor:
        """Logits (N, channels, Z, Y, X)."""
        if self.dims == 3:
            volume: Tensor = self.net(raw)
            return volume
        return unfold_planes(self.net(fold_planes(raw, self.context)), raw.shape[0])


def _nets(name: str) -> ModuleType:
    try:
        return importlib.import_module("monai.networks.nets")
    except ModuleNotFoundError as error:
        raise ConfigError(
            f"model.name monai:{name} needs MONAI, which is not installed here: "
            "pip install 'crista[extras]'."
        ) from error
