"""Uploads in a bucket of a real S3 server (moto's): parts put straight into it, and through us."""

import base64
import hashlib
import io
import os
from datetime import timedelta
from urllib.parse import quote

import boto3
import httpx
import pytest
from django.utils.timezone import now
from moto.server import ThreadedMotoServer

from server.errors import Refused
from server.submissions import storage, tus, uploads, verification
from server.submissions.bucket import Bucket, StorageAway
from server.submissions.models import Upload
from tests.server.making import api, send

MIB = 2**20
PART = 5 * MIB  # the smallest that S3 takes
DATA = os.urandom(12 * MIB + 12345)
DIGEST = hashlib.sha256(DATA).hexdigest()


@pytest.fixture(scope="module")
def endpoint():
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def s3(endpoint, settings, monkeypatch, tmp_path):
    """The bucket, empty; new uploads go there."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    client = boto3.client("s3", endpoint_url=endpoint, region_name="us-east-1")
    client.create_bucket(Bucket="crista")
    settings.STORAGE = f"s3://crista/of/ours?endpoint={quote(endpoint)}&region=us-east-1"
    settings.UPLOAD_PART_BYTES = PART
    settings.STATE_DIR = tmp_path
    yield client
    for row in client.list_objects_v2(Bucket="crista").get("Contents", ()):
        client.delete_object(Bucket="crista", Key=row["Key"])
    for row in client.list_multipart_uploads(Bucket="crista").get("Uploads", ()):
        client.abort_multipart_upload(Bucket="crista", Key=row["Key"], UploadId=row["UploadId"])
    client.delete_bucket(Bucket="crista")


@pytest.fixture
def upload(s3, phase, people) -> Upload:
    return uploads.begin(
        team=people.ada.own_team, user=people.ada, phase=phase, filename="x.zip", size=len(DATA),
        sha256=DIGEST, at=now(),
    )  # fmt: skip


def write(upload: Upload, start: int, end: int, checksum=None) -> int:
    return uploads.write(
        upload, offset=start, length=end - start, stream=io.BytesIO(DATA[start:end]),
        checksum=checksum,
    )  # fmt: skip


def names(s3) -> list[str]:
    return [row["Key"] for row in s3.list_objects_v2(Bucket="crista").get("Contents", ())]


def begun(s3) -> int:
    return len(s3.list_multipart_uploads(Bucket="crista").get("Uploads", ()))


def put(part: dict[str, object]) -> httpx.Response:
    start = part["offset"]
    return httpx.put(part["url"], content=DATA[start : start + part["length"]])


def test_parts_go_straight_into_the_bucket_in_any_order(s3, phase, people, upload):
    ada = api(people.ada)
    url = f"/api/uploads/{upload.pk}/"
    shown = ada.get(url).json()
    assert (shown["direct"], shown["part_size"], shown["offset"]) == (True, PART, 0)
    parts = ada.get(f"{url}parts/").json()
    assert [(p["offset"], p["length"]) for p in parts] == [
        (0, PART), (PART, PART), (2 * PART, len(DATA) - 2 * PART),
    ]  # fmt: skip
    assert put(parts[2]).is_success
    assert put(parts[0]).is_success
    assert ada.head(url)["Upload-Offset"] == str(PART)
    refused = ada.post(f"{url}finish/")
    assert (refused.status_code, refused.json()["code"]) == (409, "incomplete")
    left = ada.get(f"{url}parts/").json()
    assert [part["number"] for part in left] == [2]
    assert put(left[0]).is_success
    assert ada.get(f"{url}parts/").json() == []
    assert ada.post(f"{url}finish/").json()["status"] == "verifying"
    verification.verify(str(upload.pk))
    upload.refresh_from_db()
    assert (upload.status, upload.verified) == ("finished", len(DATA))
    assert names(s3) == [f"of/ours/{upload.pk}.zip"]
    assert begun(s3) == 0


def test_a_tus_client_may_send_any_pieces_through_us(s3, upload):
    """Pieces that end within parts, and one that spans several; the rest waits as a tail."""
    assert write(upload, 0, 1000) == storage.offset(upload) == 1000
    assert write(upload, 1000, PART + 7) == storage.offset(upload) == PART + 7
    tails = [key for key in names(s3) if ".tail-" in key]
    assert f"of/ours/{upload.pk}.tail-{PART}" in tails
    assert write(upload, PART + 7, len(DATA)) == len(DATA)
    assert upload.status == "verifying"
    verification.verify(str(upload.pk))
    upload.refresh_from_db()
    assert (upload.status, upload.sha256) == ("finished", DIGEST)
    assert names(s3) == [f"of/ours/{upload.pk}.zip"]
    with storage.local(upload) as path:
        assert path.read_bytes() == DATA


def test_what_came_before_the_connection_broke_is_kept(upload):
    short = io.BytesIO(DATA[: PART + 99])
    assert uploads.write(upload, offset=0, length=len(DATA), stream=short) == PART + 99
    assert storage.offset(upload) == PART + 99
    with pytest.raises(Refused, match="begins at 0"):
        write(upload, 0, 10)


def test_a_part_with_a_wrong_checksum_leaves_nothing(s3, upload):
    class Asked:
        headers = {"Upload-Checksum": f"sha1 {base64.b64encode(bytes(20)).decode()}"}

    write(upload, 0, 10)
    with pytest.raises(Refused) as caught:
        write(upload, 10, PART + 10, tus.checksum(Asked))
    assert caught.value.status == 460
    assert storage.offset(upload) == 10
    right = base64.b64encode(hashlib.sha1(DATA[10 : PART + 10]).digest()).decode()
    Asked.headers = {"Upload-Checksum": f"sha1 {right}"}
    assert write(upload, 10, PART + 10, tus.checksum(Asked)) == PART + 10
    assert storage.offset(upload) == PART + 10


def test_what_is_in_a_part_cannot_be_cut_off_and_the_rest_can(upload):
    with storage.of(upload).held(upload, whole=False) as end:
        end.append(DATA[: upload.part_size + 10])
        end.cut(upload.part_size + 4)
        assert end.offset == upload.part_size + 4
        with pytest.raises(ValueError, match="are in parts"):
            end.cut(upload.part_size - 1)
        end.append(DATA[end.offset : end.offset + 3])
        end.keep()
    assert write(upload, upload.part_size + 7, len(DATA)) == len(DATA)
    verification.verify(str(upload.pk))
    upload.refresh_from_db()
    assert (upload.status, upload.sha256) == ("finished", DIGEST)


def test_a_part_of_another_length_does_not_count(s3, upload):
    """Its address is signed for one length; a bucket that lets another pass is caught here."""
    s3.upload_part(
        Bucket="crista", Key=f"of/ours/{upload.pk}.zip", UploadId=upload.multipart, PartNumber=1,
        Body=DATA[: PART + 1],
    )  # fmt: skip
    assert storage.offset(upload) == 0
    assert storage.missing(upload, most=1)[0].number == 1
    assert "content-length" in storage.missing(upload, most=1)[0].url


def test_changed_bytes_are_removed_with_all_that_belongs_to_them(s3, upload):
    Upload.objects.update(sha256="0" * 64)
    upload.refresh_from_db()
    write(upload, 0, len(DATA))
    verification.verify(str(upload.pk))
    assert Upload.objects.get().status == "expired"
    assert names(s3) == []
    assert begun(s3) == 0


def test_a_discarded_or_expired_upload_leaves_nothing(s3, upload):
    write(upload, 0, PART + 5)
    Upload.objects.update(expires=now() - timedelta(seconds=1))
    assert uploads.expire(at=now()) == 1
    assert names(s3) == []
    assert begun(s3) == 0
    assert uploads.remove_orphans() == 0


def test_what_nobody_owns_is_removed_and_strangers_are_left_alone(s3, upload):
    write(upload, 0, 5)
    stray = "of/ours/00000000-0000-0000-0000-000000000000.zip"
    s3.put_object(Bucket="crista", Key=stray, Body=b"x")
    s3.create_multipart_upload(Bucket="crista", Key=stray)
    s3.put_object(Bucket="crista", Key="of/others/thing", Body=b"x")
    s3.put_object(Bucket="crista", Key="of/ours/readme.zip", Body=b"x")
    assert uploads.remove_orphans() == 2
    kept = ["of/others/thing", f"of/ours/{upload.pk}.tail-0", "of/ours/readme.zip"]
    assert sorted(names(s3)) == sorted(kept)
    assert begun(s3) == 1


def test_two_requests_of_one_machine_cannot_write_at_once(upload):
    with storage.of(upload).held(upload, whole=False), pytest.raises(Refused) as caught:
        write(upload, 0, 10)
    assert caught.value.status == 423


def test_a_bucket_that_is_away_is_an_answer(settings, phase, people, s3):
    settings.STORAGE = "s3://crista/x?endpoint=http://127.0.0.1:9&region=us-east-1"
    answer = api(people.ada).post(
        "/api/uploads/",
        {"challenge": "made-up", "phase": "test", "filename": "x", "size": 5},
        format="json",
    )
    assert (answer.status_code, answer.json()["code"]) == (503, "storage_away")


def test_an_upload_stays_on_disk_where_it_was_begun(settings, phase, people, s3):
    settings.STORAGE = ""
    upload = uploads.begin(
        team=people.ada.own_team, user=people.ada, phase=phase, filename="x", size=6, at=now()
    )
    url = f"/api/uploads/{upload.pk}/"
    send(api(people.ada), url, b"abc")
    settings.STORAGE = "s3://crista/x"
    assert send(api(people.ada), url, b"def", offset=3)["Upload-Offset"] == "6"
    verification.verify(str(upload.pk))
    with storage.local(upload) as path:
        assert path.read_bytes() == b"abcdef"


def test_parts_are_as_large_as_their_largest_number_demands(s3, upload):
    huge = Upload(id=upload.id, size=200_000 * MIB)
    wish = Bucket.at(storage.settings.STORAGE).prepare(huge)
    assert wish["part_size"] == 20 * MIB
    assert StorageAway.__mro__.index(OSError) > 0
