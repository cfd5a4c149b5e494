"""The system calls about memory policy: set_mempolicy, get_mempolicy, mbind, set_mempolicy_home_node.

A task has a policy for all its memory, an area may have one of its own, which then wins. Setting one changes
where new pages go; only mbind() with MPOL_MF_MOVE or MOVE_ALL moves those that are there already. How
policies are made and compared stands in mpol.py, what a change of the cpuset does to them in mpol_rebind.py.

Mirrors mm/mempolicy.c of 6.12, in particular the order in which errors are found. Decoding (node masks in
user memory, sanitize_mpol_flags() on the mode) is the caller's: only clean arguments come here.
"""

from __future__ import annotations

from numalab.arch.errno import EFAULT, EINVAL, EIO, ENOENT, EOPNOTSUPP, EPERM, KernelError
from numalab.mm._mm_types import VMA, AllocCtx, MemMap, MemPolicy, MmStruct
from numalab.mm.gup import faultin_page
from numalab.mm.kernels import Why
from numalab.mm.migrate.batched import (
    PageList,
    Target,
    lru_cache_disable,
    movable_pages,
)
from numalab.mm.migrate.engine import Engine, engine_of, why_passed_over
from numalab.mm.migrate.ledger import Ledger, new_ledger, publish
from numalab.mm.mmap_lock import mmap_read_lock, mmap_write_lock
from numalab.mm.mpol import (
    MPOL_BIND,
    MPOL_DEFAULT,
    MPOL_INTERLEAVE,
    MPOL_MODE_FLAGS,
    MPOL_PREFERRED_MANY,
    MPOL_WEIGHTED_INTERLEAVE,
    get_policy_nodemask,
    mpol_equal,
    mpol_new,
    mpol_to_str,
    sanitize_mpol_flags,
)
from numalab.mm.nodemask import MAX_NUMNODES, next_node_in
from numalab.mm.shared_policy import (
    get_vma_policy,
    interleave_base,
    set_shared_policy,
    shmem_mapping,
)
from numalab.mm.task_mmu import pagemap
from numalab.mm.vm_flags import (
    MASK64,
    PAGE_MASK,
    VM_HUGETLB,
    VM_IO,
    VM_PFNMAP,
    offset_in_page,
    page_align,
)
from numalab.mm.vma import vma_modify
from numalab.mm.vma_tree import find_vma_intersection, vma_lookup, vma_next

__all__ = [
    "MPOL_F_ADDR", "MPOL_F_MEMS_ALLOWED", "MPOL_F_NODE", "MPOL_MF_MOVE", "MPOL_MF_MOVE_ALL", "MPOL_MF_STRICT",
    "do_get_mempolicy", "do_mbind", "do_set_home_node", "do_set_mempolicy", "mpol_to_str",
    "sanitize_mpol_flags",
]  # fmt: skip

# Flags of get_mempolicy().
MPOL_F_NODE = 1
MPOL_F_ADDR = 2
MPOL_F_MEMS_ALLOWED = 4

# Flags of mbind().
MPOL_MF_STRICT = 1
MPOL_MF_MOVE = 2
MPOL_MF_MOVE_ALL = 4
MPOL_MF_VALID = MPOL_MF_STRICT | MPOL_MF_MOVE | MPOL_MF_MOVE_ALL


def do_set_mempolicy(mem: MemMap, ctx: AllocCtx, mode: int, flags: int, nodes: int) -> None:
    """set_mempolicy(2): the policy of the task. Raises KernelError(EINVAL) as mpol_new(); the old one stays
    then.
    """
    ctx.policy = mpol_new(mode, flags, nodes, ctx.mems_allowed, mem.memory_nodes)
    if ctx.policy is not None and mode in (MPOL_INTERLEAVE, MPOL_WEIGHTED_INTERLEAVE):
        # "The last node was the last of all": so the next one is the lowest in the mask.
        ctx.il_prev = MAX_NUMNODES - 1
        ctx.il_weight = 0


def do_get_mempolicy(mem: MemMap, mm: MmStruct, ctx: AllocCtx, addr: int, flags: int) -> tuple[int, int]:
    """get_mempolicy(2): (mode with its flags, or a node with MPOL_F_NODE; the node mask).

    MEMS_ALLOWED: the nodes of the task's cpuset. ADDR: the policy of the area at ``addr``, default if it has
    none. NODE: the node that the task's interleaving takes next; with ADDR the node of the page, which is
    faulted in for reading, so for an untouched page that of the zero page.
    Raises KernelError: EINVAL (flags, an address without ADDR, NODE without interleaving), EFAULT (nothing at
    addr).
    """
    if flags & ~(MPOL_F_NODE | MPOL_F_ADDR | MPOL_F_MEMS_ALLOWED):
        raise KernelError(EINVAL, f"unknown flags {flags:#x}")
    if flags & MPOL_F_MEMS_ALLOWED:
        if flags & (MPOL_F_NODE | MPOL_F_ADDR):
            raise KernelError(EINVAL, "MEMS_ALLOWED stands alone")
        return MPOL_DEFAULT, ctx.mems_allowed

    policy, vma = ctx.policy, None
    if flags & MPOL_F_ADDR:
        with mmap_read_lock(mm):
            vma = vma_lookup(mm, addr)
            if vma is None:
                raise KernelError(EFAULT, f"nothing is mapped at {addr:#x}")
            policy = get_vma_policy(vma, addr)
    elif addr:
        raise KernelError(EINVAL, "an address without MPOL_F_ADDR")

    if not flags & MPOL_F_NODE:
        mode = MPOL_DEFAULT if policy is None else policy.mode | policy.flags & MPOL_MODE_FLAGS
    elif vma is not None:
        mode = _lookup_node(mem, mm, ctx, addr)
    else:
        mode = _next_interleave_node(ctx, policy)
    return mode, get_policy_nodemask(policy)


