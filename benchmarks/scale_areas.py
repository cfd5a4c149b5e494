"""What scale.py measures of one address space: by areas, by pages, by parts of a file."""

from __future__ import annotations

from collections.abc import Callable

from numalab.mm.address_space import dup_mmap, exit_mmap, mm_alloc
from numalab.mm.invariants import check_invariants
from numalab.mm.madvise import do_madvise
from numalab.mm.memory import handle_mm_fault
from numalab.mm.mempolicy import do_mbind
from numalab.mm.migrate.nodes import do_migrate_pages
from numalab.mm.mmap import do_mmap, do_munmap
from numalab.mm.mprotect import do_mprotect
from numalab.mm.task_mmu import show_map_vma, show_numa_map

from benchmarks.clock import Stopwatch
from benchmarks.machine import MAP_PRIVATE_ANONYMOUS, PAGE, PROT_READ, PROT_WRITE, Program, build_untouched

__all__ = ["AREAS", "BIG", "Operation"]

#: 1 TiB in 64 nodes.
BIG = "64x16G"
MAP_SHARED_ANONYMOUS, MAP_FIXED, MAP_NORESERVE = 0x21, 0x10, 0x4000
MPOL_BIND, MPOL_MF_MOVE, MADV_DONTNEED, MADV_REMOVE = 2, 2, 4, 9
BASE, MMAP_BASE = 0x100000000000, 0x7FFFF7FFF000

#: How often a call is made again on what was prepared once. The host has found memory for everything by then.
AGAIN = 4

#: Prepares what is needed for so many, and does them ``with watch:``.
Operation = Callable[[int, Stopwatch], None]


def _program() -> Program:
    """A program without areas, which may have any number of them."""
    p = Program(build_untouched(BIG), 1)
    p.unmap()
    p.mem.max_map_count = 1 << 30
    return p


def _map(p: Program, at: int, pages: int, prot: int = PROT_READ | PROT_WRITE) -> None:
    do_mmap(p.mm, p.ctx, at, pages * PAGE, prot, MAP_PRIVATE_ANONYMOUS | MAP_FIXED)


def _one_area(pages: int) -> Program:
    p = _program()
    p.pages, p.start = pages, BASE
    _map(p, BASE, pages)
    return p


def _many_areas(pages: int) -> Program:
    """Each page is an area of its own: every other is read-only."""
    p = _program()
    p.pages, p.start = pages, BASE
    for i, at in enumerate(_places(p)):
        _map(p, at, 1, PROT_READ if i & 1 else PROT_READ | PROT_WRITE)
    return p


def _places(p: Program) -> range:
    return range(p.start, p.end, PAGE)


def _touch_areas(p: Program) -> None:
    for i, at in enumerate(_places(p)):
        handle_mm_fault(p.mm, p.ctx, at, at + PAGE, not i & 1)


def _touched_areas(pages: int) -> Program:
    p = _many_areas(pages)
    _touch_areas(p)
    return p


def _touched_area(pages: int) -> Program:
    p = _one_area(pages)
    p.touch()
    return p


def _shared(pages: int) -> Program:
    p = _program()
    p.pages = pages
    p.start = do_mmap(p.mm, p.ctx, 0, pages * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED_ANONYMOUS)
    return p


def _bound(pages: int) -> Program:
    """Shared memory, of which each page has a policy of its own."""
    p = _shared(pages)
    for at in _places(p):
        _mbind(p, at, 1)
    return p


def _bound_and_touched(pages: int) -> Program:
    p = _bound(pages)
    p.touch()
    return p


