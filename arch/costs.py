"""What things cost in virtual time: named presets, each term with its source.

A preset is one real machine (or the nearest thing that published figures add up to). Kernels charge these terms to the
virtual clock; nothing here is a measurement of the host. A migration batch of n pages costs

    migrate_call + n * (scan_page + isolate_page + unmap_page + remap_page + copy(from, to))
    + flushes * (flush + cpus * flush_cpu)

and a first write to a page costs fault + zero_page. Where a source gives only a sum, the split is said to be assumed.
A page copy costs copy_local at distance 10 and copy_remote at distance 20, and grows evenly with the SLIT distance in
between and beyond: an assumption, since firmware does not promise that distances are proportional to anything.

Kinds of source: `reported` the source's own figure; `derived` computed from it; `measured` by this project on a cloud
machine (2 CPUs of an EPYC, Linux 6.18, one node); `rule` a rule of thumb; `assumption` nothing at all.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import numpy.typing as npt

from numalab.arch.cmdline import shown
from numalab.arch.shape import is_number

__all__ = ["DEFAULT", "KINDS", "PRESETS", "TERMS", "Costs", "Term", "load"]

KINDS = ("reported", "derived", "measured", "rule", "assumption")

TERMS = (
    "syscall", "fault", "walk", "zero_page", "free_page", "scan_page", "isolate_page", "unmap_page", "remap_page",
    "migrate_call", "flush", "flush_cpu", "access_local", "access_remote", "fork_page",
    "swap_page",
)  # fmt: skip
"""Fields of the C struct cost_table, in its order."""
MOST_NS = 10**12
"""The most that one thing may cost: a quarter of an hour, so that no sum of some leaves the clock."""


@dataclass(frozen=True, slots=True)
class Term:
    """One cost in ns, and where the figure comes from."""

    ns: int
    kind: str
    source: str

    def __post_init__(self) -> None:
        if not is_number(self.ns) or not 0 <= self.ns <= MOST_NS:
            raise ValueError(f"a cost is a whole number of ns from 0 to {MOST_NS}, not {shown(self.ns)}")


@dataclass(frozen=True)
class Costs:
    """One preset: 16 terms of cost_table by name, and the two ends of the copy cost."""

    name: str
    year: int
    machine: str
    table: dict[str, Term]
    copy_local: Term
    copy_remote: Term

    def terms(self) -> dict[str, int]:
        """ns by name, for all of TERMS: what the C struct is filled from."""
        table = self.table
        return {name: table[name].ns for name in TERMS}

    def copy_ns(self, distance: int) -> int:
        """ns to copy one page between two nodes at a SLIT distance (10 = within one node)."""
        return max(
            0, round(self.copy_local.ns + (self.copy_remote.ns - self.copy_local.ns) * (distance - 10) / 10)
        )

    @cached_property
    def _by_distance(self) -> npt.NDArray[np.uint64]:
        return np.array([self.copy_ns(d) for d in range(256)], dtype=np.uint64)

    def copy_matrix(self, distance: Sequence[Sequence[int]], width: int) -> npt.NDArray[np.uint64]:
        """width x width, C order: copy_ns of every pair of nodes; pairs beyond the distance table cost copy_remote."""
        matrix = np.full((width, width), self.copy_remote.ns, dtype=np.uint64)
        n = len(distance)
        # Distances are bytes, so a table of 256 answers for all pairs at once: boot is on the clock here.
        pairs = np.frombuffer(b"".join(map(bytes, distance)), dtype=np.uint8).reshape(n, n)
        matrix[:n, :n] = self._by_distance[pairs]
        return matrix

    def with_terms(self, **ns: int) -> "Costs":
        """A copy with some terms changed; they are marked as assumptions. Raises ValueError for an unknown name."""
        table, local, remote = dict(self.table), self.copy_local, self.copy_remote
        for name, value in ns.items():
            term = Term(value, "assumption", "set by hand")
            if name in table:
                table[name] = term
            elif name == "copy_local":
                local = term
            elif name == "copy_remote":
                remote = term
            else:
                raise ValueError(
                    f"cost term {name!r} is unknown: use {', '.join(TERMS)}, copy_local or copy_remote"
                )
        return replace(self, table=table, copy_local=local, copy_remote=remote)


_RFC_2025 = "batch-copy RFC v3, linux-mm, Sep 2025: two-socket Zen 3 EPYC, 1 GB moved by one thread"
_HERE = "this project, cloud EPYC, Linux 6.18"

_EPYC = Costs(
    name="epyc-2025",
    year=2025,
    machine="two-socket x86-64 server, AMD EPYC",
    table={
        "syscall": Term(126, "measured", f"getppid, {_HERE}"),
        "fault": Term(
            690, "measured", f"read fault of the zero page, 0.67-0.71 us: nothing is allocated; {_HERE}"
        ),
        "walk": Term(
            20,
            "rule",
            "a 4-level walk takes about 20 cycles with tables in the cache, 100-200 without; 60 at 3 GHz",
        ),
        "zero_page": Term(
            700, "derived", f"write fault 1.36-1.42 us less read fault: allocate, charge and clear; {_HERE}"
        ),
        "free_page": Term(270, "measured", f"MADV_DONTNEED, {_HERE}"),
        "scan_page": Term(
            48, "measured", f"mbind(MOVE) walk over pages that need not move, 45-52 ns; {_HERE}"
        ),
        "isolate_page": Term(
            122,
            "assumption",
            f"a sixth of the 0.73 us that 1.10 us a page leaves after copy and scan; {_RFC_2025}",
        ),
        "unmap_page": Term(272, "assumption", "three eighths of the same rest"),
        "remap_page": Term(273, "assumption", "three eighths of the same rest"),
        "migrate_call": Term(
            38_000, "derived", f"copying is under 1 % of a one-page move_pages; {_RFC_2025}"
        ),
        "flush": Term(1500, "rule", "a TLB shootdown by interrupt takes 1-4 us plus 0.3-0.5 us a CPU"),
        "flush_cpu": Term(400, "rule", "the same rule"),
        "access_local": Term(90, "rule", "local DRAM load, two-socket x86 2015-2025: 80-100 ns"),
        "access_remote": Term(140, "rule", "remote DRAM load, two-socket x86 2015-2025: 130-150 ns"),
        "fork_page": Term(97, "measured", f"fork, empty fork subtracted: 94-100 ns a page; {_HERE}"),
        "swap_page": Term(990, "rule", "zram or RAM swap: one copy plus 0.5-1 us a page; copy as copy_local"),
    },
    copy_local=Term(240, "derived", f"4096 B at 16-19 GB/s, memcpy of large runs; {_HERE}"),
    copy_remote=Term(385, "derived", f"about 35 % of 1.10 us a page at 512 pages a call; {_RFC_2025}"),
)


def _older(
    base: Costs, *, name: str, year: int, machine: str, copy: tuple[Term, Term], **terms: Term
) -> Costs:
    """A preset of which only some terms are published: the rest is the default preset's and marked as assumed."""
    table = {key: Term(term.ns, "assumption", f"as in {base.name}") for key, term in base.table.items()}
    return Costs(name, year, machine, {**table, **terms}, *copy)


