"""Splitting and merging, rule by rule. What a long random run ends up with stands in test_areas_as_recorded.py."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from numalab.arch.errno import ENOMEM, KernelError
from numalab.mm._mm_types import MmStruct
from numalab.mm.memory import touch_user
from numalab.mm.mpol import MPOL_BIND, MPOL_LOCAL, mpol_new
from numalab.mm.vm_flags import VM_DONTCOPY, VM_DONTEXPAND, VM_NOHUGEPAGE
from numalab.mm.vma import split_vma, vma_merge_new_range, vma_modify
from numalab.mm.vma_tree import vma_lookup

from tests.mm_machine import PAGE, MmMachine

AT = 0x10000000
BIND = mpol_new(MPOL_BIND, 0, 1, 3, 3)


@pytest.fixture
def m() -> Iterator[MmMachine]:
    with MmMachine("2x8M") as machine:
        yield machine


@pytest.fixture
def mm(m: MmMachine) -> MmStruct:
    """Twelve pages in one area."""
    space = m.new_mm()
    m.map(space, 12, AT)
    return space


def cuts(mm: MmStruct) -> list[tuple[int, int]]:
    """The areas as page ranges; that they are keyed by their start and have adjoining offsets is checked, too."""
    for start, vma in mm.vmas.items():
        assert start == vma.start
        assert vma.pgoff == vma.start // PAGE
    return [((v.start - AT) // PAGE, (v.end - AT) // PAGE) for v in mm.vmas.values()]


def change(mm: MmStruct, first: int, last: int, *, flag: int = VM_DONTCOPY, on: bool = True) -> None:
    """Set or clear a flag in pages [first, last), which lie in one area."""
    vma = vma_lookup(mm, AT + first * PAGE)
    assert vma is not None
    flags = vma.flags | flag if on else vma.flags & ~flag
    got = vma_modify(mm, vma, AT + first * PAGE, AT + last * PAGE, flags=flags)
    assert got.start <= AT + first * PAGE
    assert AT + last * PAGE <= got.end
    assert got.flags == flags


@pytest.mark.parametrize(
    ("part", "areas"),
    [
        ((4, 8), [(0, 4), (4, 8), (8, 12)]),
        ((0, 4), [(0, 4), (4, 12)]),
        ((8, 12), [(0, 8), (8, 12)]),
        ((0, 12), [(0, 12)]),
    ],
)
def test_a_changed_part_is_cut_out_and_comes_back(mm: MmStruct, part: tuple[int, int], areas: object) -> None:
    change(mm, *part)
    assert cuts(mm) == areas
    change(mm, *part, on=False)
    assert cuts(mm) == [(0, 12)]


def test_a_part_moves_to_the_neighbour_it_becomes_equal_to(mm: MmStruct) -> None:
    change(mm, 4, 8)
    change(mm, 2, 4)
    assert cuts(mm) == [(0, 2), (2, 8), (8, 12)]
    change(mm, 8, 9)
    assert cuts(mm) == [(0, 2), (2, 9), (9, 12)]
    change(mm, 2, 3, on=False)
    assert cuts(mm) == [(0, 3), (3, 9), (9, 12)]
    change(mm, 7, 9, on=False)
    assert cuts(mm) == [(0, 3), (3, 7), (7, 12)]


def test_flags_and_policies_keep_areas_apart(mm: MmStruct) -> None:
    change(mm, 4, 8)
    change(mm, 4, 8, flag=VM_NOHUGEPAGE)
    change(mm, 4, 8, on=False)
    assert cuts(mm) == [(0, 4), (4, 8), (8, 12)]
    change(mm, 4, 8, flag=VM_NOHUGEPAGE, on=False)
    for policy in (BIND, mpol_new(MPOL_LOCAL, 0, 0, 3, 3)):
        vma = vma_modify(mm, mm.vmas[AT], AT + 4 * PAGE, AT + 8 * PAGE, policy=policy)
        assert vma.policy is policy
        assert cuts(mm) == [(0, 4), (4, 8), (8, 12)]
        vma_modify(mm, vma, vma.start, vma.end, policy=None)
        assert cuts(mm) == [(0, 12)]


def test_special_areas_never_merge(mm: MmStruct) -> None:
    change(mm, 4, 8, flag=VM_DONTEXPAND)
    change(mm, 8, 12, flag=VM_DONTEXPAND)
    assert cuts(mm) == [(0, 4), (4, 8), (8, 12)]


def test_pages_decide_who_takes_whom(m: MmMachine, mm: MmStruct) -> None:
    """An area without pages joins a neighbour that has some; one with pages does not join one without."""
    change(mm, 4, 8)
    touch_user(mm, m.ctx, AT + 4 * PAGE, PAGE, 1, True)
    change(mm, 4, 8, on=False)
    assert cuts(mm) == [(0, 4), (4, 8), (8, 12)]
    change(mm, 8, 12)
    change(mm, 8, 12, on=False)
    assert cuts(mm) == [(0, 4), (4, 12)]
    change(mm, 0, 4)
    change(mm, 0, 4, on=False)
    assert cuts(mm) == [(0, 12)]
    assert mm.vmas[AT].anon_vma is not None


def test_after_a_fork_only_the_like_merge(m: MmMachine, mm: MmStruct) -> None:
    """A child's area is on two lists: it takes no area without pages, so that ties to the parent do not spread."""
    change(mm, 4, 12)
    touch_user(mm, m.ctx, AT, PAGE, 1, True)
    child = m.fork(mm)
    for space, result in ((child, [(0, 4)]), (mm, [(0, 4), (4, 12)])):
        assert cuts(space) == result
    m.map(child, 8, AT + 4 * PAGE)
    assert cuts(child) == [(0, 4), (4, 12)]
    change(mm, 4, 12, on=False)
    assert cuts(mm) == [(0, 12)]


