"""The examples run, and say what they should."""

import subprocess
import sys
from pathlib import Path

import pytest

from numalab.tools import cli

EXAMPLES = Path(__file__).resolve().parents[3] / "examples"


def run(capsys, name: str, *args: str, options: tuple[str, ...] = ()) -> list[str]:
    assert cli.main(["run", *options, str(EXAMPLES / name), *args]) == 0
    return capsys.readouterr().out.splitlines()


@pytest.mark.parametrize(("args", "node"), [((), 1), (("3",), 3)])
def test_hello_numa(capsys, args: tuple[str, ...], node: int) -> None:
    lines = run(capsys, "hello_numa.py", *args)
    assert lines[0].endswith("on CPU 0, node 0.")
    assert lines[1].startswith("near: [0, -2, -2")
    assert lines[2] == f"far: {[node] * 8}"
    assert lines[3] == "page 1"


def test_vacate_by_hand(capsys) -> None:
    assert run(capsys, "vacate_by_hand.py") == [
        "before: node 0: 295, node 1: 295, untouched: 10",
        "moved 295 pages from node 0 to node 2",
        "after:  node 1: 295, node 2: 295, untouched: 10",
    ]


@pytest.mark.parametrize("engine", ["batched", "direct"])
def test_vacate(capsys, engine: str) -> None:
    assert run(capsys, "vacate.py", "3", options=("--machine", "movable", "--engine", engine)) == [
        "worker: pages on node 3: 2000",
        "daemon: nodes with memory are 0-3; the worker may use 0,1,2 from now on",
        "daemon: memory36 is offline after a wait",
        "daemon: memory37 is offline",
        "daemon: memory38 is offline",
        "daemon: memory39 is offline",
        "daemon: nodes with memory are 0-2",
        "worker: pages on node 0: 2000",
        "worker: every round found what it had written",
    ]


def test_follow_the_task(capsys) -> None:
    lines = run(capsys, "follow_the_task.py", "3")
    assert lines[0] == "worker: CPU 0, pages on node 0: 256"
    assert lines[1].endswith("now runs on CPU 3; 0 pages could not follow")
    assert lines[2:] == ["worker: CPU 3, pages on node 3: 256", "worker: every page holds what was written"]


@pytest.mark.parametrize("engine", ["swap", "direct", "batched"])
def test_three_engines(capsys, engine: str) -> None:
    path = str(EXAMPLES / "three_engines.py")
    assert cli.main(["run", "--engine", engine, path, "40"]) == 0
    assert capsys.readouterr().out == "{2: 40}\n"


HISTORY = {
    "accessed_bit.py": ["as V5 was:", "accessed", "as it is here:"],
    "overcount.py": ["migrate_pages() = 33; of 32 pages 32", "migrate_pages() = 0; of 32 pages 32"],
    "written_twice.py": ["11 passes, 160 pages written", "11 passes, 32 pages written"],
    "reliability.py": [
        "swap: 1 page left behind",
        "slept 20.0 ms",
        "slept 30.0 ms",
        "direct: 1 page left behind",
    ],
}


@pytest.mark.parametrize("name", HISTORY)
def test_history(name: str) -> None:
    command = [sys.executable, str(EXAMPLES / "history" / name)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stderr == ""
    for piece in HISTORY[name]:
        assert piece in done.stdout


@pytest.mark.parametrize("name", HISTORY)
def test_history_boots_its_own_machines(capsys, name: str) -> None:
    assert cli.main(["run", str(EXAMPLES / "history" / name)]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.endswith("defines no main(sys); if it boots a machine itself, run it with python\n")


@pytest.mark.parametrize("name", [path.name for path in EXAMPLES.glob("*.py")])
def test_an_example_is_a_script_too(capsys, name: str) -> None:
    """`python examples/NAME ARGS` does what `numalab run` does; with the three engines, three times."""
    args = {"hello_numa.py": ["3"], "three_engines.py": ["40"], "follow_the_task.py": ["3"]}.get(name, [])
    command = [sys.executable, str(EXAMPLES / name), *args]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    options = ("--machine", "movable") if name == "vacate.py" else ()
    expected = run(capsys, name, *args, options=options)
    if name == "three_engines.py":
        expected = [f"{engine}: {line}" for engine in ("swap", "direct", "batched") for line in expected]
    assert done.stdout.splitlines() == expected
    assert done.stderr == ""


def test_pytest_project() -> None:
    """It tests itself; test_packaging.py sees it do so with nothing but the wheel."""
    command = [sys.executable, "-B", "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:xdist"]
    done = subprocess.run(
        command, cwd=EXAMPLES / "pytest_project", check=False, capture_output=True, text=True
    )
    assert "14 passed" in done.stdout


def test_every_example_is_tested() -> None:
    text = Path(__file__).read_text()
    paths = [path.relative_to(EXAMPLES) for path in EXAMPLES.rglob("*.py")]
    names = {"pytest_project" if path.parts[0] == "pytest_project" else path.name for path in paths}
    assert [name for name in names if name not in text] == []
