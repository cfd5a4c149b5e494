"""The rules of the house: what CONTRIBUTING.md asks of every file, and no other tool sees to."""

import ast
import graphlib
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FLOORS = ("arch", "mm", "kernel", "syscalls", "tools")
CEILINGS = {".py": 600, ".pyx": 800}

# Compiled modules under arch/ and mm/ that have no plain-Python twin, and why.
NO_TWIN = {
    "arch/_copy.pyx": "memcpy in several widths: there is nothing to read in a twin",
    "arch/_hw.pyx": "types",
    "mm/_mm_types.pyx": "types",
    "mm/_page_list.pyx": "types",
}


@cache
def house_files() -> list[Path]:
    """Every file that belongs to the project, relative to its root: git's view, or without git a look round."""
    if (ROOT / ".git").exists() and shutil.which("git"):
        command = ["git", "-c", f"safe.directory={ROOT}", "ls-files", "-z", "-co", "--exclude-standard"]
        names = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout.split(
            "\0"
        )
        found = [Path(name) for name in names if name]
    else:
        ours = [*FLOORS, ".ci", "benchmarks", "docs", "examples", "src", "tests"]
        below = (path for folder in ours for path in (ROOT / folder).rglob("*"))
        made = {"__pycache__", ".so", ".c", ".html"}
        found = [
            path.relative_to(ROOT)
            for path in (*ROOT.glob("*.*"), ROOT / "Makefile", *below)
            if path.is_symlink() or (path.is_file() and not made & {path.suffix, *path.parts})
        ]
    return sorted(path for path in found if (ROOT / path).is_symlink() or (ROOT / path).is_file())


def with_suffix(*suffixes: str) -> list[Path]:
    return [path for path in house_files() if path.suffix in suffixes and not (ROOT / path).is_symlink()]


def text(path: Path) -> str:
    return (ROOT / path).read_text(encoding="utf-8")


# --- files -----------------------------------------------------------------------------------------------------


def test_no_file_is_too_long_to_read() -> None:
    lengths = {path: len(text(path).splitlines()) for path in with_suffix(*CEILINGS)}
    assert {path: n for path, n in lengths.items() if n > CEILINGS[path.suffix]} == {}


def test_links_are_relative_and_stay_inside() -> None:
    for folder in FLOORS:
        assert os.readlink(ROOT / "src/numalab" / folder) == f"../../{folder}"
    for path in house_files():
        if (ROOT / path).is_symlink():
            assert not os.path.isabs(os.readlink(ROOT / path)), path
            assert (ROOT / path).resolve(strict=True).is_relative_to(ROOT.resolve()), path


def test_no_file_knows_one_machine() -> None:
    """A path of somebody's machine, or the address of a package registry, is of no use to anybody else."""
    of_one_machine = re.compile(
        r"(?<![\w.])/(?:root|work|home/\w+|Users/\w+)/"
        r"|\bpypi\.(?:org|python)|pythonhosted|registry\.npmjs|(?:extra-)?index-url|--trusted-host"
    )
    found = []
    for path in house_files():
        if (ROOT / path).is_symlink() or path == Path(__file__).relative_to(ROOT):
            continue
        lines = (ROOT / path).read_bytes().decode("utf-8", "replace").splitlines()
        found += [f"{path}:{n}: {line}" for n, line in enumerate(lines, 1) if of_one_machine.search(line)]
    assert found == []


def test_what_is_compiled_has_its_source() -> None:
    """A module left over from a kernel that was renamed would still be imported (make clean removes it)."""
    built = [path for floor in FLOORS for path in (ROOT / floor).rglob("*.so")]
    assert [path for path in built if not path.with_name(path.name.split(".")[0] + ".pyx").exists()] == []


# --- kernels and their twins -----------------------------------------------------------------------------------


def test_every_kernel_says_its_python_face() -> None:
    assert [path for path in with_suffix(".pyx") if not (ROOT / path).with_suffix(".pyi").exists()] == []


