"""madvise: flags, pages, and that a hole is reported but stops nothing."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from numalab.arch.errno import EAGAIN, EFAULT, EINVAL, ENOMEM, KernelError
from numalab.mm import mman
from numalab.mm._mm_types import MmStruct
from numalab.mm.madvise import do_madvise
from numalab.mm.memory import read_user, touch_user
from numalab.mm.mlock import do_mlock
from numalab.mm.vm_flags import (
    MASK64,
    VM_DONTCOPY,
    VM_DONTDUMP,
    VM_DONTEXPAND,
    VM_HUGEPAGE,
    VM_IO,
    VM_MERGEABLE,
    VM_NOHUGEPAGE,
    VM_RAND_READ,
    VM_SEQ_READ,
    VM_WIPEONFORK,
)

from tests.mm_machine import PAGE, MmMachine

AT = 0x10000000


@pytest.fixture
def m() -> Iterator[MmMachine]:
    with MmMachine("1x8M") as machine:
        yield machine


@pytest.fixture
def mm(m: MmMachine) -> MmStruct:
    space = m.new_mm()
    m.map(space, 12, AT)
    touch_user(space, m.ctx, AT, PAGE, 12, True, 7)
    return space


def refused(m: MmMachine, mm: MmStruct, start: int, length: int, advice: int) -> int:
    """The errno, 0 for none."""
    try:
        do_madvise(mm, m.ctx, start, length, advice)
    except KernelError as error:
        return error.errno
    return 0


@pytest.mark.parametrize(
    ("start", "length", "advice", "errno"),
    [
        (AT + 1, MASK64, 5, EINVAL),
        (AT + 1, 0, mman.MADV_DONTNEED, EINVAL),
        (AT, MASK64, mman.MADV_DONTNEED, EINVAL),
        (AT, MASK64 - 2 * PAGE, mman.MADV_DONTNEED, EINVAL),
        (0, 0, mman.MADV_DONTNEED, 0),
        (0, PAGE, mman.MADV_DONTNEED, ENOMEM),
        (AT, PAGE, mman.MADV_REMOVE, EINVAL),
        (AT, PAGE, mman.MADV_COLLAPSE, EINVAL),
        (AT, PAGE, 100, EINVAL),  # MADV_HWPOISON
        (AT, PAGE, mman.MADV_PAGEOUT, 0),
        (0, PAGE, mman.MADV_WILLNEED, ENOMEM),
        (AT, 0, mman.MADV_COLD, 0),
        (AT, 13 * PAGE, mman.MADV_POPULATE_WRITE, ENOMEM),
    ],
)
def test_errors(m: MmMachine, mm: MmStruct, start: int, length: int, advice: int, errno: int) -> None:
    assert refused(m, mm, start, length, advice) == errno
    assert list(mm.vmas) == [AT]


@pytest.mark.parametrize(
    ("advice", "set_", "back"),
    [
        (mman.MADV_SEQUENTIAL, VM_SEQ_READ, mman.MADV_NORMAL),
        (mman.MADV_RANDOM, VM_RAND_READ, mman.MADV_NORMAL),
        (mman.MADV_DONTFORK, VM_DONTCOPY, mman.MADV_DOFORK),
        (mman.MADV_WIPEONFORK, VM_WIPEONFORK, mman.MADV_KEEPONFORK),
        (mman.MADV_DONTDUMP, VM_DONTDUMP, mman.MADV_DODUMP),
        (mman.MADV_HUGEPAGE, VM_HUGEPAGE, 0),
        (mman.MADV_NOHUGEPAGE, VM_NOHUGEPAGE, 0),
        (mman.MADV_MERGEABLE, VM_MERGEABLE, mman.MADV_UNMERGEABLE),
    ],
)
def test_flags(m: MmMachine, mm: MmStruct, advice: int, set_: int, back: int) -> None:
    before = m.vma(mm, AT).flags
    do_madvise(mm, m.ctx, AT + 4 * PAGE, 4 * PAGE, advice)
    assert m.vma(mm, AT + 4 * PAGE).flags == before | set_
    assert [v.start for v in mm.vmas.values()] == [AT, AT + 4 * PAGE, AT + 8 * PAGE]
    if back:
        do_madvise(mm, m.ctx, AT, 12 * PAGE, back)
        assert [(v.start, v.flags) for v in mm.vmas.values()] == [(AT, before)]


def test_one_kind_of_reading_excludes_the_other(m: MmMachine, mm: MmStruct) -> None:
    for advice, has in (
        (mman.MADV_SEQUENTIAL, VM_SEQ_READ),
        (mman.MADV_RANDOM, VM_RAND_READ),
        (mman.MADV_SEQUENTIAL, VM_SEQ_READ),
    ):
        do_madvise(mm, m.ctx, AT, PAGE, advice)
        assert m.vma(mm, AT).flags & (VM_SEQ_READ | VM_RAND_READ) == has
    for advice, has in ((mman.MADV_HUGEPAGE, VM_HUGEPAGE), (mman.MADV_NOHUGEPAGE, VM_NOHUGEPAGE)):
        do_madvise(mm, m.ctx, AT, PAGE, advice)
        assert m.vma(mm, AT).flags & (VM_HUGEPAGE | VM_NOHUGEPAGE) == has


def test_areas_that_refuse(m: MmMachine, mm: MmStruct) -> None:
    m.vma(mm, AT).flags |= VM_IO | VM_DONTEXPAND
    assert refused(m, mm, AT, PAGE, mman.MADV_DOFORK) == EINVAL
    assert refused(m, mm, AT, PAGE, mman.MADV_DODUMP) == EINVAL
    assert refused(m, mm, AT, PAGE, mman.MADV_MERGEABLE) == 0
    assert not m.vma(mm, AT).flags & VM_MERGEABLE
    do_mlock(mm, m.ctx, AT, 0, 0)
    other = m.new_mm()
    m.map(other, 4, AT)
    do_mlock(other, m.ctx, AT, 4 * PAGE, 0)
    assert refused(m, other, AT, PAGE, mman.MADV_DONTNEED) == EINVAL
    assert refused(m, other, AT, PAGE, mman.MADV_FREE) == EINVAL
    assert m.ptes(other, AT, 4).all()
    assert refused(m, other, AT, PAGE, mman.MADV_DONTNEED_LOCKED) == 0
    assert not m.ptes(other, AT, 1).any()
    assert m.check() == []


def test_pages_that_are_not_needed(m: MmMachine, mm: MmStruct) -> None:
    do_madvise(mm, m.ctx, AT + 2 * PAGE, 3 * PAGE, mman.MADV_DONTNEED)
    assert [bool(pte) for pte in m.ptes(mm, AT, 6)] == [True, True, False, False, False, True]
    assert [read_user(mm, m.ctx, AT + page * PAGE, 1)[0] for page in range(6)] == [7, 7, 0, 0, 0, 7]
    do_madvise(mm, m.ctx, AT + 6 * PAGE, PAGE, mman.MADV_FREE)
    assert read_user(mm, m.ctx, AT + 6 * PAGE, 1)[0] in (0, 7)
    assert m.check() == []


def test_holes_are_reported_when_all_else_is_done(m: MmMachine, mm: MmStruct) -> None:
    m.map(mm, 2, AT + 20 * PAGE)
    touch_user(mm, m.ctx, AT + 20 * PAGE, PAGE, 2, True)
    assert refused(m, mm, AT - PAGE, 40 * PAGE, mman.MADV_DONTNEED) == ENOMEM
    assert not m.ptes(mm, AT, 22).any()
    assert refused(m, mm, AT - PAGE, 40 * PAGE, mman.MADV_RANDOM) == ENOMEM
    assert all(vma.flags & VM_RAND_READ for vma in mm.vmas.values())


def test_too_many_areas_is_a_passing_state(m: MmMachine, mm: MmStruct) -> None:
    mm.mem.max_map_count = 1
    assert refused(m, mm, AT + PAGE, PAGE, mman.MADV_RANDOM) == EAGAIN


def test_populating(m: MmMachine) -> None:
    mm = m.new_mm()
    m.map(mm, 4, AT)
    do_madvise(mm, m.ctx, AT, 2 * PAGE, mman.MADV_POPULATE_READ)
    do_madvise(mm, m.ctx, AT + 2 * PAGE, 2 * PAGE, mman.MADV_POPULATE_WRITE)
    zero = m.mem.zero_pfn
    assert [m.pfn(mm, AT + page * PAGE) == zero for page in range(4)] == [True, True, False, False]
    assert refused(m, mm, AT, 5 * PAGE, mman.MADV_POPULATE_READ) not in (0, EFAULT)
