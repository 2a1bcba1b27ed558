"""Uploads in an S3-compatible bucket, as multipart uploads: what the bucket lists is what arrived.

Parts come straight from the sender through signed addresses, or through us in any pieces.  What
does not fill a part waits beside it as an object of its own, the tail.
"""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, BinaryIO, ClassVar
from urllib.parse import parse_qs, urlsplit

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from django.conf import settings

from server.errors import Refused
from server.submissions.disk import locked
from server.submissions.fetched import Fetched
from server.submissions.models import Upload
from server.submissions.parts import PartsEnd, WholeEnd, length_of, parts_of, unbroken

BLOCK = 2**20
MOST_PARTS = 10_000  # of one multipart upload, by the protocol
URL_SECONDS = 3600
OURS = re.compile(r"([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})\.(?:zip|tail-\d+)")
GONE = frozenset({"NoSuchUpload", "NoSuchKey", "404", "NotFound"})


class StorageAway(Refused, OSError):
    """The bucket does not answer, or not as it should."""

    def __init__(self, error: Exception) -> None:
        super().__init__(
            "storage_away",
            "The storage of this site does not answer now. What arrived is kept; try again in a "
            "minute.",
            status=503,
        )
        self.__cause__ = error


@dataclass(frozen=True, slots=True)
class Part:
    """A part that the bucket lacks: its bytes [offset, offset + length), and where to PUT them."""

    number: int
    offset: int
    length: int
    url: str


