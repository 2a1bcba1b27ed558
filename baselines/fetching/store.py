"""Where a publisher keeps data: a bucket, a web server, or a folder.

A store is read by keys and never listed, so that any server that hands out files will do.  What
arrives is compared with what the store says of it: a digest in SHA256SUMS at its root (as
`sha256sum` writes it), else an entity tag that is an MD5.
"""

from __future__ import annotations

import hashlib
import itertools
import re
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import tensorstore

from baselines.layout import DataError

SUMS = "SHA256SUMS"
_SUM = re.compile(r"([0-9a-f]{64}) [ *](?:\./)?(.+)")
_MD5 = re.compile(rb"[0-9a-f]{32}")
# What the library raises for a refusal, a server that is away, and a broken answer.
_TROUBLE = (ValueError, OSError, RuntimeError)


class Store:
    """Files by key, such as `train/a/raw/.zattrs`."""

    def __init__(self, files: tensorstore.KvStore, where: str) -> None:
        self.where = where
        self._files = files
        self._sums: Mapping[str, str] = {}
        text = self.read(SUMS)
        lines = map(_SUM.fullmatch, (text or b"").decode("utf-8", "replace").splitlines())
        self._sums = {line[2]: line[1] for line in lines if line}

    def read(self, key: str) -> bytes | None:
        """A file, None if there is none.  Raises DataError: it cannot be had whole."""
        (_, content), = self.stream([key], ahead=1)  # fmt: skip
        return content

    def stream(self, keys: Iterable[str], *, ahead: int) -> Iterator[tuple[str, bytes | None]]:
        """Files in the order of their keys, so many asked for ahead; see `read`."""
        keys = iter(keys)
        asked = deque((key, self._files.read(key)) for key in itertools.islice(keys, ahead))
        while asked:
            key, answer = asked.popleft()
            content = self._checked(key, answer)
            if following := next(keys, None):
                asked.append((following, self._files.read(following)))
            yield key, content

    def digest(self, key: str) -> str | None:
        """SHA-256 that the store publishes of a file, if it does."""
        return self._sums.get(key)

    def _checked(self, key: str, answer: Any) -> bytes | None:
        content, tag = self._content(key, answer)
        if content is None or self._agrees(key, content, tag):
            return content
        again, tag = self._content(key, self._files.read(key))
        # An entity tag may look like an MD5 and be none: then what arrives is the same twice.
        if again is not None and (
            self._agrees(key, again, tag) or (again == content and key not in self._sums)
        ):
            return again
        raise DataError(
            f"{self.where}{key} arrives damaged, twice: its content does not match the digest that "
            "the store gives. Try again later, or tell those who publish it."
        )

    def _content(self, key: str, answer: Any) -> tuple[bytes | None, bytes]:
        try:
            found = answer.result()
        except _TROUBLE as error:
            reason = str(error).partition(" [")[0]
            if reason.startswith("PERMISSION_DENIED"):
                # Amazon answers so for a file that is not there, too, unless listing is allowed.
                reason += " (the store must let you read files, and, a bucket, list them)"
            raise DataError(f"{self.where}{key} cannot be read: {reason}.") from error
        if found.state != "value":
            return None, b""
        return bytes(found.value), found.stamp.generation.strip(b'\0"')

    def _agrees(self, key: str, content: bytes, tag: bytes) -> bool:
        if (expected := self.digest(key)) is not None:
            return hashlib.sha256(content).hexdigest() == expected
        if not _MD5.fullmatch(tag):
            return True
        return hashlib.md5(content, usedforsecurity=False).hexdigest().encode() == tag


def open_store(
    url: str, *, endpoint: str = "", region: str = "", signed: bool = False, parallel: int = 32,
    retries: int = 8,
) -> Store:  # fmt: skip
    """The store at s3://BUCKET/PREFIX, http(s)://…, or in a folder.

    endpoint: of an S3-compatible server that is not Amazon's.  signed: with the credentials that
    AWS tools use; else anonymous.  retries: of a request that failed, waiting longer each time.
    Raises DataError.
    """
    if found := re.fullmatch(r"s3://([^/]+)/?(.*)", url):
        spec = _s3(found[1], found[2], endpoint, region, signed)
    elif found := re.fullmatch(r"(https?://[^/?#]+)(/[^?#]*)?", url):
        spec = {"driver": "http", "base_url": found[1], "path": _folder(found[2] or "/")}
    elif "://" not in url and Path(url).is_dir():
        spec = {"driver": "file", "path": f"{Path(url).resolve()}/"}
    else:
        raise DataError(
            f"{url} is no store: give s3://BUCKET/PREFIX, http(s)://… or an existing folder."
        )
    patience = {"max_retries": retries, "initial_delay": "200ms", "max_delay": "8s"}
    context = tensorstore.Context(
        {
            f"{driver}_request_{what}": value
            for driver in ("s3", "http")
            for what, value in (("concurrency", {"limit": parallel}), ("retries", patience))
        }
    )
    try:
        return Store(tensorstore.KvStore.open(spec, context=context).result(), _folder(url))
    except _TROUBLE as error:
        raise DataError(f"{url} cannot be opened: {error}.") from error


def _s3(bucket: str, prefix: str, endpoint: str, region: str, signed: bool) -> dict[str, Any]:
    spec: dict[str, Any] = {
        "driver": "s3",
        "bucket": bucket,
        "path": _folder(prefix) if prefix else "",
        "aws_credentials": {"type": "default" if signed else "anonymous"},
    }
    if endpoint:
        spec |= {"endpoint": endpoint, "aws_region": region or "us-east-1"}
    elif region:
        spec["aws_region"] = region
    return spec


def _folder(path: str) -> str:
    return path.rstrip("/") + "/"
