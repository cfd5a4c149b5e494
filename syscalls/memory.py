"""`sys.memory`: a program's loads and stores.

What an instruction does that touches memory: through TLB and page tables, with a page fault where they stop
(arch/x86/mm/fault.c, do_user_addr_fault()).  An access that no fault can make right is SIGSEGV or SIGBUS: the
program's handler runs, or the process ends.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from operator import index
from typing import Concatenate, ParamSpec, TypeVar

from numalab.kernel.exit import exit_to_user_mode, force_sig_fault, oops
from numalab.kernel.oom import pagefault_out_of_memory
from numalab.kernel.signal import SIGSEGV, SigInfo
from numalab.kernel.state import Kernel
from numalab.kernel.task import Task
from numalab.mm._mm_types import AllocCtx, MmStruct
from numalab.mm.memory import SEGV_MAPERR, OutOfMemory, UserFault, read_user, touch_user, write_user
from numalab.syscalls.entry import check_alive

__all__ = ["UserMemory"]

PAGE_SIZE = 4096
_END = 1 << 64
_USER_END = (
    1 << 56
)  # no program can have an address from here on, with four levels of page tables or with five
_MOST = 1 << 62  # accesses to one place, more than there is time for
_PIECE = 1 << 20  # a long access goes by pieces of this, so that one that soon faults costs little

P = ParamSpec("P")
T = TypeVar("T")


class UserMemory:
    """The memory of one program. Addresses are ints, taken modulo 2**64."""

    def __init__(self, k: Kernel, task: Task) -> None:
        self._k = k
        self._task = task

    def read(self, addr: int, n: int) -> bytes:
        """n bytes at an address. A bad one is a SIGSEGV; ValueError if n is negative."""
        addr, n = index(addr) % _END, index(n)
        if n < 0:
            raise ValueError(f"{n} bytes cannot be read")
        if n <= _PIECE:
            return self._access(read_user, addr, n) if n else b""
        return b"".join(self._access(read_user, at, size) for at, size in _pieces(addr, n))

    def write(self, addr: int, data: bytes | bytearray | memoryview) -> None:
        """Store bytes at an address. A bad one is a SIGSEGV; what lies before it is written."""
        addr = index(addr) % _END
        view = memoryview(data).cast("B")
        for at, size in _pieces(addr, len(view)):
            self._access(write_user, at, view[at - addr : at - addr + size])

    def touch(
        self, addr: int, count: int = 1, stride: int = PAGE_SIZE, write: bool = True, value: int = 1
    ) -> None:
        """`count` accesses of one byte, `stride` bytes apart: stores of `value`, or loads.

        A bad address is a SIGSEGV; ValueError for a negative count or stride.
        """
        addr, count, stride, value = index(addr) % _END, index(count), index(stride), index(value)
        if count < 0 or stride < 0 or not 0 <= value <= 255:
            raise ValueError(f"cannot touch {count} bytes {stride} apart with {value}")
        stride = min(stride, _USER_END)
        # Beyond the end of all addresses there is nothing: the access before that faults already.
        count = min(count, -(-max(_USER_END - addr, 1) // stride) if stride else _MOST)
        if count:
            self._access(touch_user, addr, stride, count, write, value)

    def _access(
        self,
        access: Callable[Concatenate[MmStruct, AllocCtx, int, P], T],
        addr: int,
        *args: P.args,
        **named: P.kwargs,
    ) -> T:
        """Carry out one access, again after each fault that a handler has dealt with."""
        k, task = self._k, self._task
        while True:
            # Also after a handler, which may have ended the program or made it another one.
            check_alive(k, task)
            assert task.mm is not None
            try:
                if addr >= _USER_END:
                    raise UserFault(addr, SIGSEGV, SEGV_MAPERR)
                result = access(task.mm, task.ctx, addr, *args, **named)
            except UserFault as fault:
                force_sig_fault(k, task, SigInfo(fault.signo, fault.code, fault.addr))
            except OutOfMemory:
                pagefault_out_of_memory(k, task)
                exit_to_user_mode(k, task)
            except Exception as bug:  # noqa: BLE001
                oops(k, task, bug)
            else:
                exit_to_user_mode(k, task)
                return result


def _pieces(addr: int, n: int) -> Iterator[tuple[int, int]]:
    """(address, size) of the pieces of an access; those beyond the last address there is are left out."""
    end = addr + n if addr >= _USER_END else min(addr + n, _USER_END + 1)
    while addr < end:
        size = min(_PIECE, end - addr)
        yield addr, size
        addr += size
