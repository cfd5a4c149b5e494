"""The few objects of mm that are Python objects: address spaces, VMAs, anon_vmas, policies.

Each is a cdef class around the C struct that the kernels read (``_mm_types.pxd``), so nothing is
kept twice. ``MemMap`` is bound to the flat arrays by ``mm/mmzone.py``.

Mirrors include/linux/mm_types.h and rmap.h. Deliberately different: an anon_vma holds an array of its VMAs, with a
tree over it only if they are many, and pages name it by number instead of by pointer.
"""

from libc.stdlib cimport calloc, free, realloc
from libc.string cimport memmove, memset
from libc.stdint cimport int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t, uintptr_t

from numalab.arch._hw cimport Hardware
from numalab.arch._mmdebug cimport config_debug_vm
from numalab.arch._pagetable cimport PTE_ACCESSED, PTE_NX, PTE_PRESENT, PTE_PROTNONE, PTE_RW, PTE_USER
from numalab.mm._xarray cimport xa_destroy, xa_find, xa_load, xa_reserve, xarray

cdef uint32_t MAX_ASID = 65535

# Is this a debug build (arch/_mmdebug.pxd)? Then machines run with debug_vm.
CONFIG_DEBUG_VM = bool(config_debug_vm)


cdef class MemMap:
    """All that mm knows of one machine's memory: struct pages, zones, LRU, counters; ``mm/mmzone.py`` allocates the
    arrays and binds them, see there for their numpy names.
    """

    def __cinit__(self, Hardware hw, *args, **kwargs):
        self.hw = hw
        self.m.h = &hw.h
        self.m.anon_size = 0
        self.m.mms = <mm_c **>calloc(MAX_ASID + 1, sizeof(mm_c *))
        if self.m.mms == NULL:
            raise MemoryError
        self._roots = {}
        self._anon_free = []
        self._mms = {}
        self._asid_free = []
        self.asid_top = 1
        self.anon_top = 1

    def __dealloc__(self):
        free(self.m.anon)
        free(self.m.mms)

    def bind(self, name: str, array) -> None:
        """Point the C half at ``array`` (numpy, C-contiguous) and keep it under ``name``."""
        cdef uintptr_t address = array.ctypes.data
        if name == "hot":
            self.m.hot = <page *>address
        elif name == "cold":
            self.m.cold = <page_cold *>address
        elif name == "order":
            self.m.order = <uint8_t *>address
        elif name == "section_node":
            self.m.section_node = <uint8_t *>address
        elif name == "section_zone":
            self.m.section_zone = <uint16_t *>address
        elif name == "zones":
            self.m.zones = <zone *>address
            self.m.nr_zones = len(array)
        elif name == "zonelist":
            self.m.zonelist = <int32_t *>address
            self.m.nr_nodes = len(array)
        elif name == "pcps":
            self.m.pcps = <pcp *>address
        elif name == "lrus":
            self.m.lrus = <lru_list *>address
        elif name == "chunks":
            self.m.chunks = <uint32_t *>address
        elif name == "trail":
            self.m.trail = <uint32_t *>address
        elif name == "trail_top":
            self.m.trail_top = <uint32_t *>address
        elif name == "fbatches":
            self.m.fbatches = <cpu_fbatches *>address
        elif name == "node_stat":
            self.m.node_stat = <int64_t *>address
        elif name == "event":
            self.m.event = <int64_t *>address
        elif name == "swap":
            self.m.swap = <swap_info *>address
        elif name == "bdi":
            self.m.bdi = <backing_dev *>address
        elif name == "weights":
            self.m.weight = <uint8_t *>address
        else:
            raise KeyError(name)
        setattr(self, name, array)

    def mm_of(self, uint32_t asid):
        """The address space with this number. Raises KeyError: there is none."""
        return self._mms[asid]

    @property
    def memory_nodes(self) -> int:
        """N_MEMORY as a node mask."""
        return self.m.memory_nodes

    @memory_nodes.setter
    def memory_nodes(self, uint64_t mask):
        self.m.memory_nodes = mask

    @property
    def normal_nodes(self) -> int:
        """N_NORMAL_MEMORY: nodes with memory that is not all movable."""
        return self.m.normal_nodes

    @normal_nodes.setter
    def normal_nodes(self, uint64_t mask):
        self.m.normal_nodes = mask

    @property
    def zero_pfn(self) -> int:
        """The shared zero page."""
        return self.m.zero_pfn

    @zero_pfn.setter
    def zero_pfn(self, uint32_t pfn):
        self.m.zero_pfn = pfn

    @property
    def debug(self) -> bool:
        """debug_vm=1: freed frames are poisoned, and the poison is looked at when they are taken."""
        return bool(self.m.debug)

    @debug.setter
    def debug(self, bint on):
        self.m.debug = on

    @property
    def corrupted(self) -> int:
        """The first frame that was seen to have been written to while it was free, when it was taken; 0 = none."""
        return self.m.corrupted

    @corrupted.setter
    def corrupted(self, uint32_t pfn):
        self.m.corrupted = pfn

    def node_of(self, uint64_t pfn) -> int:
        """Node of a frame; ValueError in a hole."""
        if pfn >= self.m.h.nr_frames or self.m.section_node[pfn >> SECTION_SHIFT] == 0xff:
            raise ValueError(f"frame {pfn} is in no node")
        return self.m.section_node[pfn >> SECTION_SHIFT]

    def alloc_asid(self) -> int:
        """A number for a new address space, 1..65535; MemoryError when all are in use."""
        if self._asid_free:
            return self._asid_free.pop()
        if self.asid_top > MAX_ASID:
            raise MemoryError("all 65535 address space numbers are in use")
        self.asid_top += 1
        return self.asid_top - 1

    def rmap_root(self, uint64_t id) -> RmapRoot | None:
        """The AnonVma or AddressSpace with an id; None = no such."""
        return self._roots.get(id)

    def mappings(self) -> list[AddressSpace]:
        """Every file that has pages or mappings."""
        roots = [self.rmap_root(id) for id in range(self.anon_top)]
        return [root for root in roots if isinstance(root, AddressSpace)]

    cdef int _register(self, RmapRoot root) except -1:
        cdef uint32_t size
        cdef anon_c **table
        if self._anon_free:
            root.id = self._anon_free.pop()
        else:
            root.id = self.anon_top
            self.anon_top = root.id + 1
            if root.id >= self.m.anon_size:
                size = max(64, 2 * self.m.anon_size)
                table = <anon_c **>realloc(self.m.anon, size * sizeof(anon_c *))
                if table == NULL:
                    raise MemoryError
                memset(&table[self.m.anon_size], 0, (size - self.m.anon_size) * sizeof(anon_c *))
                self.m.anon = table
                self.m.anon_size = size
        self._roots[root.id] = root
        self.m.anon[root.id] = root.a
        return 0


