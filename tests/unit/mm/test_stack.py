"""The stack grows when it is touched, within its limits, and keeps its distance."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from numalab.mm._mm_types import MmStruct
from numalab.mm.memory import UserFault, touch_user
from numalab.mm.stack import RLIMIT_STACK, STACK_TOP, expand_stack, setup_stack
from numalab.mm.vm_flags import STACK_GUARD_GAP

from tests.mm_machine import PAGE, MmMachine

INITIAL = STACK_TOP - 33 * PAGE


@pytest.fixture
def m() -> Iterator[MmMachine]:
    with MmMachine("1x8M") as machine:
        yield machine


@pytest.fixture
def mm(m: MmMachine) -> MmStruct:
    space = m.new_mm()
    setup_stack(space)
    return space


def test_a_touch_grows_it(m: MmMachine, mm: MmStruct) -> None:
    assert list(mm.vmas) == [INITIAL]
    touch_user(mm, m.ctx, INITIAL - 5 * PAGE, PAGE, 8, True)
    stack = m.vma(mm, INITIAL - 5 * PAGE)
    assert (stack.end, stack.pgoff) == (STACK_TOP, stack.start // PAGE)
    assert stack.start <= mm.start_stack < stack.end
    assert m.check() == []


def test_how_far(m: MmMachine, mm: MmStruct) -> None:
    lowest = STACK_TOP - RLIMIT_STACK
    assert expand_stack(mm, lowest - 1) is None
    grown = expand_stack(mm, lowest + 5)
    assert grown is not None
    assert grown.start == lowest
    with pytest.raises(UserFault):
        touch_user(mm, m.ctx, lowest - 1, 1, 1, True)


def test_the_gap_below(m: MmMachine, mm: MmStruct) -> None:
    """256 pages from something that can be used; a guard area without rights may be as near as it likes."""
    m.map(mm, 4, INITIAL - STACK_GUARD_GAP - 8 * PAGE)
    below = INITIAL - STACK_GUARD_GAP - 4 * PAGE
    assert expand_stack(mm, below + STACK_GUARD_GAP - 1) is None
    assert expand_stack(mm, below + STACK_GUARD_GAP) is m.vma(mm, below + STACK_GUARD_GAP)
    other = m.new_mm()
    setup_stack(other)
    m.map(other, 1, INITIAL - 2 * PAGE, prot=0)
    assert expand_stack(other, INITIAL - 1) is m.vma(other, INITIAL - PAGE)


def test_other_areas_do_not_grow(m: MmMachine, mm: MmStruct) -> None:
    m.map(mm, 4, 0x10000000)
    assert expand_stack(mm, 0x10000000 - 1) is None
    assert expand_stack(mm, 0x10000000) is m.vma(mm, 0x10000000)
    assert expand_stack(m.new_mm(), 5) is None
