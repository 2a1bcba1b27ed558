"""Servers that hand out a folder: a web server that can fail in chosen ways, and a bucket."""

from __future__ import annotations

import functools
import hashlib
import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import boto3
import httpx
from moto.server import ThreadedMotoServer


@dataclass
class Web:
    """A web server over a folder.

    asked: every path that was asked for.  spoilt: how many more times a path arrives damaged.
    left: answers until it refuses all; None: never.  pause: s before each.
    tag: what it says the entity tag of a file is.
    """

    folder: Path
    url: str = ""
    asked: list[str] = field(default_factory=list)
    spoilt: dict[str, int] = field(default_factory=dict)
    left: int | None = None
    tag: str = "md5"
    pause: float = 0.0
    busy: int = 0
    most_busy: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def answer(self, path: str) -> tuple[int, bytes, str]:
        """Status, content and entity tag."""
        time.sleep(self.pause)
        with self.lock:
            self.asked.append(path)
            if self.left is not None:
                self.left -= 1
                if self.left < 0:
                    return 403, b"", ""
            damaged = self.spoilt.get(path, 0) > 0
            self.spoilt[path] = self.spoilt.get(path, 0) - 1
        file = self.folder / path
        if not file.is_file():
            return 404, b"", ""
        content = file.read_bytes()
        tag = hashlib.md5(content).hexdigest() if self.tag == "md5" else self.tag
        return 200, b"\xff" + content[1:] if damaged else content, tag


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # or each answer waits for an acknowledgement

    def __init__(self, web: Web, *given) -> None:
        self.web = web
        super().__init__(*given)

    def do_GET(self) -> None:
        web = self.web
        with web.lock:
            web.busy += 1
            web.most_busy = max(web.most_busy, web.busy)
        status, content, tag = web.answer(self.path.lstrip("/"))
        with web.lock:
            web.busy -= 1
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        if tag:
            self.send_header("ETag", f'"{tag}"')
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_) -> None:
        """Says nothing."""


@contextmanager
def web_server(folder: Path) -> Iterator[Web]:
    """A folder at http://127.0.0.1:PORT/."""
    web = Web(folder)
    server = ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(_Handler, web))
    server.daemon_threads = True
    web.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    yield web
    server.shutdown()
    thread.join()
    server.server_close()


@contextmanager
def bucket_server(
    folder: Path, *, bucket: str = "open-data", prefix: str = "of/all"
) -> Iterator[str]:
    """A folder in a bucket that everybody may read; yields the server's endpoint.

    A second bucket, `closed`, holds one file that only signed requests get.
    """
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    endpoint = f"http://{host}:{port}"
    # All such servers of a process share their buckets: what an earlier one held is forgotten.
    httpx.post(f"{endpoint}/moto-api/reset").raise_for_status()
    client = boto3.client(
        "s3", endpoint_url=endpoint, region_name="us-east-1", aws_access_key_id="key",
        aws_secret_access_key="secret",
    )  # fmt: skip
    for name in (bucket, "closed"):
        client.create_bucket(Bucket=name)
    client.put_bucket_policy(Bucket=bucket, Policy=_readable(bucket))
    client.put_object(Bucket="closed", Key="secret.txt", Body=b"secret")
    for file in folder.rglob("*"):
        if file.is_file():
            key = f"{prefix}/{file.relative_to(folder)}"
            client.put_object(Bucket=bucket, Key=key, Body=file.read_bytes())
    yield endpoint
    client.close()
    server.stop()


def _readable(bucket: str) -> str:
    statement = {
        "Effect": "Allow", "Principal": "*", "Action": "s3:GetObject",
        "Resource": f"arn:aws:s3:::{bucket}/*",
    }  # fmt: skip
    return json.dumps({"Version": "2012-10-17", "Statement": [statement]})
