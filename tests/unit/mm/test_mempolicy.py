"""The policy calls: errors in Linux's order, partial effects, and where pages are afterwards.

Most cases are lines of recorded scenarios (set-mempolicy-errors, get-mempolicy, mbind-*, home-node).
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from numalab.arch.errno import EFAULT, EINVAL, EIO, ENOENT, ENOMEM, EOPNOTSUPP, EPERM, KernelError
from numalab.mm._mm_types import MmStruct
from numalab.mm.madvise import do_madvise
from numalab.mm.memory import touch_user
from numalab.mm.mempolicy import (
    MPOL_F_ADDR,
    MPOL_F_MEMS_ALLOWED,
    MPOL_F_NODE,
    MPOL_MF_MOVE,
    MPOL_MF_MOVE_ALL,
    MPOL_MF_STRICT,
    do_get_mempolicy,
    do_mbind,
    do_set_home_node,
    do_set_mempolicy,
    mpol_to_str,
)
from numalab.mm.mman import MADV_DONTFORK
from numalab.mm.mmap import do_munmap
from numalab.mm.mpol import (
    MPOL_BIND,
    MPOL_DEFAULT,
    MPOL_F_RELATIVE_NODES,
    MPOL_F_STATIC_NODES,
    MPOL_INTERLEAVE,
    MPOL_LOCAL,
    MPOL_PREFERRED,
    MPOL_PREFERRED_MANY,
    MPOL_WEIGHTED_INTERLEAVE,
)
from numalab.mm.mprotect import do_mprotect
from numalab.mm.vm_flags import MASK64, VM_IO
from numalab.mm.weights import set_il_weight

from tests.mm_machine import PAGE, MmMachine

AT = 720720 * PAGE  # a page number that 1..16 divide: page offsets are node offsets
STRICT, MOVE, MOVE_ALL = MPOL_MF_STRICT, MPOL_MF_MOVE, MPOL_MF_MOVE_ALL


@pytest.fixture
def m() -> Iterator[MmMachine]:
    with MmMachine("4x8M") as machine:
        yield machine


@pytest.fixture
def mm(m: MmMachine) -> MmStruct:
    space = m.new_mm()
    m.map(space, 8, AT)
    return space


def mbind(
    m: MmMachine,
    mm: MmStruct,
    mode: int,
    nodes: int,
    flags: int = 0,
    *,
    first: int = 0,
    pages: int = 8,
    mode_flags: int = 0,
) -> int:
    """The errno, 0 for success."""
    try:
        return do_mbind(
            m.mem, mm, m.ctx, AT + first * PAGE, pages * PAGE, mode, mode_flags, nodes, flags, sys_nice=True
        )
    except KernelError as error:
        return error.errno


def fill(m: MmMachine, mm: MmStruct, first: int = 0, pages: int = 8) -> None:
    touch_user(mm, m.ctx, AT + first * PAGE, PAGE, pages, True)


def nodes(m: MmMachine, mm: MmStruct, pages: int = 8) -> list[int]:
    return [m.mem.node_of(m.pfn(mm, AT + page * PAGE)) for page in range(pages)]


def policies(mm: MmStruct) -> list[tuple[int, str]]:
    return [((v.start - AT) // PAGE, mpol_to_str(v.policy)) for v in mm.vmas.values()]


# --- set_mempolicy and get_mempolicy ---------------------------------------------------------------------------


def test_a_task_has_a_policy(m: MmMachine, mm: MmStruct) -> None:
    assert do_get_mempolicy(m.mem, mm, m.ctx, 0, 0) == (MPOL_DEFAULT, 0)
    do_set_mempolicy(m.mem, m.ctx, MPOL_BIND, MPOL_F_STATIC_NODES, 0b10 | 1 << 63)
    assert do_get_mempolicy(m.mem, mm, m.ctx, 0, 0) == (
        MPOL_BIND | MPOL_F_STATIC_NODES,
        0b10 | 1 << 63,
    )
    with pytest.raises(KernelError):
        do_set_mempolicy(m.mem, m.ctx, MPOL_BIND, 0, 0)
    assert mpol_to_str(m.ctx.policy) == "bind=static:1"  # the old one stays
    fill(m, mm)
    assert nodes(m, mm) == [1] * 8
    do_set_mempolicy(m.mem, m.ctx, MPOL_PREFERRED, 0, 0)
    assert do_get_mempolicy(m.mem, mm, m.ctx, 0, 0) == (MPOL_LOCAL, 0)
    do_set_mempolicy(m.mem, m.ctx, MPOL_DEFAULT, 0, 0)
    assert m.ctx.policy is None


@pytest.mark.parametrize(
    ("addr", "flags", "errno"),
    [
        (0, 8, EINVAL),
        (0, MPOL_F_MEMS_ALLOWED | MPOL_F_NODE, EINVAL),
        (0, MPOL_F_MEMS_ALLOWED | MPOL_F_ADDR, EINVAL),
        (AT, 0, EINVAL),
        (0, MPOL_F_NODE, EINVAL),
        (0, MPOL_F_ADDR, EFAULT),
        (AT - PAGE, MPOL_F_ADDR | MPOL_F_NODE, EFAULT),
        (1 << 63, MPOL_F_ADDR, EFAULT),
    ],
)
def test_what_get_mempolicy_refuses(m: MmMachine, mm: MmStruct, addr: int, flags: int, errno: int) -> None:
    for mode in (MPOL_DEFAULT, MPOL_BIND):
        do_set_mempolicy(m.mem, m.ctx, mode, 0, 0b10 if mode else 0)
        with pytest.raises(KernelError) as refusal:
            do_get_mempolicy(m.mem, mm, m.ctx, addr, flags)
        assert refusal.value.errno == errno


def test_the_nodes_of_the_cpuset(m: MmMachine, mm: MmStruct) -> None:
    m.ctx.mems_allowed = 0b0110
    assert do_get_mempolicy(m.mem, mm, m.ctx, 0, MPOL_F_MEMS_ALLOWED) == (0, 0b0110)
    do_set_mempolicy(m.mem, m.ctx, MPOL_BIND, MPOL_F_RELATIVE_NODES, 0b1)
    assert mpol_to_str(m.ctx.policy) == "bind=relative:1"
    with pytest.raises(KernelError):
        do_set_mempolicy(m.mem, m.ctx, MPOL_BIND, 0, 0b1001)


def test_an_area_does_not_borrow_the_tasks_policy(m: MmMachine, mm: MmStruct) -> None:
    do_set_mempolicy(m.mem, m.ctx, MPOL_BIND, 0, 0b10)
    assert do_get_mempolicy(m.mem, mm, m.ctx, AT + 123, MPOL_F_ADDR) == (MPOL_DEFAULT, 0)
    mbind(m, mm, MPOL_INTERLEAVE, 0b110)
    assert do_get_mempolicy(m.mem, mm, m.ctx, AT, MPOL_F_ADDR) == (MPOL_INTERLEAVE, 0b110)


def test_the_node_of_a_page(m: MmMachine, mm: MmStruct) -> None:
    mbind(m, mm, MPOL_BIND, 0b10)
    fill(m, mm, 0, 1)
    both = MPOL_F_NODE | MPOL_F_ADDR
    assert do_get_mempolicy(m.mem, mm, m.ctx, AT, both) == (1, 0b10)
    assert m.pfn(mm, AT + 2 * PAGE) == 0
    # a page that is not there is faulted in for reading: the zero page, wherever that is
    zero = m.mem.node_of(m.mem.zero_pfn)
    assert do_get_mempolicy(m.mem, mm, m.ctx, AT + 2 * PAGE + 5, both) == (zero, 0b10)
    assert m.pfn(mm, AT + 2 * PAGE) == m.mem.zero_pfn
    do_mprotect(mm, m.ctx, AT, 8 * PAGE, 0)
    for page in (0, 5):
        with pytest.raises(KernelError) as refusal:
            do_get_mempolicy(m.mem, mm, m.ctx, AT + page * PAGE, both)
        assert refusal.value.errno == EFAULT
    do_mprotect(mm, m.ctx, AT, 8 * PAGE, 2)
    assert do_get_mempolicy(m.mem, mm, m.ctx, AT, both) == (1, 0b10)  # write-only, but it is there


def test_the_node_that_comes_next(m: MmMachine, mm: MmStruct) -> None:
    m.ctx.il_prev = 1
    do_set_mempolicy(m.mem, m.ctx, MPOL_INTERLEAVE, 0, 0b1011)
    assert do_get_mempolicy(m.mem, mm, m.ctx, 0, MPOL_F_NODE) == (0, 0b1011)  # it starts over
    m.ctx.il_prev = 1
    assert do_get_mempolicy(m.mem, mm, m.ctx, 0, MPOL_F_NODE)[0] == 3
    m.ctx.il_weight = 2
    do_set_mempolicy(m.mem, m.ctx, MPOL_WEIGHTED_INTERLEAVE, 0, 0b1010)
    assert (m.ctx.il_prev, m.ctx.il_weight) == (63, 0)
    assert do_get_mempolicy(m.mem, mm, m.ctx, 0, MPOL_F_NODE)[0] == 1
    m.ctx.il_prev, m.ctx.il_weight = 1, 2
    assert do_get_mempolicy(m.mem, mm, m.ctx, 0, MPOL_F_NODE)[0] == 1  # it has two more to take
    do_set_mempolicy(m.mem, m.ctx, MPOL_BIND, 0, 1)
    assert (m.ctx.il_prev, m.ctx.il_weight) == (1, 2)


# --- mbind -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("start", "length", "mode", "mask", "flags", "nice", "errno"),
    [
        (AT + 1, PAGE, MPOL_BIND, 0, 8 | MOVE_ALL, False, EINVAL),
        (AT + 1, PAGE, MPOL_BIND, 0, MOVE_ALL, False, EPERM),
        (AT + 1, PAGE, MPOL_BIND, 0, MOVE_ALL, True, EINVAL),
        (AT, MASK64 - PAGE, MPOL_BIND, 0, 0, True, EINVAL),
        (AT, 0, MPOL_BIND, 0, 0, True, 0),
        (AT, MASK64, MPOL_BIND, 0, 0, True, 0),  # is rounded to nothing
        (0, 0, MPOL_BIND, 1 << 63, 0, True, 0),
        (0, PAGE, MPOL_BIND, 0, 0, True, EINVAL),
        (0, PAGE, MPOL_BIND, 1 << 63, 0, True, EINVAL),
        (0, PAGE, MPOL_DEFAULT, 1, 0, True, EINVAL),
        (0, PAGE, MPOL_BIND, 1, 0, True, EFAULT),
        (0, PAGE, MPOL_DEFAULT, 0, 0, True, EFAULT),
        (1 << 63, PAGE, MPOL_BIND, 1, 0, True, EFAULT),
        (AT, 9 * PAGE, MPOL_BIND, 1, 0, True, EFAULT),
        (AT - PAGE, 2 * PAGE, MPOL_BIND, 1, 0, True, EFAULT),
        (AT, 9 * PAGE, MPOL_DEFAULT, 0, STRICT, True, 0),
    ],
)
def test_what_mbind_refuses(
    m: MmMachine,
    mm: MmStruct,
    start: int,
    length: int,
    mode: int,
    mask: int,
    flags: int,
    nice: bool,
    errno: int,
) -> None:
    got = 0
    try:
        do_mbind(m.mem, mm, m.ctx, start, length, mode, 0, mask, flags, sys_nice=nice)
    except KernelError as error:
        got = error.errno
    assert got == errno
    assert policies(mm) == [(0, "default")]


def test_a_hole_leaves_everything_as_it_was(m: MmMachine, mm: MmStruct) -> None:
    fill(m, mm)
    do_munmap(mm, m.ctx, AT + 3 * PAGE, 2 * PAGE)
    before = policies(mm)
    for first, pages in ((0, 8), (0, 4), (4, 4)):
        for flags in (0, STRICT, MOVE):
            assert mbind(m, mm, MPOL_BIND, 0b10, flags, first=first, pages=pages) == EFAULT
    assert mbind(m, mm, MPOL_DEFAULT, 0, first=3, pages=2) == EFAULT
    assert mbind(m, mm, MPOL_DEFAULT, 0) == 0
    assert policies(mm) == before
    assert m.mem.node_of(m.pfn(mm, AT)) == 0
    assert m.check() == []


def test_areas_split_and_merge(m: MmMachine, mm: MmStruct) -> None:
    mbind(m, mm, MPOL_BIND, 0b10, first=2, pages=2)
    assert policies(mm) == [(0, "default"), (2, "bind:1"), (4, "default")]
    mbind(m, mm, MPOL_BIND, 0b10, first=4, pages=2)
    assert policies(mm) == [(0, "default"), (2, "bind:1"), (6, "default")]
    mbind(m, mm, MPOL_BIND, 0b10, first=3, pages=1, mode_flags=MPOL_F_STATIC_NODES)
    assert policies(mm)[2] == (3, "bind=static:1")
    mbind(m, mm, MPOL_DEFAULT, 0)
    assert policies(mm) == [(0, "default")]
    mbind(m, mm, MPOL_LOCAL, 0, first=4, pages=4)
    assert policies(mm) == [(0, "default"), (4, "local")]


def test_strict_and_move(m: MmMachine, mm: MmStruct) -> None:
    """The recorded scenario mbind-strict-move, step by step."""
    fill(m, mm)
    steps = [
        (MPOL_BIND, 0b0010, STRICT, EIO, "default", [0] * 8),
        (MPOL_BIND, 0b0001, STRICT, 0, "bind:0", [0] * 8),
        (MPOL_BIND, 0b0010, 0, 0, "bind:1", [0] * 8),
        (MPOL_BIND, 0b0010, STRICT, EIO, "bind:1", [0] * 8),
        (MPOL_BIND, 0b0010, STRICT | MOVE, 0, "bind:1", [1] * 8),
        (MPOL_DEFAULT, 0, STRICT, 0, "default", [1] * 8),
        (MPOL_BIND, 0b0100, MOVE, 0, "bind:2", [2] * 8),
        (MPOL_DEFAULT, 0, MOVE, 0, "default", [0] * 8),
        (MPOL_PREFERRED, 0b0010, MOVE, 0, "prefer:1", [1] * 8),
        (MPOL_PREFERRED, 0b0001, STRICT, EIO, "prefer:1", [1] * 8),
        (MPOL_INTERLEAVE, 0b0011, MOVE, 0, "interleave:0-1", [1] * 8),  # none is misplaced
        (MPOL_INTERLEAVE, 0b1100, MOVE, 0, "interleave:2-3", [2, 3] * 4),  # by page offset
        (MPOL_LOCAL, 0, MOVE, 0, "local", [0] * 8),
        (MPOL_PREFERRED_MANY, 0b1100, MOVE, 0, "prefer (many):2-3", [2] * 8),
    ]
    for mode, mask, flags, errno, policy, where in steps:
        assert mbind(m, mm, mode, mask, flags) == errno
        assert policies(mm) == [(0, policy)]
        assert nodes(m, mm) == where
        assert m.check() == []


def test_interleaving_puts_each_page_at_its_offset(m: MmMachine, mm: MmStruct) -> None:
    """Also when only some of the pages move, and by weight."""
    mbind(m, mm, MPOL_BIND, 0b0001)
    fill(m, mm)
    mbind(m, mm, MPOL_INTERLEAVE, 0b0110, MOVE, first=3, pages=5)
    assert nodes(m, mm) == [0, 0, 0, 2, 1, 2, 1, 2]
    set_il_weight(m.mem, 3, 3)
    mbind(m, mm, MPOL_WEIGHTED_INTERLEAVE, 0b1100, MOVE)
    assert nodes(m, mm)[:2] == [2, 3]
    assert m.check() == []


def test_the_default_policy_moves_to_what_the_task_wants(m: MmMachine, mm: MmStruct) -> None:
    fill(m, mm)
    do_set_mempolicy(m.mem, m.ctx, MPOL_INTERLEAVE, 0, 0b1100)
    assert mbind(m, mm, MPOL_DEFAULT, 0, MOVE) == 0
    assert nodes(m, mm) == [2, 3] * 4


def test_shared_pages(m: MmMachine, mm: MmStruct) -> None:
    """MOVE passes them over, and that is no failure, not even under STRICT; MOVE_ALL takes them along."""
    fill(m, mm)
    child = m.fork(mm)
    for flags in (MOVE, MOVE | STRICT):
        assert mbind(m, mm, MPOL_BIND, 0b10, flags) == 0
        assert nodes(m, mm) == [0] * 8
    assert mbind(m, mm, MPOL_BIND, 0b10, STRICT) == EIO
    assert mbind(m, mm, MPOL_BIND, 0b10, MOVE_ALL | STRICT) == 0
    assert nodes(m, mm) == nodes(m, child) == [1] * 8
    assert m.check() == []


def test_what_cannot_move(m: MmMachine, mm: MmStruct) -> None:
    """A page with an extra reference stays; the policy is installed and the rest has moved."""
    fill(m, mm)
    pinned = m.pfn(mm, AT + 3 * PAGE)
    m.page(pinned)["refcount"] += 1
    m.page(pinned)["pincount"] += 1
    assert mbind(m, mm, MPOL_BIND, 0b10, MOVE) == 0
    assert nodes(m, mm) == [1, 1, 1, 0, 1, 1, 1, 1]
    assert mbind(m, mm, MPOL_BIND, 0b100, MOVE | STRICT) == EIO
    assert policies(mm) == [(0, "bind:2")]
    assert nodes(m, mm) == [2, 2, 2, 0, 2, 2, 2, 2]
    m.page(pinned)["refcount"] -= 1
    m.page(pinned)["pincount"] -= 1
    assert m.check() == []


def test_areas_that_cannot_be_migrated(m: MmMachine, mm: MmStruct) -> None:
    """They are looked at only under STRICT, which then complains, and never moved."""
    fill(m, mm)
    m.vma(mm, AT).flags |= VM_IO
    assert mbind(m, mm, MPOL_BIND, 0b10, MOVE) == 0
    assert mbind(m, mm, MPOL_BIND, 0b10, MOVE | STRICT) == EIO
    assert mbind(m, mm, MPOL_BIND, 0b10, STRICT) == EIO
    assert nodes(m, mm) == [0] * 8
    assert policies(mm) == [(0, "bind:1")]


def test_strict_looks_at_the_range_only(m: MmMachine, mm: MmStruct) -> None:
    fill(m, mm, 3, 2)
    assert mbind(m, mm, MPOL_BIND, 0b10, STRICT) == EIO
    assert mbind(m, mm, MPOL_BIND, 0b10, STRICT, pages=3) == 0
    assert policies(mm) == [(0, "bind:1"), (3, "default")]


def test_pages_without_rights_move_as_well(m: MmMachine, mm: MmStruct) -> None:
    fill(m, mm)
    do_mprotect(mm, m.ctx, AT, 4 * PAGE, 0)
    assert mbind(m, mm, MPOL_BIND, 0b10, MOVE | STRICT) == 0
    assert nodes(m, mm) == [1] * 8
    assert m.check() == []


def test_too_many_areas(m: MmMachine, mm: MmStruct) -> None:
    """What was done before the limit stays; what was collected goes back unmoved."""
    fill(m, mm)
    do_madvise(mm, m.ctx, AT, 2 * PAGE, MADV_DONTFORK)  # two areas that never merge
    mm.mem.max_map_count = 2
    assert mbind(m, mm, MPOL_BIND, 0b10, MOVE, pages=6) == ENOMEM
    assert policies(mm) == [(0, "bind:1"), (2, "default")]
    assert nodes(m, mm) == [0] * 8
    assert m.check() == []


# --- set_mempolicy_home_node -----------------------------------------------------------------------------------


def home(m: MmMachine, mm: MmStruct, node: int, first: int = 0, length: int = 8 * PAGE) -> int:
    try:
        do_set_home_node(mm, m.ctx, AT + first * PAGE, length, node)
    except KernelError as error:
        return error.errno
    return 0


def test_allocation_begins_at_home(m: MmMachine, mm: MmStruct) -> None:
    mbind(m, mm, MPOL_BIND, 0b0110)
    assert home(m, mm, 2) == 0
    fill(m, mm)
    assert nodes(m, mm) == [2] * 8
    assert do_get_mempolicy(m.mem, mm, m.ctx, AT, MPOL_F_ADDR) == (MPOL_BIND, 0b0110)
    assert home(m, mm, 1, first=4, length=2 * PAGE) == 0
    assert policies(mm) == [(0, "bind:1-2"), (4, "bind:1-2"), (6, "bind:1-2")]
    assert home(m, mm, 2) == 0
    assert policies(mm) == [(0, "bind:1-2")]


def test_what_home_node_refuses(m: MmMachine, mm: MmStruct) -> None:
    assert home(m, mm, 1) == ENOENT
    assert home(m, mm, 1, first=100) == ENOENT
    mbind(m, mm, MPOL_BIND, 0b11)
    for node in (4, 63, 5000, MASK64):
        assert home(m, mm, node, length=0) == EINVAL
    assert home(m, mm, 1, length=0) == 0
    assert home(m, mm, 1, length=MASK64) == 0
    assert home(m, mm, 1, length=MASK64 - PAGE) == EINVAL
    assert home(m, mm, 1, length=100 * PAGE) == 0  # holes do not matter
    with pytest.raises(KernelError) as refusal:
        do_set_home_node(mm, m.ctx, AT + 1, PAGE, 1)
    assert refusal.value.errno == EINVAL


def test_only_some_kinds_of_policy_have_a_home(m: MmMachine, mm: MmStruct) -> None:
    """Areas before the refusing one keep the change; areas without a policy are passed over."""
    mbind(m, mm, MPOL_PREFERRED_MANY, 0b11, first=1, pages=3)
    mbind(m, mm, MPOL_INTERLEAVE, 0b11, first=6, pages=2)
    assert home(m, mm, 1) == EOPNOTSUPP
    assert [v.policy.home_node if v.policy else None for v in mm.vmas.values()] == [None, 1, None, -1]
