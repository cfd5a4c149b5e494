"""walk: level by level, and what is at the end."""

from collections.abc import Iterator

import pytest

from numalab.tools.errors import UsageError
from numalab.tools.session import Session


@pytest.fixture
def session() -> Iterator[Session]:
    session = Session("quad")
    session.operate("mmap a 1024")
    yield session
    session.close()


def levels(session: Session, text: str) -> list[str]:
    """The first words of the lines."""
    return [line.split()[0].partition("[")[0] for line in session.walk(text)]


def test_a_page(session: Session) -> None:
    session.operate("fill a 1")
    lines = list(session.walk("a+3"))
    assert [line.split()[0].partition("[")[0] for line in lines[1:]] == [
        "CR3", "PGD", "PUD", "PMD", "PTE", "page", "TLBs",
    ]  # fmt: skip
    task = session.runner.task("main")
    assert task is not None
    region = session.runner.actor("main").regions[0]  # type: ignore[union-attr]
    pfn = session.machine.page_of(task, region.base + 3 * 4096)
    assert f"-> frame {pfn:#x}, node 0: writable, user, accessed, dirty, no-exec" in lines[5]
    assert lines[6].startswith(f"page  {pfn:#x}: refcount ")
    assert lines[7] == "TLBs  no CPU has it"
    assert session.evaluate(f"sys.memory.read({region.base}, 1)")[1] is False
    assert next(line for line in session.walk("a") if line.startswith("TLBs")).startswith(
        "TLBs  CPU 0 frame "
    )


def test_looking_changes_nothing(session: Session) -> None:
    session.operate("fill a 1")
    before = session.machine.hw.ram.copy()
    list(session.walk("a"))
    assert (session.machine.hw.ram == before).all()


def test_where_nothing_is(session: Session) -> None:
    assert list(session.walk("a+3"))[-2].endswith("empty: an access is a fault, which will make the table")
    assert "in no area: an access is SIGSEGV" in next(session.walk("0x1000"))


def test_a_huge_page(session: Session) -> None:
    for line in (
        "write /sys/kernel/mm/transparent_hugepage/enabled always", "madvise a hugepage", "touch a w",
    ):  # fmt: skip
        session.operate(line)
    lines = list(session.walk("a+5"))
    assert [line.split()[0].partition("[")[0] for line in lines[-3:]] == ["PMD", "page", "TLBs"]
    assert "2 MiB leaf" in lines[-3]


def test_a_page_in_swap(session: Session) -> None:
    for line in ("fill a 1", "madvise a+0:1 pageout"):
        session.operate(line)
    assert list(session.walk("a"))[-2].endswith("swap entry: area 0, slot 1")


def test_five_levels() -> None:
    session = Session("quad page_table_levels=5")
    session.operate("mmap a 1")
    session.operate("touch a w")
    assert levels(session, "a")[1:7] == ["CR3", "PGD", "P4D", "PUD", "PMD", "PTE"]
    session.close()


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("", "usage: walk [ACTOR:] RANGE, such as a+3 or 0x15fea000000"),
        ("b", "b: neither an address (0x..), nor a region of main (a)"),
        ("nobody: a", "nobody: no such process (there are main)"),
        ("0x800000000000", "0x800000000000: a program's addresses end at 0x800000000000"),
    ],
)
def test_bad_places(session: Session, text: str, error: str) -> None:
    with pytest.raises(UsageError) as caught:
        session.walk(text)
    assert str(caught.value) == error
