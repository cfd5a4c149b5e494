"""What is handed out works without the checkout: sdist, wheel, an empty environment, a machine that boots."""

import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import venv
import zipfile
from pathlib import Path

import pytest

pytestmark = pytest.mark.wheel

ROOT = Path(__file__).parents[2]
FLOORS = ("arch", "mm", "kernel", "syscalls", "tools")

PROGRAM = """
import numalab
from pathlib import Path

def main(sys):
    address = sys.mmap(3 * 4096)
    sys.memory.write(address + 4000, b"across a page")
    assert sys.memory.read(address + 4000, 13) == b"across a page"
    sys.munmap(address, 3 * 4096)
    return 7

with numalab.boot("quad", seed=0) as machine:
    assert machine.run(main) == 7
    machine.check_invariants()
print(Path(numalab.__file__).parent)
"""


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Copy the sources, so that nothing left over from earlier builds comes along."""
    copy = tmp_path_factory.mktemp("copy") / "numalab"
    made = [".git", ".venv", "build", "dist", "*.egg-info", "*.so", "_*.c", "*_cache", "__pycache__"]
    shutil.copytree(ROOT, copy, symlinks=True, ignore=shutil.ignore_patterns(*made))
    return copy


@pytest.fixture(scope="module")
def dist(tree: Path) -> Path:
    """Build an sdist from the tree, and a wheel from the sdist, as an installer would."""
    environment = {name: value for name, value in os.environ.items() if name != "NUMALAB_CYTHON"}
    run(sys.executable, "-m", "build", "--no-isolation", tree, cwd=tree, env=environment)
    return tree / "dist"


@pytest.fixture(scope="module")
def wheel(dist: Path) -> Path:
    [path] = dist.glob("*.whl")
    return path


@pytest.fixture(scope="module")
def python(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Install the wheel in an environment of its own, and return that environment's python."""
    home = tmp_path_factory.mktemp("empty") / "venv"
    venv.create(home, symlinks=True, with_pip=False)
    here = home / "bin" / "python"
    run(sys.executable, "-m", "pip", "--python", here, "install", "--quiet", "--no-deps", "--no-index", wheel)
    # The dependencies are lent by the environment of the tests. Its own .pth files, and with them the editable
    # numalab, do not come along: only folders added by site itself have theirs read.
    [site_packages] = home.glob("lib/python*/site-packages")
    lent = dict.fromkeys([sysconfig.get_path("purelib"), sysconfig.get_path("platlib")])
    (site_packages / "lent.pth").write_text("".join(f"{path}\n" for path in lent))
    return here


def sources(tree: Path) -> list[Path]:
    """Every file of the five folders, relative to the tree."""
    return [
        path.relative_to(tree) for floor in FLOORS for path in (tree / floor).rglob("*") if path.is_file()
    ]


def run(*command: object, **options: object) -> str:
    done = subprocess.run(list(map(str, command)), check=False, capture_output=True, text=True, **options)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_sdist_holds_files_not_links(tree: Path, dist: Path) -> None:
    [path] = dist.glob("*.tar.gz")
    with tarfile.open(path) as archive:
        assert all(member.isfile() or member.isdir() for member in archive.getmembers())
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert {f"src/numalab/{path}" for path in sources(tree) if path.suffix != ".md"} <= names
    assert not [name for name in names if name.endswith((".c", ".so", ".html"))]


def test_wheel_holds_what_runs_and_types(tree: Path, wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    assert not [name for name in names if name.endswith((".c", ".html", ".pyx"))]
    assert {"numalab/py.typed", "numalab/arch/presets/quad.toml"} <= names
    assert {f"numalab/{path}" for path in sources(tree) if path.suffix not in {".pyx", ".md"}} <= names


def test_a_machine_boots_from_the_wheel(python: Path, tmp_path: Path) -> None:
    package = run(python, "-I", "-c", PROGRAM, cwd=tmp_path).strip()
    assert Path(package).is_relative_to(python.parents[1])


def test_the_command_runs_from_the_wheel(python: Path, tmp_path: Path) -> None:
    assert "run" in run(python.with_name("numalab"), "--help", cwd=tmp_path)


def test_a_project_tests_itself_with_the_wheel(tree: Path, python: Path, tmp_path: Path) -> None:
    """The example of docs/testing.md: its own pyproject.toml, numalab as a stranger gets it."""
    project = tmp_path / "project"
    shutil.copytree(tree / "examples/pytest_project", project)
    said = run(
        python, "-m", "pytest", "-p", "no:cacheprovider", "-p", "no:xdist", "--numa-seed=5", cwd=project
    )
    assert re.search(r"^plugins:.* numalab-", said, re.MULTILINE)
    assert re.search(r"= 14 passed in ", said)
    assert "numalab: --numa-seed=5" in said
    # The same tests see what is wrong with the library: here it forgets what cannot go to the first node.
    library = project / "src/nearby.py"
    text = library.read_text()
    wrong = text.replace("for node in nodes:", "for node in nodes[:1]:")
    assert wrong != text
    library.write_text(wrong)
    failed = subprocess.run(
        [python, "-m", "pytest", "-p", "no:cacheprovider", "-p", "no:xdist"],
        cwd=project, check=False, capture_output=True, text=True,
    )  # fmt: skip
    assert failed.returncode == pytest.ExitCode.TESTS_FAILED
    assert "1 failed, 13 passed" in failed.stdout
    assert "test_the_next_node_when_one_is_full" in failed.stdout


def test_others_can_cimport_from_the_wheel(tree: Path, python: Path, tmp_path: Path) -> None:
    """Cython finds our .pxd files under the names our own code uses."""
    headers = [path for path in sources(tree) if path.suffix == ".pxd" and path.stem != "__init__"]
    names = [".".join(["numalab", *path.with_suffix("").parts]) for path in headers]
    (tmp_path / "other.pyx").write_text("".join(f"cimport {name}\n" for name in names))
    assert names
    run(python, "-m", "cython", "-3", "other.pyx", cwd=tmp_path)
