"""The body of a large request as it arrives, and what to do about a sender that falls silent.

gunicorn copies each piece of a body several times before the application has it.  All that has to
be known about its insides to do without is here; under any other server the body is read as Django
offers it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from django.http import HttpRequest, UnreadablePostError
from gunicorn.http.body import Body, LengthReader
from gunicorn.http.unreader import SocketUnreader

PIECE = 2**20


class Stream(Protocol):
    """Anything bytes can be read from."""

    def read(self, size: int, /) -> bytes:
        """At most `size` bytes; none at the end."""
        ...


@contextmanager
def body(request: HttpRequest, *, silence_s: float) -> Iterator[Stream]:
    """The unread body of a request.  Reading raises UnreadablePostError if the connection breaks.

    silence_s: seconds after which a silent sender loses its turn, so that it can take up again
    from elsewhere.  Without this a machine that lost power would hold its upload for as long as
    the server runs.
    """
    link = request.META.get("gunicorn.socket")
    if link is None:
        yield request
        return
    whole = request.META["wsgi.input"]
    link.settimeout(silence_s)
    try:
        yield Direct(whole) if _is_plain(whole) else request
    finally:
        link.settimeout(None)


class Direct:
    """A body of known length, read from gunicorn's socket in large pieces.

    gunicorn's own count of what is left is kept right: the next request of the connection begins
    where this body ends, and a body that breaks off ends the connection.
    """

    def __init__(self, whole: Body) -> None:
        self._body, self._reader = whole, whole.reader

    def read(self, size: int, /) -> bytes:
        """At most `size` bytes, as many as are there; none at the end."""
        size = min(size, self._reader.length, PIECE)
        if not size:
            return b""
        found = self._early(size) or self._received(size)
        self._reader.length -= len(found)
        return found

    def _early(self, size: int) -> bytes:
        """What came together with the headers; what follows it stays where it is."""
        early: bytes = self._reader.unreader.take_buffered()
        self._reader.unreader.unread(early[size:])
        return early[:size]

    def _received(self, size: int) -> bytes:
        found: bytes = b""
        try:
            found = self._reader.unreader.sock.recv(size)
        except OSError as error:
            raise UnreadablePostError(*error.args) from error
        finally:
            self._body.failed = not found
        return found


def _is_plain(whole: object) -> bool:
    """True if nobody has begun to read it, and its length is known before its end."""
    return (
        isinstance(whole, Body)
        and not whole.buf.tell()
        and isinstance(whole.reader, LengthReader)
        and isinstance(whole.reader.unreader, SocketUnreader)
    )