cdef class MemPolicy:
    """A memory policy (struct mempolicy). Once installed it is never changed, only replaced.

    mode: MPOL_*; flags: MPOL_F_*; nodes: the effective mask; home_node: -1 = none.
    """

    def __init__(self, int mode, int flags=0, uint64_t nodes=0, int home_node=-1,
                 user_nodemask=0, cpuset_mems_allowed=0):
        self.p.mode = mode
        self.p.flags = flags
        self.p.nodes = nodes
        self.p.home_node = home_node
        self.user_nodemask = user_nodemask
        self.cpuset_mems_allowed = cpuset_mems_allowed

    @property
    def mode(self) -> int:
        return self.p.mode

    @property
    def flags(self) -> int:
        return self.p.flags

    @property
    def nodes(self) -> int:
        return self.p.nodes

    @property
    def home_node(self) -> int:
        return self.p.home_node

    def __repr__(self) -> str:
        return (f"MemPolicy(mode={self.mode}, flags={self.flags:#x}, nodes={self.nodes:#x}, "
                f"home_node={self.home_node})")


cdef class AllocCtx:
    """What an allocation needs to know of whoever asks: one per task."""

    def __init__(self, uint32_t cpu, int nid, uint64_t mems_allowed):
        self.c.cpu = cpu
        self.c.nid = nid
        self.c.mems_allowed = mems_allowed
        self.c.il_prev = MAX_NUMNODES - 1

    @property
    def cpu(self) -> int:
        return self.c.cpu

    @cpu.setter
    def cpu(self, uint32_t cpu):
        self.c.cpu = cpu

    @property
    def nid(self) -> int:
        """numa_node_id(): the node of the cpu, with memory or without."""
        return self.c.nid

    @nid.setter
    def nid(self, int nid):
        self.c.nid = nid

    @property
    def mems_allowed(self) -> int:
        return self.c.mems_allowed

    @mems_allowed.setter
    def mems_allowed(self, uint64_t mask):
        self.c.mems_allowed = mask

    @property
    def gfp(self) -> int:
        """GFP_* bits added to every request (GFP_HARDWALL in a cpuset, GFP_MEMALLOC for a victim)."""
        return self.c.gfp

    @gfp.setter
    def gfp(self, uint32_t gfp):
        self.c.gfp = gfp

    @property
    def policy(self) -> MemPolicy | None:
        """The task's policy; None = default."""
        return self._policy

    @policy.setter
    def policy(self, MemPolicy policy):
        self._policy = policy
        self.c.policy = NULL if policy is None else &policy.p

    @property
    def il_prev(self) -> int:
        return self.c.il_prev

    @il_prev.setter
    def il_prev(self, int nid):
        self.c.il_prev = nid

    @property
    def il_weight(self) -> int:
        return self.c.il_weight

    @il_weight.setter
    def il_weight(self, uint32_t weight):
        self.c.il_weight = weight

    @property
    def min_flt(self) -> int:
        return self.c.min_flt

    @min_flt.setter
    def min_flt(self, int64_t n):
        self.c.min_flt = n

    @property
    def maj_flt(self) -> int:
        return self.c.maj_flt

    @maj_flt.setter
    def maj_flt(self, int64_t n):
        self.c.maj_flt = n


