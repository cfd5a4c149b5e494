"""The shell without the shell: pictures, Python, machines; and what completion offers."""

import pytest

from numalab.tools.completion import World, candidates
from numalab.tools.errors import UsageError
from numalab.tools.picture import bar, bytes_text, node_bars, time_text
from numalab.tools.session import Session


@pytest.fixture
def session():
    session = Session("quad")
    yield session
    session.close()


def test_operations_and_other_lines(session: Session) -> None:
    assert session.is_operation("mmap a 4")
    assert session.is_operation("p: anything")
    assert not session.is_operation("map")
    assert not session.is_operation(":")
    assert session.operate("mmap a 4") == "ret=0"
    assert session.regions == ["a"]


def test_the_picture(session: Session) -> None:
    for line in ("mmap a 8", "mbind a interleave {0,2}", "touch a w"):
        session.operate(line)
    lines = [*session.nodes_table(), *session.regions_of("main")]
    assert lines[0].split()[:4] == ["node", "CPUs", "memory", "in"]
    assert lines[5].startswith("main: a, 8 of 8 pages present")
    assert [line.split()[-1] for line in lines[6:]] == ["4", "-", "4", "-"]


def test_python_runs_inside_main(session: Session) -> None:
    assert session.evaluate("sys.getpid()") == ("100", False)
    assert session.evaluate("x = 20") == ("", False)
    assert session.evaluate("print(x); y = x + 1") == ("20", False)
    assert session.evaluate("y") == ("21", False)
    assert session.evaluate("machine.check_invariants()") == ("[]", False)
    assert session.evaluate("1 / 0") == ("ZeroDivisionError: division by zero", True)
    text, failed = session.evaluate("sys.mbind(0, 1, 99)")
    assert failed
    assert text.startswith("OSError: [Errno 22]")
    assert session.operate("getcpu") == "ret=0 node=0"


def test_another_machine(session: Session) -> None:
    session.operate("mmap a 4")
    session.reboot("2x64M")
    assert session.nodes == [0, 1]
    assert session.regions == []
    with pytest.raises(UsageError):
        session.reboot("nonsense")
    assert session.operate("getcpu") == "ret=0 node=0"


def test_description(session: Session) -> None:
    assert session.description == "machine quad; nodes 0,1,2,3: 512 MiB, 1 CPU"
    session.reboot("odd")
    assert "node 1: no memory, 1 CPU" in session.description


WORLD = World(regions=["a", "area"], actors=["main", "p"], nodes=[0, 1], commands=["map", "help"])


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("mb", ["mbind"]),
        ("ma", ["madvise", "main:", "map", "maps"]),
        ("p: mbi", ["mbind"]),
        ("mbind a", ["a", "area"]),
        ("mbind a pref", ["preferred", "preferred_many"]),
        ("mbind a bind|st", ["bind|static"]),
        ("mbind a bind {", ["{0,1}", "{0}", "{1}", "{}"]),
        ("mbind a bind {0} fl", ["flags="]),
        ("mbind a bind {0} flags=MO", ["flags=MOVE", "flags=MOVE_ALL"]),
        ("mbind a bind {0} flags=MOVE|ST", ["flags=MOVE|STRICT"]),
        ("mbind a bind {0} flags=MOVE fl", []),
        ("migrate_pages s", ["self"]),
        ("p: migrate_pages m", ["main", "maxnode=", "me"]),
        ("move_pages self a q", ["query"]),
        ("madvise a dont", ["dontdump", "dontfork", "dontneed", "dontneed_locked"]),
        ("touch a ", ["faults=", "r", "w"]),
        ("mmap x 4 flags=noreserve,pop", ["flags=noreserve,populate"]),
        ("help mapx", []),
        ("step migr", ["migrate_pages"]),
        ("step p", ["p:", "page", "pass", "pin", "pread", "process_madvise", "pwrite"]),
        ("step p: mbind a bi", ["bind"]),
        ("walk ar", ["area"]),
        ("walk p", ["p:"]),
        ("regions p", ["p"]),
        ("engine s", ["swap"]),
        ("map st", ["state"]),
        ("machine q", ["quad"]),
        ("machine quad q", []),
        ("nothing here", []),
    ],
)
def test_completion(text: str, expected: list[str]) -> None:
    assert candidates(text, WORLD) == expected


def test_bars() -> None:
    assert bar(0, 10, 20, "#") == ""
    assert bar(1, 1000, 20, "#") == "#"
    assert bar(10, 10, 20, "#") == "#" * 20
    lines = node_bars({0: 5, 2: 10}, [0, 1, 2], top=10, width=10, mark="#")
    assert [line.rstrip() for line in lines] == ["node 0  ##### 5", "node 1  -", "node 2  ########## 10"]


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 B"),
        (4096, "4 KiB"),
        ((1 << 29) - 8192, "512 MiB"),
        (1 << 29, "512 MiB"),
        (3 << 29, "1.5 GiB"),
        ((1 << 30) - 4096, "1 GiB"),
        ((1 << 30) - (1 << 20), "1023 MiB"),
    ],
)
def test_sizes(count: int, text: str) -> None:
    assert bytes_text(count) == text


@pytest.mark.parametrize(
    ("ns", "text"), [(0, "0 ns"), (999, "999 ns"), (1500, "1.50 us"), (2.5e6, "2.50 ms"), (123e6, "123 ms")]
)
def test_times(ns: float, text: str) -> None:
    assert time_text(ns) == text
