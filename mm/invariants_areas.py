"""Invariants 9 and 11: the areas of address spaces, their anon_vmas, their policies, and the PTEs inside them.

What reverse mapping, migration and munmap() rely on: areas are sorted and apart, the kernels' table holds the same
ones, each PTE lies in one and allows no more than it, and a page's anon_vma leads back to every PTE that maps it.
Mirrors validate_mm() (CONFIG_DEBUG_VM_MAPLE_TREE) and goes further.

Of invariant 9 only this can be seen in a state: policies name nodes with memory. That a fault obeyed them is seen
when it happens (tests/properties/test_machine.py), for pages may lie elsewhere for good reasons afterwards.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

import numpy as np

from numalab.arch._pagetable import PTE_PRESENT, PTE_PROTNONE, PTE_RW
from numalab.mm._mm_types import VMA, AllocCtx, AnonVma, MemPolicy, MmStruct, ShmemSbInfo
from numalab.mm.gap_tree import END
from numalab.mm.get_unmapped_area import task_size
from numalab.mm.invariants_report import Report
from numalab.mm.invariants_state import State
from numalab.mm.invariants_walk import MIGRATION, PAGE, SPECIAL
from numalab.mm.mpol import MPOL_PREFERRED, MPOL_PREFERRED_MANY
from numalab.mm.vm_flags import VM_ACCESS_FLAGS, VM_EXEC, VM_WRITE, offset_in_page
from numalab.mm.vma_tree import vm_start_gap, vma_gaps

__all__ = ["check_anon_vmas", "check_areas", "check_files", "check_mapped_areas", "check_policies"]

_NX = np.uint64(1 << 63)


def check_areas(state: State, report: Report) -> None:
    """11: areas are sorted, apart and page aligned, the tree of gaps and the kernels see the same ones."""
    for mm in state.mms:
        limit = task_size(mm.mem)
        above = 0
        for key, vma in mm.vmas.items():
            if key != vma.start or vma.mm is not mm:
                report.add(11, "tree", f"asid {mm.asid}: {vma} stands where it does not belong", got=hex(key))
            if (
                offset_in_page(vma.start)
                or offset_in_page(vma.end)
                or not above <= vma.start < vma.end <= limit
            ):
                report.add(
                    11,
                    "tree",
                    f"asid {mm.asid}: {vma} is empty, not aligned, or overlaps",
                    expected=hex(above),
                )
            above = vma.end
        report.same(11, "gaps", f"asid {mm.asid}", _gaps(mm), vma_gaps(mm).items())
        table = mm.table_addresses()
        if table is not None:
            report.same(
                11, "kernels' table", f"asid {mm.asid}", [vma.address for vma in mm.vmas.values()], table
            )


def _gaps(mm: MmStruct) -> list[tuple[int, int]]:
    """What is free between the areas: (start, length)."""
    starts = [0, *(vma.end for vma in mm.vmas.values())]
    ends = [*(vm_start_gap(vma) for vma in mm.vmas.values()), END]
    return [(start, end - start) for start, end in zip(starts, ends, strict=True) if start < end]


def check_mapped_areas(state: State, report: Report) -> None:
    """11: each PTE lies in an area and allows no more than it; 3: page tables map areas only, rmap finds each PTE."""
    leaves, areas = state.leaves, state.areas
    outside = state.area_of < 0
    report.frames(11, "outside", "mapped where there is no area, at", outside, leaves.pfn, got=leaves.va)
    flags = np.append(areas.flags, 0)[state.area_of]
    named = ~outside & (leaves.kind <= SPECIAL)
    accessible = flags & VM_ACCESS_FLAGS != 0
    for right, has, may in (
        ("write", leaves.pte & np.uint64(PTE_RW) != 0, flags & VM_WRITE != 0),
        ("access", leaves.pte & np.uint64(PTE_PRESENT) != 0, accessible),
        ("no access", leaves.pte & np.uint64(PTE_PROTNONE) != 0, ~accessible),
        ("execute", leaves.pte & _NX == 0, flags & VM_EXEC != 0),
    ):
        report.frames(
            11, "rights", f"{right}: not as its area says, at", named & has & ~may, leaves.pfn, got=leaves.va
        )

    tables = state.tables
    below_root = tables.real & (tables.level < state.mem.hw.levels - 1)
    reach = tables.base + (1 << (12 + 9 * (tables.level + 1)))
    idle = below_root & ~areas.touched(tables.owner, tables.base, reach)
    report.frames(3, "tables", "a page table where there is no area, at", idle, tables.pfn, got=tables.base)

    named = ~outside & (leaves.index >= 0) & ((leaves.kind == PAGE) | (leaves.kind == MIGRATION))
    found, area = leaves.pick(named), state.area_of[named]
    cold = state.mem.cold[found.pfn]
    expected = areas.pgoff[area] + ((found.va - areas.start[area]) >> 12)
    bad = expected.astype(np.uint64) != cold["index"]
    report.frames(
        3, "reverse map", "its index in its mapping", bad, found.pfn, expected=expected, got=cold["index"]
    )
    # Neighbouring PTEs mostly have area and anon_vma in common: one lookup for each run.
    ids = cold["mapping"]
    another = np.ones(len(ids), bool)
    another[1:] = (area[1:] != area[:-1]) | (ids[1:] != ids[:-1])
    for i in np.flatnonzero(another):
        vma = areas.vma[area[i]]
        chain = [anon_vma.id for anon_vma in vma.chain]
        if vma.file is not None:
            chain.append(vma.file.mapping.id)
        if int(ids[i]) not in chain:
            report.add(
                3, "reverse map", f"its anon_vma does not lead to {found.va[i]:#x}", pfn=int(found.pfn[i]),
                expected=chain, got=int(ids[i]),
            )  # fmt: skip


def check_anon_vmas(state: State, report: Report) -> None:
    """11: areas and anon_vmas name each other, slot by slot, and the counts that decide on reuse are right."""
    found: dict[int, AnonVma] = {}
    active: Counter[int] = Counter()
    for mm in state.mms:
        for vma in mm.vmas.values():
            _check_chain(vma, report)
            if vma.anon_vma is not None:
                active[id(vma.anon_vma)] += 1
            for anon_vma in vma.chain:
                found.setdefault(id(anon_vma), anon_vma)
    children: Counter[int] = Counter(id(anon_vma.parent) for anon_vma in found.values())
    by_id: Counter[int] = Counter(anon_vma.id for anon_vma in found.values())
    known = {vma.address for mm in state.mms for vma in mm.vmas.values()}
    for key, anon_vma in found.items():
        name = f"anon_vma {anon_vma.id}"
        report.same(11, "anon_vma", f"anon_vmas with id {anon_vma.id}", 1, by_id[anon_vma.id])
        report.same(
            11, "anon_vma", f"areas that use {name} for new pages", active[key], anon_vma.num_active_vmas
        )
        report.same(11, "anon_vma", f"children of {name}", children[key], anon_vma.num_children)
        addresses = [vma.address for vma in anon_vma.vmas]
        report.same(
            11, "anon_vma", f"areas of {name} as the kernels see them", addresses, anon_vma.addresses()
        )
        report.same(11, "anon_vma", f"areas of {name} in no address space", set(), set(addresses) - known)


def check_files(state: State, report: Report) -> None:
    """11: files and areas name each other; 3: a cached page knows its place in its file."""
    mappers: Counter[int] = Counter()
    in_sb: Counter[int] = Counter()
    sbs: dict[int, ShmemSbInfo] = {}
    for mm in state.mms:
        for vma in mm.vmas.values():
            if vma.file is not None:
                mappers[vma.file.mapping.id] += 1
                if vma not in vma.file.mapping.vmas:
                    report.add(11, "file", f"{vma} is not on the list of its file", got=vma.file.mapping.id)
    for file in state.files:
        report.same(11, "file", f"areas that map file {file.id}", mappers[file.id], len(file.vmas))
        report.same(
            11, "file", f"areas of file {file.id} as the kernels see them",
            [vma.address for vma in file.vmas], file.addresses(),
        )  # fmt: skip
        entries = [entry & 1 for _, entry in file.entries()]
        report.same(3, "file", f"pages of file {file.id}", entries.count(0), file.nrpages)
        report.same(3, "file", f"swap entries in file {file.id}", entries.count(1), file.nr_swapped)
        if file.sb is not None:
            in_sb[id(file.sb)] += len(entries)
            sbs[id(file.sb)] = file.sb
    for key, sb in sbs.items():
        report.same(3, "tmpfs", "pages of all files", in_sb[key], sb.used_blocks)
        if sb.used_blocks > sb.max_blocks:
            report.add(3, "tmpfs", "more pages than it may have", expected=sb.max_blocks, got=sb.used_blocks)
    for disk in filter(None, state.mem.bdis):
        blocks = [block for file in state.files if file.bdi == disk.number for _, block in file.blocks()]
        name = disk.disk.name
        report.same(
            11,
            "disk",
            f"blocks of {name} that files have",
            sorted(blocks),
            np.flatnonzero(disk.used).tolist(),
        )
        report.same(11, "disk", f"blocks of {name} in use", len(blocks), int(disk.row["nr_used"]))
    for column, field in ((0, "mapping"), (1, "index")):
        pfns, expected = state.in_files[:, 2], state.in_files[:, column]
        got = state.mem.cold[pfns][field].astype(np.int64)
        report.frames(
            3, "page cache", f"{field} of a cached page", expected != got, pfns, expected=expected, got=got
        )


def _check_chain(vma: VMA, report: Report) -> None:
    """The anon_vmas that one area is on; its own is one of them, and without one it is on none."""
    if (vma.anon_vma is None) != (not vma.chain) or (vma.chain and vma.anon_vma not in vma.chain):
        report.add(
            11, "anon_vma", f"{vma} has an anon_vma and is not on its list, or the reverse", got=vma.chain
        )
    for anon_vma, slot in zip(vma.chain, vma.slots, strict=True):
        if slot >= len(anon_vma.vmas) or anon_vma.vmas[slot] is not vma:
            report.add(11, "anon_vma", f"{vma} is not in its slot of anon_vma {anon_vma.id}", got=slot)


def check_policies(mms: Iterable[MmStruct], ctxs: Iterable[AllocCtx], report: Report) -> None:
    """9: policies name nodes with memory, and tasks stand on the node of their CPU and may use memory.

    What is preferred stays when its memory goes (mpol_rebind_preferred()).
    """
    seen: dict[int, MemPolicy] = {}
    memory = 0
    for mm in mms:
        memory = mm.mem.memory_nodes
        seen |= {id(vma.policy): vma.policy for vma in mm.vmas.values() if vma.policy is not None}
        for ctx in ctxs:
            if ctx.policy is not None:
                seen[id(ctx.policy)] = ctx.policy
            report.same(
                9, "task", f"the node of cpu {ctx.cpu}", mm.mem.topology.node_of_cpu(ctx.cpu), ctx.nid
            )
            if not ctx.mems_allowed & memory:
                report.add(9, "task", "a task may use no node that has memory", got=hex(ctx.mems_allowed))
    for policy in seen.values():
        preferred = policy.mode in (MPOL_PREFERRED, MPOL_PREFERRED_MANY)
        if policy.nodes & ~memory and not preferred:
            report.add(
                9,
                "policy",
                f"{policy} names a node without memory",
                expected=hex(memory),
                got=hex(policy.nodes),
            )
        if policy.mode == MPOL_PREFERRED and policy.nodes.bit_count() > 1:
            report.add(9, "policy", f"{policy} prefers more than one node", got=hex(policy.nodes))
