import ipaddress
import socket
import time

import pytest

from server.errors import Refused
from server.notices import posting
from server.notices.posting import Undelivered, post, refuse_url


def test_what_is_posted_arrives_with_its_headers(receiver):
    assert post(receiver.url, b'{"a":1}', {"Crista-Kind": "scored"}) == "answered 200"
    ((path, headers, body),) = receiver.came
    assert (path, body) == ("/hook?x=1", b'{"a":1}')
    assert headers["Content-Type"] == "application/json"
    assert headers["Crista-Kind"] == "scored"
    assert headers["Host"].startswith("localhost")


@pytest.mark.parametrize("status", [301, 302, 307, 308, 400, 404, 410, 500, 503])
def test_only_success_counts_and_no_redirect_is_followed(receiver, status):
    receiver.status = status
    with pytest.raises(Undelivered, match=f"answered {status}"):
        post(receiver.url, b"{}", {})
    assert len(receiver.came) == 1


def test_a_certificate_that_nobody_signed_is_refused(receiver, monkeypatch, tmp_path):
    (tmp_path / "none.pem").touch()
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "none.pem"))
    with pytest.raises(Undelivered, match="SSL"):
        post(receiver.url, b"{}", {})
    assert receiver.came == []


def test_a_certificate_of_another_host_is_refused(receiver, settings):
    settings.WEBHOOK_HOSTS = ["127.0.0.1"]
    with pytest.raises(Undelivered, match="SSL"):
        post(receiver.url.replace("localhost", "127.0.0.1"), b"{}", {})
    assert receiver.came == []


def test_an_answer_that_drips_is_cut_off(receiver, settings):
    settings.WEBHOOK_TIMEOUT_S = 0.5
    receiver.drip_s = 0.05
    began = time.monotonic()
    with pytest.raises(Undelivered, match="no answer"):
        post(receiver.url, b"{}", {})
    assert time.monotonic() - began < 3


def test_a_port_where_nobody_listens_is_no_answer(receiver, settings):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with pytest.raises(Undelivered, match="no answer"):
        post(f"https://localhost:{port}/", b"{}", {})


@pytest.mark.parametrize(
    "url",
    [
        "http://localhost/", "ftp://localhost/", "https://", "localhost", "https:///x", "",
        "https://user@localhost/", "https://user:word@localhost/", "https://localhost@evil.org/",
        "https://evil.org/", "https://localhost.evil.org/", "https://evillocalhost/",
        "https://localhost:x/", "https://localhost:99999/", "https://localhost/\r\nX: y",
        "https://localhost/ a", "https://localhost\\@evil.org/", "https://[::1", "https://ⓛocalhost/",
        "https://localhost/" + "x" * 500, "https://2130706433/", "https://0x7f000001/",
        "file:///etc/passwd", "https://LOCALHOST.evil.org/",
    ],
)  # fmt: skip
def test_an_address_that_is_not_allowed_is_refused_before_anything_is_sent(receiver, url):
    with pytest.raises(Refused, match="CRISTA_WEBHOOK_HOSTS"):
        refuse_url(url)
    with pytest.raises(Undelivered):
        post(url, b"{}", {})
    assert receiver.came == []


def test_by_default_no_host_is_allowed(settings):
    assert settings.WEBHOOK_HOSTS == []
    with pytest.raises(Refused, match="may post to: none"):
        refuse_url("https://hooks.example.org/")


@pytest.mark.parametrize(
    "url",
    ["https://hooks.example.org/a?b=c", "https://HOOKS.example.org:8443/", "https://a.lab.org/"],
)
def test_listed_hosts_are_allowed_however_they_are_written(settings, url):
    settings.WEBHOOK_HOSTS = ["hooks.example.org", "*.lab.org"]
    refuse_url(url)


def test_a_listed_name_that_leads_to_this_machine_is_refused_at_each_try(receiver, settings):
    settings.WEBHOOK_HOSTS = ["localhost"]  # the name alone
    refuse_url(receiver.url)
    with pytest.raises(Undelivered, match="private network"):
        post(receiver.url, b"{}", {})
    assert receiver.came == []


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254", "0.0.0.0",
        "100.64.0.1", "224.0.0.1", "255.255.255.255", "::1", "::", "fe80::1", "fc00::1", "ff02::1",
        "::ffff:127.0.0.1", "::ffff:169.254.169.254", "64:ff9b::7f00:1", "2002:7f00:1::",
        "2001:0:7f00:1::", "192.0.2.1", "198.18.0.1",
    ],
)  # fmt: skip
def test_no_address_within_a_network_is_reached_unless_it_is_listed(settings, address):
    parsed = ipaddress.ip_address(address)
    assert not posting._may_reach(parsed)
    inner = getattr(parsed, "ipv4_mapped", None) or parsed
    settings.WEBHOOK_HOSTS = [f"{inner}/{inner.max_prefixlen}"]
    assert posting._may_reach(parsed)


@pytest.mark.parametrize("address", ["93.184.216.34", "2606:2800:220:1::1", "::ffff:8.8.8.8"])
def test_public_addresses_are_reached(address):
    assert posting._may_reach(ipaddress.ip_address(address))


def test_a_signature_covers_the_moment_and_every_byte():
    made = posting.signature("whsec_1", 1700000000, b'{"a":1}')
    assert len(made) == 64
    others = [("whsec_2", 1700000000, b'{"a":1}'), ("whsec_1", 1700000001, b'{"a":1}'),
              ("whsec_1", 1700000000, b'{"a":2}')]  # fmt: skip
    assert made not in {posting.signature(*other) for other in others}
