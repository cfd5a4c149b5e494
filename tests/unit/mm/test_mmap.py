"""mmap and brk: errors in Linux's order, and what the new area is."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from numalab.arch.errno import EAGAIN, EEXIST, EINVAL, ENOMEM, EOVERFLOW, EPERM, KernelError
from numalab.mm._mm_types import MmStruct
from numalab.mm.address_space import START_BRK
from numalab.mm.memory import UserFault, touch_user
from numalab.mm.mlock import do_mlockall
from numalab.mm.mman import (
    MAP_ANONYMOUS,
    MAP_FIXED,
    MAP_FIXED_NOREPLACE,
    MAP_GROWSDOWN,
    MAP_LOCKED,
    MAP_NONBLOCK,
    MAP_NORESERVE,
    MAP_POPULATE,
    MAP_PRIVATE,
    MAP_SHARED,
    MAP_STACK,
    MCL_FUTURE,
    PROT_READ,
    PROT_WRITE,
)
from numalab.mm.mmap import do_brk, do_mmap
from numalab.mm.vm_flags import MASK64, VM_ACCOUNT, VM_GROWSDOWN, VM_LOCKED, VM_NOHUGEPAGE, VM_NORESERVE

from tests.mm_machine import PAGE, MmMachine

AT = 0x10000000
RW = PROT_READ | PROT_WRITE
PRIVATE = MAP_PRIVATE | MAP_ANONYMOUS


@pytest.fixture
def m() -> Iterator[MmMachine]:
    with MmMachine("1x8M") as machine:
        yield machine


@pytest.fixture
def mm(m: MmMachine) -> MmStruct:
    return m.new_mm()


@pytest.mark.parametrize(
    ("addr", "length", "flags", "pgoff", "errno"),
    [
        (AT + 1, 0, MAP_FIXED, 0, EINVAL),
        (AT + 1, MASK64, MAP_FIXED, 0, ENOMEM),
        (AT + 1, PAGE, MAP_FIXED, MASK64, EOVERFLOW),
        (AT + 1, PAGE, MAP_FIXED, 0, EINVAL),
        (1 << 47, PAGE, MAP_FIXED, 0, ENOMEM),
        (0, 1 << 48, 0, 0, ENOMEM),
        (AT, PAGE, MAP_FIXED_NOREPLACE | MAP_LOCKED, 0, EEXIST),
        (0, PAGE, MAP_LOCKED, 0, EPERM),
        (0, 1 << 40, PRIVATE, 0, ENOMEM),
        (0, PAGE, MAP_ANONYMOUS, 0, EINVAL),
        (0, PAGE, MAP_ANONYMOUS | MAP_SHARED | MAP_GROWSDOWN, 0, EINVAL),
    ],
)
def test_errors(
    m: MmMachine, mm: MmStruct, addr: int, length: int, flags: int, pgoff: int, errno: int
) -> None:
    m.map(mm, 4, AT)
    with pytest.raises(KernelError) as refusal:
        do_mmap(mm, m.ctx, addr, length, RW, flags, pgoff, memlock_limit=0, ipc_lock=False)
    assert refusal.value.errno == errno
    assert list(mm.vmas) == [AT]


@pytest.mark.parametrize(
    ("prot", "flags", "has", "lacks"),
    [
        (RW, 0, VM_ACCOUNT, VM_NORESERVE | VM_LOCKED | VM_GROWSDOWN | VM_NOHUGEPAGE),
        (PROT_READ, 0, 0, VM_ACCOUNT),
        (RW, MAP_NORESERVE, VM_NORESERVE, VM_ACCOUNT),
        (RW, MAP_GROWSDOWN, VM_GROWSDOWN, 0),
        (RW, MAP_LOCKED, VM_LOCKED, 0),
        (RW, MAP_STACK, VM_NOHUGEPAGE, 0),
    ],
)
def test_flags_of_the_area(m: MmMachine, mm: MmStruct, prot: int, flags: int, has: int, lacks: int) -> None:
    vma = m.vma(mm, do_mmap(mm, m.ctx, 0, PAGE, prot, PRIVATE | flags))
    assert vma.flags & has == has
    assert not vma.flags & lacks
    assert vma.pgoff == vma.start // PAGE


def test_present_from_the_start_or_not(m: MmMachine, mm: MmStruct) -> None:
    for flags, present in (
        (0, False),
        (MAP_POPULATE, True),
        (MAP_POPULATE | MAP_NONBLOCK, False),
        (MAP_LOCKED, True),
    ):
        at = do_mmap(mm, m.ctx, 0, 4 * PAGE, RW, PRIVATE | flags)
        assert bool(m.ptes(mm, at, 4).all()) == present, flags
    assert m.check() == []


def test_a_fixed_mapping_replaces(m: MmMachine, mm: MmStruct) -> None:
    m.map(mm, 8, AT)
    touch_user(mm, m.ctx, AT, PAGE, 8, True)
    do_mmap(mm, m.ctx, AT + 2 * PAGE, 4 * PAGE, PROT_READ, PRIVATE | MAP_FIXED)
    assert [bool(pte) for pte in m.ptes(mm, AT, 8)] == [True] * 2 + [False] * 4 + [True] * 2
    assert list(mm.vmas) == [AT, AT + 2 * PAGE, AT + 6 * PAGE]
    assert m.check() == []


def test_a_refused_replacement_leaves_things_alone(m: MmMachine, mm: MmStruct) -> None:
    m.map(mm, 8, AT)
    with pytest.raises(KernelError):
        do_mmap(mm, m.ctx, AT, 1 << 40, RW, PRIVATE | MAP_FIXED)
    assert list(mm.vmas) == [AT]


def test_locking_needs_room_in_the_limit(m: MmMachine, mm: MmStruct) -> None:
    limits = {"memlock_limit": 4 * PAGE, "ipc_lock": False}
    do_mmap(mm, m.ctx, 0, 3 * PAGE, RW, PRIVATE | MAP_LOCKED, memlock_limit=4 * PAGE, ipc_lock=False)
    with pytest.raises(KernelError) as refusal:
        do_mmap(mm, m.ctx, 0, 2 * PAGE, RW, PRIVATE | MAP_LOCKED, **limits)
    assert refusal.value.errno == EAGAIN
    do_mlockall(mm, m.ctx, MCL_FUTURE, **limits)
    with pytest.raises(KernelError) as refusal:
        do_mmap(mm, m.ctx, 0, 2 * PAGE, RW, PRIVATE, **limits)
    assert refusal.value.errno == EAGAIN
    assert m.vma(mm, do_mmap(mm, m.ctx, 0, PAGE, RW, PRIVATE, **limits)).flags & VM_LOCKED


def test_the_limit_on_areas(m: MmMachine, mm: MmStruct) -> None:
    mm.mem.max_map_count = 2
    for i in range(3):
        m.map(mm, 1, AT + 2 * i * PAGE)
    with pytest.raises(KernelError) as refusal:
        m.map(mm, 1, AT + 9 * PAGE)
    assert refusal.value.errno == ENOMEM


def test_the_heap(m: MmMachine, mm: MmStruct) -> None:
    assert do_brk(mm, m.ctx, 0) == START_BRK
    assert not mm.vmas
    end = START_BRK + 3 * PAGE + 100
    assert do_brk(mm, m.ctx, end) == end
    heap = m.vma(mm, START_BRK)
    assert heap.end == START_BRK + 4 * PAGE
    touch_user(mm, m.ctx, START_BRK, PAGE, 4, True)
    assert do_brk(mm, m.ctx, end + 10) == end + 10
    assert do_brk(mm, m.ctx, START_BRK + 5 * PAGE) == START_BRK + 5 * PAGE
    assert (heap.end, list(mm.vmas)) == (START_BRK + 5 * PAGE, [START_BRK])
    assert do_brk(mm, m.ctx, START_BRK + PAGE) == START_BRK + PAGE
    with pytest.raises(UserFault):
        touch_user(mm, m.ctx, START_BRK + PAGE, PAGE, 1, False)
    assert do_brk(mm, m.ctx, START_BRK) == START_BRK
    assert not mm.vmas
    assert m.check() == []


def test_what_stops_the_heap(m: MmMachine, mm: MmStruct) -> None:
    brk = do_brk(mm, m.ctx, START_BRK + PAGE)
    m.map(mm, 1, START_BRK + 10 * PAGE)
    assert do_brk(mm, m.ctx, START_BRK + 9 * PAGE) == START_BRK + 9 * PAGE  # a page is left free
    assert do_brk(mm, m.ctx, START_BRK + 10 * PAGE) == START_BRK + 9 * PAGE
    assert do_brk(mm, m.ctx, brk) == brk
    assert do_brk(mm, m.ctx, START_BRK - 1) == brk
    assert do_brk(mm, m.ctx, 1 << 50) == brk
    do_mlockall(mm, m.ctx, MCL_FUTURE)
    assert do_brk(mm, m.ctx, brk + 2 * PAGE, memlock_limit=PAGE, ipc_lock=False) == brk
    assert do_brk(mm, m.ctx, brk + 2 * PAGE) == brk + 2 * PAGE
    assert m.ptes(mm, brk, 2).all()