def _next_interleave_node(ctx: AllocCtx, policy: MemPolicy | None) -> int:
    if policy is None or policy.mode not in (MPOL_INTERLEAVE, MPOL_WEIGHTED_INTERLEAVE):
        raise KernelError(EINVAL, "the task does not interleave")
    if policy.mode == MPOL_WEIGHTED_INTERLEAVE and ctx.il_weight:
        return ctx.il_prev  # it has not had all its pages yet
    return next_node_in(ctx.il_prev, policy.nodes)


def _lookup_node(mem: MemMap, mm: MmStruct, ctx: AllocCtx, addr: int) -> int:
    """Node of the page at ``addr``, which is made present first if it is not."""
    faultin_page(mm, ctx, addr & PAGE_MASK)
    word = pagemap(mm, addr & PAGE_MASK, 1)
    return mem.node_of(int(word[0]) & ((1 << 55) - 1))


def do_mbind(
    mem: MemMap,
    mm: MmStruct,
    ctx: AllocCtx,
    start: int,
    length: int,
    mode: int,
    mode_flags: int,
    nodes: int,
    flags: int,
    *,
    sys_nice: bool = True,
) -> int:
    """mbind(2): the policy of [start, start + length), and what becomes of pages that are elsewhere. Returns
    0.

    flags: STRICT: misplaced pages are an error. MOVE: move them, if nobody else maps them; MOVE_ALL: move
    all, which takes CAP_SYS_NICE (``sys_nice``). A page is misplaced if its node is not in ``nodes``, the
    user's mask; so where that is empty (default, local), every page is moved to where the policy puts it now.

    Raises KernelError, in this order: EINVAL (flags), EPERM, EINVAL (alignment, range, policy), EFAULT (a
    hole, or nothing but holes for the default policy) and EIO (STRICT without MOVE met a misplaced page):
    nothing has changed. ENOMEM: too many areas; those before have the policy. EIO with STRICT and MOVE: the
    policy holds, what could be moved has moved, something is left.
    """
    if flags & ~MPOL_MF_VALID:
        raise KernelError(EINVAL, f"unknown flags {flags:#x}")
    if flags & MPOL_MF_MOVE_ALL and not sys_nice:
        raise KernelError(EPERM, "MPOL_MF_MOVE_ALL needs CAP_SYS_NICE")
    end = _range_end(start, length)
    if mode == MPOL_DEFAULT:
        flags &= ~MPOL_MF_STRICT
    if end == start:
        return 0
    policy = mpol_new(mode, mode_flags, nodes, ctx.mems_allowed, mem.memory_nodes)
    if flags & (MPOL_MF_MOVE | MPOL_MF_MOVE_ALL):
        lru_cache_disable(mem)

    engine = engine_of(mem)
    ledger = new_ledger(mem, ctx, engine.name, "mempolicy_mbind")
    with movable_pages(mem, ctx, ledger) as pages:
        with mmap_write_lock(mm, ctx):
            ilx = _queue_pages_range(mem, mm, start, end, nodes, flags, policy is None, pages, ledger, engine)
            _mbind_areas(mm, start, end, policy)
        failed = pages.nr_failed > 0
        if len(pages):
            publish(mem, ledger)
            # Without a policy the task's own decides.
            target = Target(policy=ctx.policy if policy is None else policy, ilx=ilx)
            failed |= engine.migrate(mem, ctx, pages, target, ledger) != 0
    if failed and flags & MPOL_MF_STRICT:
        raise KernelError(EIO, "not every page is where the policy wants it")
    return 0


def _range_end(start: int, length: int) -> int:
    """Where the pages of a range end; a length within a page of 2**64 is rounded to 0 first."""
    if offset_in_page(start):
        raise KernelError(EINVAL, "start is not page aligned")
    end = start + page_align(length) & MASK64
    if end < start:
        raise KernelError(EINVAL, "the range wraps round the end of the address space")
    return end


