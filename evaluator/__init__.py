"""Scoring of 3D segmentations: the vocabulary, the submission format, the metrics, the commands.

What it offers is listed in `evaluator.public` and loaded whole when the first name is asked for.
Who imports a module of it alone, such as `evaluator.client` to talk to a server, waits for nothing
that only scoring needs.
"""

from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from evaluator.public import *  # noqa: F403  (its `__all__` says which)


def __getattr__(name: str) -> Any:
    """One of the names of `evaluator.public`.  Modules are left to the import system."""
    if not name.startswith("__") and find_spec(f"{__name__}.{name}"):
        raise AttributeError(f"module {__name__!r} has not imported {name!r}")
    return getattr(import_module(f"{__name__}.public"), name)
