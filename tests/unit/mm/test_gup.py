"""Faulting in on behalf of a program: which access, and what becomes of a missing right."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from numalab.arch.errno import EFAULT, EINVAL, ENOMEM, KernelError
from numalab.mm._mm_types import MmStruct
from numalab.mm.gup import faultin_page, madvise_populate, mm_populate
from numalab.mm.memory import touch_user
from numalab.mm.mlock import do_mlock
from numalab.mm.mman import MLOCK_ONFAULT, PROT_NONE, PROT_READ, PROT_WRITE
from numalab.mm.mprotect import do_mprotect

from tests.mm_machine import PAGE, MmMachine

AT = 0x10000000


@pytest.fixture
def m() -> Iterator[MmMachine]:
    with MmMachine("1x8M") as machine:
        yield machine


@pytest.fixture
def mm(m: MmMachine) -> MmStruct:
    """Pages 0-3 writable, 4-7 read-only, a hole, 10-11 without rights."""
    space = m.new_mm()
    m.map(space, 4, AT)
    m.map(space, 4, AT + 4 * PAGE, prot=PROT_READ)
    m.map(space, 2, AT + 10 * PAGE, prot=PROT_NONE)
    return space


def test_populating(m: MmMachine, mm: MmStruct) -> None:
    """Writable areas get pages of their own, read-only ones the zero page, holes are passed over."""
    mm_populate(mm, m.ctx, AT, 10 * PAGE)
    zero = m.mem.zero_pfn
    frames = [m.pfn(mm, AT + page * PAGE) for page in range(8)]
    assert zero not in frames[:4]
    assert frames[4:] == [zero] * 4
    assert not any(batch["lru_add"]["count"] for batch in m.mem.fbatches)  # they can be isolated at once


def test_what_cannot_be_had(m: MmMachine, mm: MmStruct) -> None:
    with pytest.raises(KernelError) as refusal:
        mm_populate(mm, m.ctx, AT, 12 * PAGE)
    assert refusal.value.errno == EFAULT
    assert m.ptes(mm, AT, 8).all()
    m.map(mm, 1, AT + 12 * PAGE)
    mm_populate(mm, m.ctx, AT, 13 * PAGE, ignore_errors=True)
    assert m.ptes(mm, AT + 12 * PAGE, 1).all()


def test_areas_locked_on_fault_are_left_alone(m: MmMachine, mm: MmStruct) -> None:
    do_mlock(mm, m.ctx, AT, 4 * PAGE, MLOCK_ONFAULT)
    mm_populate(mm, m.ctx, AT, 4 * PAGE)
    assert not m.ptes(mm, AT, 4).any()


@pytest.mark.parametrize(
    ("first", "last", "write", "errno", "done"),
    [
        (0, 8, False, 0, 8),
        (0, 4, True, 0, 4),
        (0, 8, True, EINVAL, 4),
        (0, 10, False, ENOMEM, 8),
        (10, 12, False, EINVAL, 0),
        (8, 9, True, ENOMEM, 0),
    ],
)
def test_populating_by_advice(
    m: MmMachine, mm: MmStruct, first: int, last: int, write: bool, errno: int, done: int
) -> None:
    got = 0
    try:
        madvise_populate(mm, m.ctx, AT + first * PAGE, AT + last * PAGE, write)
    except KernelError as error:
        got = error.errno
    assert got == errno
    assert [bool(pte) for pte in m.ptes(mm, AT, 12)] == [True] * done + [False] * (12 - done)


def test_one_page_for_reading(m: MmMachine, mm: MmStruct) -> None:
    faultin_page(mm, m.ctx, AT)
    assert m.pfn(mm, AT) == m.mem.zero_pfn
    for page in (9, 10):
        with pytest.raises(KernelError) as refusal:
            faultin_page(mm, m.ctx, AT + page * PAGE)
        assert refusal.value.errno == EFAULT


def test_a_page_that_is_there_is_read_without_the_right_to(m: MmMachine, mm: MmStruct) -> None:
    touch_user(mm, m.ctx, AT, PAGE, 1, True)
    do_mprotect(mm, m.ctx, AT, 2 * PAGE, PROT_WRITE)
    faultin_page(mm, m.ctx, AT)
    with pytest.raises(KernelError):
        faultin_page(mm, m.ctx, AT + PAGE)