def test_a_new_range_grows_its_neighbours(m: MmMachine) -> None:
    mm = m.new_mm()
    m.map(mm, 4, AT)
    m.map(mm, 4, AT + 8 * PAGE)
    m.map(mm, 1, AT + 4 * PAGE)
    assert cuts(mm) == [(0, 5), (8, 12)]
    m.map(mm, 1, AT + 7 * PAGE)
    assert cuts(mm) == [(0, 5), (7, 12)]
    m.map(mm, 2, AT + 5 * PAGE)
    assert cuts(mm) == [(0, 12)]


def test_two_lives_do_not_become_one(m: MmMachine) -> None:
    """Both neighbours fit the gap between them, but each has an anon_vma: the lower one grows, the other stays."""
    mm = m.new_mm()
    for page in (0, 8):
        m.map(mm, 4, AT + page * PAGE)
        touch_user(mm, m.ctx, AT + page * PAGE, PAGE, 1, True)
    m.map(mm, 4, AT + 4 * PAGE)
    assert cuts(mm) == [(0, 8), (8, 12)]


def test_a_new_range_can_leave_a_neighbour_alone(m: MmMachine) -> None:
    mm = m.new_mm()
    m.map(mm, 4, AT + 4 * PAGE)
    above = mm.vmas[AT + 4 * PAGE]
    start = AT + 3 * PAGE
    wanted = (mm, start, above.start, above.flags, start // PAGE)
    assert vma_merge_new_range(*wanted, apart_from=above) is None
    assert vma_merge_new_range(*wanted) is above
    assert cuts(mm) == [(3, 8)]


def test_the_limit_on_areas(mm: MmStruct) -> None:
    mm.mem.max_map_count = 2
    with pytest.raises(KernelError) as refusal:
        change(mm, 4, 8)
    assert refusal.value.errno == ENOMEM
    assert cuts(mm) == [(0, 4), (4, 12)]  # the lower cut was made
    split_vma(mm, mm.vmas[AT], AT + PAGE, new_below=True, limit=False)
    assert cuts(mm) == [(0, 1), (1, 4), (4, 12)]
