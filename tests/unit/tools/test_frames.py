"""map: which letter stands where."""

from collections.abc import Iterator

import pytest

from numalab.tools.frames import VIEWS
from numalab.tools.session import Session


@pytest.fixture
def session() -> Iterator[Session]:
    session = Session("2x64M")
    yield session
    session.close()


def drawn(session: Session, view: str) -> list[str]:
    return ["".join(text for text, _ in line).rstrip() for line in session.frame_map(view)]


def legend(session: Session, view: str) -> dict[str, int]:
    """Frames of each kind."""
    lines = drawn(session, view)
    rows = [line.rsplit(None, 2) for line in lines[lines.index("") + 2 :]]
    return {" ".join(name.split()[1:]): int(count) for name, count, _ in rows}


def test_owners(session: Session) -> None:
    for line in ("mmap a 2000", "mbind a bind {1}", "fill a 1", "spawn p", "p: mmap b 500", "p: fill b 2"):
        session.operate(line)
    kinds = legend(session, "owner")
    assert kinds["p"] >= 500
    assert kinds["shared"] >= 2000
    node1 = next(line for line in drawn(session, "owner") if line.startswith("node 1"))
    assert node1[8:].count("S") == pytest.approx(2000 / 64, abs=1)


def test_policies(session: Session) -> None:
    for line in (
        "mmap a 10",
        "mbind a bind {1}",
        "mmap b 20",
        "mbind b interleave {0,1}",
        "touch a w",
        "touch b w",
    ):
        session.operate(line)
    kinds = legend(session, "policy")
    assert (kinds["bind:1"], kinds["interleave:0-1"]) == (10, 20)


def test_states(session: Session) -> None:
    for line in ("mmap a 10", "fill a 1", "mlock a+0:4", "pin a+6"):
        session.operate(line)
    kinds = legend(session, "state")
    assert kinds["mlocked"] == 4
    assert kinds["pinned"] == 4  # a pipe has room for so many pages
    assert kinds["dirty"] >= 2
    list(session.step("migrate_pages self {0} {1}"))
    list(session.step("page"))
    assert legend(session, "state")["migrating"] > 0


def test_ages(session: Session) -> None:
    for line in ("mmap a 10", "fill a 1", "mlock a+0:4"):
        session.operate(line)
    assert legend(session, "age")["unevictable"] == 4


@pytest.mark.parametrize("view", VIEWS)
def test_every_frame_in_use_is_of_one_kind(session: Session, view: str) -> None:
    for line in ("mmap a 100", "fill a 1", "file /tmp/f 5", "spawn p", "p: touch a+0:5 w"):
        session.operate(line)
    used = sum(total - free for total, free in map(session.machine.node_pages, session.nodes))
    assert sum(legend(session, view).values()) == used
