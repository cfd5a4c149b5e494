"""Do the sanitizers see what they are for? `make check-asan` runs this first."""

from __future__ import annotations

import re

import pytest

from tests.checked.seeded import last_words

MISTAKES = {
    "behind an array of numpy's": (
        "k.lru.drain(mem, 4)",
        r"AddressSanitizer: heap-buffer-overflow.*_lru\.pyx:\d+",
    ),
    "behind an array from the heap": (
        "k.lru.put_page(mem, 0, mem.hw.nr_frames + 1)",
        r"AddressSanitizer: heap-buffer-overflow.*_lru\.pyx:\d+",
    ),
    "a shift by too much": (
        "k.page_alloc.alloc_pages_node(mem, 0, 0, order=70)",
        r"_page_alloc\.pyx:\d+:\d+: runtime error: shift exponent 70",
    ),
    "signed overflow": (
        "mem.node_stat[:] = 2**63 - 1\nk.page_alloc.alloc_pages_node(mem, 0, 0)",
        r"_page_alloc\.pyx:\d+:\d+: runtime error: signed integer overflow",
    ),
    "an address that is not aligned": (
        """
        at = m.map(mm, 1)
        touch_user(mm, m.ctx, at, 4096, 1, True)
        m.page(m.pfn(mm, at))['rmap'] += 1
        taken = np.array([m.pfn(mm, at)], np.uint32)
        k.lru.drain(mem, 0)
        k.lru.isolate_pfns(mem, taken)
        from numalab.mm._migrate import MigrateStats, Target
        left, why = np.zeros(512, np.uint32), np.zeros(512, np.uint8)
        k.migrate.migrate_batch(mem, m.ctx, taken, 0, Target(1), MigrateStats(), left, why)
        """,
        r"runtime error: load of misaligned address",
    ),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_ends_the_process_and_names_the_line(mistake: str) -> None:
    program, words = MISTAKES[mistake]
    assert re.search(words, last_words(program, "import tests.checked.redzones"), re.DOTALL)
