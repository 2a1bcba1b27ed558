"""A challenge on the running installation, and people who take part in it."""

from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.installation import Installation
from tests.server.making import make_bundle
from tests.synthetic import write_submission


@dataclass(frozen=True)
class Contest:
    """A loaded challenge: its slug, its bundle folder, and a submission that can be scored."""

    slug: str
    bundle: Path
    packed: Path

    @property
    def manifest(self) -> str:
        return str(self.bundle / "manifest.csv")

    def enter(self, site: Installation, account: dict[str, str], packed: Path, method: str) -> str:
        """Submit with the participant's command, wait for the score; the submission's number."""
        printed = site.evaluator(
            *("submit", str(packed), "--challenge", self.slug, "--method", method, "--watch"),
            **account,
        )
        return printed.split()[1]


@pytest.fixture(scope="session")
def contest(installation, tmp_path_factory) -> Contest:
    bundle = make_bundle(tmp_path_factory.mktemp("contest"), slug="contest")
    toml = bundle / "challenge.toml"
    toml.write_text(toml.read_text("utf-8").replace("per_day = 3", "per_day = 0"), "utf-8")
    installation.manage("load_challenge", str(bundle))
    packed = bundle.parent / "packed.zip"
    write_submission(packed, bundle, quality=0.9)
    return Contest("contest", bundle, packed)
