"""The command line: parse, call, and say in one sentence what went wrong."""

from __future__ import annotations

import logging
import sys

import typer
from rich.console import Console
from rich.markup import escape

from baselines.commands import data, making, predicting, runs
from evaluator.errors import EvaluatorError

app = typer.Typer(
    help="Baselines: train, predict, pack; and data to do it with.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
for subject in (making, data, runs, predicting):
    app.add_typer(subject.app)
errors = Console(stderr=True)


def main() -> None:
    """Entry point.  What the user can mend is one sentence and exit status 2."""
    logging.getLogger("tifffile").setLevel(logging.CRITICAL)  # damage is told by our sentence
    try:
        app()
    except EvaluatorError as error:
        errors.print(f"[red]error:[/red] {escape(str(error))}", soft_wrap=True)
        sys.exit(2)
    except OSError as error:
        if error.filename is None:
            raise
        errors.print(
            f"[red]error:[/red] {escape(f'{error.filename}: {error.strerror}.')}", soft_wrap=True
        )
        sys.exit(2)
    except KeyboardInterrupt:
        sys.exit(130)
