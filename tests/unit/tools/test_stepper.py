"""step: what is told of an operation, page by page."""

from collections.abc import Iterator

import pytest

from numalab.tools.session import Session


@pytest.fixture
def session() -> Iterator[Session]:
    session = Session("quad")
    yield session
    session.close()


def steps(session: Session, *texts: str) -> list[str]:
    """The lines of some steps, without frame numbers."""
    lines = [line for text in texts for line in session.step(text)]
    return [
        " ".join("F" if word.startswith("0x") else word.rstrip(":,") for word in line.split())
        for line in lines
    ]


def test_a_page_on_its_way(session: Session) -> None:
    for line in ("mmap a 1", "fill a 1"):
        session.operate(line)
    mapped = "writable user accessed dirty no-exec"
    assert steps(session, "migrate_pages self {0} {1}") == []
    assert steps(session, "") == [
        "unmap a+0 migration entry (write) what was in frame F node 0 is on its way"
    ]
    assert session.stepper is not None
    assert session.stepper.next == "flush"
    assert steps(session, "page", "page") == [
        "flush the TLBs that may have them",
        "copy a+0 frame F node 0 -> frame F node 1",
    ]
    end = steps(session, "pass")
    assert end[0] == f"remap a+0 -> frame F node 1 {mapped}"
    assert end[1].startswith("async 1 tried ")
    if session.stepper is not None:
        steps(session, "end")
    assert session.operate("nodes a") == "ret=0 nodes=1"
    session.machine.check_invariants()


def test_a_pass_says_what_stays(session: Session) -> None:
    for line in ("mmap a 2", "fill a 1", "mlock a", "pin a+1"):
        session.operate(line)
    lines = steps(session, "mbind a bind {1} flags=MOVE|STRICT", "pass")
    assert lines[-2:] == ["stays a+1 pinned", "async 1 tried 2 went 1 stay pinned 1"]
    assert steps(session, "end") == ["ret=-1 err=EIO"]
    assert session.stepper is None
    session.machine.check_invariants()


def test_faults(session: Session) -> None:
    session.operate("mmap a 2")
    assert steps(session, "touch a w", "page", "page") == [
        "fault a+0 -> frame F node 0 writable user accessed dirty no-exec",
        "fault a+1 -> frame F node 0 writable user accessed dirty no-exec",
        "ret=0",
    ]


def test_an_operation_without_pages(session: Session) -> None:
    assert steps(session, "getcpu") == ["ret=0 node=0"]
    assert session.stepper is None


def test_out_to_swap(session: Session) -> None:
    for line in ("mmap a 1", "fill a 1"):
        session.operate(line)
    lines = steps(session, "madvise a pageout")
    while session.stepper is not None:
        lines += steps(session, "page")
    assert lines == [
        "unmap a+0 swap entry area 0 slot 1",
        "flush the TLBs that may have them",
        "write a+0 swap entry area 0 slot 1",
        "free a+0 swap entry area 0 slot 1",
        "ret=0",
    ]
    assert session.operate("state a") == "ret=0 state=S"
    session.machine.check_invariants()


def test_the_machine_can_go_in_the_middle(session: Session) -> None:
    for line in ("mmap a 1", "fill a 1"):
        session.operate(line)
    steps(session, "migrate_pages self {0} {1}", "page")
    session.reboot("dual")
    assert session.stepper is None
    assert session.operate("mmap a 1") == "ret=0"
