"""User pointers: the only way in which system calls read and write a program's memory.

Mirrors include/linux/uaccess.h and mm/usercopy.c, and for node masks get_nodes() and copy_nodes_to_user() of
mm/mempolicy.c.  Every function goes through the MMU and the fault handler as the program's own access would
(pages appear, copy-on-write happens, faults are counted), and turns what would be a signal into EFAULT.

Sizes are the kernel's: a count that a program hands in may bound a loop, never an allocation here.

What a node mask with `maxnode` looks like to the kernel:

    word        0 .. 15              16 .. (maxnode - 2) / 64
    bits        0 .. 1023            must be 0, or EINVAL; looked at first, from the last word down
    read        whole words; bits from maxnode - 1 on are dropped afterwards

so that bit number maxnode - 1 never counts, and a mask may end at a page that is not there only on a word boundary.
"""

from __future__ import annotations

import struct

import numpy as np
from numpy.typing import NDArray

from numalab.arch.errno import EFAULT, EINVAL, ENAMETOOLONG, KernelError
from numalab.kernel.task import Task
from numalab.mm.get_unmapped_area import task_size
from numalab.mm.memory import UserFault, read_user, write_user

__all__ = [
    "MAX_NUMNODES", "UserPages", "access_ok", "clear_user", "copy_from_user", "copy_from_user_upto",
    "copy_nodes_to_user", "copy_to_user", "copy_to_user_upto", "get_nodes", "import_iovec", "put_user",
    "strncpy_from_user",
]  # fmt: skip

PAGE_SIZE = 4096
UIO_MAXIOV = 1024
MAX_RW_COUNT = 0x7FFFF000
MAX_NUMNODES = 1024
"""What programs see (NODES_SHIFT=10, as in distribution kernels); nodes from 64 on can never exist here."""

_LONG = 64
_ULONG_MAX = (1 << 64) - 1


def access_ok(task: Task, addr: int, n: int) -> bool:
    """Whether [addr, addr + n) lies within the addresses that programs can have."""
    assert task.mm is not None
    limit = task_size(task.mm.mem)
    return n <= limit and addr <= limit - n


def copy_from_user(task: Task, addr: int, n: int) -> bytes:
    """n bytes at a user address. Errors: EFAULT."""
    if not access_ok(task, addr, n):
        raise KernelError(EFAULT)
    assert task.mm is not None
    try:
        return read_user(task.mm, task.ctx, addr, n)
    except UserFault as fault:
        raise KernelError(EFAULT) from fault


def copy_from_user_upto(task: Task, addr: int, n: int) -> bytes:
    """As many of n bytes at a user address as can be read, at least one if n is not 0. Errors: EFAULT."""
    assert task.mm is not None
    try:
        return read_user(task.mm, task.ctx, addr, n)
    except UserFault as fault:
        if not fault.done:
            raise KernelError(EFAULT) from fault
        # They are there now, so this cannot fail again.
        return read_user(task.mm, task.ctx, addr, fault.done)


def copy_to_user(task: Task, addr: int, data: bytes) -> None:
    """Store bytes at a user address; what lies before an address that cannot be written is written. Errors: EFAULT."""
    if copy_to_user_upto(task, addr, data) < len(data):
        raise KernelError(EFAULT)


def copy_to_user_upto(task: Task, addr: int, data: bytes) -> int:
    """Store as many bytes at a user address as can be, and say how many. Errors: EFAULT (none, if there are any)."""
    if not access_ok(task, addr, len(data)):
        raise KernelError(EFAULT)
    assert task.mm is not None
    try:
        write_user(task.mm, task.ctx, addr, data)
    except UserFault as fault:
        if not fault.done:
            raise KernelError(EFAULT) from fault
        return fault.done
    return len(data)


def clear_user(task: Task, addr: int, n: int) -> None:
    """Store n zero bytes; n is at most a page. Errors: EFAULT."""
    copy_to_user(task, addr, bytes(n))


def put_user(task: Task, addr: int, form: str, *values: int) -> None:
    """Store numbers in a `struct` format (little endian, without padding). Errors: EFAULT."""
    copy_to_user(task, addr, struct.pack("<" + form, *values))


def get_user(task: Task, addr: int, form: str) -> tuple[int, ...]:
    """Read numbers in a `struct` format (little endian, without padding). Errors: EFAULT."""
    return struct.unpack("<" + form, copy_from_user(task, addr, struct.calcsize("<" + form)))


def import_iovec(task: Task, addr: int, count: int) -> list[tuple[int, int]]:
    """`count` ranges, each an address and a length; together cut to what one call may transfer (MAX_RW_COUNT).

    Errors: EINVAL (too many, or a negative length), EFAULT (they, or what they name, are no user memory).
    """
    if count > UIO_MAXIOV:
        raise KernelError(EINVAL)
    ranges, room = [], MAX_RW_COUNT
    for base, length in struct.iter_unpack("<Qq", copy_from_user(task, addr, 16 * count)):
        if length < 0:
            raise KernelError(EINVAL)
        if not access_ok(task, base, length):
            raise KernelError(EFAULT)
        ranges.append((base, min(length, room)))
        room -= ranges[-1][1]
    return ranges


