"""The scratch area: where the friendly calls of `sys` put masks, arrays and strings for the kernel to read.

A C program has them on its stack; a Python program has no memory on the machine but what it maps, so it is lent
some: one small anonymous mapping, made when it is first needed, far from where mmap() puts things.  It is
ordinary memory of the program: it migrates, it is copied by fork, and the program may unmap it or write over it.
A tag at its start tells whether it is still there; if not, another is made.

    0x600000000000  | tag | first thing | second thing | ...     |
                      16    each aligned to 16                     64 KiB, or as much as was ever needed at once

Where it is no longer usable: a part is unmapped, or may not be read and written, or the tag is not the one that was
put there (the program has mapped something else at the place, or thrown the pages away).
"""

from __future__ import annotations

import struct

from numalab.arch.errno import EEXIST, KernelError
from numalab.kernel.state import Kernel
from numalab.kernel.task import Task
from numalab.mm._mm_types import VMA
from numalab.mm.memory import UserFault, read_user
from numalab.mm.mman import MAP_ANONYMOUS, MAP_FIXED_NOREPLACE, MAP_PRIVATE, PROT_READ, PROT_WRITE
from numalab.mm.mmap import do_mmap
from numalab.mm.munmap import do_munmap
from numalab.mm.vm_flags import VM_READ, VM_WRITE
from numalab.mm.vma_tree import vma_lookup
from numalab.syscalls.entry import on_behalf
from numalab.syscalls.memory import UserMemory

__all__ = ["Scratch"]

PAGE_SIZE = 4096
_BASE = 0x6000_0000_0000
_MIN_SIZE = 16 * PAGE_SIZE
_TAG = struct.Struct("<8sQ")
_ALIGN = 16


class Scratch:
    """The scratch area of one task. A child made by fork gets one with the same place, its copy of the memory.

    Threads have one each, as they have a stack each: whoever runs while another one makes a call would write over it.
    """

    def __init__(self, k: Kernel, task: Task, memory: UserMemory, parent: Scratch | None = None) -> None:
        self._k = k
        self._task = task
        self._memory = memory
        copied = parent is not None and parent._task.mm is not task.mm
        self._base: int = parent._base if parent and copied else 0
        self._size: int = parent._size if parent and copied else 0
        self._tag: bytes = parent._tag if parent and copied else b""

    def place(self, *items: bytes | int) -> list[int]:
        """Addresses for several things that one call needs: bytes are stored, an int asks for so many bytes of room.

        They hold until the next call. Errors: ENOMEM when nothing can be mapped.
        """
        # All of one call at once, one behind the other, each aligned as a compiler would.
        sizes = [len(item) if isinstance(item, bytes) else item for item in items]
        offsets, end = [], _TAG.size
        for size in sizes:
            offsets.append(end)
            end += -(-size // _ALIGN) * _ALIGN
        if on_behalf(self._k, self._task, lambda: self._ensure(end)):
            self._memory.write(self._base, self._tag)
        addresses = [self._base + offset for offset in offsets]
        for address, item in zip(addresses, items, strict=True):
            if isinstance(item, bytes):
                self._memory.write(address, item)
        return addresses

    def _ensure(self, size: int) -> bool:
        """Make sure that there are `size` bytes of scratch area; True if it is a new one, which has no tag yet."""
        if self._usable():
            if size <= self._size:
                return False
            assert self._task.mm is not None
            do_munmap(self._task.mm, self._task.ctx, self._base, self._size)
        self._map(max(_MIN_SIZE, -(-size // PAGE_SIZE) * PAGE_SIZE))
        return True

    def _usable(self) -> bool:
        """Whether the area is where it was and still ours: mapped, with both rights, and with our tag at its start."""
        if not self._base or not self._intact():
            return False
        assert self._task.mm is not None
        try:
            return read_user(self._task.mm, self._task.ctx, self._base, _TAG.size) == self._tag
        except UserFault:
            return False

    def _intact(self) -> bool:
        """Whether all of it may still be read and written."""
        assert self._task.mm is not None
        at = self._base
        while at < self._base + self._size:
            vma: VMA | None = vma_lookup(self._task.mm, at)
            if vma is None or vma.flags & (VM_READ | VM_WRITE) != VM_READ | VM_WRITE:
                return False
            at = vma.end
        return True

    def _map(self, size: int) -> None:
        """Map a new area, at its usual place if that is free, and choose a tag that no other has had."""
        mm, ctx = self._task.mm, self._task.ctx
        assert mm is not None
        prot, flags = PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS
        try:
            self._base = do_mmap(mm, ctx, _BASE, size, prot, flags | MAP_FIXED_NOREPLACE)
        except KernelError as error:
            if error.errno != EEXIST:
                raise
            self._base = do_mmap(mm, ctx, 0, size, prot, flags)
        self._size = size
        self._k.scratch_tags += 1
        self._tag = _TAG.pack(b"scratch", self._k.scratch_tags)
