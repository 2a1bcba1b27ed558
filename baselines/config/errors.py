"""What is wrong with a configuration."""

from __future__ import annotations

from evaluator.errors import EvaluatorError


class ConfigError(EvaluatorError):
    """A configuration cannot be used."""
