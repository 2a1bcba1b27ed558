import pytest

from server.accounts.models import Team
from tests.server import entries
from tests.server.notices.receiver import receiving


@pytest.fixture
def receiver(tmp_path, monkeypatch, settings):
    """A receiver on this machine, whose host, address and certificate the site trusts."""
    settings.WEBHOOK_HOSTS = ["localhost", "127.0.0.0/8", "::1/128"]
    with receiving(tmp_path) as (server, certificate):
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
        yield server


@pytest.fixture
def lab(people) -> Team:
    """A team that Ada owns and Bob is a member of."""
    return entries.team("Lab", people.ada, people.bob)
