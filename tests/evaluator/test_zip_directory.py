"""The directory of a zip: what all readers agree on is accepted, everything else is refused."""

import io
import struct
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import pytest

from evaluator.archive.directory import (
    LARGEST_DIRECTORY,
    MOST_ENTRIES,
    ArchiveError,
    Directory,
    read_directory,
)
from tests.evaluator.made_zips import File, described, zip_of

A, B = File(b"a", b"first"), File(b"b", b"second" * 9, deflated=True)
LIMITS = {"most_entries": 10**9, "most_bytes": 1 << 50}


@pytest.fixture
def there(tmp_path) -> Path:
    return tmp_path / "s.zip"


def directory(there: Path, content: bytes) -> Directory:
    there.write_bytes(content)
    return read_directory(there, **LIMITS)


def refusal(there: Path, content: bytes) -> str:
    with pytest.raises(ArchiveError) as caught:
        directory(there, content)
    assert str(caught.value).endswith(".")
    assert str(caught.value).isprintable()
    assert caught.value.remedy.endswith(".")
    return f"{caught.value.code}: {caught.value}"


LEGAL = {
    "plain": zip_of(A, B),
    "nothing": zip_of(),
    "comment": zip_of(A, B, comment=b"made on a Tuesday"),
    "zip64": zip_of(A, B, zip64={}),
    "zip64, referred to": zip_of(
        A, B, zip64={}, here=0xFFFF, entries=0xFFFF, length=0xFFFFFFFF, start=0xFFFFFFFF
    ),
    "streamed": zip_of(described(A), described(B)),
    "streamed, unsigned": zip_of(described(A, signed=False), described(B, signed=False)),
    "streamed, wide": zip_of(described(A, wide=True), described(B, wide=True, signed=False)),
    "own order": zip_of(B, A),
    "time stamps": zip_of(File(b"k", extra=b"UT\x05\x00" + bytes(5), own_extra=b"UT\x00\x00")),
    "no mode": zip_of(File(b"k", external=0)),
    "neighbours": zip_of(
        File(b"k/", b"", external=0o040755 << 16), File(b"k/l"), File(b"k l"), File(b"k0")
    ),
    "letters": zip_of(File("é/ß".encode()), File("É/é".encode())),
}  # fmt: skip


@pytest.mark.parametrize("case", LEGAL)
def test_what_all_readers_agree_on_is_accepted(there, case):
    found = directory(there, LEGAL[case])
    with zipfile.ZipFile(io.BytesIO(LEGAL[case])) as archive:
        infos = {info.filename: info for info in archive.infolist()}
    if case not in ("letters",):  # which that library takes for another alphabet
        infos = {name: info for name, info in infos.items() if not info.is_dir()}
        assert list(found.names) == sorted(infos)
        assert found.table["size"].tolist() == [infos[n].file_size for n in found.names]
        assert found.table["crc"].tolist() == [infos[n].CRC for n in found.names]
    for name, row in zip(found.names, found.table, strict=True):
        start, packed = int(row["start"]), int(row["packed"])
        original = next(f for f in (A, B, File(name.encode())) if f.name == name.encode())
        assert LEGAL[case][start : start + packed] == original.data


def test_long_sizes_and_places_are_read_from_the_extra_field(there):
    long = struct.pack("<2H3Q", 1, 24, 5, 5, 0)
    wide = File(b"a", b"first", packed=0xFFFFFFFF, size=0xFFFFFFFF, start=0xFFFFFFFF,
                extra=long, own_extra=long[:4].replace(b"\x18", b"\x10") + long[4:20])  # fmt: skip
    (row,) = directory(there, zip_of(wide)).table
    assert (row["size"], row["packed"]) == (5, 5)


def test_folders_have_no_row(there):
    folder = File(b"a/", b"", external=0o040755 << 16)
    assert directory(there, zip_of(folder, File(b"a/b"))).names == ("a/b",)


