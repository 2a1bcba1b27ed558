"""The commands as a participant runs them: a process in an empty folder."""

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import evaluator
from evaluator import cli, get_protocol, load_manifest, score_submission
from tests.synthetic import write_challenge, write_submission

UNWRITABLE = (
    "{} cannot be written: No such file or directory. "
    "Name a file in a folder that you can write to.\n"
)


@pytest.fixture(scope="module")
def challenge(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("challenge")
    write_challenge(folder, size=32)
    write_submission(folder / "s.zip", folder, quality=0.7)
    return folder


@pytest.fixture
def run(monkeypatch, capsys, tmp_path):
    """Run `evaluator ARGUMENTS` in an empty folder; (exit code, stdout, stderr)."""
    monkeypatch.chdir(tmp_path)

    def command(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["evaluator", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        captured = capsys.readouterr()
        return int(ended.value.code or 0), captured.out, captured.err

    return command


@pytest.fixture
def expected(challenge) -> str:
    """The JSON that scoring the challenge's submission gives."""
    return score_submission(
        challenge / "s.zip",
        truth=challenge / "truth.zarr",
        manifest=load_manifest(challenge),
        protocol=get_protocol("crista-1"),
    ).to_json()


def score_arguments(challenge: Path, *more: object) -> tuple[object, ...]:
    where = ("--truth", challenge / "truth.zarr", "--manifest", challenge)
    return ("score", challenge / "s.zip", *where, *more)


def test_a_good_submission_passes_the_check(run, challenge):
    code, out, err = run("check", challenge / "s.zip", "--manifest", challenge)
    assert (code, err) == (0, "")
    assert out == "accepted: 6 ok, 0 missing, 0 unreadable of 6 targets\n"


def test_a_check_that_finds_problems_ends_with_one(run, challenge):
    code, out, err = run("check", challenge / "manifest.csv", "--manifest", challenge)
    assert (code, err) == (1, "")
    assert "manifest.csv is not a zip file" in out
    assert "rejected: 0 ok, 6 missing" in out


def test_a_check_in_json_tells_code_blame_place_and_both_sides_of_every_problem(run, challenge):
    code, out, err = run("check", challenge / "manifest.csv", "--manifest", challenge, "--json")
    report = json.loads(out)
    assert (code, err, report["accepted"], report["quota_used"]) == (1, "", False, False)
    (problem,) = report["problems"]
    assert (problem["code"], problem["blame"], problem["severity"]) == (
        "not_a_zip", "participant", "reject",
    )  # fmt: skip
    assert (problem["expected"], problem["got"]) == ("a whole zip", "another kind of file")
    assert problem["docs"] == "/problems/not_a_zip/"


def test_a_note_on_what_is_ignored_is_no_failure(run, challenge):
    (challenge / "truth.zarr" / "crop9" / "x").mkdir(parents=True)
    (challenge / "truth.zarr" / "crop9" / "x" / "file").touch()
    code, out, _ = run("check", challenge / "truth.zarr", "--manifest", challenge)
    assert code == 0
    assert "crop9 is not in the manifest; it is ignored" in out


def test_score_prints_exactly_the_canonical_json(run, challenge, expected):
    code, out, err = run(*score_arguments(challenge, "--json", "-"))
    assert code == 0
    assert out == expected
    assert "6 targets" in err


def test_score_writes_exactly_the_canonical_json(run, challenge, expected, tmp_path):
    code, out, _ = run(*score_arguments(challenge, "--json", "r.json", "--jobs", 2))
    assert code == 0
    assert (tmp_path / "r.json").read_text() == expected
    assert f"sha256 {hashlib.sha256(expected.encode()).hexdigest()}\n" in out
    assert [path.name for path in tmp_path.iterdir()] == ["r.json"]


def test_score_without_json_and_show_print_the_same_table(run, challenge, tmp_path, expected):
    (tmp_path / "r.json").write_text(expected)
    _, scored, _ = run(*score_arguments(challenge))
    code, shown, err = run("show", "r.json")
    assert (code, err) == (0, "")
    assert shown == scored
    overall = json.loads(expected)["overall"]
    assert f"overall {overall:.4f}" in shown
    for word in ("membrane", "mito", "nucleus", "semantic", "instance", "crista-1"):
        assert word in shown


def test_the_table_names_targets_that_count_as_worst(run, challenge, tmp_path):
    (tmp_path / "part").mkdir()
    (tmp_path / "part" / "crop1").symlink_to(challenge / "truth.zarr" / "crop1")
    code, _, err = run(
        "score", "part", "--truth", challenge / "truth.zarr", "--manifest", challenge
    )  # fmt: skip
    assert code == 1
    assert "is a symbolic link" in err
    (tmp_path / "part" / "crop1").unlink()
    (tmp_path / "part" / "crop1" / "mito").mkdir(parents=True)
    (tmp_path / "part" / "crop1" / "mito" / "x").touch()
    code, out, _ = run(
        "score", "part", "--truth", challenge / "truth.zarr", "--manifest", challenge
    )  # fmt: skip
    assert code == 0
    assert "crop1/mito is unreadable and counts as worst." in out
    assert "crop2/membrane is missing and counts as worst." in out


def test_pack_makes_a_submission_that_scores_one(run, challenge):
    code, out, _ = run("pack", challenge / "truth.zarr", "--manifest", challenge, "--out", "p.zip")
    assert (code, out) == (0, "Packed 6 of 6 targets into p.zip.\n")
    assert run("check", "p.zip", "--manifest", challenge)[0] == 0
    _, out, _ = run("score", "p.zip", "--truth", challenge / "truth.zarr", "--manifest", challenge)
    assert "overall 1.0000  instance 1.0000  semantic 1.0000" in out


def test_predictions_that_cannot_be_packed_are_refused(run, challenge):
    code, out, err = run("pack", ".", "--manifest", challenge, "--out", "p.zip")
    assert (code, out) == (1, "")
    assert "none of the 6 targets" in err


def test_every_table_is_printed_as_json_too(run, challenge, tmp_path):
    run(*score_arguments(challenge, "--json", "r.json"))
    pair = ("r.json", "r.json")
    by_label = json.loads(run("show", "r.json", "--json")[1])
    assert {row["label"] for row in by_label} == {"membrane", "mito", "nucleus"}
    assert len(json.loads(run("show", "r.json", "--targets", "--json")[1])) == 6
    compared = json.loads(run("compare", *pair, "--json")[1])
    assert (len(compared["targets"]), len(compared["labels"])) == (6, 3)
    assert all(isinstance(line, str) for line in compared["told"])
    books = json.loads(run("protocols", "--json")[1])
    assert "crista-1" in {next(iter(row.values())) for row in books}
    rules = json.loads(run("protocols", "cellmap-2026.1", "--json")[1])
    assert rules
    where = ("--truth", challenge / "truth.zarr", "--manifest", challenge)
    target = ("crop1/mito", "--submission", challenge / "s.zip")
    told = json.loads(run("explain", *target, *where, "--json")[1])
    assert told["score"]["label"] == "mito"
    assert "pairs by overlap" in told["tables"]


def test_packing_as_json_prints_the_report_alone(run, challenge):
    arguments = ("pack", challenge / "truth.zarr", "--manifest", challenge, "--out", "p.zip")
    code, out, _ = run(*arguments, "--json")
    report = json.loads(out)
    assert (code, len(report["targets"])) == (0, 6)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("check", "s.zip", "--manifest", "."), "manifest.csv is missing"),
        (("show", "nothing.json"), "nothing.json cannot be read: No such file"),
        (("show", "{challenge}/manifest.csv"), "is not JSON"),
        (("show", "{challenge}"), "cannot be read: Is a directory"),
        (("pack", "nothing", "--manifest", "{challenge}", "--out", "p.zip"), "no folder nothing"),
        (
            ("score", "nothing.zip", "--manifest", "{challenge}", "--truth", "{challenge}"),
            "nothing.zip does not exist",
        ),
        (
            ("score", "{challenge}/s.zip", "--manifest", "{challenge}", "--truth", "nowhere"),
            "There is no folder nowhere",
        ),
        (
            ("score", "{challenge}/s.zip", "--manifest", "{challenge}", "--truth", "."),
            "The truth of crop1/membrane cannot be read: there is no Zarr array",
        ),
        (
            ("score", "s.zip", "--manifest", ".", "--truth", ".", "--protocol", "x"),
            "no protocol 'x'; choose from",
        ),
    ],
)
def test_what_cannot_be_done_is_one_sentence_and_exit_code_two(run, challenge, arguments, sentence):
    code, out, err = run(*(part.format(challenge=challenge) for part in arguments))
    assert (code, out) == (2, "")
    assert sentence in err
    assert err.count("\n") == 1
    assert "Traceback" not in err


