"""munmap: what goes, what stays, and that page tables go with the last area that needs them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from numalab.arch.errno import EINVAL, ENOMEM, KernelError
from numalab.mm._mm_types import MmStruct
from numalab.mm.memory import read_user, touch_user, write_user
from numalab.mm.mlock import do_mlock
from numalab.mm.munmap import do_munmap

from tests.mm_machine import PAGE, MmMachine

AT = 0x40000000  # where a PTE table, a PMD table and a PUD entry begin


@pytest.fixture
def m() -> Iterator[MmMachine]:
    with MmMachine("1x8M") as machine:
        yield machine


@pytest.fixture
def mm(m: MmMachine) -> MmStruct:
    space = m.new_mm()
    m.map(space, 12, AT)
    touch_user(space, m.ctx, AT, PAGE, 12, True)
    return space


@pytest.mark.parametrize(
    ("start", "length"),
    [
        (AT + 1, PAGE),
        (AT, 0),
        (1 << 47, PAGE),
        (AT, 1 << 47),
        (AT, (1 << 64) - PAGE),
        ((1 << 64) - PAGE, 2 * PAGE),
    ],
)
def test_errors(m: MmMachine, mm: MmStruct, start: int, length: int) -> None:
    with pytest.raises(KernelError) as refusal:
        do_munmap(mm, m.ctx, start, length)
    assert refusal.value.errno == EINVAL
    assert m.ptes(mm, AT, 12).all()


@pytest.mark.parametrize(
    ("part", "left"),
    [
        ((0, 12), []),
        ((0, 4), [(4, 12)]),
        ((8, 20), [(0, 8)]),
        ((4, 8), [(0, 4), (8, 12)]),
        ((12, 14), [(0, 12)]),
    ],
)
def test_what_is_left(m: MmMachine, mm: MmStruct, part: tuple[int, int], left: list[tuple[int, int]]) -> None:
    write_user(mm, m.ctx, AT + 11 * PAGE, b"stays")
    do_munmap(mm, m.ctx, AT + part[0] * PAGE, (part[1] - part[0]) * PAGE - 17)
    assert [((v.start - AT) // PAGE, (v.end - AT) // PAGE) for v in mm.vmas.values()] == left
    for page, pte in enumerate(m.ptes(mm, AT, 12)):
        assert bool(pte) == any(first <= page < last for first, last in left)
    if left and left[-1][1] == 12:
        assert read_user(mm, m.ctx, AT + 11 * PAGE, 5) == b"stays"
    assert m.check() == []


def test_several_areas_and_holes(m: MmMachine, mm: MmStruct) -> None:
    m.map(mm, 4, AT + 20 * PAGE)
    m.map(mm, 4, AT + 30 * PAGE)
    do_munmap(mm, m.ctx, AT + 10 * PAGE, 21 * PAGE)
    assert list(mm.vmas) == [AT, AT + 31 * PAGE]
    assert m.check() == []


def test_locked_pages_are_unlocked(m: MmMachine, mm: MmStruct) -> None:
    do_mlock(mm, m.ctx, AT, 8 * PAGE, 0)
    do_munmap(mm, m.ctx, AT, 6 * PAGE)
    assert m.check() == []


def test_tables_go_with_their_last_area(m: MmMachine) -> None:
    mm = m.new_mm()
    assert mm.nr_tables == 1
    huge = 2 << 20
    for at in (AT, AT + huge, AT + (1 << 30)):
        m.map(mm, 2, at)
        touch_user(mm, m.ctx, at, PAGE, 2, False)
    counts = [mm.nr_tables]
    for at in (AT + PAGE, AT, AT + huge, AT + (1 << 30)):
        do_munmap(mm, m.ctx, at, 2 * PAGE)
        counts.append(mm.nr_tables)
    # root, PUD, two PMD and three PTE tables
    assert counts == [7, 7, 6, 4, 1]
    assert m.check() == []


def test_a_hole_may_make_one_area_too_many(m: MmMachine, mm: MmStruct) -> None:
    mm.mem.max_map_count = 1
    with pytest.raises(KernelError) as refusal:
        do_munmap(mm, m.ctx, AT + 4 * PAGE, PAGE)
    assert refusal.value.errno == ENOMEM
    do_munmap(mm, m.ctx, AT + 8 * PAGE, 8 * PAGE)  # cutting off an end does not
    assert list(mm.vmas) == [AT]
