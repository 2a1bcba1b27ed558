"""Runs as one zip and back; and what hostile zips must not do."""

import hashlib
import json
import os
import stat
import zipfile

import pytest

from baselines.runs.archive import MANIFEST, ArchiveError, Entry, export, unpack, verify


def make_run(folder, **files):
    folder.mkdir(parents=True)
    contents = {"config.json": "{}", "best_model.pth": "weights", "results.json": "{}", **files}
    for name, text in contents.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return folder


def listing(folder):
    return sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file())


def forged(path, files, manifest=None):
    """A zip whose manifest lists what it holds, unless another one is given."""
    with zipfile.ZipFile(path, "w") as archive:
        for name, text in files:
            archive.writestr(name, text)
        entries = [entry(name, text) for name, text in files if isinstance(name, str)]
        content = json.dumps({"files": entries}) if manifest is None else manifest
        archive.writestr(MANIFEST, content)
    return path


def entry(name, text):
    return {"path": name, "bytes": len(text), "sha256": hashlib.sha256(text.encode()).hexdigest()}


def test_a_run_comes_back_as_it_was(tmp_path):
    run = make_run(tmp_path / "a", **{"checkpoints/1.pt": "x", "examples/one.png": "y"})
    entries = export({"runs": [run]}, tmp_path / "out.zip")
    assert unpack(tmp_path / "out.zip", tmp_path / "back") == entries
    assert listing(tmp_path / "back") == [
        "runs/a/best_model.pth", "runs/a/config.json", "runs/a/examples/one.png",
        "runs/a/results.json",
    ]  # fmt: skip
    assert (tmp_path / "back/runs/a/examples/one.png").read_text() == "y"


def test_the_manifest_gives_path_bytes_and_checksum_of_every_file(tmp_path):
    export({"runs": [make_run(tmp_path / "a")]}, tmp_path / "out.zip")
    with zipfile.ZipFile(tmp_path / "out.zip") as archive:
        listed = json.loads(archive.read(MANIFEST))["files"]
        assert {item["path"] for item in listed} | {MANIFEST} == set(archive.namelist())
    assert entry("runs/a/best_model.pth", "weights") in listed


def test_caches_locks_and_half_written_files_stay_behind(tmp_path):
    extra = {"cache/x": "1", "lock": "1", "STOP": "1", "config.json.new": "1", "last.pt": "1"}
    run = make_run(tmp_path / "a", **extra)
    paths = {item.path for item in export({"runs": [run]}, tmp_path / "out.zip")}
    assert paths == {"runs/a/best_model.pth", "runs/a/config.json", "runs/a/results.json"}


def test_the_state_to_go_on_from_is_taken_along_on_request(tmp_path):
    run = make_run(tmp_path / "a", **{"last.pt": "state", "checkpoints/1.pt": "x"})
    paths = {e.path for e in export({"runs": [run]}, tmp_path / "out.zip", state=True)}
    assert {"runs/a/last.pt", "runs/a/checkpoints/1.pt"} <= paths


def test_predictions_and_data_lie_beside_runs(tmp_path):
    sources = {k: [make_run(tmp_path / k / "it")] for k in ("runs", "predictions", "data")}
    export(sources, tmp_path / "out.zip")
    unpack(tmp_path / "out.zip", tmp_path / "back")
    assert {p.parent.name for p in (tmp_path / "back").glob("*/it")} == set(sources)


def test_a_link_is_not_followed_out_of_a_run(tmp_path):
    (tmp_path / "secret").write_text("s")
    run = make_run(tmp_path / "a")
    (run / "link").symlink_to(tmp_path / "secret")
    assert "runs/a/link" not in {e.path for e in export({"runs": [run]}, tmp_path / "o.zip")}


def test_an_export_never_writes_over_a_file_and_leaves_no_part(tmp_path):
    out = tmp_path / "out.zip"
    out.write_text("mine")
    with pytest.raises(ArchiveError, match="exists"):
        export({"runs": [make_run(tmp_path / "a")]}, out)
    assert out.read_text() == "mine"
    with pytest.raises(ArchiveError, match="is no folder"):
        export({"runs": [tmp_path / "nothing"]}, tmp_path / "b.zip")
    (tmp_path / "empty").mkdir()
    with pytest.raises(ArchiveError, match="holds no files"):
        export({"runs": [tmp_path / "empty"]}, tmp_path / "c.zip")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a", "empty", "out.zip"]


def test_two_runs_of_one_name_are_not_mixed(tmp_path):
    runs = [make_run(tmp_path / "x" / "a"), make_run(tmp_path / "y" / "a")]
    with pytest.raises(ArchiveError, match="have one name"):
        export({"runs": runs}, tmp_path / "out.zip")


def test_a_folder_with_content_is_refused_and_kept_unless_it_is_to_be_replaced(tmp_path):
    export({"runs": [make_run(tmp_path / "a")]}, tmp_path / "out.zip")
    target = tmp_path / "target"
    target.mkdir()
    (target / "old").write_text("precious")
    with pytest.raises(ArchiveError, match="is not empty"):
        unpack(tmp_path / "out.zip", target)
    assert listing(target) == ["old"]
    unpack(tmp_path / "out.zip", target, replace=True)
    assert "old" not in listing(target)
    assert len(listing(target)) == 3