def test_a_result_that_cannot_be_written_is_said_so(run, challenge):
    code, out, err = run(*score_arguments(challenge, "--json", "nowhere/r.json"))
    assert (code, out) == (2, "")
    assert err == UNWRITABLE.format("nowhere/r.json")


def test_a_json_file_that_is_no_result_is_refused(run, tmp_path):
    for text in ("[]", "{}", '{"schema": 99}', '{"schema": 1}'):
        (tmp_path / "r.json").write_text(text)
        code, _, err = run("show", "r.json")
        assert code == 2
        assert "not a result of schema 1" in err


def test_the_version_is_printed(run):
    assert run("--version") == (0, f"evaluator {evaluator.__version__}\n", "")


def test_every_command_is_listed_with_its_help(run):
    _, out, _ = run("--help")
    local = ("check", "score", "pack", "show", "compare", "explain", "protocols")
    for command in (*local, "login", "submit", "status", "board"):
        assert command in out


def test_the_module_is_the_command(tmp_path):
    root = Path(evaluator.__file__).parents[1]
    done = subprocess.run(
        [sys.executable, "-W", "error", "-m", "evaluator", "--version"],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(root)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == f"evaluator {evaluator.__version__}\n"


def test_importing_the_package_starts_no_thread_of_its_own(tmp_path):
    """Workers fork after the import; threads would not survive that.  OpenBLAS is told to wait."""
    root = Path(evaluator.__file__).parents[1]
    count = "import evaluator.public, os; print(len(os.listdir('/proc/self/task')))"
    done = subprocess.run(
        [sys.executable, "-c", count],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(root), "OPENBLAS_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "1\n"


def test_part_of_the_targets_can_be_scored_and_is_said(run, challenge):
    more = ("--labels", "mito, membrane", "--crops", "2", "--json", "-")
    code, out, err = run(*score_arguments(challenge, *more))
    assert code == 0
    assert [t["label"] for t in json.loads(out)["targets"]] == ["membrane", "mito"]
    assert "2 of 6 targets" in err
    assert json.loads(out)["manifest"] != load_manifest(challenge).digest


def test_instance_classes_replace_the_kinds(run, challenge):
    more = ("--instance-classes", "membrane", "--json", "-")
    code, out, err = run(*score_arguments(challenge, *more))
    assert code == 0
    kinds = {name: row["kind"] for name, row in json.loads(out)["labels"].items()}
    assert kinds == {"membrane": "instance", "mito": "semantic", "nucleus": "semantic"}
    assert "cannot be set beside results of the whole" in err


def test_the_digest_is_printed_beside_the_json(run, challenge, expected):
    _, _, err = run(*score_arguments(challenge, "--json", "-"))
    assert f"sha256 {hashlib.sha256(expected.encode()).hexdigest()}\n" in err


def test_timings_lie_outside_of_the_result(run, challenge, tmp_path, expected):
    code, out, _ = run(*score_arguments(challenge, "--timings", "t.json", "--json", "-"))
    assert (code, out) == (0, expected)
    seconds = json.loads((tmp_path / "t.json").read_text())
    assert set(seconds) == set(load_manifest(challenge).by_path)
    assert all(took > 0 for took in seconds.values())


def test_verbose_tells_each_target_as_it_is_done(run, challenge):
    _, _, err = run(*score_arguments(challenge, "--verbose"))
    lines = err.splitlines()
    assert sum(": scored, " in line for line in lines) == 6
    assert ": scored, " not in run(*score_arguments(challenge))[2]


def test_zero_jobs_are_as_many_as_there_are_processors(run, challenge, expected):
    assert run(*score_arguments(challenge, "--jobs", 0, "--json", "-"))[1] == expected


def test_show_writes_tables_and_a_page(run, challenge, tmp_path, expected):
    (tmp_path / "r.json").write_text(expected)
    code, out, err = run("show", "r.json", "--csv", "labels.csv", "--html", "r.html")
    assert (code, err) == (0, "")
    assert (tmp_path / "labels.csv").read_text().startswith("label,kind,score,")
    assert (tmp_path / "r.html").read_text().startswith("<!doctype html>")
    _, out, _ = run("show", "r.json", "--targets", "--csv", "targets.csv")
    assert "crop1/mito" in out
    assert (tmp_path / "targets.csv").read_text().startswith("target,kind,status,")


def test_compare_tells_who_won(run, challenge, tmp_path, expected):
    write_submission(tmp_path / "better.zip", challenge, quality=1.0)
    where = ("--truth", challenge / "truth.zarr", "--manifest", challenge)
    run("score", "better.zip", *where, "--json", "b.json")
    (tmp_path / "a.json").write_text(expected)
    code, out, err = run("compare", "a.json", "b.json", "--csv", "c.csv", "--html", "c.html")
    assert (code, err) == (0, "")
    assert "labels: A wins 0, B wins 3, ties 0" in out
    assert (tmp_path / "c.csv").read_text().count(",B,-") == 6
    assert "a.json and b.json" in (tmp_path / "c.html").read_text()


def test_protocols_are_listed_with_rules_and_differences(run):
    assert "cellmap-2026.1" in run("protocols")[1]
    _, rules, _ = run("protocols", "crista-1")
    assert "mask_labels" in rules
    code, out, err = run("protocols", "cellmap-2026.1")
    assert (code, err) == (0, "")
    assert "blurs_ids" in out
    assert "rules differ" in out
    assert "0 rules differ" in run("protocols", "crista-1", "--against", "crista-1")[1]


def explain_arguments(challenge: Path, target: str, *more: object) -> tuple[object, ...]:
    where = ("--truth", challenge / "truth.zarr", "--manifest", challenge)
    return ("explain", target, "--submission", challenge / "s.zip", *where, *more)


def test_explain_tells_pairs_and_writes_a_picture(run, challenge, tmp_path):
    code, out, err = run(*explain_arguments(challenge, "crop1/mito", "--out", "why"))
    assert (code, err) == (0, "")
    assert "pairs by overlap" in out
    assert f"wrote {Path('why') / 'montage.png'}" in out
    assert (tmp_path / "why" / "montage.png").read_bytes().startswith(b"\x89PNG")
    _, out, _ = run(*explain_arguments(challenge, "crop1/membrane"))
    assert "planes along z" in out


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("explain", "crop1/mitto"), "no target 'crop1/mitto' (did you mean crop1/mito?)"),
        (("explain", "x"), "no target 'x'; they are named like crop1/membrane"),
        (("explain", "crop1/mito", "--protocol", "crista"), "no protocol 'crista'"),
        (("score", "--labels", "mitto"), "no label 'mitto' (did you mean mito?)"),
        (("score", "--labels", "zzz"), "no label 'zzz'; there are: membrane, mito, nucleus"),
        (("score", "--crops", "3"), "no crop '3'"),
        (("score", "--instance-classes", "mitto"), "no label 'mitto' (did you mean mito?)"),
        (("score", "--timings", "nowhere/t.json"), "nowhere/t.json cannot be written"),
    ],
)
def test_a_wrong_name_is_a_sentence_with_the_nearest_known_one(run, challenge, arguments, sentence):
    command, *more = arguments
    if command == "explain":
        where = explain_arguments(challenge, *more)
    else:
        where = score_arguments(challenge, *more, "--json", "r.json")
    code, _, err = run(*where)
    assert code == 2
    assert sentence in err.splitlines()[-1]
    assert "Traceback" not in err


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("show", "."), ". cannot be read: Is a directory"),
        (("compare", "a.json", "b.json"), "a.json cannot be read: No such file"),
        (("protocols", "cellmap"), "no protocol 'cellmap'; choose from"),
        (("protocols", "crista-1", "--against", "x"), "no protocol 'x'; choose from"),
        (
            ("explain", "a", "--submission", ".", "--truth", ".", "--manifest", "."),
            "manifest.csv is missing",
        ),
    ],
)
def test_what_is_not_there_is_named(run, arguments, sentence):
    code, out, err = run(*arguments)
    assert (code, out) == (2, "")
    assert sentence in err
    assert err.count("\n") == 1


def test_a_folder_in_place_of_the_result_is_refused_before_anything_is_scored(run, challenge):
    code, out, err = run(*score_arguments(challenge, "--json", ".", "--verbose"))
    assert (code, out) == (2, "")
    assert err.startswith(". cannot be written: it is a folder. ")
    assert err.count("\n") == 1


def test_a_result_is_shown_though_the_page_cannot_be_written(run, tmp_path, expected):
    (tmp_path / "r.json").write_text(expected)
    code, out, err = run("show", "r.json", "--html", "nowhere/r.html")
    assert (code, err) == (2, UNWRITABLE.format("nowhere/r.html"))
    assert "sha256" in out
