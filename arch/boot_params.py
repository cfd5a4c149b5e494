"""Boot parameters and sysctls: which a machine has, what each may be, and what it is if nobody says.

Mirrors Documentation/admin-guide/kernel-parameters.txt and the tables of kernel/sysctl.c. Machine files, boot lines and
/proc/sys all go by the one table below. A parameter has a short name, under which Topology.boot holds it, and may be
given by Linux's own: `page_cluster` is `vm.page-cluster`.
"""

import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from numalab.arch.cmdline import MAX_PFN, PAGE_SIZE, TopologyError, parse_size, shown, size_text

INT_MAX = (1 << 31) - 1


class Parameter(Protocol):
    """What a parameter may be."""

    @property
    def default(self) -> Any: ...

    @property
    def expected(self) -> str:
        """For people: what would be right."""
        ...

    def read(self, given: object, where: str) -> object:
        """The value that a person means; allows() then says whether it may be. Raises TopologyError, naming `where`."""
        ...

    def allows(self, value: object) -> bool: ...


@dataclass(frozen=True, slots=True)
class Number:
    """A number from one of some ranges."""

    default: int
    ranges: tuple[range, ...]

    @property
    def expected(self) -> str:
        spans = (str(r[0]) if len(r) == 1 else f"{r[0]}..{r[-1]}" for r in self.ranges)
        return f"a number, {' or '.join(spans)}"

    def read(self, given: object, where: str) -> object:
        return given

    def allows(self, value: object) -> bool:
        return type(value) is int and any(value in r for r in self.ranges)


@dataclass(frozen=True, slots=True)
class Flag:
    """On or off."""

    default: bool
    expected = "true or false"

    def read(self, given: object, where: str) -> object:
        words = {"enable": True, "on": True, "1": True, "disable": False, "off": False, "0": False}
        return words.get(str(given), given)

    def allows(self, value: object) -> bool:
        return isinstance(value, bool)


@dataclass(frozen=True, slots=True)
class Word:
    """One of some words."""

    default: str
    words: tuple[str, ...]

    @property
    def expected(self) -> str:
        return " or ".join(self.words)

    def read(self, given: object, where: str) -> object:
        return given

    def allows(self, value: object) -> bool:
        return value in self.words


@dataclass(frozen=True, slots=True)
class Size:
    """Bytes, as people write sizes: nothing, or at least so many pages."""

    default: int
    least: int

    @property
    def expected(self) -> str:
        return f"0, or a size from {size_text(self.least)} to below {size_text(MAX_PFN + 1)}"

    def read(self, given: object, where: str) -> object:
        return parse_size(given, where, zero=True) * PAGE_SIZE

    def allows(self, value: object) -> bool:
        pages = range(self.least * PAGE_SIZE, MAX_PFN * PAGE_SIZE, PAGE_SIZE)
        return type(value) is int and (value == 0 or value in pages)


PARAMETERS: Mapping[str, Parameter] = {
    "page_cluster": Number(0, (range(32),)),
    "percpu_pagelist_high_fraction": Number(1000, (range(1), range(8, INT_MAX + 1))),
    "swappiness": Number(60, (range(201),)),
    "numa_balancing": Flag(False),
    "thp": Word("never", ("always", "madvise", "never")),
    "swap": Size(64 << 20, 2),
    "page_table_levels": Number(4, (range(4, 5), range(5, 6))),
    "memhp_default_state": Word("online", ("online", "online_kernel", "online_movable", "offline")),
}
"""The defaults are those under which the conformance answers were recorded, so that `4x512M` answers as `quad` does.
page_cluster: 2**n pages of swap readahead. percpu_pagelist_high_fraction: 1000 keeps the per-CPU page lists small, so
that "node full" means full. swap: bytes of the RAM swap device, its header included; 0 = none."""

_LINUX_NAMES = {
    "vm.page-cluster": "page_cluster",
    "vm.percpu_pagelist_high_fraction": "percpu_pagelist_high_fraction",
    "vm.swappiness": "swappiness",
    "kernel.numa_balancing": "numa_balancing",
    "transparent_hugepage": "thp",
}

DEFAULTS: Mapping[str, Any] = {name: parameter.default for name, parameter in PARAMETERS.items()}


def read(name: str, given: object, where: str) -> tuple[str, Any]:
    """The short name of a parameter, and its value from what a person wrote. Raises TopologyError, naming `where`."""
    short = _LINUX_NAMES.get(name, name)
    if short not in PARAMETERS:
        known = (*PARAMETERS, *_LINUX_NAMES)
        close = difflib.get_close_matches(name, known, 1)
        hint = f"did you mean {close[0]}?" if close else f"known are {', '.join(known)}"
        raise TopologyError(f"{where}: {shown(name)} is unknown: {hint}")
    value = PARAMETERS[short].read(given, f"{where}: {name}")
    if not PARAMETERS[short].allows(value):
        raise TopologyError(f"{where}: {name} is {shown(given)}: write {PARAMETERS[short].expected}")
    return short, value


def check(boot: Mapping[str, Any]) -> None:
    """The parameters of a machine that was not read from text. Raises TopologyError."""
    for name, value in boot.items():
        if name not in PARAMETERS:
            raise TopologyError(f"boot: {shown(name)} is unknown: known are {', '.join(PARAMETERS)}")
        if not PARAMETERS[name].allows(value):
            raise TopologyError(f"boot: {name} is {shown(value)}, but must be {PARAMETERS[name].expected}")
