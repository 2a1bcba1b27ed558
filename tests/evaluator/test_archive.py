import os
import pickle
import random
import stat
import struct
import zipfile
import zlib
from pathlib import Path

import pytest

from evaluator import archive as archive_module
from evaluator.archive import ArchiveError, archive_digest, is_junk, open_archive
from evaluator.digest import file_digest
from evaluator.metadata import Unfit


def opened(path: Path, *, most_entries: int = 100, most_bytes: int = 1 << 20):
    return open_archive(path, most_entries=most_entries, most_bytes=most_bytes)


def refusal(path: Path, **limits: int) -> ArchiveError:
    with pytest.raises(ArchiveError) as caught:
        opened(path, **limits)
    assert str(path.parent) not in str(caught.value)
    assert str(caught.value).endswith(".")
    return caught.value


def zipped(path: Path, *names: str, method: int = zipfile.ZIP_STORED, text: bytes = b"x") -> Path:
    with zipfile.ZipFile(path, "w", method) as archive:
        for name in names:
            archive.writestr(name, text)
    return path


@pytest.fixture
def there(tmp_path) -> Path:
    return tmp_path / "s.zip"


def patched(path: Path, *changes: tuple[bytes, bytes]) -> Path:
    content = path.read_bytes()
    for old, new in changes:
        assert len(old) == len(new)
        assert old in content
        content = content.replace(old, new)
    path.write_bytes(content)
    return path


def test_files_are_listed_and_read(there):
    with zipfile.ZipFile(zipped(there, "b/c", "a"), "a") as archive:
        archive.mkdir("folder")
    archive = opened(there)
    assert archive.names == ("a", "b/c")
    assert archive.text("b/c") == b"x"
    assert archive.text("nothing") is None


def test_a_folder_is_read_like_a_zip(tmp_path):
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "c").write_bytes(b"x")
    archive = opened(tmp_path)
    assert archive.names == ("b/c",)
    assert archive.text("b/c") == b"x"
    assert archive.text("../secret") is None


def test_a_link_in_a_folder_is_refused(tmp_path):
    (tmp_path / "b").symlink_to("/etc")
    assert refusal(tmp_path).code == "bad_archive"


def test_what_does_not_exist_is_said_to_be_missing(there):
    assert "does not exist" in str(refusal(there))


@pytest.mark.parametrize(
    "content", [b"", b"hello", b"\x1f\x8b" + b"0" * 100, b"7z\xbc\xaf\x27\x1c"]
)
def test_another_kind_of_file_is_not_a_zip(there, content):
    there.write_bytes(content)
    error = refusal(there)
    assert error.code == "not_a_zip"
    assert "evaluator pack" in error.remedy


