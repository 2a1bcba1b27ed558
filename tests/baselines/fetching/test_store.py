"""Files from a folder, a web server and a bucket: whole, or a sentence about what is wrong."""

import hashlib

import pytest

from baselines.fetching.store import SUMS, open_store
from baselines.layout import DataError
from tests.baselines.serving import bucket_server, web_server

FILES = {"a/one": b"first file", "a/b/two": b"\0\1\2" * 1000, "empty": b""}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    root = tmp_path_factory.mktemp("published")
    for name, content in FILES.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(content)
    return root


@pytest.fixture(scope="module")
def endpoint(folder):
    with bucket_server(folder) as endpoint:
        yield endpoint


@pytest.fixture
def web(folder):
    with web_server(folder) as web:
        yield web


def test_a_folder_a_web_server_and_a_bucket_read_alike(folder, web, endpoint):
    for store in (
        open_store(str(folder)),
        open_store(web.url),
        open_store("s3://open-data/of/all", endpoint=endpoint),
        open_store("s3://open-data/of/all/", endpoint=endpoint),
    ):
        assert {name: store.read(name) for name in FILES} == FILES
        assert store.read("a/none") is None
        assert store.read("none/at/all") is None


def test_a_stream_keeps_the_order_of_its_keys_and_asks_no_more_than_so_many_ahead(web):
    keys = ["a/one", "none", "a/b/two"] * 40
    store = open_store(web.url, parallel=4)
    found = list(store.stream(keys, ahead=8))
    assert found == [(key, FILES.get(key)) for key in keys]
    assert web.most_busy <= 4
    web.asked.clear()
    stream = store.stream(keys, ahead=8)
    next(stream)
    stream.close()
    assert len(web.asked) <= 9


def test_a_bucket_that_is_closed_says_so_and_opens_to_who_signs(endpoint, monkeypatch):
    store = open_store("s3://closed", endpoint=endpoint)
    with pytest.raises(
        DataError, match=r"s3://closed/secret.txt cannot be read: PERMISSION_DENIED"
    ):
        store.read("secret.txt")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    store = open_store("s3://closed", endpoint=endpoint, signed=True)
    assert store.read("secret.txt") == b"secret"


def test_a_file_that_arrives_damaged_is_read_again(web):
    store = open_store(web.url)
    web.spoilt = {"a/one": 1}
    assert store.read("a/one") == FILES["a/one"]
    assert web.asked.count("a/one") == 2


def test_a_tag_that_is_no_md5_does_not_stop_what_arrives_the_same_twice(web):
    store = open_store(web.url)
    web.tag = "0" * 32
    assert store.read("a/one") == FILES["a/one"]
    web.tag = "no-digest"
    web.asked.clear()
    assert store.read("a/one") == FILES["a/one"]
    assert len(web.asked) == 1


def test_a_published_digest_is_stronger_than_what_arrives_twice(folder, web):
    digest = hashlib.sha256(FILES["a/one"]).hexdigest()
    (folder / SUMS).write_text(f"{digest}  ./a/one\n{'0' * 64} *a/b/two\nnonsense\n")
    try:
        store = open_store(web.url)
        assert store.digest("a/one") == digest
        assert store.digest("empty") is None
        web.tag = ""
        web.spoilt = {"a/one": 1}
        assert store.read("a/one") == FILES["a/one"]
        with pytest.raises(DataError, match="a/b/two arrives damaged, twice"):
            store.read("a/b/two")
    finally:
        (folder / SUMS).unlink()


@pytest.mark.parametrize("url", ["ftp://x/y", "s3://", "nowhere/at/all", "http://h/?query"])
def test_what_is_no_store_is_refused(url):
    with pytest.raises(DataError, match="is no store: give s3://"):
        open_store(url)


def test_a_server_that_is_away_is_a_sentence_with_the_address(web):
    with pytest.raises(DataError, match=r"http://127\.0\.0\.1:1/.*cannot be read"):
        open_store("http://127.0.0.1:1", retries=1)
