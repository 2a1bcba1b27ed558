"""The house rules that can be measured: sizes, places, words, contracts."""

import ast
import re
import statistics
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("evaluator", "server", "baselines")
DRAWERS = {"utils", "util", "helpers", "helper", "common", "misc", "shared", "tools", "base"}
# Commands import what they need when they are called: help must not wait for torch.
OPTIONAL_AT_THE_EDGE = {
    f"baselines/commands/{name}.py" for name in ("making", "data", "runs", "predicting")
}


def sources(package: str) -> list[Path]:
    files = (ROOT / package).rglob("*.py")
    return sorted(path for path in files if "migrations" not in path.parts)


def functions() -> list[tuple[str, int]]:
    """Every function of the three packages with its lines, docstring left out."""
    found = []
    for package in PACKAGES:
        for path in sources(package):
            for node in ast.walk(ast.parse(path.read_text("utf-8"))):
                if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                    name = f"{path.relative_to(ROOT)}:{node.name}"
                    found.append((name, length(node)))
    return found


def length(node: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    lines = node.end_lineno - node.lineno + 1
    first = node.body[0]
    if ast.get_docstring(node) is not None:
        lines -= first.end_lineno - first.lineno + 1
    return lines


def code_lines(files: list[Path]) -> int:
    texts = (path.read_text("utf-8").splitlines() for path in files)
    return sum(1 for lines in texts for line in lines if line.strip())


def test_no_function_is_longer_than_60_lines():
    assert [item for item in functions() if item[1] > 60] == []


def test_nine_of_ten_functions_fit_in_30_lines_and_half_of_them_in_8():
    sizes = sorted(size for _, size in functions())
    assert statistics.median(sizes) <= 8
    assert sizes[int(0.9 * len(sizes))] <= 30


@pytest.mark.parametrize("package", PACKAGES)
def test_no_file_is_longer_than_400_lines(package):
    sizes = {
        str(p.relative_to(ROOT)): len(p.read_text("utf-8").splitlines()) for p in sources(package)
    }
    assert {name: size for name, size in sizes.items() if size > 400} == {}


@pytest.mark.parametrize("package", PACKAGES)
def test_no_file_is_a_drawer(package):
    assert [
        p for p in sources(package) if DRAWERS & set(p.with_suffix("").relative_to(ROOT).parts)
    ] == []


@pytest.mark.parametrize("package", PACKAGES)
def test_nothing_of_our_own_is_imported_inside_a_function(package):
    hidden = []
    for path in sources(package):
        if str(path.relative_to(ROOT)) in OPTIONAL_AT_THE_EDGE:
            continue
        for function in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef):
                hidden += [
                    f"{path.relative_to(ROOT)}:{node.lineno}"
                    for node in ast.walk(function)
                    if isinstance(node, ast.ImportFrom)
                    and (node.level or (node.module or "").split(".")[0] in PACKAGES)
                ]
    assert hidden == []


@pytest.mark.parametrize(
    ("package", "least"), [("evaluator", 1.0), ("server", 1.0), ("baselines", 0.7)]
)
def test_there_is_as_much_test_as_source(package, least):
    tests = sorted((ROOT / "tests" / package).rglob("*.py"))
    assert code_lines(tests) >= least * code_lines(sources(package))


@pytest.mark.parametrize("package", PACKAGES)
def test_nothing_catches_every_exception_and_goes_on(package):
    text = {path: path.read_text("utf-8") for path in sources(package)}
    assert [
        p for p, t in text.items() if re.search(r"except( Exception| BaseException)?:", t)
    ] == []


def test_the_import_contracts_are_kept():
    linter = Path(sys.executable).with_name("lint-imports")
    done = subprocess.run(
        [linter, "--no-cache"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout


def test_importing_the_evaluator_starts_no_thread_and_pulls_in_neither_neighbour():
    """Workers fork after this import: a thread held by a library would be lost in the child."""
    code = (
        "import sys, os, evaluator.public\n"
        "assert len(os.listdir('/proc/self/task')) == 1, 'threads'\n"
        "assert not {'django', 'torch', 'server', 'baselines'} & set(sys.modules), 'neighbours'\n"
    )
    subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, check=True, env={"OPENBLAS_NUM_THREADS": "1"}
    )


def test_the_project_speaks_of_the_product_alone():
    tracked = subprocess.run(
        ["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    places = (re.escape(str(place)) for place in (ROOT, ROOT.parent / "shared"))
    forbidden = re.compile(rf"({'|'.join(places)})/|/(root|home|Users)/[a-z]")
    here = Path(__file__).resolve()
    files = [ROOT / name for name in tracked.stdout.splitlines()]
    texts = [p for p in files if p.suffix in {".py", ".md", ".toml", ".html", ".js", ".in", ".txt"}]
    assert [
        p for p in texts if p != here and p.exists() and forbidden.search(p.read_text("utf-8"))
    ] == []
