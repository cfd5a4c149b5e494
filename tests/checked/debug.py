"""Does the debug build see what it is for? `make check-debug` runs this first."""

from __future__ import annotations

import re

import numpy as np
import pytest

import numalab
from numalab.mm._mm_types import CONFIG_DEBUG_VM
from numalab.mm.invariants_report import InvariantError

from tests.checked.seeded import last_words

MISTAKES = {
    "a CPU that does not exist": ("k.lru.drain(mem, 4)", r"_lru\.pyx:\d+!"),
    "a frame is freed twice": (
        """
        taken = [k.page_alloc.alloc_pages_node(mem, 0, 0) for _ in range(4)]
        pfn = next(pfn for pfn in taken if pfn ^ 1 in taken)  # its buddy is in use: it stays what it is
        k.page_alloc.free_block(mem, pfn, 0)
        k.page_alloc.free_block(mem, pfn, 0)
        """,
        r"_page_alloc\.pyx:\d+! frame \d+",
    ),
    "a page in use is freed": (
        """
        at = m.map(mm, 1)
        touch_user(mm, m.ctx, at, 4096, 1, True)
        k.page_alloc.free_bulk(mem, 0, np.array([m.pfn(mm, at)], np.uint32))
        """,
        r"_page_alloc\.pyx:\d+! frame \d+",
    ),
    "a page is put back that nobody isolated": (
        """
        at = m.map(mm, 1)
        touch_user(mm, m.ctx, at, 4096, 1, True)
        k.lru.putback(mem, 0, np.array([m.pfn(mm, at)], np.uint32))
        """,
        r"_lru\.pyx:\d+! frame \d+",
    ),
    "a table entry leads out of RAM": (
        """
        at = m.map(mm, 1)
        m.store(mm.pgd + 8 * (at >> 39), 1 << 40 | 7)
        k.memory.protect_range(mem, mm, m.vma(mm, at), at, at + 4096)
        """,
        r"_pagetable\.pxd:\d+!",
    ),
    "a page is mapped less often than it says": (
        """
        at = m.map(mm, 1)
        touch_user(mm, m.ctx, at, 4096, 1, True)
        m.page(m.pfn(mm, at))['mapcount'] = 0
        do_munmap(mm, m.ctx, at, 4096)
        """,
        r"_memory\.pyx:\d+! frame \d+",
    ),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_ends_the_process_and_names_the_line(mistake: str) -> None:
    program, words = MISTAKES[mistake]
    assert re.search(rf"kernel BUG at numalab/\w+/{words}", last_words(program))


def test_arrays_know_their_bounds() -> None:
    """Kernels index what Python hands them; a debug build looks."""
    with numalab.boot("1x8M") as machine:
        where, status = np.zeros(3, np.uint64), np.zeros(2, np.int32)
        with pytest.raises(IndexError):
            machine.mem.k.migrate.pages_status(machine.mem, machine.mem.mm_of(1), where, status)


def test_every_machine_runs_with_debug_vm() -> None:
    assert CONFIG_DEBUG_VM
    with numalab.boot("1x8M") as machine:
        assert machine.mem.debug
        pfn = machine.mem.k.page_alloc.alloc_pages_node(machine.mem, 0, 0)
        machine.mem.k.page_alloc.free_block(machine.mem, pfn, 0)
        machine.hw.write_phys(pfn * 4096 + 9, b"late")
        with pytest.raises(InvariantError, match=rf"poison: frame {pfn} .*written to after it was freed"):
            machine.run(lambda sys: 0)
