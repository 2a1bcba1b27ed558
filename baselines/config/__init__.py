"""A run's settings: TOML in, frozen dataclasses out.  Data, not a program.

An unknown key, a wrong type or an impossible value is an error that names the key, before any data
is touched.
"""

from baselines.config.advice import advice
from baselines.config.errors import ConfigError
from baselines.config.reading import build, bundled, load_config, to_json
from baselines.config.rules import check, check_saves
from baselines.config.schema import (
    AugmentConfig,
    Config,
    DataConfig,
    LossConfig,
    ModelConfig,
    ObjectsConfig,
    PredictionConfig,
    SamplingConfig,
    SplitConfig,
    TrainingConfig,
)

__all__ = [
    "AugmentConfig", "Config", "ConfigError", "DataConfig", "LossConfig", "ModelConfig",
    "ObjectsConfig", "PredictionConfig", "SamplingConfig", "SplitConfig", "TrainingConfig",
    "advice", "build", "bundled", "check", "check_saves", "load_config", "to_json",
]  # fmt: skip