def _queue_pages_range(
    mem: MemMap,
    mm: MmStruct,
    start: int,
    end: int,
    nodes: int,
    flags: int,
    holes_ok: bool,
    pages: PageList,
    ledger: Ledger,
    engine: Engine,
) -> int:
    """Go through the areas of the range: check for holes, and collect in ``pages`` what is misplaced.

    Returns the base to which interleaving adds the index of a page, that of the first area that has any: an area's
    page offset counts for anonymous memory, for a file its number is added.
    Raises KernelError: EFAULT (a hole, found when the walk comes to it, or no area at all), EIO (STRICT
    alone).
    """
    before = mem.hw.now
    flags |= engine.flags
    nodes &= MASK64  # a mask of 1024 bits may name nodes that no machine here has
    ledger.begin(0)
    vma = find_vma_intersection(mm, start, end)
    if vma is None or (start < vma.start and not holes_ok):
        raise KernelError(EFAULT, "the range begins with a hole")
    first: VMA | None = None
    while vma is not None:
        next_ = vma_next(mm, vma)
        if vma.end < end and not holes_ok and (next_ is None or vma.end < next_.start):
            raise KernelError(EFAULT, f"there is a hole at {vma.end:#x}")
        # What cannot be migrated is looked at only to be complained about; hugetlb was not, while it could not move.
        migratable = not vma.flags & (VM_IO | VM_PFNMAP | engine.passes_over)
        if not migratable and flags & MPOL_MF_VALID in (MPOL_MF_MOVE, MPOL_MF_MOVE_ALL):
            why_not = why_passed_over(vma.flags & engine.passes_over)
            ledger.areas.append((max(start, vma.start), min(end, vma.end), why_not))
        strict = flags & MPOL_MF_STRICT and not vma.flags & engine.passes_over & VM_HUGETLB
        if flags and (migratable or strict):
            low, high = max(start, vma.start), min(end, vma.end)
            _, why, _ = mem.k.migrate.queue_range(mem, mm, low, high, nodes, True, flags, pages, migratable)
            if first is None and len(pages):
                first = vma
            if why == Why.STRICT:
                raise KernelError(EIO, "a page is not where the policy wants it")
        vma = next_ if next_ is not None and next_.start < end else None
    isolating = len(pages) * mem.hw.cost["isolate_page"]
    ledger.walked(mem.hw.now - before, pages.scanned, isolating, pages.nr_shared, pages.nr_failed)
    return 0 if first is None else interleave_base(first)


def _mbind_areas(mm: MmStruct, start: int, end: int, policy: MemPolicy | None) -> None:
    """Give every area in the range, or its part in the range, the policy."""
    at = start
    while (vma := find_vma_intersection(mm, at, end)) is not None:
        at = _mbind_range(mm, vma, max(at, vma.start), min(end, vma.end), policy).end


def _mbind_range(mm: MmStruct, vma: VMA, start: int, end: int, policy: MemPolicy | None) -> VMA:
    """A part of one area; an area that has an equal policy is left as it is. Returns the area there now."""
    if mpol_equal(vma.policy, policy):
        return vma
    vma = vma_modify(mm, vma, start, end, policy=policy)
    if shmem_mapping(vma) is not None:
        set_shared_policy(vma, policy)
    return vma


def do_set_home_node(mm: MmStruct, ctx: AllocCtx, start: int, length: int, node: int) -> None:
    """set_mempolicy_home_node(2): where allocation under bind and preferred (many) begins. Holes do not
    matter.

    Raises KernelError: EINVAL (alignment, range, a node that does not exist), EOPNOTSUPP (an area with
    another kind of policy; those before it keep the change), ENOENT (no area in the range has a policy),
    ENOMEM (too many areas).
    """
    if offset_in_page(start):
        raise KernelError(EINVAL, "start is not page aligned")
    if node not in mm.mem.topology.node_ids:
        raise KernelError(EINVAL, f"node {node} does not exist")
    end = _range_end(start, length)
    if end == start:
        return
    with mmap_write_lock(mm, ctx):
        _set_home_node(mm, start, end, node)


def _set_home_node(mm: MmStruct, start: int, end: int, node: int) -> None:
    """Area by area, as far as their policies have a home node."""
    found = False
    at = start
    while (vma := find_vma_intersection(mm, at, end)) is not None:
        low, high = max(at, vma.start), min(end, vma.end)
        policy = vma.policy
        if policy is not None:
            if policy.mode not in (MPOL_BIND, MPOL_PREFERRED_MANY):
                raise KernelError(EOPNOTSUPP, "only bind and preferred (many) have a home node")
            vma = _mbind_range(mm, vma, low, high, _with_home_node(policy, node))
            found = True
        at = vma.end
    if not found:
        raise KernelError(ENOENT, "no area in the range has a policy")


def _with_home_node(policy: MemPolicy, node: int) -> MemPolicy:
    return MemPolicy(
        policy.mode,
        policy.flags,
        policy.nodes,
        node,
        user_nodemask=policy.user_nodemask,
        cpuset_mems_allowed=policy.cpuset_mems_allowed,
    )
