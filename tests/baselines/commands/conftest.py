"""Commands as a shell runs them."""

import sys

import pytest

from baselines.cli import main


def called(*arguments) -> int:
    """Exit status of a command."""
    before, sys.argv = sys.argv, ["baselines", *map(str, arguments)]
    try:
        main()
    except SystemExit as exit_:
        return int(exit_.code or 0)
    finally:
        sys.argv = before
    return 0


@pytest.fixture
def command(capfd):
    """Runs a command: its exit status, and what it says to people."""

    def run(*arguments):
        capfd.readouterr()
        return called(*arguments), capfd.readouterr().err

    return run


@pytest.fixture
def refused(command):
    """Runs a command that must fail, and gives the one sentence or more that it ends with."""

    def run(*arguments):
        status, said = command(*arguments)
        assert status == 2, said
        assert "Traceback" not in said
        _, error, sentences = said.partition("error: ")
        assert error
        assert sentences.endswith(".\n")
        return " ".join(sentences.split())

    return run
