"""The same bytes from other environments: a result scored with several versions of numpy.

    python -m benchmarks.same_digest [--numpy VERSION]…

Makes one scene, installs the evaluator from this checkout into a fresh environment for each
version of numpy, scores the scene in it under every protocol with the command that participants
have, and prints the SHA-256 of each result.  Ends with 1 unless those of a protocol are equal.
"""

from __future__ import annotations

import argparse
import hashlib
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks.red_team import Scene, make_scene
from evaluator import PROTOCOLS, create_volume, format_labels, format_manifest

ROOT = Path(__file__).resolve().parents[1]
VERSIONS = ("2.3.5", "2.4.6")


def environment(folder: Path, version: str) -> Path:
    """The folder of programs of a new environment with the evaluator and that numpy."""
    subprocess.run([sys.executable, "-m", "uv", "venv", "-q", folder], check=True)
    program, requirements = folder / "bin", ROOT / "requirements"
    needs = [part for name in ("base", "evaluator") for part in ("-r", requirements / f"{name}.in")]
    command = [sys.executable, "-m", "uv", "pip", "install", "-q", "--only-binary", ":all:"]
    subprocess.run(
        [*command, "--python", program / "python", *needs, f"numpy=={version}"], check=True
    )
    return program


def write(scene: Scene, folder: Path) -> None:
    """Write manifest, truth and prediction of a scene."""
    targets = scene.manifest.targets
    (folder / "manifest.csv").write_text(format_manifest(targets))
    (folder / "labels.toml").write_text(format_labels(scene.manifest.labels.values()))
    for name, arrays in (("truth", scene.truth), ("pred", scene.honest)):
        for target in targets:
            array = arrays[target.path]
            create_volume(folder / name / target.path, target.grid, array.dtype)[:] = array


def digest(program: Path, folder: Path, protocol: str) -> str:
    """SHA-256 of the result that an environment gives."""
    command = [
        program / "python", "-m", "evaluator", "score", folder / "pred",
        "--truth", folder / "truth", "--manifest", folder, "--protocol", protocol, "--json", "-",
    ]  # fmt: skip
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, cwd=ROOT)
    return hashlib.sha256(done.stdout).hexdigest()


def main() -> None:
    """Print the digests and whether they agree."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--numpy", action="append", help="a version; may be given again")
    versions = parser.parse_args().numpy or VERSIONS
    found: dict[str, set[str]] = {protocol: set() for protocol in PROTOCOLS}
    with tempfile.TemporaryDirectory() as place:
        write(make_scene(64, 3), Path(place))
        for version in versions:
            program = environment(Path(place, f"numpy-{version}"), version)
            for protocol, digests in found.items():
                value = digest(program, Path(place), protocol)
                digests.add(value)
                print(f"numpy {version:8} {protocol:16} {value}", flush=True)
    equal = all(len(digests) == 1 for digests in found.values())
    print("equal" if equal else "NOT equal")
    sys.exit(not equal)


if __name__ == "__main__":
    main()
