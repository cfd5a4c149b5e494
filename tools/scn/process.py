"""Process: the actor's side of the border, where operations meet the machine.

System calls by name through the raw entry, as the recorder's C library makes them; loads and stores
through the MMU, with the signal of a bad access turned into an exception, which is what the recorder's
sigsetjmp() is for; and fork and exec, which take a function here.

A call that this machine does not have, or that answers ENOSYS, becomes ``Unsupported`` here and nowhere else.
"""

from __future__ import annotations

import errno
from collections.abc import Callable
from typing import TYPE_CHECKING, NoReturn

from numalab.kernel.fs.block import disk_state
from numalab.kernel.signal import SIGBUS, SIGCHLD, SIGSEGV, Disposition, SigInfo
from numalab.mm.obstacles import obstruct
from numalab.syscalls.table import BY_NAME

if TYPE_CHECKING:
    from numalab.syscalls.sys import Sys

__all__ = ["Fault", "Process", "Unsupported"]


class Unsupported(Exception):
    """The machine has no such system call yet."""


class Fault(Exception):
    """A bad access: which signal it was, and at which address."""

    def __init__(self, signo: int, addr: int) -> None:
        super().__init__(f"signal {signo} at {addr:#x}")
        self.signal = "SIGBUS" if signo == SIGBUS else "SIGSEGV"
        self.addr = addr


def _raise_fault(signo: int, info: SigInfo) -> NoReturn:
    """The handler of SIGSEGV and SIGBUS: leaves the access, as siglongjmp() would."""
    raise Fault(signo, info.addr)


class Process:
    """What an actor can do to the machine.  ``sys`` is the program's own."""

    def __init__(self, sys: Sys) -> None:
        self.sys = sys
        sys.signal(SIGSEGV, _raise_fault)
        sys.signal(SIGBUS, _raise_fault)
        # Children that have ended go at once: their pids must answer ESRCH.
        sys.signal(SIGCHLD, Disposition.SIG_IGN)

    def call(self, name: str, *args: int) -> int:
        """A system call: its result, or a negative errno."""
        if name not in BY_NAME:
            raise Unsupported(name)
        result = self.sys.raw(BY_NAME[name].number, *args)
        if result == -errno.ENOSYS:
            raise Unsupported(name)
        return result

    def load(self, addr: int, size: int) -> bytes:
        """Read memory. Raises Fault."""
        return self.sys.memory.read(addr, size)

    def store(self, addr: int, data: bytes | memoryview) -> None:
        """Write memory; what lies before a bad address is written. Raises Fault."""
        self.sys.memory.write(addr, data)

    def touch(self, addr: int, stride: int, count: int, write: bool) -> None:
        """``count`` accesses of one byte. Raises Fault."""
        self.sys.memory.touch(addr, count, stride, write)

    def fork(self, main: Callable[[Sys], None]) -> int:
        """A child that runs ``main``: its pid, or a negative errno."""
        try:
            return self.sys.fork(main)
        except OSError as error:
            return -(error.errno or errno.EAGAIN)

    def execute(self, main: Callable[[Sys], None]) -> int:
        """Replace the program by ``main``; comes back only with a negative errno."""
        try:
            self.sys.execve(main)
        except OSError as error:
            return -(error.errno or errno.EAGAIN)

    def obstruct(self, kind: str, addr: int, pages: int, ns: int | None) -> list[Callable[[], None]]:
        """Put an obstacle in the way of the pages that are in memory: what ends each of them."""
        mm = self.sys.task.mm
        assert mm is not None
        return obstruct(mm, kind, addr, pages, ns)

    def set_disks(self, latency: int, page_ns: int, failing: bool) -> None:
        """How long the disks take, and whether they work."""
        mm = self.sys.task.mm
        assert mm is not None
        disk_state(mm.mem, latency, page_ns, failing=failing)