_RFC_2019 = "25-patch RFC, linux-mm, Feb 2019: two-socket E5-2650 v3"
_XEON_2019 = _older(
    _EPYC,
    name="xeon-2019",
    year=2019,
    machine="two-socket Xeon E5-2650 v3",
    copy=(
        Term(
            1650,
            "derived",
            f"4096 B at 2.48 GB/s, copy of one 2 MiB page; taken for a copy at home; {_RFC_2019}",
        ),
        Term(2100, "derived", f"4096 B at 1.98 GB/s, copy of 512 pages; {_RFC_2019}"),
    ),
    migrate_call=Term(
        7400, "derived", f"13.1 us for one page less its copy (3.0) and the 2.7 us of the rest; {_RFC_2019}"
    ),
    isolate_page=Term(452, "assumption", "a sixth of 2.71 us, 4.8 us a page at 512 pages less the copy"),
    unmap_page=Term(1100, "assumption", "two fifths of the same"),
    remap_page=Term(1100, "assumption", "two fifths of the same"),
)

_MAIL_2016 = "linux-mm, 24 Nov 2016: two-socket E5-2640 v3"
_XEON_2016 = _older(
    _EPYC,
    name="xeon-2016",
    year=2016,
    machine="two-socket Xeon E5-2640 v3",
    copy=(
        Term(1100, "assumption", "four fifths of the remote copy"),
        Term(1380, "derived", f"4096 B at 2.97 GB/s, one 2 MiB page, nearly all of it copying; {_MAIL_2016}"),
    ),
    migrate_call=Term(64_000, "derived", f"68 us for one page less 4.2 us, a page of 512; {_MAIL_2016}"),
    isolate_page=Term(
        444, "assumption", "a sixth of 2.65 us, 4.2 us a page less copy and its share of the fixed part"
    ),
    unmap_page=Term(1080, "assumption", "two fifths of the same"),
    remap_page=Term(1080, "assumption", "two fifths of the same"),
)

_COMMIT_2008 = "kernel commit e78bbfa8262, Oct 2008: four-socket quad-core Opteron 1.9 GHz"
_OPTERON_2008 = _older(
    _EPYC,
    name="opteron-2008",
    year=2008,
    machine="four-socket quad-core Opteron, 1.9 GHz",
    copy=(
        Term(2000, "assumption", "about 2 GB/s at home"),
        Term(2700, "assumption", "about 1.5 GB/s over one link"),
    ),
    migrate_call=Term(
        90_000, "derived", f"98 us for 4 kB after the change: about 90-120 us a call; {_COMMIT_2008}"
    ),
    isolate_page=Term(
        1000,
        "assumption",
        f"a share of the 9.4 us a page, 937 us for 400 kB, less the call and copy; {_COMMIT_2008}",
    ),
    unmap_page=Term(2400, "assumption", "the same"),
    remap_page=Term(2400, "assumption", "the same"),
    access_local=Term(80, "rule", "local DRAM load, Opteron 2005-2008: 70-90 ns"),
    access_remote=Term(120, "rule", "one hop, Opteron 2005-2008: 105-140 ns"),
)

PRESETS: dict[str, Costs] = {costs.name: costs for costs in (_EPYC, _XEON_2019, _XEON_2016, _OPTERON_2008)}
DEFAULT = _EPYC.name


def load(preset: "str | Costs | None" = None) -> Costs:
    """A preset by name, the default one for None, or a Costs as it is. Raises ValueError with the list of names."""
    if isinstance(preset, Costs):
        return preset
    name = DEFAULT if preset is None else preset
    if name not in tuple(PRESETS):
        raise ValueError(f"cost preset {shown(name)} is unknown: use {', '.join(PRESETS)}")
    return PRESETS[name]