LIES = {
    # the end record
    "two disks": (zip_of(A, disk=1), "one part of several"),
    "entries elsewhere": (zip_of(A, B, here=1), "one part of several"),
    "too few entries": (zip_of(A, B, here=1, entries=1), "does not hold the 1 entries"),
    "too many entries": (zip_of(A, B, here=3, entries=3), "does not hold the 3 entries"),
    "directory too long": (zip_of(A, length=4000), "names another place"),
    "directory elsewhere": (zip_of(A, start=0), "names another place"),
    "directory nowhere": (zip_of(A, start=0xFFFFFFFF), "names another place"),
    "end in the comment": (zip_of(A, comment=zip_of(B)), "two ends"),
    "end in the comment, cut": (zip_of(A, comment=b"..PK\x05\x06.."), "two ends"),
    "bytes before": (zip_of(A, prefix=b"#!/bin/sh\n"), "before the zip's first entry"),
    "bytes before, unseen": (b"MZ" + zip_of(A, B), "before the zip's first entry"),
    "bytes behind": (zip_of(A, suffix=b"more"), "end is missing or damaged"),
    "bytes before the directory": (zip_of(A, between=b"hidden"), "6 bytes that belong to nothing"),
    # ZIP64
    "no ZIP64 record": (zip_of(A, entries=0xFFFF, here=0xFFFF), "does not hold"),
    "ZIP64 of another count": (zip_of(A, zip64={"entries": 2, "here": 2}), "contradict"),
    "ZIP64 of another place": (zip_of(A, zip64={"start": 1}), "contradict"),
    "ZIP64 of another length": (zip_of(A, zip64={"length": 1 << 62}), "contradict"),
    "ZIP64 with a long tail": (zip_of(A, zip64={"record": 1 << 60}), "contradict"),
    "ZIP64 record elsewhere": (zip_of(A, zip64={"place": 0}), "contradict"),
    "ZIP64 record beyond": (zip_of(A, zip64={"place": 1 << 63}), "contradict"),
    "ZIP64 on a second disk": (zip_of(A, zip64={"disks": 2}), "contradict"),
    "ZIP64 count that overflows": (
        zip_of(A, zip64={"entries": 1 << 63, "here": 1 << 63}, entries=0xFFFF, here=0xFFFF),
        "too_large",
    ),
    "ZIP64 directory that overflows": (
        zip_of(A, zip64={"length": 1 << 63}, length=0xFFFFFFFF), "names another place",
    ),
    # an entry
    "sizes in a field that is not there": (zip_of(File(size=0xFFFFFFFF)), "no ZIP64 field"),
    "sizes in a short field": (
        zip_of(File(size=0xFFFFFFFF, extra=b"\x01\x00\x04\x00abcd")), "no ZIP64 field",
    ),
    "a second name": (zip_of(File(extra=b"up\x05\x00\x01abcd")), "second name"),
    "encrypted": (zip_of(File(flags=1)), "encrypted"),
    "strongly encrypted": (zip_of(File(flags=0x41)), "encrypted"),
    "patch data": (zip_of(File(flags=0x20)), "few readers know"),
    "deflate64": (zip_of(File(method=9)), "rare compression"),
    "zstd": (zip_of(File(method=93)), "rare compression"),
    "stored with two sizes": (zip_of(File(size=3)), "two sizes"),
    "on the second disk": (zip_of(File(disk=1)), "another part"),
    "a socket": (zip_of(File(external=0o140777 << 16)), "link or a device"),
    "folder with content": (zip_of(File(b"a/")), "folder with content"),
    # places
    "place before": (zip_of(A, File(b"b", start=0)), "overlaps"),
    "place within another": (zip_of(A, File(b"b", start=3)), "overlaps"),
    "place in the directory": (zip_of(A, File(b"b", start=1 << 31)), "reaches into"),
    "content beyond": (zip_of(A, File(b"b", packed=1 << 31, deflated=True)), "reaches into"),
    "overlap, full": (zip_of(A, File(b"a", start=0)), "twice"),
    "overlap, quoted": (
        zip_of(File(b"a", File(b"b").local() + b"{}", packed=34, size=34),
               File(b"b", start=31)),
        "reaches into|header of its own|overlaps|belong to nothing",
    ),
    "hidden entry": (zip_of(File(b"a", after=File(b"b").local() + b"{}")), "belong to nothing"),
    "hidden bytes before": (zip_of(A, File(b"b", before=b"hidden")), "belong to nothing"),
    # an entry's own header
    "another name": (zip_of(File(b"a", own_name=b"b")), "header of its own"),
    "another length of name": (zip_of(File(b"a", own_name=b"ab")), "header of its own"),
    "another method": (zip_of(File(own_method=8)), "header of its own"),
    "encrypted in its own header": (zip_of(File(own_flags=1)), "header of its own"),
    "another checksum": (zip_of(File(own_sizes=(0, 2, 2))), "header of its own"),
    "another size": (zip_of(File(own_sizes=(A.told[0], 2, 1))), "header of its own"),
    "no sizes, none behind": (zip_of(File(flags=8, own_sizes=(0, 0, 0), after=b"x")), "belong"),
    "wrong sizes behind": (zip_of(File(flags=8, after=b"PK\x07\x08" + bytes(12))), "belong"),
    # names
    "the same twice": (zip_of(A, A), "twice"),
    "the same but for case": (zip_of(File(b"a/X"), File(b"a/x")), "upper and lower"),
    "the same letters": (
        zip_of(File("é".encode()), File("e\u0301".encode())), "upper and lower",
    ),
    "file and folder": (zip_of(A, File(b"a/b")), "both a file and a folder"),
    "file and folder, far apart": (
        zip_of(File(b"a"), File(b"a b"), File(b"a!"), File(b"a0"), File(b"a/z/b")), "both a file",
    ),
    "file and empty folder": (zip_of(A, File(b"a/", b"")), "both a file and a folder"),
    "no UTF-8": (zip_of(File(b"\xff")), "plain relative path"),
    "half a character": (zip_of(File(b"\xed\xa0\x80")), "plain relative path"),
    "no name": (zip_of(File(b"")), "plain relative path"),
    "no name but a slash": (zip_of(File(b"/", b"")), "plain relative path"),
    "turned writing": (zip_of(File("a\u202etxt".encode())), "plain relative path"),
    "a line": (zip_of(File(b"a\nb")), "plain relative path"),
    "a long part": (zip_of(File(b"a/" + b"b" * 256)), "plain relative path"),
}  # fmt: skip


