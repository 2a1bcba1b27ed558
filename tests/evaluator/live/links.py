"""Ways to the site on ports of their own, which do to connections what networks do."""

import contextlib
import socket
import threading

import httpx


class Link:
    """A TCP link that hands on whatever it gets, to both sides."""

    def __init__(self, target: str) -> None:
        where = httpx.URL(target)
        self.target = (where.host, where.port)
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self.listener.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def lets_in(self) -> bool:
        """Whether somebody who connects gets through."""
        return True

    def passes(self, block: bytes, *, asked: bool) -> bool:
        """Whether bytes are handed on; if not, their connection ends.  asked: the client's."""
        return True

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self.listener.accept()
            except OSError:
                return
            if not self.lets_in():
                near.close()
                continue
            far = socket.create_connection(self.target)
            for way in ((near, far, True), (far, near, False)):
                threading.Thread(target=self._pump, args=way, daemon=True).start()

    def _pump(self, source: socket.socket, sink: socket.socket, asked: bool) -> None:
        with contextlib.suppress(OSError):
            while (block := source.recv(4096)) and self.passes(block, asked=asked):
                sink.sendall(block)
        for end in (source, sink):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()


class FlakyLink(Link):
    """Breaks once, after so many bytes from the client."""

    broke = False

    def __init__(self, target: str, *, breaks_after: int) -> None:
        self.left = breaks_after
        super().__init__(target)

    def passes(self, block: bytes, *, asked: bool) -> bool:
        self.left -= asked * len(block)
        if self.broke or self.left >= 0:
            return True
        self.broke = True
        return False


class LostAnswer(Link):
    """Breaks once, after the site has done what it was asked and before anybody hears of it."""

    asked = broke = False

    def passes(self, block: bytes, *, asked: bool) -> bool:
        self.asked |= asked and block.startswith(b"POST /api/submissions/")
        if asked or self.broke or not self.asked:
            return True
        self.broke = True
        return False


class Door(Link):
    """Can be shut and opened."""

    def __init__(self, target: str) -> None:
        self.open = True
        self.passed = threading.Event()  # something came back through it
        super().__init__(target)

    def lets_in(self) -> bool:
        return self.open

    def passes(self, block: bytes, *, asked: bool) -> bool:
        if self.open and not asked:
            self.passed.set()
        return self.open
