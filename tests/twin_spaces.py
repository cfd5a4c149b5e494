"""Address spaces on two machines in step: the steps that change page tables, for the tests of _memory and _migrate.

Most go through the drivers of mm/, which are the same Python for both machines and call the kernels; so the kernels
meet ranges, areas and page tables as they come in life. Areas lie in a few places that matter: across the end of a
PTE table and across the end of a page-directory page.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from hypothesis import strategies as st

from numalab.arch import _pagetable_reference as pt
from numalab.arch.disk import Disk
from numalab.mm import _constants as c
from numalab.mm._lru_reference import isolate_batch, lru_drain_cpu, putback_batch
from numalab.mm._migrate import MigrateStats
from numalab.mm._migrate_reference import Batch, flush_batch, remap, unmap_batch
from numalab.mm._mm_types import AllocCtx, MmStruct
from numalab.mm._reference import View, is_page, mapped_ptes
from numalab.mm.madvise import do_madvise
from numalab.mm.memory import handle_mm_fault, read_user, write_user
from numalab.mm.mlock import do_mlock, do_munlock
from numalab.mm.mman import (
    MADV_COLD,
    MADV_DONTNEED,
    MADV_FREE,
    MADV_PAGEOUT,
    MADV_POPULATE_READ,
    MADV_POPULATE_WRITE,
    MREMAP_FIXED,
    MREMAP_MAYMOVE,
    PROT_READ,
    PROT_WRITE,
)
from numalab.mm.mmap import do_munmap
from numalab.mm.mprotect import do_mprotect
from numalab.mm.mremap import do_mremap
from numalab.mm.swapfile import swapon
from numalab.mm.vma import vma_modify
from numalab.mm.vma_tree import vma_lookup
from numalab.mm.writeback import filemap_write_and_wait

from tests.mm_machine import DiskFile
from tests.strategies import Step, policies, policy
from tests.twins import Machine, Pair

__all__ = ["PAGE", "Spaces", "few", "life", "pages_of", "places", "prots", "tune", "where", "who"]

PAGE = 4096
RW = PROT_READ | PROT_WRITE
#: Where areas begin: shortly before a PTE table ends, before a page directory ends, and in the middle of a table.
PLACES = ((3 << 21) - 8 * PAGE, (1 << 39) - 6 * PAGE, 5 << 21)

who = st.integers(0, 3)
places = st.tuples(st.integers(0, 2), st.integers(0, 16))
few = st.one_of(st.integers(1, 8), st.integers(1, 24), st.sampled_from((24, 700)))
prots = st.sampled_from((RW, RW, RW, PROT_READ, 0))

#: What happens to programs. A tuple names a method of Spaces and its arguments.
life = (
    st.tuples(st.just("map"), who, places, few, prots),
    st.tuples(st.just("map shared"), who, places, few, prots),
    st.tuples(st.just("map file"), who, places, few, st.booleans(), st.integers(0, 40)),
    st.tuples(st.just("sync")),
    st.tuples(st.just("fault"), who, places, few, st.booleans()),
    st.tuples(st.just("fault"), who, places, few, st.just(True)),
    st.tuples(st.just("fault"), who, places, few, st.just(True)),
    st.tuples(st.just("write"), who, places, st.integers(1, 12), st.integers(0, 255)),
    st.tuples(st.just("write"), who, places, st.integers(1, 12), st.integers(0, 255)),
    st.tuples(st.just("read"), who, places, st.integers(1, 12)),
    st.tuples(st.just("unmap"), who, places, few),
    st.tuples(st.just("discard"), who, places, few),
    st.tuples(st.just("give up"), who, places, few),
    st.tuples(st.just("give up"), who, places, few),
    st.tuples(st.just("cool"), who, places, few),
    st.tuples(st.just("populate"), who, places, few, st.booleans()),
    st.tuples(st.just("protect"), who, places, few, prots),
    st.tuples(st.just("lock"), who, places, few, st.booleans()),
    st.tuples(st.just("move"), who, places, places, few),
    st.tuples(st.just("bind"), who, places, few, policies),
    st.tuples(st.just("page out"), who, places, few),
    st.tuples(st.just("fork"), who),
    st.tuples(st.just("exit"), who),
)


def where(place: tuple[int, int]) -> int:
    """The address of a drawn place."""
    return PLACES[place[0]] + place[1] * PAGE


def tune(batch: int, high: int) -> Callable[[Machine], object]:
    """Per-CPU sets of a size that tiny machines fill and empty, some swap, and a first program with some memory."""

    def action(machine: Machine) -> None:
        machine.mem.zones["pcp_batch"], machine.mem.zones["pcp_high"] = batch, high
        swapon(machine.mem, Disk(machine.hw, machine.mem.timers, "disk", 48))
        machine.kept["file"] = DiskFile(
            machine, 48, blocks=44, holes=8
        )  # one hole more than there is room for
        mm = machine.new_mm()
        for place, pages in zip(PLACES, (24, 16, 700), strict=True):
            machine.map(mm, pages, place)

    return action


def pages_of(m: View, mm: MmStruct, start: int, end: int) -> list[int]:
    """Pages mapped in [start, end), in order of address; the zero page is none."""
    return [pt.pte_pfn(pte) for _, pte in mapped_ptes(m, mm.pgd, start, end) if is_page(pte)]


class Spaces:
    """Up to four programs on each machine; program n runs on CPU n, as far as there are CPUs."""

    def __init__(self, pair: Pair) -> None:
        self.pair = pair

    def step(self, step: Step) -> None:
        getattr(self, step[0].replace(" ", "_"))(*step[1:])

    def act(self, who: int, action: Callable[[Machine, MmStruct, AllocCtx], object], note: object) -> Any:
        """Let a program act on both machines: action(machine, its address space, its task)."""

        def both(machine: Machine) -> object:
            if not machine.mms:
                return None
            mm = machine.mms[who % len(machine.mms)]
            return action(machine, mm, machine.tasks[who % len(machine.tasks)])

        return self.pair.both(both, note)

    # Life

    def map(self, who: int, place: tuple[int, int], pages: int, prot: int) -> None:
        self.act(who, lambda m, mm, _: m.map(mm, pages, where(place), prot), ("map", who, place, pages, prot))

    def map_shared(self, who: int, place: tuple[int, int], pages: int, prot: int) -> None:
        note = ("map shared", who, place, pages, prot)
        self.act(who, lambda m, mm, _: m.map(mm, pages, where(place), prot, shared=True), note)

    def map_file(self, who: int, place: tuple[int, int], pages: int, shared: bool, offset: int) -> None:
        self.act(
            who,
            lambda m, mm, _: m.map_file(
                mm, m.kept["file"], pages, where(place), shared=shared, offset=offset
            ),
            ("map file", who, place, pages, shared, offset),
        )

    def sync(self) -> None:
        """What is dirty of the file goes to its disk."""

        def action(machine: Machine) -> object:
            filemap_write_and_wait(machine.kept["file"].mapping, 0, 48)
            return machine.kept["file"].disk.store

        self.pair.both(action, "sync")

    def fault(self, who: int, place: tuple[int, int], pages: int, write: bool) -> None:
        at = where(place)
        self.act(
            who,
            lambda m, mm, task: handle_mm_fault(mm, task, at, at + pages * PAGE, write),
            ("fault", who, place, pages, write),
        )

    def write(self, who: int, place: tuple[int, int], count: int, value: int) -> None:
        data = bytes([value]) * (count * 700)
        self.act(
            who, lambda m, mm, task: write_user(mm, task, where(place), data), ("write", who, place, count)
        )

    def read(self, who: int, place: tuple[int, int], count: int) -> None:
        self.act(
            who,
            lambda m, mm, task: read_user(mm, task, where(place), count * 700),
            ("read", who, place, count),
        )

    def unmap(self, who: int, place: tuple[int, int], pages: int) -> None:
        self.act(
            who,
            lambda m, mm, task: do_munmap(mm, task, where(place), pages * PAGE),
            ("unmap", who, place, pages),
        )

    def discard(self, who: int, place: tuple[int, int], pages: int) -> None:
        self.act(
            who,
            lambda m, mm, task: do_madvise(mm, task, where(place), pages * PAGE, MADV_DONTNEED),
            ("discard", who, place, pages),
        )

    def give_up(self, who: int, place: tuple[int, int], pages: int) -> None:
        self.act(
            who,
            lambda m, mm, task: do_madvise(mm, task, where(place), pages * PAGE, MADV_FREE),
            ("give up", who, place, pages),
        )

    def cool(self, who: int, place: tuple[int, int], pages: int) -> None:
        self.act(
            who,
            lambda m, mm, task: do_madvise(mm, task, where(place), pages * PAGE, MADV_COLD),
            ("cool", who, place, pages),
        )

    def populate(self, who: int, place: tuple[int, int], pages: int, write: bool) -> None:
        at, advice = where(place), MADV_POPULATE_WRITE if write else MADV_POPULATE_READ
        self.act(
            who,
            lambda m, mm, task: do_madvise(mm, task, at, pages * PAGE, advice),
            ("populate", who, place, pages, write),
        )

    def protect(self, who: int, place: tuple[int, int], pages: int, prot: int) -> None:
        self.act(
            who,
            lambda m, mm, task: do_mprotect(mm, task, where(place), pages * PAGE, prot),
            ("protect", who, place, pages, prot),
        )

    def lock(self, who: int, place: tuple[int, int], pages: int, on: bool) -> None:
        def action(machine: Machine, mm: MmStruct, task: AllocCtx) -> None:
            if on:
                do_mlock(mm, task, where(place), pages * PAGE, 0)
            else:
                do_munlock(mm, task, where(place), pages * PAGE)

        self.act(who, action, ("lock", who, place, pages, on))

    def move(self, who: int, place: tuple[int, int], to: tuple[int, int], pages: int) -> None:
        self.act(
            who,
            lambda m, mm, task: do_mremap(
                mm, task, where(place), pages * PAGE, pages * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, where(to)
            ),
            ("move", who, place, to, pages),
        )

    def bind(self, who: int, place: tuple[int, int], pages: int, drawn: Any) -> None:
        """Another policy for a part of one area."""

        def action(machine: Machine, mm: MmStruct, task: AllocCtx) -> None:
            vma = vma_lookup(mm, where(place))
            if vma is not None:
                end = min(where(place) + pages * PAGE, vma.end)
                new = policy(drawn, machine.mem.memory_nodes)
                vma_modify(mm, vma, where(place), end, policy=new)

        self.act(who, action, ("bind", who, place, pages, drawn))

    def fork(self, who: int) -> None:
        if len(self.pair.ours.mms) < 4:
            self.act(who, lambda m, mm, task: m.fork(mm), ("fork", who))

    def exit(self, who: int) -> None:
        if len(self.pair.ours.mms) > 1:
            self.act(who, lambda m, mm, task: m.exit(mm), ("exit", who))

    def page_out(self, who: int, place: tuple[int, int], pages: int) -> None:
        """MADV_PAGEOUT: into swap, as far as there is room."""
        self.act(
            who,
            lambda machine, mm, task: do_madvise(mm, task, where(place), pages * PAGE, MADV_PAGEOUT),
            ("page out", who, place, pages),
        )

    def fill_up(self, nid: int, left: int) -> None:
        """Take all but a few of a node's free frames, or give such frames back."""

        def action(machine: Machine) -> None:
            page_alloc, mem = machine.k.page_alloc, machine.mem
            if machine.kept.get("taken"):
                page_alloc.free_bulk(mem, 0, np.array(machine.kept.pop("taken"), np.uint32))
                return
            node = nid % mem.topology.nr_node_ids
            free = int(mem.zones["free"][mem.zones["node"] == node].sum())
            out = np.zeros(max(0, free - left), np.uint32)
            task = AllocCtx(0, node, mem.memory_nodes)
            got = page_alloc.alloc_bulk(
                mem, task, None, 0, c.GFP_USER_MOVABLE | c.GFP_THISNODE | c.GFP_MEMALLOC, out
            )
            machine.kept["taken"] = out[:got].tolist()

        self.pair.both(action, ("fill up", nid, left))

    # Pages under migration

    def freeze(self, who: int, place: tuple[int, int], pages: int) -> None:
        """Take pages off the LRU and replace their PTEs by migration entries, as a migration does; thaw() ends it.

        The files of the areas there are kept until then: who lets go of the last of one would wait for its pages.
        """

        def action(machine: Machine, mm: MmStruct, task: AllocCtx) -> object:
            m = View(machine.mem)
            for vma in mm.vmas.values():
                if vma.file is not None:
                    vma.file.get_file()
                    machine.kept.setdefault("files", []).append(vma.file)
            for cpu in range(m.nr_cpus):
                lru_drain_cpu(m, cpu)
            taken = isolate_batch(m, pages_of(m, mm, where(place), where(place) + pages * PAGE))
            rest = taken
            while rest:
                batch = Batch()
                rest = rest[unmap_batch(m, batch, task.cpu, rest, MigrateStats()) :]
                flush_batch(m, batch, MigrateStats())
                machine.kept.setdefault("frozen", []).append(batch)
            return taken

        self.act(who, action, ("freeze", who, place, pages))

    def thaw(self) -> None:
        """Map the pages again, wherever their entries have gone meanwhile."""

        def action(machine: Machine) -> None:
            m = View(machine.mem)
            for batch in machine.kept.pop("frozen", []):
                remap(m, batch.items, to_dst=False)
                pfns = [item.src for item in batch.items]
                for pfn in pfns:
                    m.hot.flags[pfn] &= ~(c.PG_locked | c.PG_migration_shared)
                putback_batch(m, 0, pfns)
            for file in machine.kept.pop("files", []):
                file.fput(0)

        self.pair.both(action, "thaw")
