"""A live site that takes submissions, for the participant's side of it."""

import pytest
from django.core.cache import cache

from server.challenges.bundle import read_bundle
from server.challenges.loading import load
from server.challenges.models import Phase
from tests.server.making import make_bundle, person
from tests.synthetic import write_submission


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    return make_bundle(tmp_path_factory.mktemp("bundle"), slug="live")


@pytest.fixture(scope="module")
def packed(bundle):
    path = bundle.parent / "packed.zip"
    write_submission(path, bundle)
    return path


@pytest.fixture
def ada(transactional_db, bundle):
    cache.clear()  # throttles count anew
    load(read_bundle(bundle), in_place=True)
    return person("Ada")


@pytest.fixture
def phase(ada):
    return Phase.objects.get(challenge__slug="live")
