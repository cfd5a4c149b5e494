"""anon_vmas: who shares one, who gets an own one, and that the last area to leave closes it."""

from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest

from numalab.mm._mm_types import VMA, AnonVma, MmStruct
from numalab.mm.memory import touch_user
from numalab.mm.mmap import do_munmap
from numalab.mm.mprotect import do_mprotect
from numalab.mm.rmap import anon_vma_prepare
from numalab.mm.vm_flags import VM_WRITE
from numalab.mm.vma import vma_modify
from numalab.mm.vma_tree import vma_lookup

from tests.mm_machine import PAGE, MmMachine

AT = 0x10000000


@pytest.fixture
def m() -> Iterator[MmMachine]:
    with MmMachine("2x8M") as machine:
        yield machine


def area(mm: MmStruct, page: int) -> VMA:
    vma = vma_lookup(mm, AT + page * PAGE)
    assert vma is not None
    return vma


def test_the_first_write_makes_one(m: MmMachine) -> None:
    mm = m.new_mm()
    m.map(mm, 4, AT)
    touch_user(mm, m.ctx, AT, PAGE, 4, False)
    assert area(mm, 0).anon_vma is None
    touch_user(mm, m.ctx, AT, PAGE, 1, True)
    anon = area(mm, 0).anon_vma
    assert anon is not None
    assert (anon.root, anon.parent, anon.num_children, anon.num_active_vmas) == (anon, anon, 1, 1)
    assert anon.vmas == [area(mm, 0)]
    anon_vma_prepare(mm, area(mm, 0))
    assert area(mm, 0).anon_vma is anon


def test_neighbours_share_one_if_they_could_become_one_area(m: MmMachine) -> None:
    """The upper neighbour's comes first; areas that differ in more than rights keep apart."""
    mm = m.new_mm()
    m.map(mm, 12, AT)
    # not by mprotect(), which also takes memory without pages off the account when it becomes read-only
    vma_modify(mm, area(mm, 4), AT + 4 * PAGE, AT + 8 * PAGE, flags=area(mm, 4).flags & ~VM_WRITE)
    touch_user(mm, m.ctx, AT, PAGE, 1, True)
    touch_user(mm, m.ctx, AT + 8 * PAGE, PAGE, 1, True)
    low, middle, high = area(mm, 0), area(mm, 4), area(mm, 8)
    assert low.anon_vma is not high.anon_vma
    anon_vma_prepare(mm, middle)
    assert middle.anon_vma is high.anon_vma
    do_mprotect(mm, m.ctx, AT + 4 * PAGE, 4 * PAGE, 3)
    assert area(mm, 4) is area(mm, 8)  # merged with the one whose anon_vma it shares
    assert area(mm, 0) is not area(mm, 4)


def test_a_split_area_stays_on_the_list(m: MmMachine) -> None:
    mm = m.new_mm()
    m.map(mm, 12, AT)
    touch_user(mm, m.ctx, AT, PAGE, 12, True)
    anon = area(mm, 0).anon_vma
    assert anon is not None
    do_mprotect(mm, m.ctx, AT + 4 * PAGE, 4 * PAGE, 1)
    assert set(anon.vmas) == {area(mm, 0), area(mm, 4), area(mm, 8)}
    assert anon.num_active_vmas == 3
    do_mprotect(mm, m.ctx, AT + 4 * PAGE, 4 * PAGE, 3)
    assert anon.vmas == [area(mm, 0)]
    assert anon.num_active_vmas == 1


def test_a_child_is_on_its_parents_list_and_has_its_own(m: MmMachine) -> None:
    parent = m.new_mm()
    m.map(parent, 4, AT)
    touch_user(parent, m.ctx, AT, PAGE, 4, True)
    child = m.fork(parent)
    theirs, own = area(parent, 0).anon_vma, area(child, 0).anon_vma
    assert theirs is not None
    assert own is not None
    assert area(child, 0).chain == [theirs, own]
    assert area(parent, 0).chain == [theirs]
    assert (own.parent, own.root) == (theirs, theirs)
    assert (theirs.num_children, theirs.num_active_vmas) == (2, 1)
    m.exit(child)
    assert (theirs.num_children, theirs.vmas) == (1, [area(parent, 0)])


def test_an_area_without_pages_has_nothing_to_inherit(m: MmMachine) -> None:
    parent = m.new_mm()
    m.map(parent, 4, AT)
    touch_user(parent, m.ctx, AT, PAGE, 4, False)
    child = m.fork(parent)
    assert area(child, 0).anon_vma is None
    assert not m.ptes(child, AT, 4).any()  # not even the zero page: a fault brings it back


def test_chains_do_not_grow_for_ever(m: MmMachine) -> None:
    """Forks whose parents exit reuse an ancestor's anon_vma that nobody allocates from."""
    mm = m.new_mm()
    m.map(mm, 4, AT)
    touch_user(mm, m.ctx, AT, PAGE, 4, True)
    lengths = []
    for _ in range(8):
        child = m.fork(mm)
        m.exit(mm)
        mm = child
        lengths.append(len(area(mm, 0).chain))
        assert m.check() == []
    assert lengths[-1] <= 3
    m.exit(mm)
    assert m.check() == []


def test_what_has_a_number_lives(m: MmMachine) -> None:
    """Walks find an anon_vma and an address space by number, also when no Python object names them any more."""
    mm = m.new_mm()
    m.map(mm, 4, AT)
    touch_user(mm, m.ctx, AT, PAGE, 1, True)
    anon = area(mm, 0).anon_vma
    assert anon is not None
    numbers = anon.id, mm.asid
    mm.vmas.clear()
    mm.vmas_changed()
    m.mms.remove(mm)
    del anon, mm
    gc.collect()
    root = m.mem.rmap_root(numbers[0])
    assert isinstance(root, AnonVma)
    assert (root.id, m.mem.mm_of(numbers[1]).asid) == numbers
    assert [(vma.start, vma.mm.asid) for vma in root.vmas] == [(AT, numbers[1])]


def test_numbers_come_back(m: MmMachine) -> None:
    """An anon_vma that lists no area any more gives its number back, and the next one gets it."""
    mm = m.new_mm()
    for _ in range(3):
        m.map(mm, 4, AT)
        touch_user(mm, m.ctx, AT, PAGE, 1, True)
        anon = area(mm, 0).anon_vma
        assert anon is not None
        assert m.mem.rmap_root(anon.id) is anon
        do_munmap(mm, m.ctx, AT, 4 * PAGE)
        assert m.mem.rmap_root(anon.id) is None
    assert m.mem.anon_top <= anon.id + 1
