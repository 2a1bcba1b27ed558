"""Where the bytes of uploads lie: files of this machine, or a bucket.  Nothing above knows which.

An upload stays where it was begun, whatever CRISTA_STORAGE says later.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, BinaryIO, ClassVar, Protocol

from django.conf import settings

from server.errors import Refused
from server.submissions.bucket import Bucket, Part
from server.submissions.disk import Disk, disk_full
from server.submissions.models import Upload


class End(Protocol):
    """The end of an upload's bytes, held by one request."""

    @property
    def offset(self) -> int:
        """Bytes before it."""
        ...

    def append(self, block: bytes) -> None:
        """Add bytes.  Refused (507): there is no room."""
        ...

    def cut(self, offset: int) -> None:
        """Forget what came after `offset`, which was the end when it was taken."""
        ...

    def keep(self) -> None:
        """What was added survives from here on."""
        ...


class Place(Protocol):
    """Where uploads lie.  direct: senders may put parts there themselves."""

    direct: ClassVar[bool]

    def prepare(self, upload: Upload) -> dict[str, Any]:
        """Make room for a new upload; what its row has to remember."""
        ...

    def offset(self, upload: Upload) -> int:
        """Bytes received, from the first on without a gap."""
        ...

    def held(self, upload: Upload, *, whole: bool) -> AbstractContextManager[End]:
        """The end, for one request at a time.  whole: nothing is kept before `keep`.

        Refused (423): another request holds it.
        """
        ...

    def seal(self, upload: Upload) -> None:
        """All bytes are there: make them one durable file.  Doing it twice changes nothing."""
        ...

    def opened(self, upload: Upload) -> AbstractContextManager[BinaryIO]:
        """The sealed bytes to read once, from the first on."""
        ...

    def local(self, upload: Upload) -> AbstractContextManager[Path]:
        """The sealed bytes as a file of this machine."""
        ...

    def remove(self, upload: Upload) -> None:
        """Delete what there is of it."""
        ...

    def remove_others(self, known: Callable[[], set[str]]) -> int:
        """Delete what belongs to no upload that is known once all was listed; how many."""
        ...


def of(upload: Upload) -> Place:
    """Where an upload lies."""
    return Bucket.at(settings.STORAGE) if upload.multipart else Disk()


def for_new() -> Place:
    """Where new uploads go."""
    return Bucket.at(settings.STORAGE) if settings.STORAGE else Disk()


def offset(upload: Upload) -> int:
    """Bytes of an upload received so far, from the first on without a gap."""
    return of(upload).offset(upload)


def local(upload: Upload) -> AbstractContextManager[Path]:
    """The finished bytes as a file of this machine, for as long as the block runs.

    From a bucket they are fetched once and kept for the next.  Raises FileNotFoundError if they
    are gone, StorageAway if the bucket does not answer.
    """
    return of(upload).local(upload)


def missing(upload: Upload, *, most: int) -> list[Part]:
    """The next parts for senders to put there themselves.  Refused: they come through us."""
    place = of(upload)
    if not isinstance(place, Bucket):
        raise Refused(
            "not_direct", f"Send the parts of this upload with PATCH /api/uploads/{upload.pk}/."
        )
    return place.missing(upload, most=most)


def remove_others(known: Callable[[], set[str]]) -> int:
    """Delete what belongs to no upload; how many.

    known: asked for the ids after the bytes were listed, since a row comes before its bytes.
    """
    places: list[Place] = [Disk()]
    if settings.STORAGE:
        places.append(Bucket.at(settings.STORAGE))
    return sum(place.remove_others(known) for place in places)


def refuse_without_space(size: int, *, promised: int) -> None:
    """Refused (507) if so many bytes would not leave the reserve free on this machine's disk.

    promised: bytes still to come of other uploads.
    """
    if settings.STORAGE:
        return
    Path(settings.UPLOAD_DIR).mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(settings.UPLOAD_DIR).free
    if free - promised - size < settings.UPLOAD_RESERVE_BYTES:
        raise disk_full()
