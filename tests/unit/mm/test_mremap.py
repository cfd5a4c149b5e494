"""mremap: contents and properties travel; errors in Linux's order. Merging stands in test_areas_as_recorded.py."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from numalab.arch.errno import EAGAIN, EFAULT, EINVAL, ENOMEM, KernelError
from numalab.mm import mremap as mremap_module
from numalab.mm._mm_types import MmStruct
from numalab.mm.memory import UserFault, read_user, touch_user, write_user
from numalab.mm.mempolicy import do_mbind
from numalab.mm.mlock import do_mlock
from numalab.mm.mman import MREMAP_DONTUNMAP, MREMAP_FIXED, MREMAP_MAYMOVE, PROT_NONE, PROT_READ
from numalab.mm.mpol import MPOL_BIND, mpol_to_str
from numalab.mm.mremap import do_mremap
from numalab.mm.page_alloc import OutOfMemory
from numalab.mm.vm_flags import VM_DONTEXPAND, VM_LOCKED

from tests.mm_machine import PAGE, MmMachine

AT = 0x10000000
TO = 0x20000000
MOVE = MREMAP_MAYMOVE
FIXED = MREMAP_MAYMOVE | MREMAP_FIXED
LEAVE = MREMAP_MAYMOVE | MREMAP_DONTUNMAP


@pytest.fixture
def m() -> Iterator[MmMachine]:
    with MmMachine("2x8M") as machine:
        yield machine


@pytest.fixture
def mm(m: MmMachine) -> MmStruct:
    """Eight pages, page i full of the byte i + 1."""
    space = m.new_mm()
    m.map(space, 8, AT)
    for page in range(8):
        write_user(space, m.ctx, AT + page * PAGE, bytes([page + 1]) * PAGE)
    return space


def contents(m: MmMachine, mm: MmStruct, at: int, pages: int) -> list[int]:
    """The byte that each page is full of."""
    data = read_user(mm, m.ctx, at, pages * PAGE)
    values = [data[page * PAGE] for page in range(pages)]
    assert data == b"".join(bytes([value]) * PAGE for value in values)
    return values


@pytest.mark.parametrize(
    ("old", "old_len", "new_len", "flags", "new", "errno"),
    [
        (AT + 1, PAGE, 0, 8, 0, EINVAL),
        (AT, PAGE, PAGE, MREMAP_FIXED, TO, EINVAL),
        (AT, PAGE, PAGE, MREMAP_DONTUNMAP, TO, EINVAL),
        (AT, PAGE, 2 * PAGE, LEAVE, TO, EINVAL),
        (AT + 1, PAGE, PAGE, 0, 0, EINVAL),
        (AT, PAGE, 0, 0, 0, EINVAL),
        (TO, PAGE, PAGE, 0, 0, EFAULT),
        (AT, PAGE, PAGE, FIXED, TO + 1, EINVAL),
        (AT, PAGE, PAGE, FIXED, 1 << 47, EINVAL),
        (AT, PAGE, 1 << 48, FIXED, TO, EINVAL),
        (AT, 2 * PAGE, 2 * PAGE, FIXED, AT + PAGE, EINVAL),
        (AT, 0, PAGE, MOVE, 0, EINVAL),
        (AT + 7 * PAGE, 2 * PAGE, 3 * PAGE, MOVE, 0, EFAULT),
        (AT + 7 * PAGE, 2 * PAGE, 2 * PAGE, FIXED, TO, EFAULT),
        (AT, PAGE, 2 * PAGE, 0, 0, ENOMEM),
        (AT, 8 * PAGE, 1 << 40, 0, 0, ENOMEM),
        (AT, 8 * PAGE, 1 << 40, MOVE, 0, ENOMEM),
    ],
)
def test_errors(
    m: MmMachine, mm: MmStruct, old: int, old_len: int, new_len: int, flags: int, new: int, errno: int
) -> None:
    with pytest.raises(KernelError) as refusal:
        do_mremap(mm, m.ctx, old, old_len, new_len, flags, new)
    assert refusal.value.errno == errno
    assert contents(m, mm, AT, 8) == list(range(1, 9))
    assert m.check() == []


def test_shrinking(m: MmMachine, mm: MmStruct) -> None:
    assert do_mremap(mm, m.ctx, AT, 8 * PAGE, 8 * PAGE, 0) == AT
    assert do_mremap(mm, m.ctx, AT, 8 * PAGE, 3 * PAGE, 0) == AT
    assert contents(m, mm, AT, 3) == [1, 2, 3]
    with pytest.raises(UserFault):
        read_user(mm, m.ctx, AT + 3 * PAGE, 1)


def test_growing_in_place(m: MmMachine, mm: MmStruct) -> None:
    assert do_mremap(mm, m.ctx, AT, 8 * PAGE, 10 * PAGE, 0) == AT
    assert contents(m, mm, AT, 10) == [*range(1, 9), 0, 0]
    assert list(mm.vmas) == [AT]
    other = m.new_mm()
    m.map(other, 4, AT)
    m.map(other, 4, AT + 5 * PAGE)
    assert do_mremap(other, m.ctx, AT, 4 * PAGE, 5 * PAGE, 0) == AT
    assert [(v.start, v.end) for v in other.vmas.values()] == [(AT, AT + 9 * PAGE)]  # and the next one joins


def test_growing_elsewhere(m: MmMachine, mm: MmStruct) -> None:
    m.map(mm, 1, AT + 8 * PAGE, prot=PROT_READ)
    frames = [m.pfn(mm, AT + page * PAGE) for page in range(8)]
    at = do_mremap(mm, m.ctx, AT, 8 * PAGE, 10 * PAGE, MOVE)
    assert at != AT
    assert [m.pfn(mm, at + page * PAGE) for page in range(8)] == frames  # nothing was copied
    assert contents(m, mm, at, 10) == [*range(1, 9), 0, 0]
    assert AT not in mm.vmas
    assert m.vma(mm, at).pgoff == AT // PAGE  # its pages are found by it
    assert m.check() == []


def test_from_the_middle_over_something(m: MmMachine, mm: MmStruct) -> None:
    m.map(mm, 4, TO)
    touch_user(mm, m.ctx, TO, PAGE, 4, True, 99)
    assert do_mremap(mm, m.ctx, AT + 2 * PAGE, 3 * PAGE, 2 * PAGE, FIXED, TO + PAGE) == TO + PAGE
    assert contents(m, mm, TO + PAGE, 2) == [3, 4]
    assert contents(m, mm, AT, 2) == [1, 2]
    assert contents(m, mm, AT + 5 * PAGE, 3) == [6, 7, 8]
    for hole in range(2, 5):
        with pytest.raises(UserFault):
            read_user(mm, m.ctx, AT + hole * PAGE, 1)
    assert read_user(mm, m.ctx, TO, 1) == read_user(mm, m.ctx, TO + 3 * PAGE, 1) == b"c"
    assert m.check() == []


def test_what_travels_with_an_area(m: MmMachine, mm: MmStruct) -> None:
    do_mbind(m.mem, mm, m.ctx, AT, 8 * PAGE, MPOL_BIND, 0, 0b10, 0)
    do_mlock(mm, m.ctx, AT, 8 * PAGE, 0)
    anon = m.vma(mm, AT).anon_vma
    assert do_mremap(mm, m.ctx, AT, 8 * PAGE, 12 * PAGE, FIXED, TO) == TO
    moved = m.vma(mm, TO)
    assert moved.anon_vma is anon
    assert mpol_to_str(moved.policy) == "bind:1"
    assert moved.flags & VM_LOCKED
    assert m.ptes(mm, TO, 12).all()  # locked: what was added is there
    assert [m.mem.node_of(m.pfn(mm, TO + page * PAGE)) for page in (7, 8)] == [0, 1]
    assert m.check() == []


def test_a_copy_shared_with_a_child_moves_alone(m: MmMachine, mm: MmStruct) -> None:
    child = m.fork(mm)
    do_mremap(child, m.ctx, AT, 8 * PAGE, 8 * PAGE, FIXED, TO)
    write_user(child, m.ctx, TO, b"x" * PAGE)
    assert contents(m, mm, AT, 8) == list(range(1, 9))
    assert contents(m, child, TO, 8) == [ord("x"), *range(2, 9)]
    assert m.check() == []


def test_leaving_the_old_range_mapped(m: MmMachine, mm: MmStruct) -> None:
    do_mlock(mm, m.ctx, AT, 8 * PAGE, 0)
    at = do_mremap(mm, m.ctx, AT, 2 * PAGE, 2 * PAGE, LEAVE, TO)
    assert at == TO  # a hint that was free
    assert contents(m, mm, TO, 2) == [1, 2]
    assert contents(m, mm, AT, 8) == [0, 0, *range(3, 9)]
    assert [bool(v.flags & VM_LOCKED) for v in mm.vmas.values()] == [False, True, True]
    assert m.check() == []


def test_areas_that_may_not_grow(m: MmMachine, mm: MmStruct) -> None:
    m.vma(mm, AT).flags |= VM_DONTEXPAND
    for new_len, flags, errno in ((9, MOVE, EFAULT), (8, LEAVE, EINVAL)):
        with pytest.raises(KernelError) as refusal:
            do_mremap(mm, m.ctx, AT, 8 * PAGE, new_len * PAGE, flags)
        assert refusal.value.errno == errno
    assert do_mremap(mm, m.ctx, AT, 8 * PAGE, 8 * PAGE, FIXED, TO) == TO


def test_the_limit_on_locked_memory(m: MmMachine, mm: MmStruct) -> None:
    do_mlock(mm, m.ctx, AT, 8 * PAGE, 0)
    with pytest.raises(KernelError) as refusal:
        do_mremap(mm, m.ctx, AT, 8 * PAGE, 10 * PAGE, 0, memlock_limit=9 * PAGE, ipc_lock=False)
    assert refusal.value.errno == EAGAIN
    do_mremap(mm, m.ctx, AT, 8 * PAGE, 9 * PAGE, 0, memlock_limit=9 * PAGE, ipc_lock=False)


def test_the_limit_on_areas(m: MmMachine, mm: MmStruct) -> None:
    mm.mem.max_map_count = 4
    for flags, new in ((FIXED, TO), (MOVE, 0)):
        m.map(mm, 1, AT + 8 * PAGE, prot=PROT_NONE)
        with pytest.raises(KernelError) as refusal:
            do_mremap(mm, m.ctx, AT, 8 * PAGE, 9 * PAGE, flags, new)
        assert refusal.value.errno == ENOMEM


def test_without_memory_for_tables_everything_goes_back(
    m: MmMachine, mm: MmStruct, monkeypatch: pytest.MonkeyPatch
) -> None:
    moves = mremap_module._move_page_tables
    calls = []

    def stops_half_way(mm: MmStruct, ctx: object, old: int, new: int, length: int) -> None:
        calls.append((old, new))
        moves(mm, m.ctx, old, new, length if len(calls) > 1 else length // 2)
        if len(calls) == 1:
            raise OutOfMemory

    monkeypatch.setattr(mremap_module, "_move_page_tables", stops_half_way)
    with pytest.raises(KernelError) as refusal:
        do_mremap(mm, m.ctx, AT, 8 * PAGE, 8 * PAGE, FIXED, TO)
    assert refusal.value.errno == ENOMEM
    assert calls == [(AT, TO), (TO, AT)]
    assert list(mm.vmas) == [AT]
    assert contents(m, mm, AT, 8) == list(range(1, 9))
    assert m.check() == []