def strncpy_from_user(task: Task, addr: int, limit: int) -> bytes:
    """The string at a user address, without its NUL; `limit` bytes of it if no NUL comes before. Errors: EFAULT.

    It is read page by page, so that the string may end just before memory that cannot be read.
    """
    found = b""
    while len(found) < limit:
        # Never across a page: the next one need not be there if the string ends in this one.
        here = addr + len(found)
        piece = copy_from_user(task, here, min(limit - len(found), PAGE_SIZE - here % PAGE_SIZE))
        head, nul, _ = piece.partition(b"\0")
        found += head
        if nul:
            break
    return found


def getname(task: Task, addr: int, path_max: int) -> str:
    """A path. Errors: EFAULT, ENAMETOOLONG (no NUL within `path_max` bytes)."""
    name = strncpy_from_user(task, addr, path_max)
    if len(name) == path_max:
        raise KernelError(ENAMETOOLONG)
    return name.decode("utf-8", "surrogateescape")


# Node masks


def get_nodes(task: Task, addr: int, maxnode: int) -> int:
    """A node mask of `maxnode - 1` bits as an int (get_nodes()); bit 63 of the second word is node 127.

    A null pointer and maxnode 1 are the empty mask; maxnode 0 wraps around and is far too many.
    Errors: EINVAL (more bits than a page holds, or a bit at or beyond MAX_NUMNODES), EFAULT.
    """
    bits = (maxnode - 1) & _ULONG_MAX
    if bits == 0 or addr == 0:
        return 0
    if bits > PAGE_SIZE * 8:
        raise KernelError(EINVAL, f"a mask of {bits} bits is longer than a page")
    # Words beyond MAX_NUMNODES must be zero, all 64 bits of them; they are looked at from the last one down.
    while bits > MAX_NUMNODES:
        (word,) = get_user(task, _word_address(addr, bits - 1), "Q")
        if word:
            raise KernelError(EINVAL, f"a bit is set for a node from {MAX_NUMNODES} on")
        bits = max(bits - _LONG, MAX_NUMNODES)
    words = -(-bits // _LONG)
    mask = int.from_bytes(copy_from_user(task, addr, words * 8), "little")
    return mask & ((1 << bits) - 1)


def _word_address(addr: int, bit: int) -> int:
    return (addr + bit // _LONG * 8) & _ULONG_MAX


def copy_nodes_to_user(task: Task, addr: int, maxnode: int, nodes: int, nr_node_ids: int) -> None:
    """Store a node mask of `maxnode - 1` bits, rounded up to words, zeros beyond the words that hold nodes.

    maxnode ULONG_MAX rounds to nothing at all.  Errors: EINVAL (more than a page), EFAULT; the zeros go first.
    """
    copy = ((maxnode - 1 + _LONG - 1) & _ULONG_MAX) // _LONG * 8
    nbytes = -(-nr_node_ids // _LONG) * 8
    if copy > nbytes:
        if copy > PAGE_SIZE:
            raise KernelError(EINVAL)
        clear_user(task, (addr + nbytes) & _ULONG_MAX, copy - nbytes)
        copy = nbytes
    mask = nodes & ((1 << copy * 8) - 1)
    copy_to_user(task, addr, mask.to_bytes(copy, "little"))


# The arrays of move_pages


class UserPages:
    """The three arrays of one move_pages() call, as `mm.migrate.move_pages.UserArrays` wants them.

    Linux reads an entry when its turn comes, so an array may end where memory does: a read returns the entries
    before the first that cannot be read.
    """

    def __init__(self, task: Task, pages: int, nodes: int, status: int) -> None:
        self._task = task
        self._pages = pages
        self._nodes = nodes
        self._status = status

    def read_pages(self, at: int, n: int) -> NDArray[np.uint64]:
        return np.frombuffer(self._read(self._pages, at, n, 8), np.uint64).copy()

    def read_nodes(self, at: int, n: int) -> NDArray[np.int32]:
        return np.frombuffer(self._read(self._nodes, at, n, 4), np.int32).copy()

    def write_status(self, at: int, values: NDArray[np.int32]) -> int:
        """Store from entry `at` on; returns how many could be stored."""
        return self._write(self._status + 4 * at, values.astype("<i4", copy=False).tobytes()) // 4

    def _read(self, base: int, at: int, n: int, size: int) -> bytes:
        """Whole entries from number `at` on, as many of n as can be read."""
        task = self._task
        assert task.mm is not None
        # Entries beyond user addresses cannot be read, whatever the page tables say.
        addr = base + at * size
        room = task_size(task.mm.mem) - addr
        whole = min(n * size, max(0, room // size * size))
        try:
            return read_user(task.mm, task.ctx, addr, whole) if whole else b""
        except UserFault as fault:
            # The whole entries before the fault; they are there now, so this read cannot fail again.
            readable = fault.done // size * size
            return read_user(task.mm, task.ctx, addr, readable) if readable else b""

    def _write(self, addr: int, data: bytes) -> int:
        """Bytes stored before the first that could not be."""
        task = self._task
        assert task.mm is not None
        room = task_size(task.mm.mem) - addr
        if room <= 0:
            return 0
        try:
            write_user(task.mm, task.ctx, addr, data[:room])
        except UserFault as fault:
            return fault.done
        return min(len(data), room)
