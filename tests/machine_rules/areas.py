"""Rules for what is mapped: mmap, munmap, mprotect, mlock, madvise, mremap."""

from __future__ import annotations

from errno import EFAULT, EINVAL, ENOMEM
from itertools import takewhile

import hypothesis.strategies as st
from hypothesis.stateful import precondition, rule

from numalab.arch._pagetable import PTE_DIRTY
from numalab.mm._constants import PG_dirty
from numalab.mm.mman import (
    MADV_COLD,
    MADV_DOFORK,
    MADV_DONTFORK,
    MADV_DONTNEED,
    MADV_FREE,
    MADV_KEEPONFORK,
    MADV_PAGEOUT,
    MADV_POPULATE_READ,
    MADV_POPULATE_WRITE,
    MADV_WILLNEED,
    MADV_WIPEONFORK,
    MAP_ANONYMOUS,
    MAP_FIXED,
    MAP_POPULATE,
    MAP_PRIVATE,
    MAP_SHARED,
    MCL_CURRENT,
    MLOCK_ONFAULT,
    MREMAP_DONTUNMAP,
    MREMAP_FIXED,
    MREMAP_MAYMOVE,
    PROT_EXEC,
    PROT_READ,
    PROT_WRITE,
)

from tests.machine_rules.base import MAPPED, PFN_MASK, Base, Process, counts, places, who
from tests.memory_model import PAGE, ZEROS, Page, Shared

__all__ = ["AreaRules"]

RW = PROT_READ | PROT_WRITE
ANON = MAP_PRIVATE | MAP_ANONYMOUS

few = st.integers(1, 8)
prots = st.sampled_from((RW, RW, RW, PROT_READ, 0, RW | PROT_EXEC))
fork_advice = st.sampled_from((MADV_DONTFORK, MADV_DOFORK, MADV_WIPEONFORK, MADV_KEEPONFORK))
mremap_flags = st.sampled_from(
    (0, MREMAP_MAYMOVE, MREMAP_MAYMOVE | MREMAP_FIXED, MREMAP_MAYMOVE | MREMAP_DONTUNMAP)
)


#: Advice that moves pages between memory and swap.
aging = st.sampled_from((MADV_PAGEOUT, MADV_PAGEOUT, MADV_COLD, MADV_WILLNEED))