cdef class VMA:
    """One virtual memory area: [start, end) bytes of an address space with one set of rules."""

    def __init__(self, MmStruct mm not None, uint64_t start, uint64_t end, uint64_t pgoff, uint64_t flags):
        self.mm = mm
        self.v.mm = &mm.c
        self.v.start = start
        self.v.end = end
        self.v.pgoff = pgoff
        self.chain = []
        self.slots = []
        self.flags = flags

    @property
    def start(self) -> int:
        return self.v.start

    @property
    def end(self) -> int:
        return self.v.end

    @property
    def pgoff(self) -> int:
        """Index of the first page in its mapping (anonymous: its address / 4096 when mapped)."""
        return self.v.pgoff

    def set_range(self, uint64_t start, uint64_t end, uint64_t pgoff) -> None:
        """vma_set_range(), and what vma_prepare() and vma_complete() do to the trees that it is in."""
        roots = [*zip(self.chain, self.slots)] + ([] if self._mapping is None else [(self._mapping, self._slot)])
        cdef RmapRoot root
        for root, slot in roots:
            rmap_remove(root.a, slot)
        self.v.start, self.v.end, self.v.pgoff = start, end, pgoff
        for root, slot in roots:
            rmap_insert(root.a, slot)

    @property
    def flags(self) -> int:
        """VM_*; setting them recomputes ``prot``."""
        return self.v.flags

    @flags.setter
    def flags(self, uint64_t flags):
        # vm_get_page_prot(): a private mapping never starts out writable, its first write is a COW fault
        cdef uint64_t prot = PTE_USER | PTE_ACCESSED
        self.v.flags = flags
        # PROT_EXEC alone gets the execute-only protection key: no data access, which is all that we can see
        if flags & (VM_READ | VM_WRITE):
            prot |= PTE_PRESENT
        else:
            prot |= PTE_PROTNONE
        # vma_wants_writenotify(): a page of a file on a disk stays read-only until its first write is known
        if flags & VM_WRITE and flags & VM_SHARED and (self.v.mapping == NULL or self.v.mapping.bdi == 0):
            prot |= PTE_RW
        if not flags & VM_EXEC:
            prot |= PTE_NX()
        self.v.prot = prot

    @property
    def prot(self) -> int:
        """vm_page_prot: PTE bits of a page mapped here."""
        return self.v.prot

    @property
    def policy(self) -> MemPolicy | None:
        return self._policy

    @policy.setter
    def policy(self, MemPolicy policy):
        self._policy = policy
        self.v.policy = NULL if policy is None else &policy.p

    def attach_file(self, file) -> None:
        """vma_link_file(): map a MappedFile (mm/filemap.py), which gets one reference more."""
        self.file = file
        self._mapping = file.mapping
        self.v.mapping = &self._mapping.c
        self._slot = self._mapping._append(self)
        self.flags = self.v.flags
        file.get_file()

    def detach_file(self) -> object:
        """unlink_file_vma(): returns the file, whose reference is the caller's now; None if there is no file."""
        if self.file is None:
            return None
        cdef VMA last = self._mapping._remove(self._slot)
        if last is not self:
            last._slot = self._slot
        file, self.file, self._mapping, self.v.mapping = self.file, None, None, NULL
        return file

    @property
    def anon_vma(self) -> AnonVma | None:
        """Where new anonymous pages of this VMA belong; None until the first one."""
        return self._anon_vma

    @anon_vma.setter
    def anon_vma(self, AnonVma anon):
        self._anon_vma = anon
        self.v.anon_id = 0 if anon is None else anon.id

    @property
    def address(self) -> int:
        """Where its C half lies: what the kernels' tables hold (the invariants compare)."""
        return <uintptr_t>&self.v

    def __repr__(self) -> str:
        return f"VMA({self.start:#x}-{self.end:#x} pgoff={self.pgoff:#x} flags={self.flags:#x})"