def kernels() -> list[Path]:
    return [path for path in with_suffix(".pyx") if path.parts[0] in {"arch", "mm"}]


def test_every_kernel_has_a_twin() -> None:
    alone = {str(path) for path in kernels() if not (ROOT / twin_of(path)).exists()}
    assert alone - NO_TWIN.keys() == set()
    assert NO_TWIN.keys() - alone == set(), "no longer true"


def test_twins_have_the_same_faces() -> None:
    """What the .pyi of a kernel offers, its twin offers under the same name with the same parameters."""
    for path in kernels():
        if (ROOT / twin_of(path)).exists() and (ROOT / path).with_suffix(".pyi").exists():
            compiled, plain = functions(path.with_suffix(".pyi")), functions(twin_of(path))
            assert compiled.items() <= plain.items(), path


def twin_of(kernel: Path) -> Path:
    return kernel.with_name(f"{kernel.stem}_reference.py")


def functions(path: Path) -> dict[str, list[str]]:
    """Return the public functions of a module, each with the names of its parameters."""
    return {
        node.name: [arg.arg for arg in (*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs)]
        for node in ast.parse(text(path)).body
        if isinstance(node, ast.FunctionDef) and not node.name.startswith("_")
    }


# --- imports ---------------------------------------------------------------------------------------------------
#
# import-linter reads .py files only. Here .pyx and .pxd files count as well, and a cimport is an import.

CYTHON_IMPORT = re.compile(r"^\s*(?:from\s+([\w.]+)\s+)?c?import\s+(\(?)([^#\n)]*)", re.MULTILINE)


