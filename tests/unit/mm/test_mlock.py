"""Locking: present, marked, unevictable, counted; and who may."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from numalab.arch.errno import EINVAL, ENOMEM, EPERM, KernelError
from numalab.mm._constants import NR_MLOCK, NR_UNEVICTABLE, PG_mlocked, PG_unevictable
from numalab.mm._mm_types import MmStruct
from numalab.mm.memory import touch_user
from numalab.mm.mlock import do_mlock, do_mlockall, do_munlock, do_munlockall
from numalab.mm.mman import MCL_CURRENT, MCL_FUTURE, MCL_ONFAULT, MLOCK_ONFAULT
from numalab.mm.swap import lru_add_drain_all
from numalab.mm.vm_flags import MASK64, VM_LOCKED, VM_LOCKONFAULT

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
    return space


def locked(m: MmMachine) -> int:
    """Pages that the node counts as locked; the invariants hold these counts against the pages."""
    lru_add_drain_all(m.mem)
    assert m.mem.node_stat[0][NR_MLOCK] == m.mem.node_stat[0][NR_UNEVICTABLE]
    assert m.check() == []
    return int(m.mem.node_stat[0][NR_MLOCK])


def test_a_locked_range_is_present_and_stays(m: MmMachine, mm: MmStruct) -> None:
    touch_user(mm, m.ctx, AT, PAGE, 2, True)
    do_mlock(mm, m.ctx, AT + PAGE + 5, 2 * PAGE, 0)  # whole pages: 1, 2 and 3
    assert [bool(pte) for pte in m.ptes(mm, AT, 5)] == [True, True, True, True, False]
    page = m.page(m.pfn(mm, AT + 2 * PAGE))
    assert page["flags"] & (PG_mlocked | PG_unevictable) == PG_mlocked | PG_unevictable
    assert locked(m) == 3
    do_munlock(mm, m.ctx, AT + 2 * PAGE, PAGE)
    assert not page["flags"] & (PG_mlocked | PG_unevictable)
    assert locked(m) == 2
    do_mlock(mm, m.ctx, AT, 12 * PAGE, 0)
    do_mlock(mm, m.ctx, AT, 12 * PAGE, 0)  # twice is once
    assert locked(m) == 12
    do_munlock(mm, m.ctx, AT, 12 * PAGE)
    assert locked(m) == 0
    assert list(mm.vmas) == [AT]


def test_on_fault(m: MmMachine, mm: MmStruct) -> None:
    do_mlock(mm, m.ctx, AT, 12 * PAGE, MLOCK_ONFAULT)
    assert not m.ptes(mm, AT, 12).any()
    touch_user(mm, m.ctx, AT, PAGE, 3, True)
    assert locked(m) == 3
    do_mlock(mm, m.ctx, AT, 12 * PAGE, 0)  # now all of them
    assert locked(m) == 12
    assert not m.vma(mm, AT).flags & VM_LOCKONFAULT


def test_what_is_locked_is_locked_once(m: MmMachine, mm: MmStruct) -> None:
    """A child's copy of a locked area is not locked, and its pages are not locked again."""
    do_mlock(mm, m.ctx, AT, 4 * PAGE, 0)
    child = m.fork(mm)
    assert not m.vma(child, AT).flags & VM_LOCKED
    assert locked(m) == 4
    do_mlock(child, m.ctx, AT, 4 * PAGE, 0)
    m.exit(mm)
    assert locked(m) == 4
    m.exit(child)
    assert locked(m) == 0


@pytest.mark.parametrize(
    ("start", "length", "flags", "errno"),
    [
        (AT, PAGE, 2, EINVAL),
        (AT, MASK64 - 2 * PAGE, 0, EINVAL),
        (AT, 13 * PAGE, 0, ENOMEM),
        (AT - PAGE, 2 * PAGE, 0, ENOMEM),
        (AT + 12 * PAGE, PAGE, 0, ENOMEM),
    ],
)
def test_errors(m: MmMachine, mm: MmStruct, start: int, length: int, flags: int, errno: int) -> None:
    with pytest.raises(KernelError) as refusal:
        do_mlock(mm, m.ctx, start, length, flags)
    assert refusal.value.errno == errno
    locked(m)


