"""The evaluator's version: part of every result, since a score belongs to the code that made it."""

__version__ = "0.1.0"