def test_a_zip_that_is_cut_short_is_told_from_another_kind_of_file(there):
    content = zipped(there, *(f"a{i}" for i in range(50))).read_bytes()
    there.write_bytes(content[: len(content) // 2])
    error = refusal(there)
    assert error.code == "not_a_zip"
    assert "end is missing" in str(error)


@pytest.mark.parametrize(
    "name",
    ["../a", "a/../b", "/etc/passwd", "a//b", "./a", "C:/a", "a\\b", "a\nb", "\x1b[31m", "x" * 600,
     "/".join("a" * 40)],
)  # fmt: skip
def test_names_that_are_not_plain_paths_are_refused(there, name):
    error = refusal(zipped(there, name))
    assert error.code == "bad_archive"
    assert "plain relative path" in str(error)
    assert "\x1b" not in str(error)


def test_a_name_that_hides_behind_a_zero_byte_is_refused(there):
    assert refusal(patched(zipped(there, "a0b"), (b"a0b", b"a\x00b"))).code == "bad_archive"


def test_a_name_that_stands_twice_is_refused(there):
    assert "twice" in str(refusal(patched(zipped(there, "aaa", "bbb"), (b"bbb", b"aaa"))))


def test_a_file_that_is_also_a_folder_is_refused(there):
    assert "both a file and a folder" in str(refusal(zipped(there, "a", "a/b")))


@pytest.mark.parametrize("kind", [stat.S_IFLNK, stat.S_IFCHR, stat.S_IFIFO])
def test_links_and_devices_are_refused(there, kind):
    entry = zipfile.ZipInfo("a")
    entry.external_attr = (kind | 0o777) << 16
    with zipfile.ZipFile(there, "w") as archive:
        archive.writestr(entry, "/etc/passwd")
    assert "link or a device" in str(refusal(there))


def test_a_pipe_in_a_folder_is_refused_before_anybody_waits_for_it(tmp_path):
    os.mkfifo(tmp_path / "b")
    assert "not a plain file" in str(refusal(tmp_path))


def test_a_folder_with_one_zip_and_no_other_folder_is_that_zip(tmp_path, there):
    (tmp_path / "inbox").mkdir()
    zipped(tmp_path / "inbox" / "s.zip", "a")
    (tmp_path / "inbox" / ".DS_Store").write_bytes(b"")
    assert opened(tmp_path / "inbox").names == ("a",)
    assert archive_digest(tmp_path / "inbox") == file_digest(tmp_path / "inbox" / "s.zip")
    zipped(tmp_path / "inbox" / "t.zip", "a")
    assert "2 zips; expected one" in str(refusal(tmp_path / "inbox"))
    (tmp_path / "inbox" / "crop1").mkdir()
    (tmp_path / "inbox" / "crop1" / "a").write_bytes(b"")
    assert opened(tmp_path / "inbox").names == (".DS_Store", "crop1/a", "s.zip", "t.zip")


def test_an_encrypted_entry_is_refused(there):
    content = bytearray(zipped(there, "a").read_bytes())
    directory = content.index(b"PK\x01\x02")
    content[directory + 8] |= 1
    there.write_bytes(content)
    error = refusal(there)
    assert "encrypted" in str(error)
    assert "without a password" in error.remedy


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_rare_compression_methods_are_refused(there, method):
    error = refusal(zipped(there, "a", method=method))
    assert "Store or Deflate" in error.remedy


def test_too_many_entries_are_refused(there):
    error = refusal(zipped(there, *"abcde"), most_entries=4)
    assert "5 entries; at most 4" in str(error)


def test_a_bomb_is_refused_by_what_it_declares(there):
    bomb = zipped(there, "a", method=zipfile.ZIP_DEFLATED, text=bytes(2 << 20))
    assert bomb.stat().st_size < 5000
    assert f"unfolds to {2 << 20} bytes" in str(refusal(bomb))


def test_an_entry_that_claims_the_impossible_is_refused(there):
    content = bytearray(zipped(there, "a", text=b"x" * 10).read_bytes())
    struct.pack_into("<I", content, content.index(b"PK\x01\x02") + 24, 900_000)
    struct.pack_into("<H", content, content.index(b"PK\x01\x02") + 10, 8)
    there.write_bytes(content)
    assert "claims to unfold 10 bytes to 900000" in str(refusal(there))


def test_entries_that_share_their_bytes_are_refused(there):
    content = bytearray(zipped(there, "a", "b", text=b"x" * 100).read_bytes())
    second = content.rindex(b"PK\x01\x02")
    struct.pack_into("<I", content, second + 42, 0)
    there.write_bytes(content)
    assert "overlaps" in str(refusal(there))


def test_bytes_before_the_first_entry_are_refused(there):
    there.write_bytes(b"#!/bin/sh\n" + zipped(there, "a").read_bytes())
    assert "before the zip's first entry" in str(refusal(there))


def test_a_damaged_metadata_file_is_unfit_not_fatal(there):
    archive = opened(patched(zipped(there, "a", text=b"good"), (b"good", b"baad")))
    with pytest.raises(Unfit, match="damaged"):
        archive.text("a")


def test_a_refused_zip_is_closed(there):
    # An open file would raise a ResourceWarning, which is an error in tests.
    refusal(zipped(there, "../a"))
    there.unlink()


@pytest.mark.parametrize("name", ["__MACOSX/a", "a/.DS_Store", "a/._b", "Thumbs.db"])
def test_what_operating_systems_add_is_junk(name):
    assert is_junk(name)
    assert not is_junk("crop1/mito/.zarray")


def test_digests_name_the_bytes_of_a_zip_and_the_content_of_a_folder(tmp_path, there):
    assert archive_digest(zipped(there, "a")) == file_digest(there)
    one, other = tmp_path / "one", tmp_path / "other"
    for folder in (one, other):
        (folder / "b").mkdir(parents=True)
        (folder / "b" / "c").write_bytes(b"x")
    assert archive_digest(one) == archive_digest(other)
    (one / "b" / "c").write_bytes(b"y")
    assert archive_digest(one) != archive_digest(other)


@pytest.fixture(params=[zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED], ids=["stored", "deflated"])
def chunks(there, request) -> Path:
    """A zip of two chunks whose bytes do not repeat."""
    with zipfile.ZipFile(there, "w", request.param) as archive:
        archive.writestr("a/b/.zarray", b"{}")
        archive.writestr("a/b/0", random.Random(0).randbytes(5000))
        archive.writestr("a/bc/0", b"another array")
    return there


def read(path: Path, folder: str) -> dict[str, bytes]:
    archive = opened(path)
    return {name: b"".join(archive.content(name)) for name in archive.below(folder)}


def test_the_files_below_a_folder_are_its_own(chunks):
    archive = opened(chunks)
    assert archive.below("a/b") == ("a/b/.zarray", "a/b/0")
    assert archive.below("nothing") == ()
    assert archive.holds("a/b")
    assert not archive.holds("a/b/0")
    assert not archive.holds("a/bd")


def test_children_are_told_as_files_and_folders(chunks):
    archive = opened(chunks)
    assert list(archive.children("")) == [("a", True)]
    assert list(archive.children("a")) == [("b", True), ("bc", True)]
    assert list(archive.children("a/b")) == [(".zarray", False), ("0", False)]
    assert list(archive.children("nothing")) == []


def test_whole_entries_are_read(chunks, monkeypatch):
    whole = {"a/b/.zarray": b"{}", "a/b/0": random.Random(0).randbytes(5000)}
    assert read(chunks, "a/b") == whole
    monkeypatch.setattr(archive_module, "BLOCK", 7)
    assert read(chunks, "a/b") == whole


def test_an_archive_goes_to_another_process_and_reads_there(chunks):
    archive = pickle.loads(pickle.dumps(opened(chunks)))
    assert archive.text("a/b/.zarray") == b"{}"


def test_the_directory_is_read_once_as_long_as_the_file_is_the_same(chunks, monkeypatch):
    first = opened(chunks)
    monkeypatch.setattr(archive_module, "read_directory", None)
    assert opened(chunks).names is first.names
    zipped(chunks, "other")
    with pytest.raises(TypeError):
        opened(chunks)


def test_one_flipped_bit_is_found_in_its_file_alone(chunks):
    with zipfile.ZipFile(chunks) as archive:
        start = archive.getinfo("a/b/0").header_offset
    content = bytearray(chunks.read_bytes())
    content[start + 3000] ^= 1
    chunks.write_bytes(content)
    with pytest.raises(Unfit, match="'b/0' does not hold") as caught:
        read(chunks, "a/b")
    assert caught.value.code == "damaged"
    assert read(chunks, "a/bc") == {"a/bc/0": b"another array"}


def test_an_entry_under_another_name_than_the_directory_says_is_found(chunks):
    content = chunks.read_bytes().replace(b"a/b/0", b"a/b/1", 1)  # the entry's own header
    chunks.write_bytes(content)
    assert "'a/b/0' has a header of its own" in str(refusal(chunks))


def test_an_entry_that_does_not_inflate_is_found(there):
    path = zipped(there, "a/0", method=zipfile.ZIP_DEFLATED, text=random.Random(1).randbytes(99))
    with zipfile.ZipFile(path) as archive:
        size = archive.getinfo("a/0").compress_size
    content = path.read_bytes()
    header = content.index(b"a/0") + 3
    path.write_bytes(content[:header] + b"\xff" * size + content[header + size :])
    with pytest.raises(Unfit, match="damaged"):
        read(path, "a")


def resized(path: Path, name: bytes, *, size: int) -> Path:
    """The zip after both headers of an entry, which unfolds to another size, speak of this one."""
    content = bytearray(path.read_bytes())
    struct.pack_into("<I", content, content.index(name) - 30 + 22, size)
    struct.pack_into("<I", content, content.rindex(name) - 46 + 24, size)
    path.write_bytes(content)
    return path


@pytest.mark.parametrize("size", [4999, 5001, 6000])
def test_an_entry_of_another_size_than_both_headers_say_is_found(there, size):
    with zipfile.ZipFile(there, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a/b/0", random.Random(0).randbytes(5000))
    with pytest.raises(Unfit, match="damaged"):
        read(resized(there, b"a/b/0", size=size), "a")


def test_an_entry_that_unfolds_without_end_is_left_early(there, monkeypatch):
    """Headers that declare 10 bytes for 8 MB: no more than one block is unfolded."""
    with zipfile.ZipFile(there, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a/0", bytes(8 << 20))
    unfolded, crc32 = [], zlib.crc32

    def watched(block: bytes, crc: int) -> int:
        unfolded.append(len(block))
        return crc32(block, crc)

    monkeypatch.setattr(archive_module.zlib, "crc32", watched)
    with pytest.raises(Unfit, match="damaged"):
        read(resized(there, b"a/0", size=10), "a")
    assert 0 < sum(unfolded) <= archive_module.BLOCK


@pytest.mark.parametrize("behind", [b"hidden", bytes(2 << 20)])
def test_bytes_hidden_behind_the_end_of_a_deflated_content_are_found(there, behind):
    pack = zlib.compressobj(9, zlib.DEFLATED, -15)
    packed = pack.compress(b"content") + pack.flush() + behind
    there.write_bytes(one_entry(b"a/0", packed, method=8, crc=zlib.crc32(b"content"), size=7))
    with pytest.raises(Unfit, match="damaged"):
        read(there, "a")


def one_entry(name: bytes, packed: bytes, *, method: int, crc: int, size: int) -> bytes:
    """The bytes of a zip with one entry."""
    told = struct.pack("<HHIIII", 0, method, 0, crc, len(packed), size)
    local = b"PK\x03\x04" + struct.pack("<H", 20) + told + struct.pack("<HH", len(name), 0)
    central = b"PK\x01\x02" + struct.pack("<HH", 20, 20) + told
    central += struct.pack("<HHHHHII", len(name), 0, 0, 0, 0, 0, 0) + name
    start = len(local) + len(name) + len(packed)
    end = b"PK\x05\x06" + struct.pack("<HHHHIIH", 0, 0, 1, 1, len(central), start, 0)
    return local + name + packed + central + end
