"""The part of numactl(8) that gives a policy to memory that lies in a file, and looks at where it is.

The policy belongs to the memory and stays with the file. System V segments are not there: shmget(2) says ENOSYS.
"""

from __future__ import annotations

import os
import sys as host
from collections.abc import Callable, Collection, Iterator
from itertools import groupby
from typing import TYPE_CHECKING, NoReturn

from numalab.arch.errno import EINVAL
from numalab.syscalls.abi import (
    MPOL_BIND,
    MPOL_DEFAULT,
    MPOL_F_ADDR,
    MPOL_F_NODE,
    MPOL_INTERLEAVE,
    MPOL_MF_STRICT,
    MPOL_PREFERRED,
    MPOL_PREFERRED_MANY,
)
from numalab.tools.numactl.nodestring import ULONG_MAX, strtoul
from numalab.tools.numactl.show import policy_name, print_mask

if TYPE_CHECKING:
    from numalab.syscalls.sys import Sys

__all__ = ["Complaint", "Shm", "memsize"]

_PAGE = 4096
_SHMGET = 29


class Complaint(Exception):
    """The run ends with this text. usage: and with a usage text."""

    def __init__(self, text: str, *, usage: bool = False) -> None:
        super().__init__(text)
        self.usage = usage


def memsize(text: str) -> int:
    """A length: a number, and k, m or g behind it."""
    value, unit = strtoul(text)
    return (value << {"k": 10, "m": 20, "g": 30}.get(unit[:1].lower(), 0)) & ULONG_MAX


def _fail(text: str) -> NoReturn:
    print(f"numactl: {text}", file=host.stderr)
    raise SystemExit(1)


class Shm:
    """A piece of a file. length, offset, mode: what the options said of it before it was attached."""

    def __init__(self, sys: Sys) -> None:
        self._sys = sys
        self.length = self.offset = 0
        self.mode = 0o600
        self.addr: int | None = None

    @property
    def attached(self) -> bool:
        return self.addr is not None

    def attach_file(self, name: str) -> None:
        """--file: open or make it, as long as is needed. Raises Complaint."""
        sys = self._sys
        try:
            fd = sys.open(name, os.O_RDWR)
        except OSError:
            if not self.length:
                raise Complaint("need a --length to create a shared file") from None
            try:
                fd = sys.open(name, os.O_RDWR | os.O_CREAT, self.mode)
            except OSError as error:
                _fail(f"cannot create file {name}: {error.strerror}")
        end = self.offset + self.length
        if sys.fstat(fd).statbuf.st_size < end:
            try:
                sys.ftruncate(fd, end)
            except OSError as error:
                print(f"ftruncate: {error.strerror}", file=host.stderr)
                raise SystemExit(1) from None
        if not self.length:
            _fail("policy region length not specified before --file")
        if self.length % _PAGE:
            _fail("policy region not page aligned")
        self.addr = self._or_fail("shm mmap", lambda: sys.mmap(self.length, fd=fd, off=self.offset))

    def attach_segment(self) -> None:
        """--shm."""
        if not self.length:
            raise Complaint("need a --length to create a sysv shared memory segment")
        self._or_fail("shmget", lambda: self._sys.syscall(_SHMGET, 0, self.length, self.mode))

    def _or_fail(self, what: str, call: Callable[[], int]) -> int:
        try:
            return call()
        except OSError as error:
            _fail(f"{what}: {error.strerror}")

    def mbind(self, mode: int, nodes: Collection[int] | None, strict: bool) -> None:
        """Give it a policy. Raises OSError."""
        if mode in (MPOL_PREFERRED, MPOL_PREFERRED_MANY):
            # numactl 2.0.16 has lost the nodes by then; no policy of this kind can be without.
            raise OSError(EINVAL, os.strerror(EINVAL))
        self._sys.mbind(self.addr, self.length, mode, nodes or 0, flags=MPOL_MF_STRICT if strict else 0)

    def touch(self) -> None:
        """Have a page everywhere."""
        self._sys.memory.touch(self._pages().start, len(self._pages()), write=False)

    def _pages(self) -> range:
        assert self.addr is not None
        return range(self.addr, self.addr + self.length, _PAGE)

    def _node(self, addr: int) -> int:
        node: int = self._sys.get_mempolicy(addr=addr, flags=MPOL_F_ADDR | MPOL_F_NODE).mode
        return node

    def _policy(self, addr: int) -> tuple[int, frozenset[int]]:
        answer = self._sys.get_mempolicy(addr=addr, flags=MPOL_F_ADDR)
        return answer.mode, answer.nodemask

    def _runs(self, key: Callable[[int], object]) -> Iterator[tuple[str, int]]:
        """Pieces that have the same key: how they are written, and their first address."""
        for _, group in groupby(self._pages(), key):
            addrs = list(group)
            start, end = (addr - (self.addr or 0) + self.offset for addr in (addrs[0], addrs[-1] + _PAGE))
            yield f"{start:016x}-{end:016x}: ", addrs[0]

    def dump(self) -> None:
        """--dump: the policies."""
        for piece, addr in self._runs(self._policy):
            mode, nodes = self._policy(addr)
            if mode != MPOL_DEFAULT:
                print_mask(f"{piece}{policy_name(mode)} ", nodes)

    def dump_nodes(self) -> None:
        """--dump-nodes: where the pages are."""
        for piece, addr in self._runs(self._node):
            print(f"{piece}{self._node(addr)}")

    def verify(self, mode: int | None, nodes: Collection[int] | None) -> int:
        """--verify: whether pages are where the policy wants them; an exit status. Raises Complaint."""
        if mode is None:
            raise Complaint("Need a policy first to verify")
        if not nodes:
            raise Complaint("Need a mask to verify")
        wrong, expected = 0, None
        for addr in self._pages():
            node, why = self._node(addr), ""
            if (real := self._policy(addr)[0]) != mode:
                why = f"wrong policy {policy_name(real)}, expected {policy_name(mode)}\n"
            elif mode == MPOL_INTERLEAVE:
                if node not in nodes:
                    why = f"interleave node out of range {node}\n"
                elif expected not in (None, node):
                    why = f"expected interleave node {expected}, got {node}\n"
                expected = min((n for n in nodes if n > node), default=min(nodes))
            elif mode == MPOL_BIND and node not in nodes:
                why = f"unexpected node {node}\n"
            if why:
                wrong = 1
                print(f"numactl verify {addr:x}({addr - (self.addr or 0):x}): {why}", end="")
                if why.startswith("unexpected"):
                    print_mask("expected", nodes)
        return wrong