def _mbind(p: Program, at: int, pages: int, flags: int = 0) -> None:
    do_mbind(p.mem, p.mm, p.ctx, at, pages * PAGE, MPOL_BIND, 0, 1 << (at // PAGE & 1), flags)


def _there(p: Program) -> None:
    do_migrate_pages(p.mem, p.mm, p.ctx, 1 << 0, 1 << 1, MPOL_MF_MOVE)


def _back(p: Program) -> None:
    do_migrate_pages(p.mem, p.mm, p.ctx, 1 << 1, 1 << 0, MPOL_MF_MOVE)


def _each(prepare: Callable[[int], Program], call: Callable[[Program, int], object]) -> Operation:
    """A call for each page."""

    def operation(n: int, watch: Stopwatch) -> None:
        p = prepare(n)
        with watch:
            for at in _places(p):
                call(p, at)

    return operation


def _whole(
    prepare: Callable[[int], Program],
    call: Callable[[Program], object],
    undo: Callable[[Program], object] | None = None,
) -> Operation:
    """One call for all; several times, if it can be undone."""

    def operation(n: int, watch: Stopwatch) -> None:
        p = prepare(n)
        with watch:
            call(p)
        if undo is not None:
            for _ in range(AGAIN):
                undo(p)
                with watch:
                    call(p)

    return operation


def _mmap(prot: Callable[[int], int], length: int = PAGE) -> Operation:
    def operation(n: int, watch: Stopwatch) -> None:
        p = _program()
        with watch:
            for i in range(n):
                do_mmap(p.mm, p.ctx, 0, length, prot(i), MAP_PRIVATE_ANONYMOUS)

    return operation


def mmap_into_holes(n: int, watch: Stopwatch) -> None:
    """Every other page is free: each call finds the highest gap, which is below all that were filled."""
    p = _program()
    for i in range(n):
        _map(p, BASE + 2 * i * PAGE, 1)
    above = BASE + 2 * n * PAGE
    flags = MAP_PRIVATE_ANONYMOUS | MAP_FIXED | MAP_NORESERVE
    do_mmap(p.mm, p.ctx, above, MMAP_BASE - above, 0, flags)
    with watch:
        for _ in range(n):
            do_mmap(p.mm, p.ctx, 0, PAGE, 0, MAP_PRIVATE_ANONYMOUS)


def _drop(p: Program) -> None:
    do_madvise(p.mm, p.ctx, p.start, p.pages * PAGE, MADV_DONTNEED)


def _map_and_touch(p: Program) -> None:
    p.map()
    p.touch()


def _nothing(p: Program) -> None:
    """The call changes nothing."""


def _mprotect_every_other(p: Program, at: int) -> None:
    if at // PAGE & 1:
        do_mprotect(p.mm, p.ctx, at, PAGE, PROT_READ)


def _fork_exit(p: Program) -> None:
    exit_mmap(dup_mmap(p.mm, p.ctx), p.ctx)


def _maps(p: Program) -> None:
    for vma in p.mm.vmas.values():
        show_map_vma(p.mm, vma)


def _numa_maps(p: Program) -> None:
    for vma in p.mm.vmas.values():
        show_numa_map(p.mm, vma, None)


def _check(p: Program) -> None:
    assert not check_invariants(p.mem, [p.mm], [p.ctx])


def spaces(n: int, watch: Stopwatch) -> None:
    p = _program()
    with watch:
        for mm in [mm_alloc(p.mem, p.ctx) for _ in range(n)]:
            exit_mmap(mm, p.ctx)


#: By name: the smallest size, and the operation.
AREAS: dict[str, tuple[int, Operation]] = {
    "mmap: areas that do not merge": (6250, _mmap(lambda i: i & 1)),
    "mmap: areas that merge": (6250, _mmap(lambda i: 1)),
    "mmap: 2 MiB areas that do not merge": (1250, _mmap(lambda i: i & 1, 2 << 20)),
    "mmap: into holes from the top": (3125, mmap_into_holes),
    "fault: pages of one area": (65536, _whole(_one_area, Program.touch, _drop)),
    "fault: an area each": (6250, _whole(_many_areas, _touch_areas)),
    "mprotect: every other page, splits": (6250, _each(_one_area, _mprotect_every_other)),
    "mprotect: all areas, merges": (
        6250, _whole(_many_areas, lambda p: do_mprotect(p.mm, p.ctx, BASE, p.pages * PAGE, PROT_READ)),
    ),
    "munmap: area by area": (6250, _each(_touched_areas, lambda p, at: do_munmap(p.mm, p.ctx, at, PAGE))),
    "munmap: all areas": (6250, _whole(_touched_areas, Program.unmap)),
    "munmap: pages of one area": (65536, _whole(_touched_area, Program.unmap, _map_and_touch)),
    "exit: all areas": (6250, _whole(_touched_areas, lambda p: exit_mmap(p.mm, p.ctx))),
    "fork and exit: all areas": (6250, _whole(_touched_areas, _fork_exit, _nothing)),
    "fork and exit: pages of one area": (65536, _whole(_touched_area, _fork_exit, _nothing)),
    "madvise(DONTNEED): area by area": (
        6250, _each(_touched_areas, lambda p, at: do_madvise(p.mm, p.ctx, at, PAGE, MADV_DONTNEED)),
    ),
    "mbind: area by area": (6250, _each(_touched_areas, lambda p, at: _mbind(p, at, 1))),
    "mbind(MOVE): area by area": (1250, _each(_touched_areas, lambda p, at: _mbind(p, at, 1, MPOL_MF_MOVE))),
    "mbind: all areas": (6250, _whole(_touched_areas, lambda p: _mbind(p, BASE, p.pages))),
    "migrate_pages: all areas": (6250, _whole(_touched_areas, _there, _back)),
    "migrate_pages: pages of one area": (32768, _whole(_touched_area, _there, _back)),
    "maps: lines": (6250, _whole(_touched_areas, _maps, _nothing)),
    "numa_maps: lines": (6250, _whole(_touched_areas, _numa_maps, _nothing)),
    "mbind of shared memory: page by page": (1250, _each(_shared, lambda p, at: _mbind(p, at, 1))),
    "fault of shared memory: a policy each": (1250, _whole(_bound, Program.touch)),
    "madvise(REMOVE) of shared memory: area by area": (
        1250, _whole(_bound, lambda p: do_madvise(p.mm, p.ctx, p.start, p.pages * PAGE, MADV_REMOVE)),
    ),
    "migrate_pages of shared memory: a policy each": (1250, _whole(_bound_and_touched, _there, _back)),
    "numa_maps of shared memory: a policy each": (1250, _whole(_bound, _numa_maps, _nothing)),
    "address spaces made and left": (1000, spaces),
    "check_invariants: areas": (1250, _whole(_touched_areas, _check, _nothing)),
    "check_invariants: pages": (16384, _whole(_touched_area, _check, _nothing)),
}  # fmt: skip