cdef class RmapRoot:
    """What a page names as its mapping, and the VMAs in which it may be mapped."""

    def __init__(self, MemMap mem not None):
        self.mem = mem
        self.vmas = []
        mem._register(self)

    def close(self) -> None:
        """Give the id back: no VMA and no page names this any more."""
        if self.a.count:
            raise ValueError(f"mapping {self.id} still has {self.a.count} VMAs")
        self.mem.m.anon[self.id] = NULL
        del self.mem._roots[self.id]
        self.mem._anon_free.append(self.id)

    def addresses(self) -> list[int]:
        """``VMA.address`` of each area as the kernels see them, slot by slot."""
        return [<uintptr_t>self.a.vmas[i] for i in range(self.a.count)]

    def areas(self, uint64_t first, uint64_t last) -> list[VMA]:
        """The areas that map any of the pages [first, last], in the order in which they came."""
        cdef uint32_t i
        if self.a.tree.node == NULL:
            return [vma for vma in self.vmas if vma.pgoff <= last and vma_last(&(<VMA>vma).v) >= first]
        return [self.vmas[self.a.tree.found[i]] for i in range(interval_slots(&self.a.tree, first, last))]

    cdef Py_ssize_t _append(self, VMA vma) except -1:
        if self.a.count == self.a.size and not rmap_grow(self.a):
            raise MemoryError
        self.a.vmas[self.a.count] = &vma.v
        self.vmas.append(vma)
        rmap_insert(self.a, self.a.count)
        self.a.count += 1
        return self.a.count - 1

    cdef VMA _remove(self, Py_ssize_t slot):
        """Empty a slot: the last VMA takes it over, so the cost does not grow with their number. Returns that VMA."""
        cdef VMA last = self.vmas.pop()
        rmap_remove(self.a, slot)
        self.a.count -= 1
        if slot < self.a.count:
            self.vmas[slot] = last
            self.a.vmas[slot] = &last.v
            if self.a.tree.node != NULL:
                interval_move(&self.a.tree, self.a.count, slot)
        return last


