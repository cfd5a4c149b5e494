"""mprotect: errors in order, what the CPU may do afterwards, and how far a refused call got."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from numalab.arch.errno import EACCES, EINVAL, ENOMEM, KernelError
from numalab.mm._mm_types import MmStruct
from numalab.mm.memory import UserFault, read_user, touch_user, write_user
from numalab.mm.mlock import do_mlock
from numalab.mm.mman import (
    PROT_EXEC,
    PROT_GROWSDOWN,
    PROT_GROWSUP,
    PROT_NONE,
    PROT_READ,
    PROT_SEM,
    PROT_WRITE,
)
from numalab.mm.mprotect import do_mprotect
from numalab.mm.stack import STACK_TOP, setup_stack
from numalab.mm.vm_flags import MASK64, VM_ACCOUNT, VM_MAYWRITE, VM_WRITE

from tests.mm_machine import PAGE, MmMachine

AT = 0x10000000
RW = PROT_READ | PROT_WRITE


@pytest.fixture
def m() -> Iterator[MmMachine]:
    with MmMachine("1x8M") as machine:
        yield machine


@pytest.fixture
def mm(m: MmMachine) -> MmStruct:
    space = m.new_mm()
    m.map(space, 8, AT)
    return space


def allowed(m: MmMachine, mm: MmStruct, page: int, write: bool) -> bool:
    try:
        touch_user(mm, m.ctx, AT + page * PAGE, 1, 1, write)
    except UserFault:
        return False
    return True


@pytest.mark.parametrize(
    ("start", "length", "prot", "errno"),
    [
        (AT + 1, 0, PROT_GROWSDOWN | PROT_GROWSUP, EINVAL),
        (AT + 1, 0, 0x10, EINVAL),
        (AT, MASK64 - PAGE, 0x10, ENOMEM),
        (AT, MASK64, PROT_READ, ENOMEM),
        (AT, PAGE, 0x10, EINVAL),
        (AT - PAGE, PAGE, PROT_READ, ENOMEM),
        (AT + 8 * PAGE, PAGE, PROT_READ, ENOMEM),
        (AT, PAGE, RW | PROT_GROWSDOWN, EINVAL),
        (AT, PAGE, RW | PROT_GROWSUP, EINVAL),
        (AT + 8 * PAGE, PAGE, RW | PROT_GROWSDOWN, ENOMEM),
    ],
)
def test_errors(m: MmMachine, mm: MmStruct, start: int, length: int, prot: int, errno: int) -> None:
    with pytest.raises(KernelError) as refusal:
        do_mprotect(mm, m.ctx, start, length, prot)
    assert refusal.value.errno == errno


def test_rights_hold_at_once(m: MmMachine, mm: MmStruct) -> None:
    write_user(mm, m.ctx, AT + 8, b"kept")
    for prot, read, write in (
        (PROT_READ, True, False),
        (PROT_NONE, False, False),
        (RW | PROT_SEM, True, True),
        (PROT_READ | PROT_EXEC, True, False),
        (PROT_WRITE, True, True),  # x86 cannot write without reading
    ):
        do_mprotect(mm, m.ctx, AT, 8 * PAGE, prot)
        for page in (0, 7):  # one that is present, one that is not
            assert allowed(m, mm, page, False) == read, prot
            assert allowed(m, mm, page, True) == write, prot
    assert read_user(mm, m.ctx, AT + 8, 4) == b"kept"
    assert m.check() == []


def test_a_length_of_nothing(m: MmMachine, mm: MmStruct) -> None:
    do_mprotect(mm, m.ctx, AT, 0, 0x10)
    do_mprotect(mm, m.ctx, 0, 0, PROT_READ)
    assert list(mm.vmas) == [AT]


def test_it_stops_where_it_cannot_go_on(m: MmMachine, mm: MmStruct) -> None:
    m.map(mm, 4, AT + 10 * PAGE)
    with pytest.raises(KernelError) as refusal:
        do_mprotect(mm, m.ctx, AT + 2 * PAGE, 10 * PAGE, PROT_READ)
    assert refusal.value.errno == ENOMEM
    assert [bool(v.flags & VM_WRITE) for v in mm.vmas.values()] == [True, False, True]
    high = m.vma(mm, AT + 10 * PAGE)
    high.flags &= ~(VM_WRITE | VM_MAYWRITE)
    m.map(mm, 2, AT + 8 * PAGE)
    with pytest.raises(KernelError) as refusal:
        do_mprotect(mm, m.ctx, AT + 2 * PAGE, 10 * PAGE, RW)
    assert refusal.value.errno == EACCES
    assert [v.start for v in mm.vmas.values()] == [AT, AT + 10 * PAGE]


def test_the_account_of_promised_memory(m: MmMachine) -> None:
    """Read-only memory is promised when it becomes writable, and released only while it never had a page."""
    mm = m.new_mm()
    m.map(mm, 4, AT, prot=PROT_READ)
    assert not m.vma(mm, AT).flags & VM_ACCOUNT
    do_mprotect(mm, m.ctx, AT, 4 * PAGE, RW)
    assert m.vma(mm, AT).flags & VM_ACCOUNT
    do_mprotect(mm, m.ctx, AT, 4 * PAGE, PROT_READ)
    assert not m.vma(mm, AT).flags & VM_ACCOUNT
    do_mprotect(mm, m.ctx, AT, 4 * PAGE, RW)
    touch_user(mm, m.ctx, AT, PAGE, 1, True)
    do_mprotect(mm, m.ctx, AT, 4 * PAGE, PROT_READ)
    assert m.vma(mm, AT).flags & VM_ACCOUNT


def test_more_than_the_machine_has(m: MmMachine) -> None:
    mm = m.new_mm()
    m.map(mm, 1 << 20, 1 << 40, prot=PROT_READ)
    with pytest.raises(KernelError) as refusal:
        do_mprotect(mm, m.ctx, 1 << 40, PAGE << 20, RW)
    assert refusal.value.errno == ENOMEM


def test_a_locked_area_becomes_writable_with_pages(m: MmMachine) -> None:
    mm = m.new_mm()
    m.map(mm, 4, AT, prot=PROT_READ)
    do_mlock(mm, m.ctx, AT, 4 * PAGE, 0)
    assert m.pfn(mm, AT) == m.mem.zero_pfn
    do_mprotect(mm, m.ctx, AT, 4 * PAGE, RW)
    assert m.mem.zero_pfn not in [m.pfn(mm, AT + page * PAGE) for page in range(4)]
    assert m.check() == []


def test_from_the_beginning_of_the_stack(m: MmMachine) -> None:
    mm = m.new_mm()
    stack = setup_stack(mm)
    do_mprotect(mm, m.ctx, STACK_TOP - PAGE, PAGE, RW | PROT_EXEC | PROT_GROWSDOWN)
    assert list(mm.vmas.values()) == [stack]
    touch_user(mm, m.ctx, stack.start, PAGE, 1, True)
