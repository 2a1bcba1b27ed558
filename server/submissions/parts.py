"""An upload in parts of one size: what each part holds, and the end that fills them in turn."""

from __future__ import annotations

from typing import BinaryIO, Protocol

from server.submissions.disk import no_room_here
from server.submissions.models import Upload

BLOCK = 2**20


def parts_of(upload: Upload) -> int:
    """How many parts a whole upload has."""
    return -(-upload.size // upload.part_size)


def length_of(upload: Upload, number: int) -> int:
    """Bytes of one part, counted from 1; the last one is what is left."""
    return min(upload.part_size, upload.size - (number - 1) * upload.part_size)


def unbroken(upload: Upload, parts: dict[int, tuple[int, str]]) -> int:
    """Bytes of the parts from the first on until one is missing or has another length."""
    total = 0
    for number in range(1, parts_of(upload) + 1):
        if parts.get(number, (0, ""))[0] != length_of(upload, number):
            break
        total += length_of(upload, number)
    return total


class Receiver(Protocol):
    """What keeps the parts of uploads, and what follows them."""

    def put_part(self, upload: Upload, number: int, body: BinaryIO) -> None:
        """Put a part at its place."""
        ...

    def put_tail(self, upload: Upload, whole: int, body: BinaryIO) -> None:
        """Keep what follows the first `whole` bytes and fills no part yet."""
        ...


class PartsEnd:
    """The end of an upload in parts.

    rest: a file, open at its end, that holds what fills no part yet; whole: bytes in the parts
    before it.
    """

    def __init__(self, receiver: Receiver, upload: Upload, rest: BinaryIO, *, whole: int) -> None:
        self._receiver, self._upload, self._rest, self._whole = receiver, upload, rest, whole

    @property
    def offset(self) -> int:
        """Whole parts and the rest."""
        return self._whole + self._rest.tell()

    def append(self, block: bytes | memoryview) -> None:
        """Add bytes; each part goes as soon as it is full."""
        view = memoryview(block)
        while view:
            room = self._upload.part_size - self._rest.tell()
            with no_room_here():
                self._rest.write(view[:room])
            view = view[room:]
            if self._rest.tell() == self._upload.part_size:
                self._put()

    def cut(self, offset: int) -> None:
        """Forget what came after that.

        Raises ValueError if a part holds it already: what may be cut off goes through `WholeEnd`.
        """
        if offset < self._whole:
            raise ValueError(f"{self._whole} bytes are in parts; they cannot end at {offset}")
        self._rest.seek(offset - self._whole)
        self._rest.truncate()

    def keep(self) -> None:
        """Put the rest: as the last part if it is that, else as the tail."""
        if self._rest.tell() and self.offset == self._upload.size:
            self._put()
        elif length := self._rest.tell():
            self._rest.seek(0)
            self._receiver.put_tail(self._upload, self._whole, self._rest)
            self._rest.seek(length)

    def _put(self) -> None:
        length = self._rest.tell()
        self._rest.seek(0)
        self._receiver.put_part(self._upload, self._whole // self._upload.part_size + 1, self._rest)
        self._rest.seek(0)
        self._rest.truncate()
        self._whole += length


class WholeEnd:
    """An end that passes nothing on before `keep`: its bytes come with a checksum."""

    def __init__(self, end: PartsEnd, pending: BinaryIO) -> None:
        self._end, self._pending = end, pending

    @property
    def offset(self) -> int:
        """With what waits."""
        return self._end.offset + self._pending.tell()

    def append(self, block: bytes | memoryview) -> None:
        """Set aside."""
        with no_room_here():
            self._pending.write(block)

    def cut(self, offset: int) -> None:
        """Forget what waits after that."""
        self._pending.seek(offset - self._end.offset)
        self._pending.truncate()

    def keep(self) -> None:
        """Pass on what waits."""
        self._pending.seek(0)
        while block := self._pending.read(BLOCK):
            self._end.append(block)
        self._pending.seek(0)
        self._pending.truncate()
        self._end.keep()
