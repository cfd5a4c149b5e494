"""Address spaces are made, copied and taken down without anything left over."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from numalab.arch.errno import ENOMEM, KernelError
from numalab.mm import address_space
from numalab.mm._mm_types import MmStruct
from numalab.mm.address_space import START_BRK, dup_mmap, exit_mmap, mm_alloc
from numalab.mm.madvise import do_madvise
from numalab.mm.memory import OutOfMemory, UserFault, read_user, touch_user, write_user
from numalab.mm.mempolicy import do_mbind
from numalab.mm.mlock import do_mlockall
from numalab.mm.mman import MADV_DONTFORK, MADV_WIPEONFORK, MCL_FUTURE
from numalab.mm.mmap import do_brk
from numalab.mm.mpol import MPOL_BIND
from numalab.mm.page_alloc import drain_all_pages
from numalab.mm.stack import setup_stack
from numalab.mm.swap import lru_add_drain_all
from numalab.mm.vm_flags import VM_NOHUGEPAGE

from tests.mm_machine import PAGE, MmMachine

AT = 0x10000000


@pytest.fixture
def m() -> Iterator[MmMachine]:
    with MmMachine("2x8M") as machine:
        yield machine


def free(m: MmMachine) -> int:
    """Frames that nobody has."""
    lru_add_drain_all(m.mem)
    drain_all_pages(m.mem)
    return int(m.mem.zones["free"].sum())


def test_a_life_leaves_nothing(m: MmMachine) -> None:
    before = free(m)
    mm = m.new_mm()
    assert (list(mm.vmas), mm.brk, mm.start_brk, mm.start_stack, mm.def_flags) == (
        [],
        START_BRK,
        START_BRK,
        0,
        0,
    )
    setup_stack(mm)
    for at in (AT, AT + (1 << 30), 1 << 46):
        m.map(mm, 20, at)
        touch_user(mm, m.ctx, at, PAGE, 20, True)
    child = m.fork(mm)
    touch_user(child, m.ctx, AT, PAGE, 20, True)
    assert m.check() == []
    m.exit(mm)
    assert m.check() == []
    m.exit(child)
    assert m.check() == []
    assert free(m) == before


def test_numbers_are_given_again(m: MmMachine) -> None:
    """The next address space with the same number must not see the last one's translations."""
    first = m.new_mm()
    number = first.asid
    m.map(first, 1, AT)
    write_user(first, m.ctx, AT, b"secret")
    m.exit(first)
    second = m.new_mm()
    assert second.asid == number
    with pytest.raises(UserFault):
        read_user(second, m.ctx, AT, 6)
    m.map(second, 1, AT)
    assert read_user(second, m.ctx, AT, 6) == bytes(6)


def test_a_copy(m: MmMachine) -> None:
    mm = m.new_mm()
    m.map(mm, 8, AT)
    do_mbind(m.mem, mm, m.ctx, AT + 4 * PAGE, 4 * PAGE, MPOL_BIND, 0, 0b10, 0)
    write_user(mm, m.ctx, AT, b"both")
    do_brk(mm, m.ctx, START_BRK + PAGE)
    setup_stack(mm)
    do_mlockall(mm, m.ctx, MCL_FUTURE)
    mm.def_flags |= VM_NOHUGEPAGE
    child = m.fork(mm)
    assert [(v.start, v.end, v.pgoff, v.flags, v.policy) for v in child.vmas.values()] == [
        (v.start, v.end, v.pgoff, v.flags, v.policy) for v in mm.vmas.values()
    ]
    assert (child.brk, child.start_stack, child.def_flags) == (mm.brk, mm.start_stack, VM_NOHUGEPAGE)
    write_user(child, m.ctx, AT, b"mine")
    assert read_user(mm, m.ctx, AT, 4) == b"both"
    write_user(mm, m.ctx, AT + PAGE, b"late")
    assert read_user(child, m.ctx, AT + PAGE, 4) == bytes(4)
    assert m.check() == []


def test_areas_that_do_not_come_along(m: MmMachine) -> None:
    mm = m.new_mm()
    m.map(mm, 12, AT)
    touch_user(mm, m.ctx, AT, PAGE, 12, True, 9)
    do_madvise(mm, m.ctx, AT, 4 * PAGE, MADV_DONTFORK)
    do_madvise(mm, m.ctx, AT + 8 * PAGE, 4 * PAGE, MADV_WIPEONFORK)
    child = m.fork(mm)
    assert list(child.vmas) == [AT + 4 * PAGE, AT + 8 * PAGE]
    assert m.vma(child, AT + 8 * PAGE).anon_vma is None
    assert [read_user(child, m.ctx, AT + page * PAGE, 1)[0] for page in (4, 8)] == [9, 0]
    assert read_user(mm, m.ctx, AT + 8 * PAGE, 1)[0] == 9
    assert m.check() == []


def test_a_copy_that_fails_is_taken_down(m: MmMachine, monkeypatch: pytest.MonkeyPatch) -> None:
    mm = m.new_mm()
    for i in range(3):
        m.map(mm, 2, AT + 4 * i * PAGE)
        touch_user(mm, m.ctx, AT + 4 * i * PAGE, PAGE, 2, True)
    copy, copied = address_space.copy_page_range, []

    def fails_at_the_third(dst: MmStruct, *rest: Any) -> None:
        copied.append(dst)
        if len(copied) == 3:
            raise OutOfMemory
        copy(dst, *rest)

    monkeypatch.setattr(address_space, "copy_page_range", fails_at_the_third)
    with pytest.raises(KernelError) as refusal:
        dup_mmap(mm, m.ctx)
    assert refusal.value.errno == ENOMEM
    assert m.check() == []
    touch_user(mm, m.ctx, AT, PAGE, 2, True)
    assert m.check() == []


def test_no_frame_for_a_root(m: MmMachine) -> None:
    mm = m.new_mm()
    hog = (16 << 20) // PAGE
    m.map(mm, hog, AT)
    with pytest.raises(OutOfMemory):
        touch_user(mm, m.ctx, AT, PAGE, hog, True)
    with pytest.raises(KernelError) as refusal:
        mm_alloc(m.mem)
    assert refusal.value.errno == ENOMEM
    number = mm.asid
    m.exit(mm)
    second, third = m.new_mm(), m.new_mm()
    assert sorted((second.asid, third.asid)) == [number, number + 1]  # none was lost


def test_the_table_is_where_the_task_is(m: MmMachine) -> None:
    far = m.task(1)
    mm = mm_alloc(m.mem, far)
    assert m.mem.node_of(mm.pgd // PAGE) == 1
    exit_mmap(mm, far)