cdef class AnonVma(RmapRoot):
    """anon_vma: all VMAs that may map one of its pages."""

    def __cinit__(self, *args, **kwargs):
        self.a = &self.anon

    def __init__(self, MemMap mem not None, AnonVma parent=None):
        super().__init__(mem)
        self.parent = self if parent is None else parent
        self.root = self if parent is None else parent.root
        self.anon.root = self.root.id

    def __dealloc__(self):
        rmap_free(&self.anon)

    def attach(self, VMA vma not None) -> None:
        """Put ``vma`` on this anon_vma and this on the VMA's chain."""
        vma.chain.append(self)
        vma.slots.append(self._append(vma))

    def detach(self, VMA vma not None) -> None:
        """Take ``vma`` off again."""
        cdef Py_ssize_t at = vma.chain.index(self), slot = vma.slots[at]
        cdef VMA last = self._remove(slot)
        del vma.chain[at], vma.slots[at]
        if last is not vma:
            last.slots[last.chain.index(self)] = slot


cdef list xa_items(const xarray *xa, uint64_t start, uint64_t end):
    """(index, entry) of all in [start, end) that is not empty, in order."""
    cdef uint64_t index = start
    cdef uint64_t *slot = xa_find(xa, &index, end)
    found = []
    while slot != NULL:
        found.append((index, slot[0]))
        index += 1
        slot = xa_find(xa, &index, end)
    return found


cdef int xa_store(xarray *xa, uint64_t index, uint64_t entry) except -1:
    cdef uint64_t *slot = xa_reserve(xa, index)
    if slot == NULL:
        raise MemoryError
    slot[0] = entry
    return 0


cdef class ShmemSbInfo:
    """shmem_sb_info: how many pages the files of one tmpfs may have together, and how many they have."""

    def __init__(self, uint64_t max_blocks):
        self.c.max_blocks = max_blocks

    @property
    def max_blocks(self) -> int:
        return self.c.max_blocks

    @property
    def used_blocks(self) -> int:
        return self.c.used_blocks

    @used_blocks.setter
    def used_blocks(self, uint64_t n):
        self.c.used_blocks = n


