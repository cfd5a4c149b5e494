"""numactl(8): run a program under a memory policy, show the policy or the machine, or give a file's memory one.

Options take effect in the order in which they stand.  Without a file the policy is that of the process, which then
becomes the program.
"""

from __future__ import annotations

import re
import sys as host
from typing import TYPE_CHECKING, NoReturn

from numalab.syscalls.abi import (
    MPOL_BIND,
    MPOL_DEFAULT,
    MPOL_F_NUMA_BALANCING,
    MPOL_INTERLEAVE,
    MPOL_LOCAL,
    MPOL_PREFERRED,
    MPOL_PREFERRED_MANY,
)
from numalab.tools.numactl.libnuma import Numa
from numalab.tools.numactl.nodestring import Unparseable, parse_cpus, parse_nodes, strtoul
from numalab.tools.numactl.options import BadOption, Option, Options
from numalab.tools.numactl.shm import Complaint, Shm, memsize
from numalab.tools.numactl.show import hardware, show
from numalab.tools.programs import execvp

if TYPE_CHECKING:
    from numalab.syscalls.sys import Sys

__all__ = ["numactl"]

_USAGE = """\
usage: numactl [POLICY] [CPUS] [-a] [-b] PROGRAM ARGS...
       numactl -s | --show            the policy that holds, and the CPUs and nodes
       numactl -H | --hardware        the nodes of the machine
       numactl [-L LENGTH] [-o OFFSET] [-M MODE] [-t] -f FILE [POLICY] [-T] [-d] [-D] [-V]

POLICY: -i NODES --interleave     page by page, one node after the other
        -m NODES --membind        these nodes only
        -p NODE  --preferred      this node while it has memory
        -P NODES --preferred-many
        -l       --localalloc     the node of the CPU that asks
CPUS:   -N NODES --cpunodebind    the CPUs of these nodes
        -C CPUS  --physcpubind    these CPUs
-a --all: NODES and CPUS may be others than those this process may use
-b --balancing: with -m, pages may still be moved to where they are used
FILE: its memory gets the policy. -L --length, -o --offset, -M --shmmode: what of it, and how it is made;
      -t --strict, -T --touch, -d --dump, -D --dump-nodes, -V --verify

NODES: 0-1,3 or all or same (those before); !0 all others; +0 the first of those allowed. CPUS alike.
LENGTH: with k, m or g behind it
"""

_OPTIONS = [
    Option("a", "all"), Option("b", "balancing"), Option("i", "interleave", True), Option("p", "preferred", True),
    Option("P", "preferred-many", True), Option("c", "cpubind", True), Option("N", "cpunodebind", True),
    Option("C", "physcpubind", True), Option("m", "membind", True), Option("s", "show"), Option("l", "localalloc"),
    Option("H", "hardware"), Option("S", "shm", True), Option("f", "file", True), Option("o", "offset", True),
    Option("L", "length", True), Option("t", "strict"), Option("M", "shmmode", True), Option("d", "dump"),
    Option("D", "dump-nodes"), Option("I", "shmid", True), Option("u", "huge"), Option("T", "touch"),
    Option("V", "verify"),
]  # fmt: skip

#: Options with nodes: their policy, and what a refusal is said to be of.
_POLICIES = {
    "i": (MPOL_INTERLEAVE, "setting interleave mask"),
    "m": (MPOL_BIND, "setting membind"),
    "p": (MPOL_PREFERRED, "setting preferred node"),
    "P": (MPOL_PREFERRED_MANY, "setting preferred node"),
}


def numactl(sys: Sys) -> int:
    """The program."""
    try:
        return _Numactl(sys).run()
    except Complaint as complaint:
        # The end of the line goes elsewhere, as with the real one.
        host.stderr.write(f"numactl: {complaint}")
        print()
        return _usage() if complaint.usage else 1
    except (BadOption, _WrongUse):
        return _usage()


def _usage() -> int:
    host.stderr.write(_USAGE)
    return 1


class _WrongUse(Exception):
    """Only a usage text is printed."""