def test_up_to_a_hole_it_is_done(m: MmMachine, mm: MmStruct) -> None:
    for call in (lambda: do_mlock(mm, m.ctx, AT, 20 * PAGE, 0), lambda: do_munlock(mm, m.ctx, AT, 20 * PAGE)):
        with pytest.raises(KernelError) as refusal:
            call()
        assert refusal.value.errno == ENOMEM
    do_mlock(mm, m.ctx, AT, 0, 0)
    assert not m.vma(mm, AT).flags & VM_LOCKED


def test_without_rights_nothing_can_be_present(m: MmMachine) -> None:
    mm = m.new_mm()
    m.map(mm, 4, AT, prot=0)
    with pytest.raises(KernelError) as refusal:
        do_mlock(mm, m.ctx, AT, 4 * PAGE, 0)
    assert refusal.value.errno == ENOMEM
    assert m.vma(mm, AT).flags & VM_LOCKED  # the area is locked all the same


def test_the_limit(m: MmMachine, mm: MmStruct) -> None:
    limits = {"memlock_limit": 4 * PAGE, "ipc_lock": False}
    do_mlock(mm, m.ctx, AT, 4 * PAGE, 0, **limits)
    do_mlock(mm, m.ctx, AT + PAGE, 3 * PAGE, 0, **limits)  # what is locked already does not count again
    for start, pages in ((AT + 4 * PAGE, 1), (AT, 5)):
        with pytest.raises(KernelError) as refusal:
            do_mlock(mm, m.ctx, start, pages * PAGE, 0, **limits)
        assert refusal.value.errno == ENOMEM
    do_mlock(mm, m.ctx, AT, 12 * PAGE, 0, memlock_limit=4 * PAGE, ipc_lock=True)
    with pytest.raises(KernelError) as refusal:
        do_mlock(mm, m.ctx, AT, PAGE, 0, memlock_limit=0, ipc_lock=False)
    assert refusal.value.errno == EPERM


@pytest.mark.parametrize("flags", [0, MCL_ONFAULT, 8, MCL_CURRENT | 16])
def test_what_mlockall_refuses(m: MmMachine, mm: MmStruct, flags: int) -> None:
    with pytest.raises(KernelError) as refusal:
        do_mlockall(mm, m.ctx, flags, memlock_limit=0, ipc_lock=False)
    assert refusal.value.errno == EINVAL


def test_mlockall(m: MmMachine, mm: MmStruct) -> None:
    m.map(mm, 4, AT + 20 * PAGE, prot=0)  # cannot be present; that is no reason to fail
    do_mlockall(mm, m.ctx, MCL_CURRENT)
    assert m.ptes(mm, AT, 12).all()
    assert all(vma.flags & VM_LOCKED for vma in mm.vmas.values())
    assert not m.vma(mm, m.map(mm, 1, AT + 30 * PAGE)).flags & VM_LOCKED
    do_mlockall(mm, m.ctx, MCL_FUTURE | MCL_ONFAULT)  # says nothing about what is there
    assert m.vma(mm, AT).flags & VM_LOCKED
    late = m.vma(mm, m.map(mm, 1, AT + 40 * PAGE))
    assert late.flags & VM_LOCKED
    assert late.flags & VM_LOCKONFAULT
    assert not m.ptes(mm, AT + 40 * PAGE, 1).any()
    do_munlockall(mm, m.ctx)
    assert not any(vma.flags & VM_LOCKED for vma in mm.vmas.values())
    assert not m.vma(mm, m.map(mm, 1, AT + 50 * PAGE)).flags & VM_LOCKED
    assert locked(m) == 0


def test_mlockall_and_the_limit(m: MmMachine, mm: MmStruct) -> None:
    for limit, errno in ((0, EPERM), (11 * PAGE, ENOMEM)):
        with pytest.raises(KernelError) as refusal:
            do_mlockall(mm, m.ctx, MCL_CURRENT, memlock_limit=limit, ipc_lock=False)
        assert refusal.value.errno == errno
    do_mlockall(mm, m.ctx, MCL_CURRENT, memlock_limit=12 * PAGE, ipc_lock=False)
    assert locked(m) == 12
