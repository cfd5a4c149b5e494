"""Buffers that lie on the NUMA node where they are used.

    with Buffer(1 << 20, node=1) as buffer:
        buffer.write(0, b"hello")
        print(buffer.nodes())             # Counter({1: 1}): what nobody has written to is nowhere yet
        left = buffer.move(0, 2)          # to node 0, and what finds no room there to node 2

A system may refuse calls of memory policy (containers do, with EPERM) or not have them (ENOSYS). A buffer is ordinary
memory then, and `placed` is False.
"""

import ctypes
import errno
import os
from collections import Counter
from ctypes import byref, c_int, c_long, c_size_t, c_uint, c_ulong, c_void_p
from typing import Self

PAGE = os.sysconf("SC_PAGE_SIZE")
MAX_NODES = 1024

# The one door to the kernel. Tests put a simulated machine behind it.
libc = ctypes.CDLL(None, use_errno=True)
libc.mmap.restype = c_void_p
libc.mmap.argtypes = [c_void_p, c_size_t, c_int, c_int, c_int, c_long]
libc.munmap.argtypes = [c_void_p, c_size_t]
libc.memmove.restype = c_void_p
libc.memmove.argtypes = [c_void_p, c_void_p, c_size_t]
libc.syscall.restype = c_long

SYS_mbind, SYS_get_mempolicy, SYS_move_pages, SYS_getcpu = 237, 239, 279, 309  # x86-64
PROT_READ, PROT_WRITE, MAP_PRIVATE, MAP_ANONYMOUS = 1, 2, 2, 0x20
MPOL_PREFERRED, MPOL_F_MEMS_ALLOWED, MPOL_MF_MOVE = 1, 4, 2

NodeMask = c_ulong * (MAX_NODES // 64)


def allowed_nodes() -> set[int]:
    """The nodes that this process may have memory from; {0} on a system that knows none."""
    mask = NodeMask()
    if _syscall(SYS_get_mempolicy, None, mask, c_ulong(MAX_NODES), None, c_ulong(MPOL_F_MEMS_ALLOWED)) < 0:
        return {0}
    return {bit for bit in range(MAX_NODES) if mask[bit // 64] >> bit % 64 & 1}


def this_node() -> int:
    """The node of the CPU that runs us."""
    node = c_uint()
    return node.value if _syscall(SYS_getcpu, None, byref(node), None) == 0 else 0


class Buffer:
    """Memory on a node; by default on ours. placed: whether the kernel took the wish."""

    def __init__(self, size: int, node: int | None = None) -> None:
        self.size = size
        address = libc.mmap(None, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)
        if address == c_void_p(-1).value:
            raise _error()
        self.address = address
        mask = NodeMask()
        node = this_node() if node is None else node
        mask[node // 64] |= 1 << node % 64
        args = (c_void_p(address), c_ulong(size), MPOL_PREFERRED, mask, c_ulong(MAX_NODES + 1), 0)
        self.placed = _syscall(SYS_mbind, *args) == 0

    def write(self, offset: int, data: bytes) -> None:
        self._check(offset, len(data))
        libc.memmove(self.address + offset, data, len(data))

    def read(self, offset: int, size: int) -> bytes:
        self._check(offset, size)
        data = ctypes.create_string_buffer(size)
        libc.memmove(data, self.address + offset, size)
        return data.raw

    def nodes(self) -> Counter[int]:
        """Pages per node, of those that are in memory."""
        return Counter(node for node in self._where() if node >= 0)

    def move(self, *nodes: int) -> int:
        """Move to a node, and what cannot go there to the next one. Returns how many pages are on none of them."""
        for node in nodes:
            left = [page for page, at in enumerate(self._where()) if at >= 0 and at not in nodes]
            if not left:
                break
            pages = (c_void_p * len(left))(*(self.address + page * PAGE for page in left))
            wanted, status = (c_int * len(left))(*[node] * len(left)), (c_int * len(left))()
            _syscall(SYS_move_pages, 0, c_ulong(len(left)), pages, wanted, status, MPOL_MF_MOVE)
        return sum(at >= 0 and at not in nodes for at in self._where())

    def _where(self) -> list[int]:
        """The node of each page, or a negative number."""
        n = -(-self.size // PAGE)
        pages = (c_void_p * n)(*range(self.address, self.address + self.size, PAGE))
        status = (c_int * n)(*[-errno.ENOENT] * n)
        if _syscall(SYS_move_pages, 0, c_ulong(n), pages, None, status, 0) < 0:
            return [0] * n
        return list(status)

    def _check(self, offset: int, size: int) -> None:
        if offset < 0 or offset + size > self.size:
            raise IndexError(f"{size} bytes from {offset} on are not in a buffer of {self.size}")

    def close(self) -> None:
        if self.address:
            libc.munmap(self.address, self.size)
            self.address = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


def _syscall(number: int, *args: object) -> int:
    """What the call returns, or -1 where the system refuses it or has no room. Raises OSError for our mistakes."""
    result: int = libc.syscall(number, *args)
    if result < 0 and ctypes.get_errno() not in (errno.EPERM, errno.ENOSYS, errno.ENOMEM):
        raise _error()
    return result


def _error() -> OSError:
    number = ctypes.get_errno()
    return OSError(number, os.strerror(number))