@pytest.mark.parametrize("case", LIES)
def test_what_readers_could_disagree_on_is_refused(there, case):
    content, sentence = LIES[case]
    said = refusal(there, content)
    assert any(part in said for part in sentence.split("|")), said


def test_the_end_is_found_behind_the_longest_comment_and_not_beyond(there):
    assert directory(there, zip_of(A, comment=b"x" * 0xFFFF)).names == ("a",)
    refusal(there, zip_of(A, comment=b"x" * 0xFFFF, suffix=b"x"))


def test_exactly_the_most_entries_of_the_short_record_are_no_zip64(there):
    files = [File(b"%d" % number, b"") for number in range(200)]
    assert len(directory(there, zip_of(*files)).names) == 200


def test_a_million_entries_are_refused_by_what_the_end_says(there):
    """A zip of 46 MB of directory alone; half a second is a hundred times what it takes."""
    row = File(b"a").central(0)
    body, count = row * 1_000_000, 1_000_000
    end = struct.pack("<4s4H2IH", b"PK\x05\x06", 0, 0, 0xFFFF, 0xFFFF, len(body), 0, 0)
    long = struct.pack("<4sQ2H2I4Q", b"PK\x06\x06", 44, 45, 45, 0, 0, count, count, len(body), 0)
    locator = struct.pack("<4sIQI", b"PK\x06\x07", 0, len(body), 1)
    there.write_bytes(body + long + locator + end)
    begin = time.perf_counter()
    with pytest.raises(ArchiveError, match="1000000 entries; at most 600000"):
        read_directory(there, **LIMITS)
    assert time.perf_counter() - begin < 0.5


def test_a_directory_beyond_the_limit_is_not_read(there):
    with there.open("wb") as file:
        file.truncate(LARGEST_DIRECTORY + 1)
        file.seek(0, io.SEEK_END)
        file.write(zip_of(A)[-22:])
    content = bytearray(there.read_bytes()[-22:])
    struct.pack_into("<II", content, 12, LARGEST_DIRECTORY + 1, 0)
    with there.open("r+b") as file:
        file.seek(-22, io.SEEK_END)
        file.write(content)
    with pytest.raises(ArchiveError, match="directory takes"):
        read_directory(there, **LIMITS)


READ = """
import sys, time
from pathlib import Path
from evaluator.archive.directory import read_directory
peak = lambda: int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0]) << 10
before, start = peak(), time.perf_counter()
found = read_directory(Path(sys.argv[1]), most_entries=10**9, most_bytes=1 << 60)
print(len(found.names), peak() - before, time.perf_counter() - start)
"""


def test_a_large_directory_costs_little_memory_and_time_for_each_entry(there):
    """100,000 entries: under 800 bytes and 20 microseconds for each."""
    with zipfile.ZipFile(there, "w") as archive:
        for number in range(100_000):
            archive.writestr(f"crop{number // 9999}/mito/{number % 9999}/0/0", b"x")
    found = subprocess.run(
        [sys.executable, "-c", READ, str(there)], capture_output=True, text=True, check=True
    )
    count, memory, seconds = map(float, found.stdout.split())
    assert count == 100_000 < MOST_ENTRIES
    assert memory < 800 * count
    assert seconds < 20e-6 * count


def test_names_with_many_folders_cost_no_more_than_others(there):
    """Each of 20,000 entries lies in 30 folders of its own: 600,000 in all."""
    deep = "/a" * 30
    with zipfile.ZipFile(there, "w") as archive:
        for number in range(20_000):
            archive.writestr(f"{number}{deep}", b"")
    found = subprocess.run(
        [sys.executable, "-c", READ, str(there)], capture_output=True, text=True, check=True
    )
    count, memory, _ = map(float, found.stdout.split())
    assert memory < 1200 * count