def imports(path: Path, everything: bool) -> Iterator[tuple[str, str]]:
    """Yield (module, name) for each `from module import name`, and (module, "") for each `import module`.

    Imports for type checkers only are left out unless `everything` is asked for.
    """
    if path.suffix in {".pyx", ".pxd"}:
        for module, bracket, names in CYTHON_IMPORT.findall(text(path)):
            for name in names.split(",") if not bracket else [""]:
                word = name.split(" as ")[0].strip()
                yield (module, word) if module else (word, "")
        return
    tree = ast.parse(text(path))
    unreal = set()
    if not everything:
        unreal = {
            id(inner)
            for node in ast.walk(tree)
            if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
            for statement in node.body
            for inner in ast.walk(statement)
        }
    for node in ast.walk(tree):
        if id(node) in unreal:
            continue
        if isinstance(node, ast.Import):
            yield from ((alias.name, "") for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (("." * node.level + (node.module or ""), alias.name) for alias in node.names)


def module_name(path: Path) -> str:
    """numalab.mm.lru for mm/lru.py, numalab.mm for mm/__init__.py, numalab for src/numalab/__init__.py."""
    parts = ["numalab", *path.with_suffix("").parts]
    if path.parts[0] == "src":
        parts = list(path.with_suffix("").parts[1:])
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def import_graph(everything: bool) -> dict[str, set[str]]:
    """Map each module of numalab to the modules of numalab it imports."""
    files = [path for path in with_suffix(".py", ".pyx", ".pxd") if path.parts[0] in {*FLOORS, "src"}]
    graph: dict[str, set[str]] = {module_name(path): set() for path in files}
    for path in files:
        here = module_name(path)
        package = here if path.stem == "__init__" else here.rpartition(".")[0]
        for module, name in imports(path, everything):
            target = module
            if dots := len(module) - len(module.lstrip(".")):
                base = package.split(".")[: len(package.split(".")) - dots + 1]
                target = ".".join([*base, *filter(None, [module[dots:]])])
            if f"{target}.{name}" in graph:
                graph[here].add(f"{target}.{name}")
            elif target in graph:
                graph[here].add(target)
        graph[here].discard(here)
    return graph


def floor(module: str) -> int:
    """How high a module stands. The public package itself boots a machine: above all but what people run."""
    parts = module.split(".")
    return FLOORS.index(parts[1]) if len(parts) > 1 and parts[1] in FLOORS else FLOORS.index("tools") - 0.5


def test_nobody_imports_a_bare_folder() -> None:
    """`import mm.lru` would load a second copy of numalab.mm.lru, with classes of its own."""
    bare = [
        f"{path}: {module}"
        for path in with_suffix(".py", ".pyi", ".pyx", ".pxd")
        for module, _ in imports(path, everything=True)
        if module.split(".")[0] in {*FLOORS, "src"}
    ]
    assert bare == []


def test_imports_go_down() -> None:
    graph = import_graph(everything=True)
    assert graph, "the import graph is empty"
    up = [f"{low} imports {high}" for low in graph for high in graph[low] if floor(high) > floor(low)]
    assert up == []


def test_no_cycle_inside_a_folder() -> None:
    try:
        graphlib.TopologicalSorter(import_graph(everything=False)).prepare()
    except graphlib.CycleError as error:
        pytest.fail(f"these import each other: {' <- '.join(error.args[1])}")


# --- commands and texts ----------------------------------------------------------------------------------------


def test_texts_name_real_commands() -> None:
    targets = set(re.findall(r"^([a-z-]+):.* ## ", text(Path("Makefile")), re.MULTILINE))
    for page in ("README.md", "CONTRIBUTING.md", "tests/README.md", "benchmarks/README.md"):
        named = set(re.findall(r"\bmake ([a-z]+(?:-[a-z]+)*)(?=[`\n ])", " ".join(code_of(page))))
        assert named <= targets, page


def code_of(page: str) -> list[str]:
    return re.findall(r"```.*?```|`[^`\n]+`|^    .*$", text(Path(page)), re.DOTALL | re.MULTILINE)


def test_the_example_of_the_readme_runs(tmp_path: Path) -> None:
    [example] = re.findall(r"```python\n(.*?)```", text(Path("README.md")), re.DOTALL)
    [promised] = re.findall(r"prints\n+```text\n(.*?)```", text(Path("README.md")), re.DOTALL)
    run = subprocess.run(
        [sys.executable, "-c", example], cwd=tmp_path, check=False, capture_output=True, text=True
    )
    assert (run.stderr, run.stdout) == ("", promised)


@pytest.mark.slow
@pytest.mark.parametrize("workers", ["0", "2"])
def test_a_skip_must_be_listed(tmp_path: Path, workers: str) -> None:
    def status() -> int:
        command = [sys.executable, "-m", "pytest", "-q", "-n", workers, "-p", "no:cacheprovider", "tests"]
        return subprocess.run(command, cwd=tmp_path, check=False, capture_output=True).returncode

    tests = tmp_path / "tests"
    tests.mkdir()
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    shutil.copy(ROOT / "tests/conftest.py", tests)
    allowed = tests / "allowed_skips.txt"
    (tests / "test_a.py").write_text(
        "import pytest\n"
        "def test_runs(): pass\n"
        "@pytest.mark.parametrize('x', [1, 2])\n"
        "def test_skips(x): pytest.skip('no such device')\n"
    )
    (tests / "test_b.py").write_text("import pytest\npytest.importorskip('no_such_module')\n")

    allowed.write_text("tests/test_a.py::test_skips  # no such device\n")
    assert status() == pytest.ExitCode.TESTS_FAILED
    allowed.write_text("tests/test_a.py::test_skips  # no such device\ntests/test_b.py  # no such module\n")
    assert status() == pytest.ExitCode.OK


def test_an_allowed_skip_has_a_reason(tmp_path: Path) -> None:
    shutil.copy(ROOT / "tests/conftest.py", tmp_path)
    (tmp_path / "allowed_skips.txt").write_text("tests/test_a.py\n")
    done = subprocess.run([sys.executable, "-m", "pytest"], cwd=tmp_path, check=False, capture_output=True)
    assert done.returncode == pytest.ExitCode.USAGE_ERROR