cdef class AddressSpace(RmapRoot):
    """address_space: the pages of a file by index, the VMAs that map it, and the policies of its parts.

    i_size: the length of the file in bytes; sb: where its pages are counted, None = nowhere.
    """

    def __cinit__(self, *args, **kwargs):
        self.a = &self.c.i_mmap

    def __init__(self, MemMap mem not None, uint64_t i_size, ShmemSbInfo sb=None, uint32_t bdi=0):
        super().__init__(mem)
        self._policies = []
        self.c.id = self.id
        self.c.i_size = i_size
        self.sb = sb
        self.c.sb = NULL if sb is None else &sb.c
        self.c.bdi = bdi

    def __dealloc__(self):
        rmap_free(&self.c.i_mmap)
        free(self.c.policies)
        xa_destroy(&self.c.i_pages)
        xa_destroy(&self.c.i_blocks)

    @property
    def i_size(self) -> int:
        return self.c.i_size

    @i_size.setter
    def i_size(self, uint64_t size):
        self.c.i_size = size

    @property
    def size(self) -> int:
        """Pages that the file reaches into; an access beyond is a SIGBUS."""
        return file_pages(&self.c)

    @property
    def nrpages(self) -> int:
        """Pages in memory."""
        return self.c.i_pages.count

    @nrpages.setter
    def nrpages(self, uint64_t n):
        self.c.i_pages.count = n

    @property
    def nr_swapped(self) -> int:
        """Pages that are in swap: a swap entry stands in their place."""
        return self.c.nr_swapped

    @nr_swapped.setter
    def nr_swapped(self, uint64_t n):
        self.c.nr_swapped = n

    def load(self, uint64_t index) -> int:
        """xa_load(): 0, a frame * 2, or a swap entry + 1."""
        return xa_load(&self.c.i_pages, index)

    def entries(self, uint64_t start=0, uint64_t end=<uint64_t>-1) -> list[tuple[int, int]]:
        """(index, entry) of all in [start, end) that is not empty, in order."""
        return xa_items(&self.c.i_pages, start, end)

    def store(self, uint64_t index, uint64_t entry) -> None:
        """xa_store()."""
        xa_store(&self.c.i_pages, index, entry)

    @property
    def bdi(self) -> int:
        """The disk it lies on, a row of ``mem.bdi``; 0: none, it is shared memory."""
        return self.c.bdi

    def blocks(self, uint64_t start=0) -> list[tuple[int, int]]:
        """(index, block) of every page from ``start`` on that has a place on the disk."""
        return xa_items(&self.c.i_blocks, start, <uint64_t>-1)

    def block(self, uint64_t index) -> int:
        """Where a page is on the disk, 0 = nowhere yet."""
        return xa_load(&self.c.i_blocks, index)

    def set_block(self, uint64_t index, uint64_t block) -> None:
        """From now on a page is there on the disk."""
        xa_store(&self.c.i_blocks, index, block)

    @property
    def policies(self) -> list[tuple[int, int, MemPolicy]]:
        """mpol_shared_policy: (start, end, policy) in pages, ascending; where none is, the task's decides."""
        return self._policies

    def replace_policies(self, uint32_t low, uint32_t high, list policies) -> None:
        """Put these where policies[low:high] are. Those behind move along, and nothing else is touched."""
        cdef uint32_t old = self.c.nr_policies, added = len(policies), n
        cdef sp_node *nodes = <sp_node *>realloc(self.c.policies, (old + added + 1) * sizeof(sp_node))
        cdef MemPolicy policy
        if nodes == NULL:
            raise MemoryError
        self.c.policies = nodes
        memmove(&nodes[low + added], &nodes[high], (old - high) * sizeof(sp_node))
        for n, (start, end, policy) in enumerate(policies, low):
            nodes[n].start, nodes[n].end, nodes[n].policy = start, end, &policy.p
        self.c.nr_policies = old - (high - low) + added
        self._policies[low:high] = policies