@dataclass(frozen=True, slots=True)
class Bucket:
    """A bucket and the prefix of all our keys in it.  s3: its client."""

    name: str
    prefix: str
    s3: Any
    direct: ClassVar[bool] = True

    @classmethod
    def at(cls, address: str) -> Bucket:
        """`s3://bucket/prefix?endpoint=https://…&region=…`; credentials as AWS tools find them."""
        url = urlsplit(address)
        options = {name: values[0] for name, values in parse_qs(url.query).items()}
        s3 = _client(options.get("endpoint"), options.get("region"), os.getpid())
        return cls(url.netloc, url.path.strip("/"), s3)

    def key(self, name: str) -> str:
        """The key of one of our objects."""
        return f"{self.prefix}/{name}".lstrip("/")

    def prepare(self, upload: Upload) -> dict[str, Any]:
        """Begin a multipart upload; parts as large as they must be for the largest number."""
        with _spoken():
            begun = self.s3.create_multipart_upload(Bucket=self.name, Key=self.key(_file(upload)))
        least = -(-upload.size // MOST_PARTS)
        whole = max(settings.UPLOAD_PART_BYTES, -(-least // BLOCK) * BLOCK)
        return {"multipart": begun["UploadId"], "part_size": whole}

    def offset(self, upload: Upload) -> int:
        """Parts without a gap, and the tail."""
        parts = self.parts(upload)
        if parts is None:
            return self.size(_file(upload))
        whole = unbroken(upload, parts)
        return whole + self.size(_tail(upload, whole))

    def parts(self, upload: Upload) -> dict[int, tuple[int, str]] | None:
        """(bytes, tag) of each part by number; None once they are one object, or removed."""
        pages = self.s3.get_paginator("list_parts")
        with _spoken():
            try:
                found = [
                    part
                    for page in pages.paginate(**self._of(upload))
                    for part in page.get("Parts", ())
                ]
            except ClientError as error:
                if error.response["Error"]["Code"] in GONE:
                    return None
                raise
        return {p["PartNumber"]: (p["Size"], p["ETag"]) for p in found}

    def missing(self, upload: Upload, *, most: int) -> list[Part]:
        """The first parts that the bucket lacks, at most so many, each with a signed address."""
        have, found = self.parts(upload) or {}, []
        for number in range(1, parts_of(upload) + 1):
            if have.get(number, (0, ""))[0] != length_of(upload, number):
                found.append(self._asked_for(upload, number))
            if len(found) == most:
                break
        return found

    @contextmanager
    def held(self, upload: Upload, *, whole: bool) -> Iterator[PartsEnd | WholeEnd]:
        """The end, for one request of this machine at a time.

        Two machines may write at once: each part has one place, so nothing gets out of order, and
        bytes that differ are found by the digest.
        """
        scratch = _scratch()
        with (scratch / f"{upload.id}.lock").open("ab") as lock:
            locked(lock)
            with tempfile.TemporaryFile(dir=scratch) as rest:
                end = self._end(upload, rest)
                if not whole:
                    yield end
                    return
                with tempfile.TemporaryFile(dir=scratch) as pending:
                    yield WholeEnd(end, pending)

    def put_part(self, upload: Upload, number: int, body: BinaryIO) -> None:
        """Put a part at its place."""
        with _spoken():
            self.s3.upload_part(**self._of(upload), PartNumber=number, Body=body)

    def put_tail(self, upload: Upload, whole: int, body: BinaryIO) -> None:
        """Keep what follows the first `whole` bytes and fills no part yet."""
        with _spoken():
            self.s3.put_object(Bucket=self.name, Key=self.key(_tail(upload, whole)), Body=body)

    def fetch(self, name: str, into: BinaryIO) -> None:
        """Copy one of our objects; nothing if there is none."""
        with _spoken():
            try:
                answer = self.s3.get_object(Bucket=self.name, Key=self.key(name))
            except ClientError as error:
                if error.response["Error"]["Code"] in GONE:
                    return
                raise
            with answer["Body"] as body:
                shutil.copyfileobj(body, into, BLOCK)

    def size(self, name: str) -> int:
        """Bytes of one of our objects; 0 if there is none."""
        with _spoken():
            try:
                return int(
                    self.s3.head_object(Bucket=self.name, Key=self.key(name))["ContentLength"]
                )
            except ClientError as error:
                if error.response["Error"]["Code"] in GONE:
                    return 0
                raise

    def seal(self, upload: Upload) -> None:
        """Join the parts, and remove the tails they came from."""
        parts = self.parts(upload)
        if parts:
            tags = [
                {"PartNumber": number, "ETag": parts[number][1]}
                for number in range(1, parts_of(upload) + 1)
            ]
            with _spoken():
                self.s3.complete_multipart_upload(
                    **self._of(upload), MultipartUpload={"Parts": tags}
                )
        if self.size(_file(upload)) != upload.size:
            raise FileNotFoundError(self.key(_file(upload)))
        self._delete(key for key in self._keys(str(upload.id)) if ".tail-" in key)

    @contextmanager
    def opened(self, upload: Upload) -> Iterator[BinaryIO]:
        """The object's bytes as they come."""
        with _spoken():
            answer = self.s3.get_object(Bucket=self.name, Key=self.key(_file(upload)))
            with answer["Body"] as body:
                yield body

    @contextmanager
    def local(self, upload: Upload) -> Iterator[Path]:
        """A copy on this machine, fetched if it is not there yet."""
        cache_folder = Fetched(settings.STATE_DIR / "fetched", most=settings.STORAGE_CACHE_BYTES)
        with cache_folder.file(
            _file(upload), size=upload.size, fetch=lambda file: self.fetch(_file(upload), file)
        ) as path:
            yield path

    def remove(self, upload: Upload) -> None:
        """Parts, tail and object."""
        with _spoken():
            try:
                self.s3.abort_multipart_upload(**self._of(upload))
            except ClientError as error:
                if error.response["Error"]["Code"] not in GONE:
                    raise
        self._delete(self._keys(str(upload.id)))
        (_scratch() / f"{upload.id}.lock").unlink(missing_ok=True)

    def remove_others(self, known: Callable[[], set[str]]) -> int:
        """Objects and multipart uploads that belong to no known upload."""
        keys, begun = self._keys(""), self._begun()
        owners = known() | {""}  # what others keep in the bucket is none of our business
        orphans = [key for key in keys if _owner(key) not in owners]
        self._delete(orphans)
        lost = [row for row in begun if _owner(row["Key"]) not in owners]
        with _spoken():
            for row in lost:
                self.s3.abort_multipart_upload(
                    Bucket=self.name, Key=row["Key"], UploadId=row["UploadId"]
                )
        return len(orphans) + len(lost)

    def _end(self, upload: Upload, rest: BinaryIO) -> PartsEnd:
        whole = unbroken(upload, self.parts(upload) or {})
        self.fetch(_tail(upload, whole), rest)
        return PartsEnd(self, upload, rest, whole=whole)

    def _begun(self) -> list[dict[str, Any]]:
        pages = self.s3.get_paginator("list_multipart_uploads")
        with _spoken():
            found = pages.paginate(Bucket=self.name, Prefix=self.key(""))
            return [row for page in found for row in page.get("Uploads", ())]

    def _of(self, upload: Upload) -> dict[str, str]:
        key = self.key(_file(upload))
        return {"Bucket": self.name, "Key": key, "UploadId": upload.multipart}

    def _asked_for(self, upload: Upload, number: int) -> Part:
        length = length_of(upload, number)
        # The length is signed, too: nobody can fill the bucket through it.
        wish = {**self._of(upload), "PartNumber": number, "ContentLength": length}
        url = self.s3.generate_presigned_url("upload_part", wish, ExpiresIn=URL_SECONDS)
        return Part(number, (number - 1) * upload.part_size, length, url)

    def _keys(self, start: str) -> list[str]:
        pages = self.s3.get_paginator("list_objects_v2")
        with _spoken():
            return [
                row["Key"]
                for page in pages.paginate(Bucket=self.name, Prefix=self.key(start))
                for row in page.get("Contents", ())
            ]

    def _delete(self, keys: Any) -> None:
        with _spoken():
            for key in keys:
                self.s3.delete_object(Bucket=self.name, Key=key)


@cache
def _client(endpoint: str | None, region: str | None, process: int) -> Any:
    """One client per process: connections must not be shared with a fork."""
    config = Config(
        signature_version="s3v4", retries={"max_attempts": 3}, connect_timeout=5, read_timeout=60,
        request_checksum_calculation="when_required", response_checksum_validation="when_required",
    )  # fmt: skip
    return boto3.client("s3", endpoint_url=endpoint, region_name=region, config=config)


@contextmanager
def _spoken() -> Iterator[None]:
    """What the bucket says wrong becomes StorageAway."""
    try:
        yield
    except (BotoCoreError, ClientError) as error:
        raise StorageAway(error) from error


def _scratch() -> Path:
    folder = Path(settings.STATE_DIR) / "scratch" / "parts"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _file(upload: Upload) -> str:
    return f"{upload.id}.zip"


def _tail(upload: Upload, whole: int) -> str:
    return f"{upload.id}.tail-{whole}"


def _owner(key: str) -> str:
    """The id of the upload that a key belongs to; "" if it is no name of ours."""
    found = OURS.fullmatch(key.rpartition("/")[2])
    return found[1] if found else ""