def test_a_damaged_archive_replaces_nothing(tmp_path):
    out = tmp_path / "out.zip"
    export({"runs": [make_run(tmp_path / "a", big="0123456789" * 5000)]}, out)
    content = bytearray(out.read_bytes())
    with zipfile.ZipFile(out) as archive:
        start = archive.getinfo("runs/a/big").header_offset + 60
    content[start : start + 8] = b"\xff" * 8
    out.write_bytes(content)
    target = tmp_path / "target"
    target.mkdir()
    (target / "old").write_text("precious")
    with pytest.raises(ArchiveError, match=r"runs/a/big: it is damaged.*Copy the archive again"):
        unpack(out, target, replace=True)
    assert listing(target) == ["old"]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a", "out.zip", "target"]


def test_verify_reads_everything_and_writes_nothing(tmp_path):
    export({"runs": [make_run(tmp_path / "a")]}, tmp_path / "out.zip")
    before = listing(tmp_path)
    assert len(verify(tmp_path / "out.zip")) == 3
    assert listing(tmp_path) == before


@pytest.mark.parametrize(
    "name",
    ["../evil", "runs/../../evil", "/etc/evil", "runs//evil", "C:/evil", "runs\\..\\evil",
     "runs/./evil", "elsewhere/evil", "runs/a\\evil"],
)  # fmt: skip
def test_a_name_that_leads_out_of_the_target_is_not_unpacked(tmp_path, name):
    archive = forged(tmp_path / "evil.zip", [(name, "x")])
    with pytest.raises(ArchiveError, match="is not unpacked"):
        unpack(archive, tmp_path / "deep" / "target")
    assert [p.name for p in tmp_path.rglob("*") if p.is_file()] == ["evil.zip"]


def test_a_link_in_an_archive_is_not_unpacked(tmp_path):
    link = zipfile.ZipInfo("runs/a/link")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    manifest = json.dumps({"files": [entry("runs/a/link", "/etc")]})
    archive = forged(tmp_path / "evil.zip", [(link, "/etc")], manifest)
    with pytest.raises(ArchiveError, match="is not a plain file"):
        unpack(archive, tmp_path / "target")
    assert not (tmp_path / "target").exists()


def test_an_archive_larger_than_allowed_is_refused_before_it_is_unpacked(tmp_path):
    archive = forged(tmp_path / "bomb.zip", [("runs/a/zeros", "0" * 100_000)])
    with pytest.raises(ArchiveError, match=r"at most 0\.0 GiB are unpacked"):
        unpack(archive, tmp_path / "target", most_bytes=99_999)
    assert len(unpack(archive, tmp_path / "target", most_bytes=100_000)) == 1


@pytest.mark.parametrize(
    ("listed", "words"),
    [
        ([], "does not list"),
        ([entry("runs/a", "other")], "differs from its entry"),
        ([{**entry("runs/a", "text"), "bytes": 2}], "differs from its entry"),
        ([entry("runs/a", "text"), entry("runs/b", "")], r"lacks runs/b"),
        ([entry("runs/a", "text"), entry("runs/a/b", "")], r"lacks runs/a/b"),
    ],
)
def test_a_manifest_that_says_something_else_is_an_error(tmp_path, listed, words):
    content = json.dumps({"files": listed})
    archive = forged(tmp_path / "x.zip", [("runs/a", "text")], content)
    with pytest.raises(ArchiveError, match=words):
        unpack(archive, tmp_path / "target")
    assert not (tmp_path / "target").exists()


@pytest.mark.parametrize("content", ["{", "[]", '{"files": [{}]}', '{"files": 3}', "{}"])
def test_a_manifest_that_is_none_is_an_error(tmp_path, content):
    with pytest.raises(ArchiveError, match=MANIFEST):
        verify(forged(tmp_path / "x.zip", [("runs/a", "text")], content))


def test_two_names_that_some_systems_take_for_one_are_refused(tmp_path):
    archive = forged(tmp_path / "x.zip", [("runs/a", "1"), ("runs/A", "2")])
    with pytest.raises(ArchiveError, match="twice"):
        verify(archive)


def test_what_is_no_zip_says_so(tmp_path):
    (tmp_path / "x.zip").write_text("no zip")
    with pytest.raises(ArchiveError, match=r"is no zip.*Copy the archive again"):
        verify(tmp_path / "x.zip")
    with pytest.raises(ArchiveError, match="is missing: give a zip that `baselines export` wrote"):
        verify(tmp_path / "y.zip")
    with zipfile.ZipFile(tmp_path / "z.zip", "w") as archive:
        archive.writestr("runs/a", "1")
    with pytest.raises(ArchiveError, match=f"has no usable {MANIFEST}"):
        verify(tmp_path / "z.zip")


def test_large_files_pass_through_in_pieces(tmp_path):
    run = make_run(tmp_path / "a")
    (run / "best_model.pth").write_bytes(os.urandom(3 * 2**20 + 5))
    export({"runs": [run]}, tmp_path / "out.zip")
    found = {item.path: item for item in verify(tmp_path / "out.zip")}
    assert isinstance(found["runs/a/config.json"], Entry)
    assert found["runs/a/best_model.pth"].bytes == 3 * 2**20 + 5