class AreaRules(Base):
    """Each rule knows what the call must answer, holes and locks in its range included."""

    @rule(number=who, at=places, count=counts, prot=prots, populate=st.booleans())
    @precondition(Base.has_processes)
    def map_there(self, number: int, at: int, count: int, prot: int, populate: bool) -> None:
        process = self.pick(number)
        self.map_at(process, self.place(process, at), self.size(count), prot, MAP_POPULATE if populate else 0)

    def map_at(self, process: Process, vpn: int, count: int, prot: int, more: int = 0) -> None:
        """mmap() at a given place, whatever is there already."""
        flags = ANON | MAP_FIXED | more
        result = self.act(process, lambda sys: sys.mmap(count * PAGE, prot, flags, addr=vpn * PAGE))
        if result is not None:
            assert result == vpn * PAGE
            process.image.pages.update(dict.fromkeys(range(vpn, vpn + count), Page(prot)))

    @rule(number=who, at=places, count=counts, prot=prots)
    @precondition(Base.has_processes)
    def map_shared(self, number: int, at: int, count: int, prot: int) -> None:
        """Memory that children will have in common."""
        process, count = self.pick(number), self.size(count)
        self.share_at(process, self.place(process, at), count, prot)

    def share_at(self, process: Process, vpn: int, count: int, prot: int) -> None:
        flags = MAP_SHARED | MAP_ANONYMOUS | MAP_FIXED
        if self.act(process, lambda sys: sys.mmap(count * PAGE, prot, flags, addr=vpn * PAGE)) is not None:
            shared: Shared = {}
            process.image.pages.update({vpn + i: Page(prot, shared=shared, index=i) for i in range(count)})

    @rule(number=who, count=counts, prot=prots)
    @precondition(Base.has_processes)
    def map_anywhere(self, number: int, count: int, prot: int) -> None:
        count = self.size(count)
        process = self.pick(number)
        result = self.act(process, lambda sys: sys.mmap(count * PAGE, prot))
        assert result is not None
        assert result > 0
        assert not process.image.mapped(result // PAGE, count)
        process.image.pages.update(dict.fromkeys(range(result // PAGE, result // PAGE + count), Page(prot)))

    @rule(number=who, end=st.integers(0, 24 * PAGE))
    @precondition(Base.has_processes)
    def brk(self, number: int, end: int) -> None:
        """The heap grows and shrinks, unless something is in its way; the answer says where it ends."""
        process = self.pick(number)
        mm = process.program.mm
        old, wanted = mm.brk, mm.start_brk + end
        result = self.act(process, lambda sys: sys.brk(wanted))
        assert result in (old, wanted)
        before, after = -(-old // PAGE), -(-result // PAGE)
        process.image.remove(after, before - after)
        process.image.pages.update(dict.fromkeys(range(before, after), Page(RW)))

    @rule(number=who, at=places, count=counts)
    @precondition(Base.has_processes)
    def munmap(self, number: int, at: int, count: int) -> None:
        count = self.size(count)
        process = self.pick(number)
        vpn = self.place(process, at)
        assert self.act(process, lambda sys: sys.munmap(vpn * PAGE, count * PAGE)) == 0
        process.image.remove(vpn, count)

    @rule(number=who, at=places, count=counts, prot=prots)
    @precondition(Base.has_processes)
    def mprotect(self, number: int, at: int, count: int, prot: int) -> None:
        count = self.size(count)
        process = self.pick(number)
        vpn = self.place(process, at)
        result = self.act(process, lambda sys: sys.mprotect(vpn * PAGE, count * PAGE, prot), enomem=True)
        if result is not None:
            reached = list(process.image.run(vpn, count))
            assert result == (0 if len(reached) == count else -ENOMEM)
            process.image.change(reached, prot=prot)

    @rule(number=who, at=places, count=counts, flags=st.sampled_from((0, MLOCK_ONFAULT)))
    @precondition(Base.has_processes)
    def mlock(self, number: int, at: int, count: int, flags: int) -> None:
        """Locks up to the first hole; then all of it must be had, unless only on fault."""
        count = self.size(count)
        process = self.pick(number)
        vpn = self.place(process, at)
        result = self.act(process, lambda sys: sys.mlock2(vpn * PAGE, count * PAGE, flags), enomem=True)
        if result is not None:
            pages = process.image.pages
            reached = list(process.image.run(vpn, count))
            good = len(reached) == count and (flags or all(pages[page].prot for page in reached))
            assert result == (0 if good else -ENOMEM)
            process.image.change(reached, locked=True)

    @rule(number=who, at=places, count=counts)
    @precondition(Base.has_processes)
    def munlock(self, number: int, at: int, count: int) -> None:
        count = self.size(count)
        process = self.pick(number)
        vpn = self.place(process, at)
        reached = list(process.image.run(vpn, count))
        result = self.act(process, lambda sys: sys.munlock(vpn * PAGE, count * PAGE), enomem=True)
        assert result == (0 if len(reached) == count else -ENOMEM)
        process.image.change(reached, locked=False)

    @rule(number=who, lock=st.booleans())
    @precondition(Base.has_processes)
    def mlockall(self, number: int, lock: bool) -> None:
        """Everything that is mapped now is locked, the stack included; what cannot be had is let be."""
        process = self.pick(number)
        if self.act(process, lambda sys: sys.mlockall(MCL_CURRENT) if lock else sys.munlockall()) is not None:
            process.image.change(process.image.pages, locked=lock)

    @rule(number=who, at=places, count=counts, write=st.booleans())
    @precondition(Base.has_processes)
    def madvise_populate(self, number: int, at: int, count: int, write: bool) -> None:
        """As if each page were touched, up to the first hole or the first that may not be."""
        count = self.size(count)
        process = self.pick(number)
        vpn = self.place(process, at)
        advice, right = (MADV_POPULATE_WRITE, PROT_WRITE) if write else (MADV_POPULATE_READ, PROT_READ)
        reached = self.allowed(process, vpn, count, right)
        hole = vpn + reached not in process.image.pages
        result = self.act(process, lambda sys: sys.madvise(vpn * PAGE, count * PAGE, advice), enomem=True)
        if result is not None:
            assert result == (0 if reached == count else -ENOMEM if hole else -EINVAL)

    @rule(
        number=who,
        at=places,
        count=counts,
        advice=st.sampled_from((MADV_PAGEOUT, MADV_PAGEOUT, MADV_COLD, MADV_WILLNEED)),
    )
    @precondition(Base.has_processes)
    def madvise_aging(self, number: int, at: int, count: int, advice: int) -> None:
        """Pages go to swap, or come from there, or age; what is in them does not change."""
        count = self.size(count)
        process = self.pick(number)
        vpn = self.place(process, at)
        result = self.act(process, lambda sys: sys.madvise(vpn * PAGE, count * PAGE, advice), enomem=True)
        mapped = process.image.mapped(vpn, count)
        locked = advice != MADV_WILLNEED and any(process.image.pages[page].locked for page in mapped)
        assert result is None or result == (-EINVAL if locked else 0 if len(mapped) == count else -ENOMEM)

    @rule(number=who)
    @precondition(Base.has_processes)
    def swapoff_and_on(self, number: int) -> None:
        """Everything comes back, as far as there is room for it."""
        process = self.pick(number)
        result = self.act(process, lambda sys: sys.swapoff("/dev/ram0"), enomem=True)
        assert result in (None, 0, -ENOMEM)
        if result == 0:
            assert self.act(process, lambda sys: sys.swapon("/dev/ram0", 0)) in (0, None)

    @rule(number=who, at=places, count=counts)
    @precondition(Base.has_processes)
    def madvise_dontneed(self, number: int, at: int, count: int) -> None:
        """Pages turn to zeros, up to the first that is locked; holes are passed over, and complained about."""
        count = self.size(count)
        process = self.pick(number)
        vpn = self.place(process, at)
        pages = process.image.pages
        mapped = process.image.mapped(vpn, count)
        locked = [page for page in mapped if pages[page].locked]
        result = self.act(
            process, lambda sys: sys.madvise(vpn * PAGE, count * PAGE, MADV_DONTNEED), enomem=True
        )
        assert result == (-EINVAL if locked else 0 if len(mapped) == count else -ENOMEM)
        process.image.change([page for page in mapped if not locked or page < locked[0]], content=ZEROS)

    @rule(number=who, at=places, count=counts, page_out=st.booleans())
    @precondition(Base.has_processes)
    def madvise_free(self, number: int, at: int, count: int, page_out: bool) -> None:
        """Pages may turn to zeros, up to the first that is locked or shared; holes are passed over, and complained
        about. page_out: now, as far as nobody else has them.
        """
        process, count = self.pick(number), self.size(count)
        vpn = self.place(process, at)
        pages = process.image.pages
        mapped = process.image.mapped(vpn, count)
        refused = [page for page in mapped if pages[page].locked or pages[page].shared is not None]
        result = self.act(process, lambda sys: sys.madvise(vpn * PAGE, count * PAGE, MADV_FREE), enomem=True)
        assert result == (-EINVAL if refused else 0 if len(mapped) == count else -ENOMEM)
        given_up = [page for page in mapped if not refused or page < refused[0]]
        self.may_be_lost(given_up, process)
        if page_out:
            self.act(process, lambda sys: sys.madvise(vpn * PAGE, count * PAGE, MADV_PAGEOUT), enomem=True)

    def may_be_lost(self, given_up: list[int], process: Process) -> None:
        """Linux asks whether somebody has written to a page, and not whether he who did has given it up: who has read
        it back from swap, or has it by a fork since, and never wrote to it may lose it too.
        """
        process.image.change(given_up, lost=ZEROS)
        frames = {pte & PFN_MASK for pte in self.ptes(process, given_up).values() if pte & MAPPED}
        for other in self.processes:
            private = [page for page, what in other.image.pages.items() if what.shared is None]
            for vpn, pte in self.ptes(other, private).items():
                dirty = pte & PTE_DIRTY or int(self.mem.hot["flags"][(pte & PFN_MASK) >> 12]) & PG_dirty
                if pte & MAPPED and pte & PFN_MASK in frames and not dirty:
                    other.image.change([vpn], lost=ZEROS)

    @rule(number=who, at=places, count=counts, advice=fork_advice)
    @precondition(Base.has_processes)
    def madvise_fork(self, number: int, at: int, count: int, advice: int) -> None:
        """What shall become of a range in children."""
        count = self.size(count)
        process = self.pick(number)
        vpn = self.place(process, at)
        reached = list(process.image.run(vpn, count))
        if advice == MADV_WIPEONFORK:  # shared memory refuses
            pages = process.image.pages
            reached = list(takewhile(lambda page: pages[page].shared is None, reached))
        # DONTFORK and WIPEONFORK are flags of their own; the model has one of them, so the other goes first.
        undo = MADV_KEEPONFORK if advice in (MADV_DONTFORK, MADV_DOFORK) else MADV_DOFORK
        for wanted in (undo, advice):
            length = len(reached) * PAGE
            assert self.act(process, lambda sys, a=wanted: sys.madvise(vpn * PAGE, length, a)) == 0  # type: ignore[misc] # noqa: B023
        fork = {MADV_DONTFORK: "drop", MADV_WIPEONFORK: "wipe"}.get(advice, "copy")
        process.image.change(reached, fork=fork)

    @rule(number=who, at=places, count=few, size=few, to=places, flags=mremap_flags)
    @precondition(Base.has_processes)
    def mremap(self, number: int, at: int, count: int, size: int, to: int, flags: int) -> None:
        process = self.pick(number)
        old, new = self.place(process, at), self.place(process, to)
        self.remap(process, old, self.size(count), self.size(size), flags, new)

    def remap(self, process: Process, old: int, count: int, size: int, flags: int, new: int) -> None:
        """Grow, shrink and move. A range that leaves its area is EFAULT, which the model cannot foresee."""
        image = process.image
        if flags & MREMAP_DONTUNMAP:
            size = count
        if any(image.pages[page].shared is not None for page in image.mapped(old, count)) and size > count:
            return  # beyond the end of shared memory there is nothing to be had
        if old not in image.pages or (flags & MREMAP_FIXED and old < new + size and new < old + count):
            return
        target = new * PAGE if flags & MREMAP_FIXED else 0
        arguments = (old * PAGE, count * PAGE, size * PAGE, flags, target)
        result = self.act(process, lambda sys: sys.mremap(*arguments), enomem=True)
        if result is None:
            return
        in_place = size <= count and not flags & (MREMAP_FIXED | MREMAP_DONTUNMAP)
        if flags & MREMAP_FIXED:
            image.remove(new, size)  # even if the move itself is refused
        if flags & MREMAP_FIXED or in_place:
            image.remove(old + size, count - size)
        if in_place:
            assert result == old * PAGE
        elif result < 0:
            assert result in (-EFAULT, -ENOMEM)
        else:
            self.moved(
                process, old, result // PAGE, min(count, size), size, keep=bool(flags & MREMAP_DONTUNMAP)
            )

    def moved(self, process: Process, old: int, new: int, count: int, size: int, *, keep: bool) -> None:
        """``count`` pages went from old to new, where there are ``size`` now; keep: the old place stays, empty."""
        image = process.image
        pages = [image.pages[old + i] for i in range(count)]
        if keep:
            image.change(range(old, old + count), content=ZEROS, locked=False)
        else:
            image.remove(old, count)
        first = pages[0]
        pages += [Page(first.prot, ZEROS, first.locked, first.policy, first.fork)] * (size - count)
        image.pages.update(zip(range(new, new + size), pages, strict=True))