class _Numactl:
    """One run: what the options so far have said."""

    def __init__(self, sys: Sys) -> None:
        self.sys, self.numa, self.shm = sys, Numa(sys), Shm(sys)
        self.everywhere = self.balancing = self.strict = self.binds_cpus = False
        self.policy: int | None = None
        self.nodes: set[int] | None = None  # those of the last option that had some
        self.shm_option = ""
        self.status = 0

    def run(self) -> int:
        """Go through the options, then become the program. Raises Complaint, BadOption, _WrongUse."""
        options = Options("numactl", self.sys.argv, _OPTIONS, in_order=True)
        for letter, value in options:
            if letter == "s":
                show(self.sys, self.numa)
                return 0
            if letter == "H":
                self._before_a_policy()
                hardware(self.sys, self.numa)
                return 0
            self._option(letter, value or "")
        if self.shm.attached:
            if options.rest:
                raise _WrongUse
            return self.status
        if self.strict:
            print("numactl: warning. Strict flag for process ignored.", file=host.stderr)
        if self.shm_option:
            raise Complaint(f"shm related option {self.shm_option} for process", usage=True)
        if not options.rest:
            raise _WrongUse
        try:
            execvp(self.sys, options.rest)
        except OSError as error:
            raise Complaint(f"execution of `{options.rest[0]}': {error.strerror}\n") from None

    def _option(self, letter: str, value: str) -> None:
        match letter:
            case "a":
                self.everywhere = True
            case "b":
                self._before_a_policy()
                self.balancing = True
            case "t":
                self.strict = True
            case "i" | "m" | "p" | "P":
                self._policy_option(letter, value)
            case "l":
                self._set_policy(MPOL_LOCAL, None, "local allocation")
            case "N" | "c":
                self._not_with_shm("-c/--cpubind/--cpunodebind")
                cpus = {cpu for node in self._nodes_of(value) for cpu in self.numa.node_cpus(node)}
                self._bind_cpus(cpus, "numa_sched_setaffinity_v2_int() failed")
            case "C":
                self._not_with_shm("-C/--physcpubind")
                try:
                    cpus = parse_cpus(self.numa, value, everywhere=self.everywhere)
                except Unparseable:
                    raise self._invalid(value) from None
                self._bind_cpus(cpus)
            case _:
                self._shm_option(letter, value)

    # Policies.

    def _before_a_policy(self) -> None:
        if self.policy is not None:
            raise Complaint("specify policy after --shm/--file", usage=True)

    def _policy_option(self, letter: str, value: str) -> None:
        mode, what = _POLICIES[letter]
        nodes = self._nodes_of(value)
        if mode == MPOL_PREFERRED and len(nodes) != 1:
            raise _WrongUse
        self._set_policy(mode, nodes, what)

    def _set_policy(self, mode: int, nodes: set[int] | None, what: str) -> None:
        if self.policy is not None:
            raise Complaint("Conflicting policies", usage=True)
        self.policy = mode
        if mode == MPOL_INTERLEAVE and not nodes:
            mode, nodes = MPOL_DEFAULT, None
        try:
            if self.shm.attached:
                self.shm.mbind(mode, nodes, self.strict)
            else:
                flags = MPOL_F_NUMA_BALANCING if self.balancing and mode == MPOL_BIND else 0
                self.sys.set_mempolicy(mode | flags, 0 if nodes is None else nodes)
        except OSError as error:
            _refused("mbind" if self.shm.attached else "set_mempolicy", what, error=error)

    # CPUs.

    def _bind_cpus(self, cpus: set[int], *said: str) -> None:
        self.binds_cpus = True
        try:
            self.sys.sched_setaffinity(0, mask=cpus)
        except OSError as error:
            _refused(*said, "sched_setaffinity", error=error)

    # Nodes.

    def _nodes_of(self, text: str) -> set[int]:
        if text == "same":
            if self.nodes is None:
                raise Complaint("same needs previous node specification", usage=True)
            return self.nodes
        try:
            self.nodes = parse_nodes(self.sys, self.numa, text, everywhere=self.everywhere)
        except Unparseable:
            raise self._invalid(text) from None
        return self.nodes

    def _invalid(self, text: str) -> _WrongUse:
        print(f"<{text}> is invalid")
        return _WrongUse()

    # Memory in files.

    def _not_with_shm(self, option: str) -> None:
        if self.shm_option:
            raise Complaint(f"{self.shm_option} shm option is not allowed before {option}", usage=True)

    def _in_its_place(self, letter: str) -> None:
        """What is said of the memory stands before it, what is done with it behind it. Raises Complaint."""
        name = next(f"--{option.name}" for option in _OPTIONS if option.letter == letter)
        if letter in "LoMu":
            if self.shm.attached:
                raise Complaint(f"{name} must be before shared memory specification", usage=True)
            self.shm_option = name
        elif letter in "TV" and not self.shm.attached:
            raise Complaint(f"{name} must be after shared memory specification", usage=True)
        elif letter in "dD" and not self.shm.attached:
            raise Complaint(f"Cannot do {name} without shared memory.\n")

    def _shm_option(self, letter: str, value: str) -> None:
        self._in_its_place(letter)
        shm = self.shm
        match letter:
            case "L":
                shm.length = memsize(value)
            case "o":
                shm.offset = memsize(value)
            case "M":
                if not re.fullmatch("[0-7]+", value):
                    raise _WrongUse
                shm.mode = int(value, 8)
            case "I":
                if not value or strtoul(value)[1]:
                    raise _WrongUse
            case "T":
                shm.touch()
            case "V":
                self.status |= shm.verify(self.policy, self.nodes)
            case "d":
                shm.dump()
            case "D":
                shm.dump_nodes()
            case "f" | "S":
                if self.binds_cpus:
                    raise Complaint("cannot do --cpubind on shared memory\n", usage=True)
                self._before_a_policy()
                shm.attach_file(value) if letter == "f" else shm.attach_segment()


def _refused(*said: str, error: OSError) -> NoReturn:
    for what in said:
        print(f"{what}: {error.strerror}", file=host.stderr)
    raise SystemExit(1)
