import random
import stat
import struct
import zipfile
import zlib
from pathlib import Path

import pytest

from evaluator import Unreadable
from evaluator import archive as archive_module
from evaluator.archive import ArchiveError, archive_digest, is_junk, open_archive, verify
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
    archive = opened(zipped(there, "b/c", "a", "folder/"))
    assert archive.names == ("a", "b/c")
    assert archive.text("b/c") == b"x"
    assert archive.text("nothing") is None
    archive.close()


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
    archive.close()


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


def verified(path: Path, folder: str) -> None:
    archive = opened(path)
    entries = archive.entries(folder)
    archive.close()
    verify(path, entries)


def test_the_entries_below_a_folder_are_its_own(chunks):
    archive = opened(chunks)
    assert [entry.name for entry in archive.entries("a/b")] == ["a/b/.zarray", "a/b/0"]
    assert archive.entries("nothing") == ()
    archive.close()


def test_whole_entries_pass(chunks, monkeypatch):
    verified(chunks, "a/b")
    monkeypatch.setattr(archive_module, "BLOCK", 7)
    verified(chunks, "a/b")


def test_one_flipped_bit_is_found_in_its_array_alone(chunks):
    with zipfile.ZipFile(chunks) as archive:
        start = archive.getinfo("a/b/0").header_offset
    content = bytearray(chunks.read_bytes())
    content[start + 3000] ^= 1
    chunks.write_bytes(content)
    with pytest.raises(Unreadable, match="'b/0' in the zip"):
        verified(chunks, "a/b")
    verified(chunks, "a/bc")


def test_an_entry_under_another_name_than_the_directory_says_is_found(chunks):
    content = chunks.read_bytes().replace(b"a/b/0", b"a/b/1", 1)  # the entry's own header
    chunks.write_bytes(content)
    with pytest.raises(Unreadable, match="damaged"):
        verified(chunks, "a/b")


def test_an_entry_that_does_not_inflate_is_found(there):
    path = zipped(there, "a/0", method=zipfile.ZIP_DEFLATED, text=random.Random(1).randbytes(99))
    with zipfile.ZipFile(path) as archive:
        size = archive.getinfo("a/0").compress_size
    content = path.read_bytes()
    header = content.index(b"a/0") + 3
    path.write_bytes(content[:header] + b"\xff" * size + content[header + size :])
    with pytest.raises(Unreadable, match="damaged"):
        verified(path, "a")


@pytest.mark.parametrize("change", [-1, 1, 1000])
def test_an_entry_of_another_size_than_the_directory_says_is_found(chunks, change):
    content = bytearray(chunks.read_bytes())
    directory = content.index(b"a/b/0", content.index(b"PK\x01\x02")) - 46
    (size,) = struct.unpack_from("<I", content, directory + 24)
    struct.pack_into("<I", content, directory + 24, size + change)
    chunks.write_bytes(content)
    with pytest.raises(Unreadable, match="damaged"):
        verified(chunks, "a/b")


def test_an_entry_that_unfolds_without_end_is_left_early(there, monkeypatch):
    """A directory that declares 10 bytes for 8 MB: no more than one block is unfolded."""
    with zipfile.ZipFile(there, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a/0", bytes(8 << 20))
    content = bytearray(there.read_bytes())
    struct.pack_into("<I", content, content.index(b"PK\x01\x02") + 24, 10)
    there.write_bytes(content)
    unfolded, crc32 = [], zlib.crc32

    def watched(block: bytes, crc: int) -> int:
        unfolded.append(len(block))
        return crc32(block, crc)

    monkeypatch.setattr(archive_module.zlib, "crc32", watched)
    with pytest.raises(Unreadable, match="damaged"):
        verified(there, "a")
    assert 0 < sum(unfolded) <= archive_module.BLOCK