cdef class MmStruct:
    """One address space (mm_struct): its page tables' root, its VMAs and its counters.

    pgd: physical address of the root table; asid: its number, from ``mem.alloc_asid()``.
    """

    def __init__(self, MemMap mem not None, uint64_t pgd, uint32_t asid):
        self.mem = mem
        self.c.pgd = pgd
        self.c.asid = asid
        self.c.nr_tables += 1
        mem._mms[asid] = self
        mem.m.mms[asid] = &self.c
        self._table_stale = True

    def __dealloc__(self):
        free(self.c.table)

    def close(self) -> None:
        """Give the asid back; the tables must be gone."""
        self.mem.m.mms[self.c.asid] = NULL
        del self.mem._mms[self.c.asid]
        self.mem._asid_free.append(self.c.asid)

    def vmas_changed(self) -> None:
        """Call after every change of ``self.vmas``: the kernels' lookup table is rebuilt when next needed."""
        self._table_stale = True

    def sync_table(self) -> None:
        """Rebuild the kernels' VMA table if a VMA came or went (``self.vmas``: SortedDict start -> VMA)."""
        cdef VMA vma
        cdef uint32_t n = 0, need
        cdef vma_c **table
        if not self._table_stale:
            return
        need = len(self.vmas)
        if need > self.c.table_size:
            table = <vma_c **>realloc(self.c.table, 2 * need * sizeof(vma_c *))
            if table == NULL:
                raise MemoryError
            self.c.table = table
            self.c.table_size = 2 * need
        for vma in self.vmas.values():
            self.c.table[n] = &vma.v
            n += 1
        self.c.nr_vmas = n
        self._table_stale = False

    def table_addresses(self) -> list[int] | None:
        """``VMA.address`` of each area in the kernels' table; None while it waits to be rebuilt."""
        if self._table_stale:
            return None
        return [<uintptr_t>self.c.table[i] for i in range(self.c.nr_vmas)]

    @property
    def pgd(self) -> int:
        return self.c.pgd

    @pgd.setter
    def pgd(self, uint64_t address):
        self.c.pgd = address

    @property
    def asid(self) -> int:
        return self.c.asid

    @property
    def rss_anon(self) -> int:
        """Anonymous pages mapped, migration entries included."""
        return self.c.rss_anon

    @rss_anon.setter
    def rss_anon(self, int64_t n):
        self.c.rss_anon = n

    @property
    def rss_file(self) -> int:
        """Pages of files mapped."""
        return self.c.rss_file

    @rss_file.setter
    def rss_file(self, int64_t n):
        self.c.rss_file = n

    @property
    def rss_shmem(self) -> int:
        """Pages of shared memory mapped."""
        return self.c.rss_shmem

    @rss_shmem.setter
    def rss_shmem(self, int64_t n):
        self.c.rss_shmem = n

    @property
    def rss_swap(self) -> int:
        return self.c.rss_swap

    @rss_swap.setter
    def rss_swap(self, int64_t n):
        self.c.rss_swap = n

    @property
    def nr_tables(self) -> int:
        """Page-table pages, the root included."""
        return self.c.nr_tables

    @nr_tables.setter
    def nr_tables(self, int64_t n):
        self.c.nr_tables = n


def struct_sizes() -> dict[str, int]:
    """Bytes of each C struct: compared with the numpy dtypes of mm/mmzone.py by a test."""
    return {
        "page": sizeof(page),
        "page_cold": sizeof(page_cold),
        "zone": sizeof(zone),
        "pcp": sizeof(pcp),
        "lru_list": sizeof(lru_list),
        "cpu_fbatches": sizeof(cpu_fbatches),
        "swap_info": sizeof(swap_info),
        "backing_dev": sizeof(backing_dev),
    }


def read_struct(str name, const uint8_t[::1] data not None) -> dict[str, object]:
    """The fields of one of those structs as C reads them from its bytes. Raises KeyError."""
    if data.shape[0] < <Py_ssize_t>struct_sizes()[name]:
        raise ValueError(f"{data.shape[0]} bytes are too few for a {name}")
    if name == "page":
        return (<const page *>&data[0])[0]
    if name == "page_cold":
        return (<const page_cold *>&data[0])[0]
    if name == "zone":
        return (<const zone *>&data[0])[0]
    if name == "pcp":
        return (<const pcp *>&data[0])[0]
    if name == "lru_list":
        return (<const lru_list *>&data[0])[0]
    if name == "cpu_fbatches":
        return (<const cpu_fbatches *>&data[0])[0]
    if name == "backing_dev":
        return backing_dev_fields(<const backing_dev *>&data[0])
    return swap_info_fields(<const swap_info *>&data[0])


cdef dict backing_dev_fields(const backing_dev *disk):
    return {
        "store": <uintptr_t>disk.store, "used": <uintptr_t>disk.used, "blocks": disk.blocks, "nr_used": disk.nr_used,
        "next": disk.next, "pad": disk.pad,
    }


cdef dict swap_info_fields(const swap_info *si):
    """A struct with pointers is no dict by itself."""
    return {
        "map": <uintptr_t>si.map, "cache": <uintptr_t>si.cache, "zeromap": <uintptr_t>si.zeromap,
        "store": <uintptr_t>si.store, "pages": si.pages,
        "used": si.used, "next": si.next, "flags": si.flags, "prio": si.prio, "turn": si.turn,
    }
