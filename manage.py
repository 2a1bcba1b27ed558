#!/usr/bin/env python3
"""The one entry: `python3 manage.py demo`, `up`, `test`, and Django's own commands.

Begins with nothing but Python's standard library.  Where the environment in .venv is missing or
older than the locked requirements it is made first; then the command runs inside it.
"""

import contextlib
import fcntl
import hashlib
import os
import subprocess
import sys
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parent
VENV = ROOT / ".venv"
PYTHON = VENV / "bin" / "python"
STAMP = VENV / "crista-installed"
LOCKS = (ROOT / "requirements" / "torch.txt", ROOT / "requirements" / "dev.txt")


def main() -> int:
    if sys.version_info < (3, 11):
        return refuse(f"Crista needs Python 3.11 or later; this is {sys.version.split()[0]}.")
    if not in_environment():
        try:
            prepare()
        except (OSError, subprocess.CalledProcessError) as error:
            return refuse(explain(error))
        os.execv(PYTHON, [str(PYTHON), str(ROOT / "manage.py"), *sys.argv[1:]])
    if sys.argv[1:2] == ["test"]:
        return test(sys.argv[2:])
    return django()


def in_environment() -> bool:
    """True inside .venv with the locked requirements installed."""
    return Path(sys.prefix) == VENV and current()


def current() -> bool:
    return STAMP.is_file() and STAMP.read_text() == fingerprint()


def fingerprint() -> str:
    """Changes when the locked requirements or the package's own set-up change."""
    texts = [path.read_bytes() for path in (*LOCKS, ROOT / "pyproject.toml")]
    return hashlib.sha256(b"".join(texts)).hexdigest()


def prepare() -> None:
    """Make .venv and install everything, once; a second process waits for the first."""
    with (ROOT / ".venv.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if current():
            return
        say("Installing the locked requirements into .venv; the first time takes a few minutes.")
        if not PYTHON.exists():
            venv.create(VENV, with_pip=True, clear=VENV.exists())
        install()
        STAMP.write_text(fingerprint())


def install() -> None:
    """torch by pip, the rest by uv; by pip where uv cannot be had.

    Ready-made wheels only: nothing is compiled here, so no compiler is needed.
    """
    pip = [str(PYTHON), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    run(*pip, "--no-deps", "-r", str(LOCKS[0]))
    locked = ["--require-hashes", "--only-binary", ":all:", "-r", str(LOCKS[1])]
    try:
        run(*pip, "uv>=0.9")
        uv = [str(PYTHON), "-m", "uv", "pip", "install", "--quiet", "--compile-bytecode"]
        uv += ["--python", str(PYTHON)]
        run(*uv, *locked)
    except subprocess.CalledProcessError:
        say("uv could not do it; trying pip, which takes longer.")
        run(*pip, "--no-deps", *locked)
    run(*pip, "--no-deps", "--no-build-isolation", "--editable", str(ROOT))


def run(*command: str) -> None:
    subprocess.run(command, check=True, cwd=ROOT)


def explain(error: Exception) -> str:
    """One sentence that says what to do about a failed installation."""
    if isinstance(error, OSError):
        return f"Could not write {VENV} ({error}). Free some disk space or mend the permissions."
    assert isinstance(error, subprocess.CalledProcessError)
    command = " ".join(map(str, error.cmd))
    if "ensurepip" in command:
        return (
            "Python's venv module is incomplete; install it (on Debian: apt install python3-venv)."
        )
    return (
        f"Installation failed: {command}\n"
        "The lines above give the reason. Without a network, name a folder of wheels with "
        "PIP_FIND_LINKS and UV_FIND_LINKS; behind a proxy, set HTTPS_PROXY; on a platform without "
        "ready-made wheels, use Linux x86-64 with Python 3.11. Then run the same command again: it "
        "goes on where it stopped."
    )


def test(arguments: list[str]) -> int:
    """The whole test suite on all cores; arguments go to pytest instead."""
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    chosen = arguments or ["--numprocesses", "auto", "--dist", "loadfile"]
    return subprocess.call([str(PYTHON), "-m", "pytest", *chosen], cwd=ROOT)


def django() -> int:
    # Threads of the linear algebra library must not exist when a worker forks.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "server.settings")
    from django.core.management import execute_from_command_line

    execute_from_command_line(sys.argv)
    return 0


def say(sentence: str) -> None:
    print(sentence, file=sys.stderr, flush=True)


def refuse(sentence: str) -> int:
    say(sentence)
    return 1


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        sys.exit(main())
