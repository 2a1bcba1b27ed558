"""Post to an address that somebody else chose, without becoming their way into this network.

Only https, only to hosts that CRISTA_WEBHOOK_HOSTS lists, never along a redirect.  Names are
resolved once; every address found must be public or listed itself, and the connection goes to that
very address, so that a name cannot lead elsewhere the second time.
"""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from fnmatch import fnmatchcase
from http.client import HTTPException, HTTPSConnection
from urllib.parse import SplitResult, urlsplit

from django.conf import settings

from server.errors import Refused

LONGEST_URL = 500
# They carry an IPv4 address inside, which may be anything: NAT64, 6to4, Teredo.
WRAPPED = [
    ipaddress.ip_network(text)
    for text in ("64:ff9b::/96", "64:ff9b:1::/48", "2002::/16", "2001::/32")
]
Address = ipaddress.IPv4Address | ipaddress.IPv6Address


class Undelivered(Exception):
    """This try failed; the message says why in a few words."""


def signature(secret: str, timestamp: int, body: bytes) -> str:
    """HMAC-SHA256 over `<timestamp>.<body>`, in hex."""
    return hmac.new(secret.encode(), b"%d." % timestamp + body, hashlib.sha256).hexdigest()


def refuse_url(url: str) -> None:
    """Refused unless the site may post there; says which hosts it may post to."""
    try:
        _target(url)
    except Undelivered as refusal:
        hosts = ", ".join(settings.WEBHOOK_HOSTS) or "none"
        raise Refused(
            "webhook_refused",
            f"Webhooks cannot go there: {refusal}. Hosts that this server may post to: {hosts}. "
            "Whoever runs the server lists more in CRISTA_WEBHOOK_HOSTS.",
            status=400,
        ) from refusal


def post(url: str, body: bytes, headers: dict[str, str]) -> str:
    """Post JSON; `answered 200` if that is what came back.

    Raises Undelivered: the address is not allowed, nobody answers within the limit, or the answer
    is no success.  Nothing of an answer but its status is read.
    """
    target, port = _target(url)
    connection = _Pinned(str(target.hostname), port, _resolve(str(target.hostname), port))
    path = (target.path or "/") + (f"?{target.query}" if target.query else "")
    try:
        with _deadline(connection):
            connection.request("POST", path, body, {"Content-Type": "application/json", **headers})
            status = connection.getresponse().status
    except (OSError, HTTPException, ssl.SSLError) as error:
        raise Undelivered(f"no answer ({type(error).__name__})") from error
    finally:
        connection.close()
    if not 200 <= status < 300:
        raise Undelivered(f"answered {status}")
    return f"answered {status}"


class _Pinned(HTTPSConnection):
    """TLS to one address, with the certificate of the host's name."""

    def __init__(self, host: str, port: int, address: str) -> None:
        self.context = ssl.create_default_context()
        super().__init__(host, port, timeout=settings.WEBHOOK_TIMEOUT_S, context=self.context)
        self.address = address

    def connect(self) -> None:
        """Like the original, but to the address that was looked at."""
        plain = socket.create_connection((self.address, self.port), self.timeout)
        self.sock = self.context.wrap_socket(
            plain, server_hostname=self.host, do_handshake_on_connect=False
        )
        self.sock.do_handshake()


@contextmanager
def _deadline(connection: HTTPSConnection) -> Iterator[None]:
    """End the connection after the limit, however slowly the other side drips."""

    def end() -> None:
        if connection.sock is not None:
            # Not SSLSocket's own, which takes the state from under the thread that waits.
            socket.socket.shutdown(connection.sock, socket.SHUT_RDWR)

    timer = threading.Timer(settings.WEBHOOK_TIMEOUT_S, end)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def _target(url: str) -> tuple[SplitResult, int]:
    """The parts of an address that is allowed, and its port.  Raises Undelivered."""
    if len(url) > LONGEST_URL or not url.isascii() or not url.isprintable() or " " in url:
        raise Undelivered(f"an address is at most {LONGEST_URL} printable ASCII characters")
    try:
        parts = urlsplit(url)
        port = parts.port or 443
    except ValueError as error:
        raise Undelivered("this is no address") from error
    if parts.scheme != "https" or not parts.hostname:
        raise Undelivered("it does not begin with https://")
    if "@" in parts.netloc or "\\" in url:
        raise Undelivered("it holds a name or a password")
    if not any(fnmatchcase(parts.hostname, host) for host in settings.WEBHOOK_HOSTS):
        raise Undelivered(f"{parts.hostname} is not listed")
    return parts, port


def _resolve(host: str, port: int) -> str:
    """An address of a host, after all of its addresses were looked at.  Raises Undelivered."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise Undelivered(f"{host} has no address") from error
    addresses = [str(entry[4][0]) for entry in found]
    for address in addresses:
        if not _may_reach(ipaddress.ip_address(address.partition("%")[0])):
            raise Undelivered(f"{host} leads into a private network")
    return addresses[0]


def _may_reach(address: Address) -> bool:
    """True for a public address, and for one that is listed itself."""
    inner = getattr(address, "ipv4_mapped", None) or address
    if any(inner in network for network in _listed_networks()):
        return True
    wrapped = any(inner in network for network in WRAPPED)
    return inner.is_global and not inner.is_multicast and not wrapped


def _listed_networks() -> Iterator[ipaddress.IPv4Network | ipaddress.IPv6Network]:
    for entry in settings.WEBHOOK_HOSTS:
        try:
            yield ipaddress.ip_network(entry)
        except ValueError:
            continue  # the name of a host
